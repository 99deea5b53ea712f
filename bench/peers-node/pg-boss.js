// pg-boss: one job at a time, as it comes, or with `--batched` a hundred; fetched one right after the other.

import pg from "pg";
import PgBoss from "pg-boss";

import { job, run, settings, slices } from "./measure.js";

/** Loops of a process that fetch and complete. */
const LOOPS = settings.concurrency ?? (settings.batched ? 4 : 24);
/** Jobs that a loop fetches, and completes, at once; 1 is the library's default. */
const BATCH_LEN = settings.batch ?? (settings.batched ? 100 : 1);
/** Jobs of one insert. */
const SLICE_LEN = 5_000;
const QUEUE = "nothing";

const pool = new pg.Pool({ connectionString: settings.url, max: 4 });

function open(connections, rest) {
  const boss = new PgBoss({ connectionString: settings.url, max: connections, ...rest });
  boss.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
  return boss;
}

await run(settings.batched ? "pg-boss batched" : "pg-boss", {
  async fill() {
    const boss = open(4, { supervise: false, schedule: false });
    await boss.start();
    await boss.createQueue(QUEUE);
    await pool.query("truncate pgboss.job");
    for (const slice of slices(SLICE_LEN)) {
      await boss.insert(slice.map((number) => ({ name: QUEUE, data: { number } })));
    }
    await boss.stop({ graceful: false });
    await pool.query("vacuum analyze pgboss.job");
  },
  async work() {
    const boss = open(LOOPS + 2, { supervise: false, schedule: false });
    await boss.start();
    for (let nth = 0; nth < LOOPS; nth += 1) {
      // Told that there is more, a loop does not pause between two fetches.
      const loop = await boss.work(QUEUE, { batchSize: BATCH_LEN, pollingIntervalSeconds: 0.5 }, async (jobs) => {
        jobs.forEach(job);
        boss.notifyWorker(loop);
      });
    }
  },
  async areLeft() {
    const { rows } = await pool.query("select exists (select from pgboss.job where state < 'completed') as some");
    return rows[0].some;
  },
  close: () => pool.end(),
});
