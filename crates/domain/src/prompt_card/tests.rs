//! Cards: given events, when a command, then events.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::*;
use crate::assertion::Assertion;
use crate::event::{DecodeError, EventSet};
use crate::given::{Chance, Given, given, stored};
use crate::ids::PromptCardId;
use crate::limits;
use crate::model::ModelSpec;
use PromptCardCommand as Command;
use PromptCardEvent as Event;

const CARD: PromptCardId = PromptCardId(Uuid::from_u128(7));
const AUTHOR: ActorId = ActorId(Uuid::from_u128(1));

fn create() -> Create {
    Create {
        title: "Sums".into(),
        description: "Adds.".into(),
        prompt: "{{a}} + {{b}}?".into(),
        model: None,
        category: "math".into(),
        tags: vec!["b".into(), "a".into(), " b ".into()],
        metadata: map(json!({ "owner": "core" })),
        is_public: false,
        created_by: AUTHOR,
    }
}

fn created() -> Event {
    let Create { title, description, prompt, model, category, metadata, is_public, created_by, .. } = create();
    let tags = vec!["a".into(), "b".into()];
    Event::Created(Created { title, description, prompt, model, category, tags, metadata, is_public, created_by })
}

fn archived() -> Event {
    Event::Archived(Archived { reason: String::new() })
}

fn revise() -> Revise {
    let message = "why".to_owned();
    Revise {
        prompt: None,
        model: None,
        title: None,
        description: None,
        category: None,
        metadata: None,
        tags: None,
        message,
        author: AUTHOR,
        may_move_protected: false,
    }
}

fn revised(version: u32, prompt: &str) -> Event {
    Event::Revised(Revised { version, prompt: prompt.into(), model: None, message: "why".into(), author: AUTHOR })
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn assertions(value: Value) -> Vec<Assertion> {
    serde_json::from_value(value).unwrap()
}

fn draft(name: &str, a: i64, expected: Option<&str>) -> CaseDraft {
    CaseDraft {
        subject: None,
        name: name.into(),
        input: map(json!({ "a": a, "b": 2 })),
        expected_output: expected.map(str::to_owned),
        ..CaseDraft::default()
    }
}

fn add(cases: Vec<CaseDraft>) -> Command {
    Command::AddCases { card: CARD, cases, on_duplicate: OnDuplicate::Refuse }
}

fn change(case_id: TestCaseId) -> Command {
    Command::ChangeCase { metadata: None, tags: None, case_id, name: None, assertions: None, threshold: None }
}

fn with_cases(cases: Vec<CaseDraft>) -> (Vec<Event>, Vec<TestCase>) {
    let (events, card) = given::<PromptCard>([created()]).when(add(cases)).events();
    let cases = card.state().card().unwrap().cases_in_order().cloned().collect();
    ([created()].into_iter().chain(events).collect(), cases)
}

fn active() -> Given<PromptCard> {
    given([created()])
}

fn label(label: &str, version: u32) -> Command {
    Command::Label { label: label.into(), version, may_move_protected: false }
}

#[test]
fn a_card_is_created_once_with_sorted_tags() {
    given::<PromptCard>([]).when(Command::Create(create())).then([created()]);
    active().when(Command::Create(create())).refused("card_already_exists");
    given::<PromptCard>([created(), archived()]).when(Command::Create(create())).refused("card_already_exists");
}

#[test]
fn nothing_happens_to_a_card_that_is_not_there() {
    for command in [Command::Publish, Command::Restore, Command::Revise(revise()), label("x", 1), add(vec![])] {
        given::<PromptCard>([]).when(command).refused("card_not_found");
    }
}

#[test]
fn texts_are_measured_at_their_limits() {
    let with = |change: fn(&mut Create, String), text: String| {
        let mut create = create();
        change(&mut create, text);
        given::<PromptCard>([]).when(Command::Create(create))
    };
    // Characters, not bytes: a title of 255 letters of four bytes each is allowed.
    with(|c, t| c.title = t, "😀".repeat(limits::TITLE_CHARS_MAX)).accepted();
    with(|c, t| c.title = t, "😀".repeat(limits::TITLE_CHARS_MAX + 1)).refused("field_too_long");
    with(|c, t| c.title = t, " \n ".into()).refused("field_empty");
    with(|c, t| c.title = t, "a\0".into()).refused("nul_character");
    with(|c, t| c.category = t, "é".repeat(limits::CATEGORY_CHARS_MAX)).accepted();
    with(|c, t| c.category = t, "é".repeat(limits::CATEGORY_CHARS_MAX + 1)).refused("field_too_long");
    with(|c, t| c.category = t, String::new()).accepted();
    with(|c, t| c.description = t, "x".repeat(limits::DESCRIPTION_BYTES_MAX)).accepted();
    with(|c, t| c.description = t, "x".repeat(limits::DESCRIPTION_BYTES_MAX + 1)).refused("field_too_long");
    with(|c, t| c.description = t, "é".repeat(limits::DESCRIPTION_BYTES_MAX / 2 + 1)).refused("field_too_long");
    with(|c, t| c.prompt = t, "x".repeat(limits::PROMPT_BYTES_MAX)).accepted();
    with(|c, t| c.prompt = t, "x".repeat(limits::PROMPT_BYTES_MAX + 1)).refused("field_too_long");
    with(|c, t| c.prompt = t, "\t".into()).refused("field_empty");
    with(|c, t| c.prompt = t, "\0".into()).refused("nul_character");
    with(|c, t| c.tags = vec![t], "x".repeat(limits::NAME_CHARS_MAX + 1)).refused("field_too_long");
    with(|c, t| c.tags = vec![t], "  ".into()).refused("field_empty");
    with(|c, t| c.metadata = map(json!({ "k": [{ "x": t }] })), "\0".into()).refused("nul_character");
    with(|c, t| c.metadata = map(json!({ t: 1 })), "\0".into()).refused("nul_character");
    let frame = json!({ "k": "" }).to_string().len();
    with(|c, t| c.metadata = map(json!({ "k": t })), "x".repeat(limits::METADATA_BYTES_MAX - frame)).accepted();
    let beyond = "x".repeat(limits::METADATA_BYTES_MAX - frame + 1);
    with(|c, t| c.metadata = map(json!({ "k": t })), beyond).refused("field_too_long");
}

#[test]
fn a_revision_of_the_prompt_is_a_new_version() {
    let to = |prompt: &str| Command::Revise(Revise { prompt: Some(prompt.into()), ..revise() });
    let card = active().when(to("two")).then([revised(2, "two")]).when(to("two")).nothing();
    // An older text is a new version all the same: versions are a history, not a set.
    let card = card.when(to("{{a}} + {{b}}?")).then([revised(3, "{{a}} + {{b}}?")]).state();
    assert_eq!(card.card().unwrap().latest_version(), 3);
    active().when(to(" ")).refused("field_empty");
    active().when(to("\0")).refused("nul_character");
    let message = "x".repeat(limits::MESSAGE_BYTES_MAX + 1);
    active().when(Command::Revise(Revise { message, ..revise() })).refused("field_too_long");
}

#[test]
fn a_revision_of_the_words_is_no_new_version() {
    let command = |title: &str| Command::Revise(Revise { title: Some(title.into()), ..revise() });
    let described = |title: &str| {
        let Create { description, category, metadata, .. } = create();
        Event::Described(Described { title: title.into(), description, category, metadata })
    };
    active().when(command("Sum")).then([described("Sum")]).when(command("Sum")).nothing();
    active().when(Command::Revise(revise())).nothing();
    active().when(command("")).refused("field_empty");
    let both = Revise { title: Some("Sum".into()), prompt: Some("two".into()), ..revise() };
    active().when(Command::Revise(both)).then([described("Sum"), revised(2, "two")]);
    let tagged = |tags: &[&str]| Revise { tags: Some(tags.iter().map(|tag| (*tag).to_owned()).collect()), ..revise() };
    active().when(Command::Revise(tagged(&["b", "a"]))).nothing();
    active().when(Command::Revise(tagged(&["c"]))).then([Event::Tagged(Tagged { tags: vec!["c".into()] })]);
    active().when(Command::Revise(tagged(&[""]))).refused("field_empty");
    let emptied = Revise {
        description: Some(String::new()),
        category: Some(String::new()),
        metadata: Some(Map::new()),
        ..revise()
    };
    let card = active().when(Command::Revise(emptied)).accepted().state();
    assert!(card.card().unwrap().metadata.is_empty() && card.card().unwrap().category.is_empty());
}

#[test]
fn tags_are_a_sorted_set() {
    let tag = |tags: &[&str]| Command::Tag { tags: tags.iter().map(|tag| (*tag).to_owned()).collect() };
    active().when(tag(&["b", "a", "b"])).nothing();
    active()
        .when(tag(&["z", "é"]))
        .then([Event::Tagged(Tagged { tags: vec!["z".into(), "é".into()] })])
        .when(tag(&["é", "z"]))
        .nothing();
    active().when(tag(&[])).then([Event::Tagged(Tagged { tags: vec![] })]);
    active().when(tag(&[" "])).refused("field_empty");
    let many = |count: usize| Command::Tag { tags: (0..count).map(|n| format!("tag{n}")).collect() };
    active().when(many(limits::TAGS_MAX)).accepted();
    active().when(many(limits::TAGS_MAX + 1)).refused("too_many_items");
}

#[test]
fn labels_point_to_versions_that_exist() {
    let labelled = |version| Event::Labelled(Labelled { label: "production".into(), version });
    let card = given::<PromptCard>([created(), revised(2, "two")]);
    let card = card.when(label("production", 1)).then([labelled(1)]).when(label("production", 1)).nothing();
    let card = card.when(label("production", 2)).then([labelled(2)]);
    let unlabel = || Command::Unlabel { label: "production".into(), may_move_protected: false };
    card.when(unlabel())
        .then([Event::Unlabelled(Unlabelled { label: "production".into() })])
        .when(unlabel())
        .refused("label_not_found");
    active().when(label("production", 2)).refused("version_not_found");
    active().when(label("production", 0)).refused("version_not_found");
    for bad in ["", "latest", "Production", "1st", "-x", "a b", "é", "a@b", "a/b"] {
        active().when(label(bad, 1)).refused("invalid_label");
    }
    active().when(label("a\0", 1)).refused("nul_character");
    active().when(label(&"a".repeat(limits::NAME_CHARS_MAX), 1)).accepted();
    active().when(label(&"a".repeat(limits::NAME_CHARS_MAX + 1), 1)).refused("field_too_long");
    active().when(label("a.b-c_9", 1)).accepted();
}

#[test]
fn a_protected_label_is_moved_only_by_those_who_may() {
    let protected = || Event::LabelProtected(LabelProtected { label: "production".into() });
    let labelled = |version| Event::Labelled(Labelled { label: "production".into(), version });
    let unlabelled = || Event::Unlabelled(Unlabelled { label: "production".into() });
    let mighty = |version| Command::Label { label: "production".into(), version, may_move_protected: true };
    let unlabel = |may_move_protected| Command::Unlabel { label: "production".into(), may_move_protected };
    let card = || given::<PromptCard>([created(), revised(2, "two"), labelled(1), protected()]);
    card().when(label("production", 2)).refused("label_protected");
    card().when(unlabel(false)).refused("label_protected");
    // It points there already: nothing moves.
    card().when(label("production", 1)).nothing();
    card().when(label("staging", 1)).accepted();
    let gone = card().when(mighty(2)).then([labelled(2)]).when(unlabel(true)).then([unlabelled()]);
    // It stays protected when it is gone, and may be so before there is one.
    gone.when(label("production", 2)).refused("label_protected");
    given::<PromptCard>([created(), protected()]).when(label("production", 1)).refused("label_protected");
}

#[test]
fn a_card_with_a_protected_label_is_archived_and_renamed_only_by_those_who_may() {
    let protected = || Event::LabelProtected(LabelProtected { label: "production".into() });
    let card = || given::<PromptCard>([created(), protected()]);
    let archive = |may_move_protected| Command::Archive { reason: String::new(), may_move_protected };
    let rename =
        |may_move_protected| Command::Revise(Revise { title: Some("Another".into()), may_move_protected, ..revise() });
    card().when(archive(false)).refused("label_protected");
    card().when(rename(false)).refused("label_protected");
    card().when(Command::Revise(Revise { prompt: Some("two".into()), ..revise() })).accepted();
    card().when(rename(true)).accepted().when(archive(true)).accepted();
}

#[test]
fn a_label_is_protected_until_it_is_not() {
    let protect = |label: &str| Command::ProtectLabel { label: label.into() };
    let unprotect = || Command::UnprotectLabel { label: "production".into() };
    let protected = |label: &str| Event::LabelProtected(LabelProtected { label: label.into() });
    let unprotected = Event::LabelUnprotected(LabelUnprotected { label: "production".into() });
    let card = active().when(unprotect()).nothing().when(protect("production")).then([protected("production")]);
    let card = card.when(protect("production")).nothing().when(unprotect()).then([unprotected]);
    card.when(unprotect()).nothing().when(label("production", 1)).accepted();
    active().when(protect("latest")).refused("invalid_label");
    let many = (0..limits::PROTECTED_LABELS_MAX).map(|nth| protected(&format!("label-{nth}")));
    let full = || given::<PromptCard>(std::iter::once(created()).chain(many.clone()));
    full().when(protect("label-1")).nothing();
    full().when(protect("production")).refused("too_many_items");
}

#[test]
fn publishing_and_archiving_twice_is_doing_it_once() {
    let published = || Event::Published(Published {});
    let unpublished = || Event::Unpublished(Unpublished {});
    active()
        .when(Command::Unpublish)
        .nothing()
        .when(Command::Publish)
        .then([published()])
        .when(Command::Publish)
        .nothing()
        .when(Command::Unpublish)
        .then([unpublished()]);
    let archive = || Command::Archive { reason: String::new(), may_move_protected: false };
    active()
        .when(Command::Restore)
        .nothing()
        .when(archive())
        .then([archived()])
        .when(archive())
        .nothing()
        .when(Command::Restore)
        .then([Event::Restored(Restored {})])
        .when(Command::Publish)
        .then([published()]);
    active()
        .when(Command::Archive { reason: "x".repeat(limits::MESSAGE_BYTES_MAX + 1), may_move_protected: false })
        .refused("field_too_long");
    active().when(Command::Archive { reason: "\0".into(), may_move_protected: false }).refused("nul_character");
}

#[test]
fn an_archived_card_refuses_every_change() {
    let id = TestCaseId(Uuid::nil());
    for command in [
        Command::Revise(revise()),
        Command::Tag { tags: vec![] },
        label("x", 1),
        Command::Unlabel { label: "x".into(), may_move_protected: true },
        Command::ProtectLabel { label: "x".into() },
        Command::UnprotectLabel { label: "x".into() },
        Command::Publish,
        Command::Unpublish,
        add(vec![]),
        change(id),
        Command::RemoveCases { case_ids: vec![] },
    ] {
        given::<PromptCard>([created(), archived()]).when(command).refused("card_archived");
    }
}

#[test]
fn a_case_is_its_content_and_not_its_place_or_name() {
    let (_, one) = with_cases(vec![draft("x", 1, Some("3")), draft("y", 2, None)]);
    let (_, other) = with_cases(vec![draft("", 2, None), draft("other", 1, Some("3"))]);
    assert_eq!((one[0].id, one[1].id), (other[1].id, other[0].id));
    assert_eq!((other[0].name.as_str(), other[1].name.as_str()), ("case 1", "other"));
    let ids = [(1, Some("3")), (1, Some("")), (1, None), (2, Some("3"))]
        .map(|(a, expected)| TestCaseId::derive(CARD, &map(json!({ "a": a })), expected));
    assert_eq!(std::collections::BTreeSet::from(ids).len(), 4);
    let turned: Map<String, Value> = serde_json::from_str(r#"{ "b": 2, "a": 1 }"#).unwrap();
    let straight: Map<String, Value> = serde_json::from_str(r#"{ "a": 1, "b": 2 }"#).unwrap();
    assert_eq!(TestCaseId::derive(CARD, &turned, None), TestCaseId::derive(CARD, &straight, None));
    assert_ne!(TestCaseId::derive(CARD, &turned, None), TestCaseId::derive(PromptCardId(Uuid::nil()), &turned, None));
}

#[test]
fn importing_a_file_again_adds_only_what_is_new() {
    let file = || vec![draft("x", 1, None), draft("", 2, None)];
    let (history, cases) = with_cases(file());
    assert_eq!(cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(), ["x", "case 2"]);
    let card = given::<PromptCard>(history).when(add(file())).nothing().when(add(vec![])).nothing();
    let (events, _) = card.when(add([file(), vec![draft("", 3, None)]].concat())).events();
    let [Event::CasesAdded(added)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(added.cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(), ["case 3"]);
    active().when(add(vec![draft("x", 1, None), draft("x", 1, None), draft("", 1, None)])).accepted();
}

#[test]
fn a_case_with_other_demands_is_a_duplicate() {
    let graded =
        |name: &str| CaseDraft { assertions: assertions(json!([{ "type": "is-json" }])), ..draft(name, 1, None) };
    let (history, cases) = with_cases(vec![draft("x", 1, None)]);
    let card = || given::<PromptCard>(history.clone());
    card().when(add(vec![graded("x")])).refused("duplicate_case");
    card().when(add(vec![draft("renamed", 1, None)])).refused("duplicate_case");
    card().when(add(vec![CaseDraft { threshold: Some(0.5), ..draft("x", 1, None) }])).refused("duplicate_case");
    active().when(add(vec![draft("x", 1, None), graded("x")])).refused("duplicate_case");

    let changing = |cases| Command::AddCases { card: CARD, cases, on_duplicate: OnDuplicate::Change };
    let changed = |name: &str| {
        let case = TestCase { assertions: graded("").assertions, name: name.into(), ..cases[0].clone() };
        Event::CaseChanged(CaseChanged { case })
    };
    card()
        .when(changing(vec![graded("renamed")]))
        .then([changed("renamed")])
        .when(changing(vec![graded("renamed")]))
        .nothing();
    // A case without a name keeps the name it has.
    card().when(changing(vec![graded("")])).then([changed("x")]);
    active().when(changing(vec![draft("x", 1, None), graded("x")])).refused("duplicate_case");
    // Twice in one command is refused unless both say the same: which of the two should win?
    card().when(changing(vec![graded("one"), graded("two")])).refused("duplicate_case");
    card().when(changing(vec![graded("x"), graded("x"), graded("")])).then([changed("x")]);
}

#[test]
fn cases_are_measured_at_their_limits() {
    let with = |change: fn(&mut CaseDraft, String), text: String| {
        let mut case = draft("x", 1, None);
        change(&mut case, text);
        active().when(add(vec![case]))
    };
    with(|c, t| c.name = t, "é".repeat(limits::NAME_CHARS_MAX)).accepted();
    with(|c, t| c.name = t, "é".repeat(limits::NAME_CHARS_MAX + 1)).refused("field_too_long");
    with(|c, t| c.name = t, "\0".into()).refused("nul_character");
    with(|c, t| c.input = map(json!({ "a": [t] })), "\0".into()).refused("nul_character");
    with(|c, t| c.expected_output = Some(t), "\0".into()).refused("nul_character");
    with(|c, t| c.assertions = assertions(json!([{ "type": "contains", "value": [t] }])), "\0".into())
        .refused("nul_character");
    with(|c, t| c.assertions = assertions(json!([{ "type": t }])), "x".repeat(256)).refused("field_too_long");
    let frame = serde_json::to_string(&CaseDraft { expected_output: Some(String::new()), ..draft("x", 1, None) })
        .unwrap()
        .len();
    with(|c, t| c.expected_output = Some(t), "x".repeat(limits::CASE_BYTES_MAX - frame)).accepted();
    with(|c, t| c.expected_output = Some(t), "x".repeat(limits::CASE_BYTES_MAX - frame + 1)).refused("field_too_long");
    let weighted = |weight: f64| {
        let mut list = assertions(json!([{ "type": "is-json" }]));
        list[0].weight = weight;
        active().when(add(vec![CaseDraft { assertions: list, ..draft("x", 1, None) }]))
    };
    weighted(0.0).accepted();
    for weight in [-0.1, f64::NAN, f64::INFINITY] {
        weighted(weight).refused("out_of_range");
    }
    let numbers = |set: fn(&mut Assertion)| {
        let mut list = assertions(json!([{ "type": "is-json", "metric": "m" }]));
        set(&mut list[0]);
        active().when(add(vec![CaseDraft { assertions: list, ..draft("x", 1, None) }]))
    };
    numbers(|assertion| assertion.threshold = Some(f64::NAN)).refused("out_of_range");
    numbers(|assertion| assertion.tolerance = Some(f64::INFINITY)).refused("out_of_range");
    numbers(|assertion| assertion.metric = Some("\0".into())).refused("nul_character");
    numbers(|assertion| assertion.metric = Some("x".repeat(256))).refused("field_too_long");
    let demands = |count: usize| {
        let assertions = vec![assertions(json!([{ "type": "is-json" }])).remove(0); count];
        active().when(add(vec![CaseDraft { assertions, ..draft("x", 1, None) }]))
    };
    demands(limits::ASSERTIONS_MAX).accepted();
    demands(limits::ASSERTIONS_MAX + 1).refused("too_many_items");
    for (threshold, is_allowed) in [(0.0, true), (1.0, true), (1.1, false), (-0.1, false), (f64::NAN, false)] {
        let when = active().when(add(vec![CaseDraft { threshold: Some(threshold), ..draft("x", 1, None) }]));
        if is_allowed { drop(when.accepted()) } else { when.refused("out_of_range") }
    }
}

#[test]
fn a_large_import_is_split_into_events_of_bounded_size() {
    let text = "x".repeat(100 * 1024);
    let cases: Vec<CaseDraft> = (0..13).map(|a| draft("", a, Some(&text))).collect();
    let (events, card) = active().when(add(cases)).events();
    let sizes: Vec<usize> = events.iter().map(|event| event.encode().unwrap().to_string().len()).collect();
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= limits::CASES_EVENT_BYTES_MAX + 1024), "{sizes:?}");
    let state = card.state();
    let inputs: Vec<&Value> = state.card().unwrap().cases_in_order().map(|case| &case.input["a"]).collect();
    assert_eq!(inputs, (0..13).map(Value::from).collect::<Vec<_>>().iter().collect::<Vec<_>>());
}

#[test]
fn a_card_has_room_for_so_many_cases() {
    let most = i64::try_from(limits::CASES_MAX).unwrap();
    let (history, _) = with_cases((0..most).map(|a| draft("", a, None)).collect());
    given::<PromptCard>(history.clone()).when(add(vec![draft("", 0, None)])).nothing();
    given::<PromptCard>(history).when(add(vec![draft("", most, None)])).refused("too_many_items");
    active().when(add((0..=most).map(|a| draft("", a, None)).collect())).refused("too_many_items");
}

#[test]
fn a_case_changes_its_demands_and_stays_itself() {
    let (history, cases) = with_cases(vec![draft("x", 1, None), draft("y", 2, None)]);
    let id = cases[0].id;
    let card = || given::<PromptCard>(history.clone());
    let command = |name: Option<&str>, list: Option<Value>, threshold| Command::ChangeCase {
        metadata: None,
        tags: None,
        case_id: id,
        name: name.map(str::to_owned),
        assertions: list.map(assertions),
        threshold,
    };
    card().when(change(id)).nothing();
    card().when(command(Some("x"), Some(json!([])), Some(None))).nothing();
    let full = || command(Some("z"), Some(json!([{ "type": "is-json" }])), Some(Some(0.5)));
    let case = TestCase {
        subject: None,
        name: "z".into(),
        assertions: assertions(json!([{ "type": "is-json" }])),
        threshold: Some(0.5),
        ..cases[0].clone()
    };
    let changed = card().when(full()).then([Event::CaseChanged(CaseChanged { case })]).when(full()).nothing();
    assert_eq!(changed.state().card().unwrap().case_order, [cases[0].id, cases[1].id]);
    card().when(change(TestCaseId(Uuid::nil()))).refused("case_not_found");
    card().when(command(Some(" "), None, None)).refused("field_empty");
    card().when(command(Some(&"x".repeat(256)), None, None)).refused("field_too_long");
    card().when(command(None, Some(json!([{ "type": "x", "weight": -1 }])), None)).refused("out_of_range");
    card().when(command(None, None, Some(Some(2.0)))).refused("out_of_range");
    let large = json!([{ "type": "equals", "value": "x".repeat(limits::CASE_BYTES_MAX) }]);
    card().when(command(None, Some(large), None)).refused("field_too_long");
}

#[test]
fn cases_are_removed_and_may_come_back() {
    let (history, cases) = with_cases(vec![draft("x", 1, None), draft("y", 2, None)]);
    let remove = |case_ids: &[TestCaseId]| Command::RemoveCases { case_ids: case_ids.to_vec() };
    let removed = Event::CasesRemoved(CasesRemoved { case_ids: vec![cases[0].id] });
    let card = given::<PromptCard>(history)
        .when(remove(&[]))
        .nothing()
        .when(remove(&[cases[0].id, cases[0].id]))
        .then([removed]);
    let card = card.when(add(vec![draft("x", 1, None)])).accepted().state();
    assert_eq!(card.card().unwrap().case_order, [cases[1].id, cases[0].id]);
    active().when(remove(&[cases[0].id])).refused("case_not_found");
}

#[test]
fn what_is_not_of_this_build_is_not_read() {
    assert!(matches!(Event::decode("prompt_card.created", 3, "{}"), Err(DecodeError::UnknownType { version: 3, .. })));
    assert!(matches!(Event::decode("prompt_card.vanished", 1, "{}"), Err(DecodeError::UnknownType { .. })));
    assert!(matches!(Event::decode("prompt_card.created", 1, "{}"), Err(DecodeError::Payload { .. })));
}

fn any_command(chance: &mut Chance, state: &PromptCard) -> Command {
    let text = |chance: &mut Chance| chance.pick(&["", "a", "b", "é😀", "\0", "latest", "{{ x }}"]).to_owned();
    let known: Vec<TestCaseId> = state.card().map_or(vec![], |card| card.case_order.clone());
    let case_id = |chance: &mut Chance| {
        if known.is_empty() || chance.below(9) == 0 { TestCaseId(Uuid::nil()) } else { chance.pick(&known) }
    };
    let demands = |chance: &mut Chance| {
        chance.pick(&[
            json!([]),
            json!([{ "type": "is-json" }]),
            json!([{ "type": "x", "value": { "a": [1.5, null] }, "weight": 0 }]),
        ])
    };
    match chance.below(16) {
        0 | 1 => Command::Create(Create { title: text(chance), is_public: chance.flip(), ..create() }),
        2 => Command::Revise(Revise { prompt: Some(text(chance)), ..revise() }),
        3 => Command::Revise(Revise {
            title: Some(text(chance)),
            metadata: Some(map(json!({ "k": text(chance) }))),
            tags: chance.flip().then(|| vec![text(chance)]),
            ..revise()
        }),
        4 => Command::Tag { tags: vec![text(chance), text(chance)] },
        5 => label(&text(chance), u32::try_from(chance.below(4)).unwrap()),
        6 => Command::Unlabel { label: text(chance), may_move_protected: chance.flip() },
        7 => {
            if chance.flip() {
                Command::Publish
            } else {
                Command::Unpublish
            }
        }
        8 => Command::Archive { reason: text(chance), may_move_protected: chance.flip() },
        9 if chance.flip() => Command::ChangeSchema(if chance.flip() { schema() } else { CaseSchema::default() }),
        9 => Command::Restore,
        10 | 11 => {
            let cases = (0..chance.below(4)).map(|_| {
                let draft =
                    draft(&text(chance), i64::try_from(chance.below(5)).unwrap(), chance.pick(&[None, Some("3")]));
                CaseDraft {
                    subject: None,
                    assertions: assertions(demands(chance)),
                    threshold: chance.pick(&[None, Some(0.5), Some(7.0)]),
                    ..draft
                }
            });
            Command::AddCases {
                card: CARD,
                cases: cases.collect(),
                on_duplicate: chance.pick(&[OnDuplicate::Refuse, OnDuplicate::Change]),
            }
        }
        12 => Command::ProtectLabel { label: text(chance) },
        13 => Command::UnprotectLabel { label: text(chance) },
        14 => Command::ChangeCase {
            metadata: None,
            tags: None,
            case_id: case_id(chance),
            name: chance.flip().then(|| text(chance)),
            assertions: chance.flip().then(|| assertions(demands(chance))),
            threshold: chance.pick(&[None, Some(None), Some(Some(0.25))]),
        },
        _ => Command::RemoveCases { case_ids: (0..chance.below(3)).map(|_| case_id(chance)).collect() },
    }
}

#[test]
fn a_card_folded_from_its_stored_events_is_the_card_that_lived() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..500 {
        let mut chance = Chance::new(seed);
        let mut live = PromptCard::default();
        let mut log = Vec::new();
        for _ in 0..60 {
            let command = any_command(&mut chance, &live);
            let Ok(events) = live.decide(command.clone(), Timestamp::EPOCH) else { continue };
            for event in events {
                log.push(stored(&event));
                seen.insert(event.event_type());
                live.evolve(event);
            }
            let card = live.card().unwrap();
            assert_eq!(card.cases.len(), card.case_order.len(), "seed {seed}, {command:?}");
            assert!(card.prompts.keys().copied().eq(1..=card.latest_version()), "seed {seed}, {command:?}");
            assert_eq!(PromptCard::fold(log.clone()), live, "seed {seed}, {command:?}");
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>().len(), Event::TYPES.len(), "some event was never seen");
}

#[test]
fn n1_a_state_from_a_snapshot_and_its_tail_is_the_state_of_the_whole_history() {
    let format = PromptCard::SNAPSHOT.unwrap();
    for seed in 0..200 {
        let mut chance = Chance::new(seed);
        let mut live = PromptCard::default();
        let mut log = Vec::new();
        for _ in 0..40 {
            let command = any_command(&mut chance, &live);
            for event in live.decide(command, Timestamp::EPOCH).unwrap_or_default() {
                log.push(stored(&event));
                live.evolve(event);
            }
        }
        let cut = usize::try_from(chance.below(log.len() as u64 + 1)).unwrap();
        let head = PromptCard::fold(log[..cut].iter().cloned());
        let mut state = format.decode(&format.encode(&head).unwrap()).unwrap();
        assert_eq!(state, head, "seed {seed}, cut {cut}");
        log[cut..].iter().cloned().for_each(|event| state.evolve(event));
        assert_eq!(state, PromptCard::fold(log), "seed {seed}, cut {cut}");
    }
}

fn schema() -> CaseSchema {
    let input = serde_json::json!({ "required": ["a"] }).as_object().cloned();
    CaseSchema { input, expected_output: None }
}

#[test]
fn the_form_of_cases_is_changed_and_taken_away() {
    let event = |schema: CaseSchema| Event::SchemaChanged(SchemaChanged { schema });
    let card = active().when(Command::ChangeSchema(schema())).then([event(schema())]);
    let card = card.when(Command::ChangeSchema(schema())).then([]);
    card.when(Command::ChangeSchema(CaseSchema::default())).then([event(CaseSchema::default())]);
    let text = "x".repeat(limits::METADATA_BYTES_MAX);
    let large = serde_json::json!({ "title": text }).as_object().cloned();
    active().when(Command::ChangeSchema(CaseSchema { input: None, expected_output: large })).refused("field_too_long");
    let nul = serde_json::json!({ "title": "\0" }).as_object().cloned();
    active().when(Command::ChangeSchema(CaseSchema { input: nul, expected_output: None })).refused("nul_character");
}

/// Snapshots of an older `evolve` must not be taken for those of this one.
#[test]
fn another_fold_of_the_same_history_has_another_number() {
    let (mut history, cases) = with_cases(vec![draft("one", 1, Some("3")), draft("two", 2, None)]);
    let renamed = TestCase { name: "uno".into(), threshold: Some(0.5), ..cases[0].clone() };
    history.extend([
        revised(2, "two"),
        Event::Tagged(Tagged { tags: vec!["t".into()] }),
        Event::Labelled(Labelled { label: "production".into(), version: 2 }),
        Event::Labelled(Labelled { label: "old".into(), version: 1 }),
        Event::Unlabelled(Unlabelled { label: "old".into() }),
        Event::LabelProtected(LabelProtected { label: "production".into() }),
        Event::LabelProtected(LabelProtected { label: "old".into() }),
        Event::LabelUnprotected(LabelUnprotected { label: "old".into() }),
        Event::SchemaChanged(SchemaChanged { schema: schema() }),
        Event::SchemaChanged(SchemaChanged { schema: CaseSchema::default() }),
        Event::Published(Published {}),
        Event::CaseChanged(CaseChanged { case: renamed }),
        Event::CasesRemoved(CasesRemoved { case_ids: vec![cases[1].id] }),
        archived(),
    ]);
    let text = PromptCard::SNAPSHOT.unwrap().encode(&PromptCard::fold(history)).unwrap();
    let expected = concat!(
        r#"{"Archived":{"title":"Sums","description":"Adds.","category":"math","tags":["t"],"metadata":{"owner":"core"},"#,
        r#""is_public":true,"prompts":{"1":"{{a}} + {{b}}?","2":"two"},"labels":{"production":2},"#,
        r#""protected_labels":["production"],"cases":{"#,
        r#""cfffc6e3-cb82-50d9-b44c-bb5fb57ccb57":{"id":"cfffc6e3-cb82-50d9-b44c-bb5fb57ccb57","name":"uno","#,
        r#""input":{"a":1,"b":2},"expected_output":"3","threshold":0.5}},"#,
        r#""case_order":["cfffc6e3-cb82-50d9-b44c-bb5fb57ccb57"]}}"#,
    );
    assert_eq!((SNAPSHOT_FOLD, text.as_str()), (2, expected), "raise SNAPSHOT_FOLD where `evolve` folds otherwise");
}

#[test]
fn a_version_keeps_the_model_that_it_is_written_for() {
    let small = ModelSpec::of_id("openai:small");
    let with = |model: Option<Option<ModelSpec>>, prompt: Option<&str>| {
        Command::Revise(Revise { model, prompt: prompt.map(str::to_owned), ..revise() })
    };
    let (events, card) = active().when(with(Some(Some(small.clone())), None)).events();
    let [Event::Revised(first)] = &events[..] else { panic!("another model is another version: {events:?}") };
    assert_eq!((first.version, first.model.as_ref()), (2, Some(&small)));
    // The next version is written for the same model, unless somebody says otherwise.
    let (events, card) = card.when(with(None, Some("other"))).events();
    let [Event::Revised(second)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((second.version, second.model.as_ref()), (3, Some(&small)));
    let card = card.when(with(Some(Some(small.clone())), Some("other"))).nothing();
    let (events, card) = card.when(with(Some(None), None)).events();
    let [Event::Revised(third)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((third.version, third.model.as_ref()), (4, None));
    let state = card.state();
    let models = &state.card().unwrap().models;
    assert_eq!(models.keys().copied().collect::<Vec<_>>(), [2, 3]);
}
