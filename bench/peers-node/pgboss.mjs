// pg-boss: no-op jobs from the first insert to the last completion, worked off by processes of its own.
//
//   node pgboss.mjs URL JOBS PROCESSES BATCH
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import pg from "pg";
import PgBoss from "pg-boss";

const [, , url, jobs, processes, batch, role] = process.argv;
const INSERT_LEN = 5000;

if (role === "worker") {
  const boss = new PgBoss(url);
  boss.on("error", () => {});
  await boss.start();
  // Several loops at the shortest interval that it allows, each with a batch.
  for (let nth = 0; nth < 4; nth += 1) {
    await boss.work("noop", { batchSize: Number(batch), pollingIntervalSeconds: 0.5 }, async () => {});
  }
} else {
  const boss = new PgBoss(url);
  boss.on("error", () => {});
  await boss.start();
  await boss.createQueue("noop");
  const pool = new pg.Pool({ connectionString: url });
  const children = Array.from({ length: Number(processes) }, () =>
    fork(fileURLToPath(import.meta.url), [url, jobs, processes, batch, "worker"], { silent: true }),
  );
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const began = performance.now();
  for (let from = 0; from < Number(jobs); from += INSERT_LEN) {
    const length = Math.min(INSERT_LEN, Number(jobs) - from);
    await boss.insert(Array.from({ length }, (_, n) => ({ name: "noop", data: { n: from + n } })));
  }
  for (;;) {
    const { rows } = await pool.query("select exists (select from pgboss.job where name = 'noop' and state < 'completed') as left");
    if (!rows[0].left) break;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const seconds = (performance.now() - began) / 1000;
  console.log(JSON.stringify({ jobs: Number(jobs), seconds, per_second: Number(jobs) / seconds }));
  children.forEach((child) => child.kill("SIGKILL"));
  await pool.end();
  process.exit(0);
}
