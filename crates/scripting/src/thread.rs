//! An engine on a thread of this process: for tests, and for programs that run only their own scripts.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;

use crate::engines::{Alive, GRACE, Job, Outcome, Ran};
use crate::sandbox::{Sandbox, TIME_MAX};

/// The stack of a thread, in bytes; the engine takes a part of it.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// A thread that does one job after the other, until nobody has a job for it any more.
pub(crate) struct ThreadEngine {
    jobs: SyncSender<(Arc<Job>, SyncSender<Outcome>)>,
}

impl ThreadEngine {
    pub(crate) fn start(alive: Alive) -> io::Result<Self> {
        let (jobs, work) = sync_channel::<(Arc<Job>, SyncSender<Outcome>)>(1);
        let body = move || {
            let _alive = alive;
            let mut sandbox = Sandbox::default();
            while let Ok((job, reply)) = work.recv() {
                // Whoever has given up waiting is not told.
                drop(reply.send(job.done(&mut sandbox)));
            }
        };
        thread::Builder::new().name("script".to_owned()).stack_size(STACK_BYTES).spawn(body)?;
        Ok(Self { jobs })
    }

    pub(crate) fn run(&mut self, job: &Arc<Job>) -> Ran {
        let (reply, result) = sync_channel(1);
        if self.jobs.send((Arc::clone(job), reply)).is_err() {
            return Ran::Lost;
        }
        match result.recv_timeout(TIME_MAX + GRACE) {
            Ok(outcome) => Ran::Done(outcome),
            Err(RecvTimeoutError::Timeout) => Ran::Late,
            Err(RecvTimeoutError::Disconnected) => Ran::Lost,
        }
    }
}
