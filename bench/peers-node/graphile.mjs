// graphile-worker: no-op jobs from the first insert to the last row deleted, worked off by processes of its own.
//
//   node graphile.mjs URL JOBS PROCESSES CONCURRENCY plain|batched
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { makeWorkerUtils, run } from "graphile-worker";

const [, , url, jobs, processes, concurrency, mode, role] = process.argv;
// What its own benchmark page uses for the fast form: jobs are fetched and completed in batches.
const batched = { worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } };

if (role === "worker") {
  const runner = await run({
    connectionString: url,
    concurrency: Number(concurrency),
    pollInterval: 100,
    maxPoolSize: Number(concurrency) + 2,
    noHandleSignals: true,
    taskList: { noop: async () => {} },
    preset: mode === "batched" ? batched : {},
    logger: undefined,
  });
  process.on("SIGTERM", async () => {
    await runner.stop();
    process.exit(0);
  });
} else {
  const pool = new pg.Pool({ connectionString: url });
  const utils = await makeWorkerUtils({ pgPool: pool });
  await utils.migrate();
  const children = Array.from({ length: Number(processes) }, () =>
    fork(fileURLToPath(import.meta.url), [url, jobs, processes, concurrency, mode, "worker"], { silent: true }),
  );
  // They poll an empty queue before the clock starts.
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const began = performance.now();
  await pool.query("select graphile_worker.add_job('noop', json_build_object('n', n)) from generate_series(1, $1::int) n", [jobs]);
  for (;;) {
    const { rows } = await pool.query("select exists (select from graphile_worker._private_jobs) as left");
    if (!rows[0].left) break;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const seconds = (performance.now() - began) / 1000;
  console.log(JSON.stringify({ jobs: Number(jobs), seconds, per_second: Number(jobs) / seconds }));
  children.forEach((child) => child.kill("SIGKILL"));
  await utils.release();
  await pool.end();
}
