//! What a run request is refused for, without a database.

use pcs_domain::Aggregate;
use pcs_domain::ports::{Clock, System};
use pcs_domain::prompt_card::{CaseDraft, Create, OnDuplicate, PromptCardCommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

fn card(prompt: &str, inputs: &[Value]) -> PromptCard {
    let cases = inputs.iter().enumerate().map(|(nth, input)| CaseDraft {
        name: format!("c{nth}"),
        input: input.as_object().unwrap().clone(),
        ..CaseDraft::default()
    });
    let create = Create {
        title: "t".into(),
        description: String::new(),
        prompt: prompt.into(),
        model: None,
        category: String::new(),
        tags: Vec::new(),
        metadata: serde_json::Map::new(),
        is_public: false,
        created_by: ActorId(Uuid::nil()),
    };
    let add = PromptCardCommand::AddCases {
        card: PromptCardId(Uuid::nil()),
        cases: cases.collect(),
        on_duplicate: OnDuplicate::Refuse,
    };
    after(after(PromptCard::default(), PromptCardCommand::Create(create)), add)
}

fn after(mut card: PromptCard, command: PromptCardCommand) -> PromptCard {
    for event in card.decide(command, System.now()).unwrap() {
        card.evolve(event);
    }
    card
}

fn request(more: Value) -> NewRun {
    let mut body = json!({ "card_id": Uuid::nil(), "models": [{ "id": "echo" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(body).unwrap()
}

fn checked(card: &PromptCard, more: Value) -> Result<Requested, (u16, &'static str, Vec<FieldError>)> {
    check(&request(more).into_template(), card, 2, ActorId(Uuid::nil()), Included::default())
        .map_err(|problem| (problem.status.as_u16(), problem.code, problem.errors))
}

fn code(card: &PromptCard, more: Value) -> (u16, &'static str) {
    let (status, code, _) = checked(card, more).unwrap_err();
    (status, code)
}

#[test]
fn without_versions_the_newest_runs_on_all_cases() {
    let requested = checked(&card("{{a}}", &[json!({ "a": 1 }), json!({ "a": 2 })]), json!({})).unwrap();
    assert_eq!((requested.versions, requested.cases, requested.case_ids), (vec![1], 2, None));
    assert_eq!((requested.card_revision, requested.repeats, requested.lane), (2, 1, Lane::Std));
}

#[test]
fn a_label_names_its_version_once() {
    let card = card("a", &[json!({})]);
    let card =
        after(card, PromptCardCommand::Label { label: "production".into(), version: 1, may_move_protected: false });
    let labels = json!({ "labels": ["production", "latest"], "versions": [1] });
    assert_eq!(checked(&card, labels).unwrap().versions, [1]);
    assert_eq!(code(&card, json!({ "labels": ["staging"] })), (422, "label_not_found"));
    assert_eq!(code(&card, json!({ "versions": [7] })), (422, "version_not_found"));
}

#[test]
fn every_missing_variable_is_told_up_to_a_limit() {
    let (status, code, errors) = checked(&card("{{a}} {{b}}", &[json!({ "a": 1 })]), json!({})).unwrap_err();
    assert_eq!((status, code, errors.len()), (422, "missing_variable", 1));
    assert_eq!(errors[0].field, "b");
    assert_eq!(errors[0].message, "version 1, case \"c0\": the variable \"b\" has no value");
    let inputs: Vec<Value> = (0..50).map(|nth| json!({ "n": nth })).collect();
    assert_eq!(checked(&card("{{a}}", &inputs), json!({})).unwrap_err().2.len(), FIELD_ERRORS_MAX);
}

#[test]
fn templates_and_assertions_are_read_before_the_run() {
    assert_eq!(code(&card("{{a", &[json!({})]), json!({})), (422, "invalid_template"));
    let good = card("a", &[json!({})]);
    assert_eq!(
        code(&good, json!({ "assertions": [{ "type": "contians", "value": "x" }] })),
        (422, "invalid_assertion")
    );
    assert_eq!(code(&good, json!({ "threshold": 1.5 })), (422, "out_of_range"));
    assert_eq!(code(&good, json!({ "case_ids": [Uuid::nil()] })), (422, "case_not_found"));
    assert_eq!(code(&good, json!({ "name": "n".repeat(256) })), (422, "field_too_long"));
}

#[test]
fn a_card_that_is_away_has_no_runs() {
    assert_eq!(code(&PromptCard::Absent, json!({})), (404, "card_not_found"));
    let archived =
        after(card("a", &[json!({})]), PromptCardCommand::Archive { reason: String::new(), may_move_protected: false });
    assert_eq!(code(&archived, json!({})), (409, "card_archived"));
}

#[test]
fn models_are_read_for_their_form() {
    let card = card("a", &[json!({})]);
    for id in ["echo", "scripted", "scripted:slow", "recorded:gsm8k/6b", "openai:gpt-4o-mini", "ollama:llama3:8b"] {
        assert!(checked(&card, json!({ "models": [{ "id": id }] })).is_ok(), "{id}");
    }
    for model in [
        json!({ "id": "" }),
        json!({ "id": "nobody:x" }),
        json!({ "id": "openai" }),
        json!({ "id": "openai: " }),
        json!({ "id": "echo", "script": {} }),
        json!({ "id": "echo", "label": " " }),
        json!({ "id": "openai:x", "base_url": "file:///etc/passwd" }),
        json!({ "id": "openai:x", "base_url": "http://" }),
        json!({ "id": "openai:x", "base_url": "http://a:b@c/" }),
    ] {
        assert_eq!(code(&card, json!({ "models": [model] })), (422, "invalid_model"));
    }
    assert!(
        checked(&card, json!({ "models": [{ "id": "openai:x", "base_url": "http://localhost:8080/v1" }] })).is_ok()
    );
}
