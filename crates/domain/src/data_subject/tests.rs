//! Data subjects: given events, when a command, then events; and whose fields are put back where.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::*;
use crate::given::{given, stored};
use crate::ids::SubjectId;
use crate::prompt_card::{CaseDraft, TestCase};

fn shredded() -> DataSubjectEvent {
    DataSubjectEvent::Shredded(Shredded { shredded_by: Some(ActorId(Uuid::from_u128(1))) })
}

fn record() -> DataSubjectCommand {
    DataSubjectCommand::RecordShredded { shredded_by: Some(ActorId(Uuid::from_u128(1))) }
}

#[test]
fn a_subject_is_shredded_once() {
    given::<DataSubject>([]).when(record()).then([shredded()]).when(record()).nothing();
    assert_eq!(stored(&shredded()), shredded());
}

#[test]
fn opened_fields_are_put_back_where_they_were() {
    let subject = Subject::open(SubjectId(Uuid::from_u128(7)));
    let mut case = TestCase {
        metadata: serde_json::Map::new(),
        tags: Vec::new(),
        id: crate::ids::TestCaseId(Uuid::nil()),
        name: "n".to_owned(),
        subject: Some(subject),
        input: Map::new(),
        expected_output: None,
        assertions: Vec::new(),
        threshold: None,
    };
    let fields = json!({ "/input": { "a/b": 1 }, "/expected_output": "3" });
    case.put_back(fields.as_object().unwrap().clone()).unwrap();
    assert_eq!((case.input["a/b"].clone(), case.expected_output.as_deref()), (json!(1), Some("3")));
    let wrong = Map::from_iter([("/input".to_owned(), Value::from(7))]);
    assert!(case.put_back(wrong).is_err());
}

#[test]
fn a_name_is_trimmed_bounded_and_never_printed() {
    assert_eq!(SubjectName::parse("  customer-4711 ").unwrap().as_str(), "customer-4711");
    assert_eq!(SubjectName::parse(" \n"), Err(SubjectNameError::Empty));
    assert_eq!(SubjectName::parse(&"x".repeat(256)), Err(SubjectNameError::TooLong));
    assert_eq!(format!("{:?}", SubjectName::parse("Ada").unwrap()), "SubjectName");
}

#[test]
fn a_draft_without_a_subject_has_the_identity_of_its_content() {
    // Released identities must not move.
    let draft: CaseDraft = serde_json::from_value(json!({ "input": { "q": 1 } })).unwrap();
    assert_eq!(draft.subject, None);
}
