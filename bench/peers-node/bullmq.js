// BullMQ on a Redis of yours.

import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";

import { job, run, settings, slices } from "./measure.js";

/** Jobs that a process does at once. */
const CONCURRENCY = settings.concurrency ?? 200;
/** Jobs of one call. */
const SLICE_LEN = 5_000;
const QUEUE = "nothing";

const connect = () => new Redis(settings.url, { maxRetriesPerRequest: null });

const connection = connect();
const queue = new Queue(QUEUE, { connection, defaultJobOptions: { removeOnComplete: true } });

await run("bullmq", {
  async fill() {
    await queue.obliterate({ force: true });
    for (const slice of slices(SLICE_LEN)) {
      await queue.addBulk(slice.map((number) => ({ name: QUEUE, data: { number } })));
    }
  },
  async work() {
    const worker = new Worker(QUEUE, async () => job(), { connection: connect(), concurrency: CONCURRENCY });
    worker.on("error", (error) => {
      console.error(error);
      process.exit(1);
    });
    await worker.waitUntilReady();
  },
  async areLeft() {
    const { waiting, active } = await queue.getJobCounts("waiting", "active");
    return waiting + active > 0;
  },
  async close() {
    await queue.close();
    connection.disconnect();
  },
});
