//! Asks for the maintenance of each day: one job for each task, however many relays ask and however often.

use pcs_domain::Timestamp;
use pcs_domain::ids::{CommandId, JobId, TenantId};
use pcs_domain::job::{Job, JobCommand, Requested};
use pcs_domain::jobs::maintenance::{KIND, Task};
use pcs_domain::ports::{Clock, System};
use pcs_domain::test_run::Lane;
use pcs_store::{CommandContext, ExecuteError, Store, StoreError, execute_new};
use serde_json::Value;
use uuid::Uuid;

use crate::RelayError;

/// Where the ids of the system's own jobs are derived from.
const DAILY: Uuid = Uuid::from_u128(0x3b0f_5f0e_92f4_4a6c_8d53_1c0a_77e4_b9d1);

/// The id of a day's job of a task: whoever computes it, and however often, gets the same.
fn daily_id(task: &Task, at: Timestamp) -> JobId {
    JobId(Uuid::new_v5(&DAILY, format!("{}/{}", task.name(), at.get().date()).as_bytes()))
}

/// Asks for what the day still lacks of maintenance; the leader does so every minute.
///
/// # Errors
/// Where the event store does not answer.
pub async fn ask_for_maintenance(store: &Store) -> Result<(), RelayError> {
    let now = System.now();
    let mut tasks = vec![Task::daily_retention()];
    if store.has_archive() {
        tasks.push(Task::daily_archive());
    }
    for task in tasks {
        let id = daily_id(&task, now);
        if store.load::<Job>(TenantId::DEFAULT, id.0).await?.state != Job::Absent {
            continue;
        }
        let context = CommandContext::derived(TenantId::DEFAULT, CommandId::derived(id.0, "request"));
        let command = JobCommand::Request(Box::new(requested(&task)));
        match execute_new::<Job>(store, &context, id.0, command).await {
            // Another leader was faster.
            Err(ExecuteError::Rejected(_)) => (),
            Ok(_) => {
                tracing::info!(task = task.name(), job.id = %id, "maintenance is asked for")
            }
            Err(ExecuteError::Store(error)) => return Err(error.into()),
            Err(error) => return Err(RelayError::Store(StoreError::Unknowable(error.to_string()))),
        }
    }
    Ok(())
}

fn requested(task: &Task) -> Requested {
    let input = match serde_json::to_value(task) {
        Ok(Value::Object(input)) => input,
        // A task is an object.
        Ok(_) | Err(_) => serde_json::Map::new(),
    };
    Requested { kind: KIND.name.to_owned(), lane: Lane::Bulk, input, not_before: None, requested_by: None }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use pcs_domain::Aggregate;

    #[test]
    fn a_day_has_one_job_of_each_task() {
        let (retention, archive) = (Task::daily_retention(), Task::daily_archive());
        let (noon, evening) =
            (Timestamp::EPOCH.plus(Duration::from_secs(43_200)), Timestamp::EPOCH.plus(Duration::from_secs(80_000)));
        let tomorrow = Timestamp::EPOCH.plus(Duration::from_secs(86_400));
        assert_eq!(daily_id(&retention, noon), daily_id(&retention, evening));
        assert_ne!(daily_id(&retention, noon), daily_id(&retention, tomorrow));
        assert_ne!(daily_id(&retention, noon), daily_id(&archive, noon));
    }

    #[test]
    fn what_the_system_asks_for_its_kind_understands() {
        for task in [Task::daily_retention(), Task::daily_archive()] {
            let request = JobCommand::Request(Box::new(requested(&task)));
            Job::default().decide(request, Timestamp::EPOCH).unwrap();
        }
    }
}
