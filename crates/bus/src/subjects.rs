//! Subjects: `pcs.<room>.<token>`, tokens of lower-case letters, digits, `_` and `-`.

use pcs_domain::ids::TestRunId;
use pcs_domain::jobs::JobKind;
use pcs_domain::test_run::Lane;

/// Where workers send results; answered after the commit.
pub(crate) const RESULT: &str = "pcs.result.test_execution";
/// Where workers ask the relay.
pub(crate) const ASK: &str = "pcs.ask.test_execution";
/// Where workers say that they are there.
pub(crate) const FLEET: &str = "pcs.fleet";
/// Where the relay tells all workers something.
pub(crate) const CONTROL: &str = "pcs.control";
/// Where the relay says that a run was cancelled; the run's id follows.
pub(crate) const CANCEL: &str = "pcs.control.cancel";
/// Where the relay says whether anything is held, so that workers ask before they begin.
pub(crate) const HOLDS: &str = "pcs.control.holds";
/// Where processes say that they have appended to the log.
pub(crate) const LOG_HINT: &str = "pcs.hint.log";

/// Where workers of jobs on request send results of a kind; answered after the commit.
pub(crate) fn result_of(kind: JobKind) -> String {
    format!("pcs.result.{}", kind.name)
}

/// Where workers of jobs on request ask the relay.
pub(crate) fn ask_of(kind: JobKind) -> String {
    format!("pcs.ask.{}", kind.name)
}

/// The subject of a ticket; the run at its end, or the job that was asked for by itself, lets what is cancelled be purged by
/// filter.
pub(crate) fn job(lane: Lane, kind: JobKind, run: TestRunId) -> String {
    format!("pcs.job.{}.{}.{}.{}", lane.name(), kind.pool, kind.name, run.0.simple())
}

/// The filter that matches all tickets of a run.
pub(crate) fn jobs_of_run(run: TestRunId) -> String {
    format!("pcs.job.*.*.*.{}", run.0.simple())
}

/// The subject on which a run's cancellation is announced.
pub(crate) fn cancel(run: TestRunId) -> String {
    format!("{CANCEL}.{}", run.0.simple())
}

/// The last token of a ticket's or a cancellation's subject, which names the run.
pub(crate) fn run_token(subject: &str) -> &str {
    subject.rsplit_once('.').map_or(subject, |(_, token)| token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcs_domain::jobs::test_execution::KIND;
    use uuid::Uuid;

    #[test]
    fn a_ticket_and_its_runs_cancellation_end_in_the_same_token() {
        let run = TestRunId(Uuid::from_u128(7));
        let ticket = job(Lane::Std, KIND, run);
        assert_eq!(ticket, "pcs.job.std.llm.test_execution.00000000000000000000000000000007");
        assert_eq!(run_token(&ticket), run_token(&cancel(run)));
        assert_eq!(ticket.split('.').count(), jobs_of_run(run).split('.').count());
        assert_eq!([result_of(KIND), ask_of(KIND)], [RESULT, ASK]);
    }
}
