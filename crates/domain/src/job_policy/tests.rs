//! Policies of jobs: given events, when a command, then events.

use uuid::Uuid;

use super::*;
use crate::event::EventSet;
use crate::given::{Given, given, stored};
use crate::limits::{LIMIT_KEYS_MAX, PAUSES_MAX, WEIGHT_MAX};
use JobPolicyCommand as Command;
use JobPolicyEvent as Event;

const ACTOR: ActorId = ActorId(Uuid::from_u128(1));

fn untouched() -> Given<JobPolicy> {
    given([])
}

fn pause(scope: Scope) -> Command {
    Command::Pause { scope, reason: "the bill".into(), paused_by: ACTOR }
}

fn paused(scope: Scope) -> Event {
    Event::Paused(Paused { scope, reason: "the bill".into(), paused_by: ACTOR })
}

fn resume(scope: Scope) -> Command {
    Command::Resume { scope, resumed_by: ACTOR }
}

fn limits(per_minute: u32) -> Limits {
    Limits { requests_per_minute: Some(per_minute), ..Limits::default() }
}

fn set(key: &str, limits: Limits) -> Command {
    Command::SetLimit { key: key.into(), limits, set_by: ACTOR }
}

fn was_set(key: &str, limits: Limits) -> Event {
    Event::LimitSet(LimitSet { key: key.into(), limits, set_by: ACTOR })
}

#[test]
fn a_scope_is_paused_once_and_resumed_once() {
    let bulk = || Scope::Lane(Lane::Bulk);
    let run = untouched().when(resume(bulk())).nothing().when(pause(bulk())).then([paused(bulk())]);
    let run = run.when(pause(bulk())).nothing();
    // Another scope is another pause.
    let run = run.when(pause(Scope::Everything)).then([paused(Scope::Everything)]);
    let run = run.when(resume(bulk())).then([Event::Resumed(Resumed { scope: bulk(), resumed_by: ACTOR })]);
    assert_eq!(run.state().paused, BTreeSet::from([Scope::Everything]));
}

#[test]
fn a_pause_names_what_it_holds_back() {
    untouched().when(pause(Scope::Provider(String::new()))).refused("invalid_text");
    untouched().when(pause(Scope::Model("x".repeat(256)))).refused("invalid_text");
    untouched().when(pause(Scope::Kind("a\0".into()))).refused("invalid_text");
    let full: Vec<Event> = (0..PAUSES_MAX).map(|number| paused(Scope::Model(number.to_string()))).collect();
    given::<JobPolicy>(full).when(pause(Scope::Everything)).refused("too_many_items");
}

#[test]
fn a_limit_is_set_replaced_and_removed() {
    let policy = untouched().when(set("openai", limits(60))).then([was_set("openai", limits(60))]);
    let policy = policy.when(set("openai", limits(60))).nothing();
    let policy = policy.when(set("openai", limits(30))).then([was_set("openai", limits(30))]);
    assert_eq!(policy.state().limits["openai"], limits(30));
    let remove = || Command::RemoveLimit { key: "openai".into(), removed_by: ACTOR };
    let removed = Event::LimitRemoved(LimitRemoved { key: "openai".into(), removed_by: ACTOR });
    let one = || given::<JobPolicy>([was_set("openai", limits(30))]);
    one().when(remove()).then([removed]).when(remove()).refused("limit_not_found");
}

#[test]
fn a_limit_that_limits_nothing_or_allows_nothing_is_refused() {
    untouched().when(set("openai", Limits::default())).refused("invalid_limits");
    untouched().when(set("openai", limits(0))).refused("invalid_limits");
    untouched().when(set(" ", limits(1))).refused("invalid_text");
    let full: Vec<Event> = (0..LIMIT_KEYS_MAX).map(|number| was_set(&number.to_string(), limits(1))).collect();
    given::<JobPolicy>(full.clone()).when(set("openai", limits(1))).refused("too_many_items");
    given::<JobPolicy>(full).when(set("0", limits(2))).accepted();
}

#[test]
fn a_weight_has_a_range() {
    let weigh = |weight| Command::SetWeight { weight, set_by: ACTOR };
    untouched().when(weigh(0)).refused("out_of_range");
    untouched().when(weigh(WEIGHT_MAX + 1)).refused("out_of_range");
    untouched().when(weigh(1)).nothing();
    untouched().when(weigh(3)).then([Event::WeightSet(WeightSet { weight: 3, set_by: ACTOR })]);
}

#[test]
fn events_are_read_as_they_were_written() {
    let scopes = [
        Scope::Everything,
        Scope::Lane(Lane::Hi),
        Scope::Kind("test_execution".into()),
        Scope::Provider("openai".into()),
        Scope::Model("openai:gpt-4o-mini".into()),
    ];
    for event in scopes.map(paused).into_iter().chain([was_set("openai", limits(1))]) {
        assert_eq!(stored(&event), event);
        assert!(event.event_type().name.starts_with(Event::CATEGORY.name()));
    }
}

#[test]
fn a_model_is_limited_by_its_provider_and_by_itself() {
    let model: ModelSpec = serde_json::from_value(serde_json::json!({ "id": "openai:gpt-4o" })).unwrap();
    assert_eq!(limit_keys(&model), ["openai", "openai:gpt-4o"]);
}
