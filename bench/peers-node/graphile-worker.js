// graphile-worker: plain, or with `--batched` its local queue and its batches of completions.

import { Logger, makeWorkerUtils, run as runWorker } from "graphile-worker";
import pg from "pg";

import { job, run, settings, slices } from "./measure.js";

/** Jobs that a process does at once; its documentation measures with 24. */
const CONCURRENCY = settings.concurrency ?? 24;
/** Jobs that a process fetches at once, as in its documentation. */
const LOCAL_QUEUE_SIZE = settings.batch ?? 500;
/** Jobs of one call. */
const SLICE_LEN = 5_000;

const pool = new pg.Pool({ connectionString: settings.url, max: 4 });

/** Says nothing: two lines a job would be most of the work. */
const logger = new Logger(() => () => {});

const worker = {
  logger,
  connectionString: settings.url,
  concurrentJobs: CONCURRENCY,
  maxPoolSize: CONCURRENCY + 2,
  ...(settings.batched
    ? { localQueue: { size: LOCAL_QUEUE_SIZE }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }
    : {}),
};

await run(settings.batched ? "graphile-worker batched" : "graphile-worker", {
  async fill() {
    const utils = await makeWorkerUtils({ connectionString: settings.url, logger });
    await utils.migrate();
    await pool.query("delete from graphile_worker._private_jobs");
    for (const slice of slices(SLICE_LEN)) {
      await utils.addJobs(slice.map((number) => ({ identifier: "nothing", payload: { number } })));
    }
    await utils.release();
    await pool.query("vacuum analyze graphile_worker._private_jobs");
  },
  async work() {
    const runner = await runWorker({
      preset: { worker },
      noHandleSignals: true,
      taskList: { nothing: async () => job() },
    });
    await runner.promise;
  },
  async areLeft() {
    const { rows } = await pool.query("select exists (select from graphile_worker._private_jobs) as some");
    return rows[0].some;
  },
  close: () => pool.end(),
});
