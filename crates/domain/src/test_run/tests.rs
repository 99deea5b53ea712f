//! Runs: given events, when a command, then events.

use uuid::Uuid;

use super::*;
use crate::event::EventSet;
use crate::given::{Given, given, stored};
use crate::limits;
use TestRunCommand as Command;
use TestRunEvent as Event;

const ACTOR: ActorId = ActorId(Uuid::from_u128(1));

fn model(id: &str) -> ModelSpec {
    serde_json::from_value(serde_json::json!({ "id": id })).unwrap()
}

/// 2 versions x 2 models x 3 cases x 4 repeats; the executions are for the run to count.
fn request() -> Requested {
    Requested {
        grader: None,
        partials: Vec::new(),
        skips: Vec::new(),
        name: "nightly".into(),
        card_id: PromptCardId(Uuid::from_u128(7)),
        card_revision: 9,
        versions: vec![1, 2],
        models: vec![model("echo"), model("openai:gpt-4o-mini")],
        case_ids: None,
        cases: 3,
        repeats: 4,
        assertions: vec![],
        threshold: None,
        executions: 0,
        lane: Lane::Std,
        requested_by: ACTOR,
        terms: Terms::default(),
        retry: None,
        schedule_id: None,
        source: None,
    }
}

fn requested() -> Event {
    Event::Requested(Requested { executions: 48, ..request() })
}

fn asked(change: impl FnOnce(&mut Requested)) -> Command {
    let mut request = request();
    change(&mut request);
    Command::Request(Box::new(request))
}

fn cancel() -> Command {
    Command::Cancel { reason: "enough".into(), cancelled_by: Some(ACTOR), cause: CancelCause::Asked }
}

fn cancelled() -> Event {
    Event::Cancelled(Cancelled { reason: "enough".into(), cancelled_by: Some(ACTOR), cause: CancelCause::Asked })
}

fn totals(passed: u64, failed: u64, errors: u64) -> RunTotals {
    RunTotals { executions: passed.saturating_add(failed).saturating_add(errors), passed, failed, errors }
}

fn complete(totals: RunTotals) -> Command {
    Command::Complete { totals }
}

fn completed() -> Event {
    Event::Completed(Completed { totals: totals(40, 7, 1) })
}

fn absent() -> Given<TestRun> {
    given([])
}

#[test]
fn a_run_counts_its_executions_itself() {
    absent().when(asked(|_| ())).then([requested()]);
    absent().when(asked(|request| request.executions = 999)).then([requested()]);
    given::<TestRun>([requested()]).when(asked(|_| ())).refused("run_already_exists");
    given::<TestRun>([requested(), cancelled()]).when(asked(|_| ())).refused("run_already_exists");
    given::<TestRun>([requested(), completed()]).when(asked(|_| ())).refused("run_already_exists");
}

#[test]
fn a_run_needs_every_part_of_its_matrix() {
    absent().when(asked(|request| request.versions.clear())).refused("empty_matrix");
    absent().when(asked(|request| request.models.clear())).refused("empty_matrix");
    absent().when(asked(|request| request.cases = 0)).refused("empty_matrix");
    absent().when(asked(|request| request.repeats = 0)).refused("empty_matrix");
}

#[test]
fn each_part_and_the_whole_have_a_limit() {
    let single = |request: &mut Requested| {
        request.versions = vec![1];
        request.models = vec![model("echo")];
        request.cases = 1;
        request.repeats = 1;
    };
    let versions = |count: usize| {
        asked(|request| {
            single(request);
            request.versions = (1..).take(count).collect();
        })
    };
    let models = |count: usize| {
        asked(|request| {
            single(request);
            request.models = (0..count).map(|number| model(&format!("echo:{number}"))).collect();
        })
    };
    let cases_and_repeats = |cases: usize, repeats: u16| {
        asked(|request| {
            single(request);
            (request.cases, request.repeats) = (u32::try_from(cases).unwrap(), repeats);
        })
    };
    absent().when(versions(limits::RUN_VERSIONS_MAX)).accepted();
    absent().when(versions(limits::RUN_VERSIONS_MAX + 1)).refused("too_many_items");
    absent().when(models(limits::RUN_MODELS_MAX)).accepted();
    absent().when(models(limits::RUN_MODELS_MAX + 1)).refused("too_many_items");
    absent().when(cases_and_repeats(limits::CASES_MAX, 1)).accepted();
    absent().when(cases_and_repeats(limits::CASES_MAX + 1, 1)).refused("too_many_items");
    absent().when(cases_and_repeats(1, limits::RUN_REPEATS_MAX)).accepted();
    absent().when(cases_and_repeats(1, limits::RUN_REPEATS_MAX + 1)).refused("too_many_items");
    // 1,000 cases x 1,000 repeats are just the million.
    let (events, _) = absent().when(cases_and_repeats(1_000, 1_000)).events();
    assert!(matches!(&events[..], [Event::Requested(request)] if request.executions == limits::RUN_EXECUTIONS_MAX));
    absent().when(cases_and_repeats(1_001, 1_000)).refused("too_many_items");
    absent().when(cases_and_repeats(limits::CASES_MAX, limits::RUN_REPEATS_MAX)).refused("too_many_items");
}

#[test]
fn nothing_is_named_twice() {
    let (one, two) = (TestCaseId(Uuid::from_u128(1)), TestCaseId(Uuid::from_u128(2)));
    absent().when(asked(|request| request.versions = vec![2, 1, 2])).refused("duplicate_version");
    absent().when(asked(|request| request.models = vec![model("echo"), model("echo")])).refused("duplicate_model");
    let labelled = |label: &str| ModelSpec { label: Some(label.into()), ..model("echo") };
    absent().when(asked(|request| request.models = vec![labelled("a"), labelled("b")])).accepted();
    absent().when(asked(|request| request.models = vec![labelled("x"), model("x")])).refused("duplicate_model");
    absent().when(asked(|request| request.case_ids = Some(vec![one, two, one]))).refused("duplicate_case");
    absent().when(asked(|request| (request.case_ids, request.cases) = (Some(vec![one, two]), 2))).accepted();
}

#[test]
fn a_run_is_cancelled_once() {
    absent().when(cancel()).refused("run_not_found");
    let run = given::<TestRun>([requested()]).when(cancel()).then([cancelled()]).when(cancel()).nothing();
    // Its last results may still come in, and change nothing.
    run.when(complete(totals(40, 7, 1))).nothing().when(complete(totals(1, 0, 0))).nothing();
    given::<TestRun>([requested(), completed()]).when(cancel()).refused("run_already_completed");
}

#[test]
fn a_run_completes_when_every_execution_has_its_result() {
    absent().when(complete(totals(1, 0, 0))).refused("run_not_found");
    let run = || given::<TestRun>([requested()]);
    for wrong in [
        totals(0, 0, 0),
        totals(40, 7, 0),
        totals(40, 7, 2),
        totals(u64::MAX, 1, 1),
        RunTotals { executions: 48, passed: 40, failed: 7, errors: 0 },
        RunTotals { executions: 47, passed: 40, failed: 7, errors: 1 },
    ] {
        run().when(complete(wrong)).refused("results_missing");
    }
    run().when(complete(totals(40, 7, 1))).then([completed()]).when(complete(totals(40, 7, 1))).nothing();
}

#[test]
fn a_retry_says_what_it_repeats_and_completes_with_what_it_found() {
    let of = TestRunId(Uuid::from_u128(3));
    let retry = Retry { of, errors: Some(vec![]), unfinished: false, execution_ids: None };
    let repeat = |retry: Retry| asked(|request| (request.retry, request.executions) = (Some(retry), 99));
    absent().when(asked(|request| request.retry = Some(retry.clone()))).refused("empty_matrix");
    let nothing = Retry { errors: None, ..retry.clone() };
    absent().when(repeat(nothing)).refused("empty_matrix");
    let ids = |count: usize| Some(vec![ExecutionId(Uuid::nil()); count]);
    let named = |count| Retry { execution_ids: ids(count), ..retry.clone() };
    absent().when(repeat(named(limits::RETRY_EXECUTIONS_MAX))).accepted();
    absent().when(repeat(named(limits::RETRY_EXECUTIONS_MAX + 1))).refused("too_many_items");
    let (events, run) = absent().when(repeat(retry)).events();
    assert!(matches!(&events[..], [Event::Requested(request)] if request.executions == 48));
    let run = run.when(complete(totals(49, 0, 0)));
    run.refused("results_missing");
    let few = || absent().when(repeat(Retry { of, errors: None, unfinished: true, execution_ids: None })).events().1;
    few().when(complete(totals(2, 1, 0))).then([Event::Completed(Completed { totals: totals(2, 1, 0) })]);
    few().when(complete(RunTotals { executions: 4, ..totals(2, 1, 0) })).refused("results_missing");
}

#[test]
fn a_run_says_what_was_asked_for_in_every_phase() {
    assert_eq!(absent().state().request(), None);
    for history in [vec![requested()], vec![requested(), cancelled()], vec![requested(), completed()]] {
        let run = given::<TestRun>(history).state();
        assert_eq!(run.request().map(|request| request.executions), Some(48));
    }
}

#[test]
fn an_event_of_another_phase_changes_nothing() {
    let phases = [vec![], vec![requested()], vec![requested(), cancelled()], vec![requested(), completed()]];
    let late = [requested(), cancelled(), completed()];
    for (phase, history) in phases.iter().enumerate() {
        for event in &late {
            let moves =
                matches!((phase, event), (0, Event::Requested(_)) | (1, Event::Cancelled(_) | Event::Completed(_)));
            let before = TestRun::fold(history.clone());
            let mut after = before.clone();
            after.evolve(event.clone());
            assert_eq!(after != before, moves, "phase {phase}, {event:?}");
        }
    }
}

#[test]
fn events_are_read_as_they_were_written() {
    for event in [requested(), cancelled(), completed()] {
        assert_eq!(stored(&event), event);
        assert!(event.event_type().name.starts_with(Event::CATEGORY.name()));
    }
    for lane in Lane::ALL {
        assert_eq!(Lane::parse(lane.name()), Some(lane));
    }
    assert_eq!(Lane::parse("express"), None);
}

#[test]
fn a_cancellation_of_the_first_version_names_nobody_where_the_system_gave_up() {
    let read = |by: &str| {
        let payload = format!(r#"{{"reason":"enough","cancelled_by":"{by}"}}"#);
        Event::decode("test_run.cancelled", 1, &payload).unwrap()
    };
    assert_eq!(read(&ACTOR.0.to_string()), cancelled());
    let given_up = Cancelled { reason: "enough".into(), cancelled_by: None, cause: CancelCause::Asked };
    assert_eq!(read("00000000-0000-0000-0000-000000000000"), Event::Cancelled(given_up));
}

#[test]
fn what_is_left_out_is_not_counted() {
    let case = |number: u128| TestCaseId(Uuid::from_u128(number));
    let skip = |case_ids: Vec<TestCaseId>, versions: &[u32], models: &[&str], from_repeat: u16| Skip {
        case_ids,
        versions: versions.to_vec(),
        models: models.iter().map(|model| (*model).to_owned()).collect(),
        from_repeat,
    };
    let skips = vec![
        skip(vec![case(1)], &[], &["echo"], 0),
        skip(vec![case(1), case(2)], &[], &[], 1),
        skip(Vec::new(), &[2], &["openai:gpt-4o-mini"], 0),
    ];
    let with = |skips: Vec<Skip>| Command::Request(Box::new(Requested { skips, ..request() }));
    // Case 1: version 1 of the other model once. Case 2: once for each of three arms. Case 3: three arms, four times.
    let requested = Requested { skips: skips.clone(), executions: 1 + 3 + 12, ..request() };
    absent().when(with(skips.clone())).then([Event::Requested(requested.clone())]);
    let left = Skips::of(&skips);
    assert_eq!(left.repeats(Some(case(1)), (1, "echo"), 4), 0);
    assert_eq!(left.repeats(Some(case(9)), (1, "echo"), 4), 4);
    absent().when(with(vec![skip(Vec::new(), &[], &[], 0)])).refused("empty_matrix");
    for stranger in [skip(Vec::new(), &[3], &[], 0), skip(Vec::new(), &[], &["nobody"], 0)] {
        absent().when(with(vec![stranger])).refused("invalid_skip");
    }
    let named = Requested { case_ids: Some(vec![case(1), case(2), case(3)]), ..request() };
    let stranger = Requested { skips: vec![skip(vec![case(4)], &[], &[], 0)], ..named };
    absent().when(Command::Request(Box::new(stranger))).refused("invalid_skip");
}
