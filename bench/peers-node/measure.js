// What all peers share: jobs are put in, two worker processes do them, and the time is taken from the first job that a
// worker has in its hands to the moment when the queue's own store has none left. Putting in and starting are not timed.

import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

/** Worker processes: one for each core. */
const WORKERS = 2;
/** How often it is looked whether jobs are left, in milliseconds. */
const LOOK_MS = 20;

const { values } = parseArgs({
  options: {
    url: { type: "string" },
    jobs: { type: "string", default: "20000" },
    concurrency: { type: "string" },
    batch: { type: "string" },
    batched: { type: "boolean", default: false },
    worker: { type: "boolean", default: false },
  },
});

/** The arguments: where the store is, how many jobs, and what is tried. */
export const settings = {
  url: values.url,
  jobs: Number(values.jobs),
  concurrency: values.concurrency ? Number(values.concurrency) : undefined,
  batch: values.batch ? Number(values.batch) : undefined,
  batched: values.batched,
};

let begun = false;

/** What each job does: nothing, but the first of a process tells the parent. */
export function job() {
  if (!begun) {
    begun = true;
    process.send("begun");
  }
}

/** Numbers of jobs, in slices of at most this length. */
export function* slices(length) {
  for (let first = 0; first < settings.jobs; first += length) {
    const count = Math.min(length, settings.jobs - first);
    yield Array.from({ length: count }, (_, nth) => first + nth);
  }
}

/**
 * Is a worker where we were started as one; else measures.
 *
 * `fill` puts the jobs in, `work` does them until the process is ended, `areLeft` says whether some are left, and
 * `close` lets go of what the parent has open.
 */
export async function run(peer, { fill, work, areLeft, close }) {
  if (values.worker) {
    await work();
    return;
  }
  await fill();
  const workers = Array.from({ length: WORKERS }, () => fork(process.argv[1], [...process.argv.slice(2), "--worker"]));
  const failed = workers.map(async (worker) => {
    const [code] = await once(worker, "exit");
    throw new Error(`a worker ended with ${code}`);
  });
  await Promise.race([...workers.map((worker) => once(worker, "message")), ...failed]);
  const started = performance.now();
  const left = async () => {
    while (await areLeft()) await sleep(LOOK_MS);
  };
  await Promise.race([left(), ...failed]);
  const seconds = (performance.now() - started) / 1000;
  Promise.allSettled(failed);
  for (const worker of workers) worker.kill("SIGKILL");
  console.log(JSON.stringify({ peer, jobs: settings.jobs, per_second: settings.jobs / seconds, seconds }));
  await close();
}
