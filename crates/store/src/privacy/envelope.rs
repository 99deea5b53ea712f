//! Seals the marked fields of a payload, and opens those of one part.

use std::collections::BTreeMap;

use pcs_domain::data_subject::{Guard, Sealed, Subject};
use pcs_domain::ids::{SubjectId, TenantId};
use pcs_domain::{DomainEvent, EventType};
use pcs_sealing::Key;
use serde_json::{Map, Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::error::PrivacyError;
use super::marking::Markings;

/// An event that is about to be sealed.
pub(super) struct Target<'a> {
    pub(super) markings: &'a Markings,
    pub(super) event_type: EventType,
    pub(super) tenant: TenantId,
    pub(super) event: Uuid,
}

impl Target<'_> {
    /// The subjects whose fields are in clear.
    pub(super) fn subjects(&self, payload: &Value) -> Vec<SubjectId> {
        let mut found = Vec::new();
        for holder in self.markings.of(self.event_type) {
            for place in holder.places(payload) {
                let subject = payload.pointer(&place).and_then(|part| subject_of(part, &holder.member));
                found.extend(subject.filter(|subject| subject.guard.is_open()).map(|subject| subject.id));
            }
        }
        found
    }

    /// Seals every marked field of a payload that is somebody's.
    pub(super) fn seal(&self, payload: &mut Value, keys: &BTreeMap<SubjectId, Key>) -> Result<(), PrivacyError> {
        for holder in self.markings.of(self.event_type) {
            for place in holder.places(payload) {
                let Some(part) = payload.pointer_mut(&place) else { continue };
                let Some(mut subject) = subject_of(part, &holder.member) else { continue };
                let unsealable =
                    || PrivacyError::Unsealable { event_type: self.event_type.to_string(), place: place.clone() };
                let fields = take(part, &holder.fields(part));
                match subject.guard {
                    Guard::Open => (),
                    // Nothing is left of them, so there is nothing to seal.
                    Guard::Shredded if fields.values().all(is_nothing) => continue,
                    Guard::Shredded | Guard::Sealed(_) => return Err(unsealable()),
                }
                let key = keys.get(&subject.id).ok_or(PrivacyError::KeyMissing { subject: subject.id })?;
                let text = Zeroizing::new(Value::Object(fields).to_string());
                let about = about(self.tenant, subject.id, self.event, &place);
                let fields = key.seal_text(about.as_bytes(), text.as_bytes())?;
                subject.guard = Guard::Sealed(Sealed { event: self.event, place: place.clone(), fields });
                if let (Value::Object(part), Ok(subject)) = (part, serde_json::to_value(&subject)) {
                    part.insert(holder.member.clone(), subject);
                }
            }
        }
        Ok(())
    }
}

/// Opens the sealed fields of a part.
pub(super) fn open(
    tenant: TenantId,
    subject: SubjectId,
    sealed: &Sealed,
    key: &Key,
) -> Result<Map<String, Value>, PrivacyError> {
    let about = about(tenant, subject, sealed.event, &sealed.place);
    let text = key.open_text(about.as_bytes(), &sealed.fields)?;
    serde_json::from_slice(&text).map_err(|_| PrivacyError::Unfitting)
}

/// Refuses sealed fields that were moved to another event: they would open there, and be somebody else's words.
pub(crate) fn sealed_for(event_id: Uuid, event: &DomainEvent) -> Result<(), PrivacyError> {
    let moved = |subject: &&Subject| matches!(&subject.guard, Guard::Sealed(sealed) if sealed.event != event_id);
    match event.subjects().iter().any(moved) {
        true => Err(PrivacyError::Misplaced { event: event_id }),
        false => Ok(()),
    }
}

/// What the sealed fields are bound to: whose they are, and where.
fn about(tenant: TenantId, subject: SubjectId, event: Uuid, place: &str) -> String {
    json!(["pcs sealed fields v1", tenant, subject, event, place]).to_string()
}

fn subject_of(part: &Value, member: &str) -> Option<Subject> {
    part.get(member).and_then(|subject| serde_json::from_value(subject.clone()).ok())
}

/// Takes fields out of a part, by their pointers.
fn take(part: &mut Value, pointers: &[String]) -> Map<String, Value> {
    let mut taken = Map::new();
    for pointer in pointers {
        let (parent, name) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        if let Some(Value::Object(parent)) = part.pointer_mut(parent) {
            taken.extend(parent.remove(name).map(|field| (pointer.clone(), field)));
        }
    }
    taken
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: Uuid = Uuid::from_u128(9);
    const ADA: SubjectId = SubjectId(Uuid::from_u128(1));
    const BOB: SubjectId = SubjectId(Uuid::from_u128(2));

    fn markings() -> Markings {
        Markings::compile().unwrap()
    }

    fn target(markings: &Markings) -> Target<'_> {
        let event_type = EventType { name: "prompt_card.cases_added", version: 3 };
        Target { markings, event_type, tenant: TenantId(1), event: EVENT }
    }

    fn case(subject: Option<Subject>, word: &str) -> Value {
        let mut case = json!({ "id": Uuid::nil(), "name": "n", "input": { "q": word }, "expected_output": word });
        if let Some(subject) = subject {
            case["subject"] = serde_json::to_value(subject).unwrap();
        }
        case
    }

    fn keys() -> BTreeMap<SubjectId, Key> {
        BTreeMap::from([ADA, BOB].map(|subject| (subject, Key::random().unwrap())))
    }

    fn sealed(case: &Value) -> (Subject, Sealed) {
        let subject: Subject = serde_json::from_value(case["subject"].clone()).unwrap();
        let Guard::Sealed(sealed) = subject.guard.clone() else { panic!("it is not sealed: {case}") };
        (subject, sealed)
    }

    #[test]
    fn each_subjects_fields_are_sealed_with_their_key_and_others_stay_in_clear() {
        let (markings, keys) = (markings(), keys());
        let cases = [case(Some(Subject::open(ADA)), "ada"), case(None, "all"), case(Some(Subject::open(BOB)), "bob")];
        let mut payload = json!({ "cases": cases });
        assert_eq!(target(&markings).subjects(&payload), [ADA, BOB]);
        target(&markings).seal(&mut payload, &keys).unwrap();
        let text = payload.to_string();
        assert!(!text.contains("\"ada\"") && !text.contains("\"bob\"") && text.contains("\"all\""), "{text}");
        let (subject, of_ada) = sealed(&payload["cases"][0]);
        assert_eq!((of_ada.event, of_ada.place.as_str()), (EVENT, "/cases/0"));
        let fields = open(TenantId(1), subject.id, &of_ada, &keys[&ADA]).unwrap();
        assert_eq!((&fields["/input"]["q"], &fields["/expected_output"]), (&json!("ada"), &json!("ada")));
        let (_, of_bob) = sealed(&payload["cases"][2]);
        assert!(open(TenantId(1), BOB, &of_bob, &keys[&ADA]).is_err());
    }

    #[test]
    fn what_is_sealed_opens_at_its_own_place_only() {
        let (markings, keys) = (markings(), keys());
        let mut payload = json!({ "cases": [case(Some(Subject::open(ADA)), "ada")] });
        target(&markings).seal(&mut payload, &keys).unwrap();
        let (_, there) = sealed(&payload["cases"][0]);
        let elsewhere = [
            Sealed { event: Uuid::from_u128(8), ..there.clone() },
            Sealed { place: "/cases/1".to_owned(), ..there.clone() },
        ];
        assert!(elsewhere.iter().all(|sealed| open(TenantId(1), ADA, sealed, &keys[&ADA]).is_err()));
        assert!(open(TenantId(2), ADA, &there, &keys[&ADA]).is_err());
        assert!(open(TenantId(1), BOB, &there, &keys[&ADA]).is_err());
        assert!(open(TenantId(1), ADA, &there, &keys[&ADA]).is_ok());
    }

    #[test]
    fn what_is_not_in_clear_is_never_sealed_again() {
        let (markings, keys) = (markings(), keys());
        let mut payload = json!({ "cases": [case(Some(Subject::open(ADA)), "ada")] });
        target(&markings).seal(&mut payload, &keys).unwrap();
        assert!(matches!(target(&markings).seal(&mut payload, &keys), Err(PrivacyError::Unsealable { .. })));
        let mut filled = json!({ "cases": [case(Some(Subject::shredded(ADA)), "ada")] });
        assert!(matches!(target(&markings).seal(&mut filled, &keys), Err(PrivacyError::Unsealable { .. })));
        let gone = json!({ "id": Uuid::nil(), "name": "n", "subject": Subject::shredded(ADA), "input": {} });
        let mut empty = json!({ "cases": [gone] });
        target(&markings).seal(&mut empty, &BTreeMap::new()).unwrap();
    }
}
