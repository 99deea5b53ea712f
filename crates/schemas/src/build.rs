//! What a program writes and reads: its event types, their former versions and their schemas.

use pcs_domain::data_subject::DataSubjectEvent;
use pcs_domain::execution::ExecutionEvent;
use pcs_domain::job::JobEvent;
use pcs_domain::job_policy::JobPolicyEvent;
use pcs_domain::prompt_card::PromptCardEvent;
use pcs_domain::regrade::RegradeEvent;
use pcs_domain::review::ReviewEvent;
use pcs_domain::schedule::ScheduleEvent;
use pcs_domain::test_run::TestRunEvent;
use pcs_domain::upcast::Lineage;
use pcs_domain::{Category, DecodeError, EventSet, EventType};
use serde_json::Value;

/// Reads a stored payload and writes it again as the newest version.
type Rewrite = fn(&str, i16, &str) -> Result<Value, DecodeError>;

/// One event type of a program.
#[derive(Clone, Debug)]
pub struct BuiltEvent {
    /// The category of its streams.
    pub category: Category,
    /// Its newest version and all former ones.
    pub lineage: Lineage,
    /// The JSON Schema of the newest version.
    pub schema: Value,
    rewrite: Rewrite,
}

impl BuiltEvent {
    /// Reads a payload of any version, as every reader of the store does, and writes it as the newest one.
    ///
    /// # Errors
    /// As [`EventSet::decode`].
    pub fn rewrite(&self, stored: EventType, payload: &str) -> Result<Value, DecodeError> {
        (self.rewrite)(stored.name, stored.version, payload)
    }
}

/// All event types of a program.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// In the order of their declaration.
    pub events: Vec<BuiltEvent>,
}

impl Build {
    /// This program.
    #[must_use]
    pub fn current() -> Self {
        Self::default()
            .with::<PromptCardEvent>()
            .with::<TestRunEvent>()
            .with::<ExecutionEvent>()
            .with::<DataSubjectEvent>()
            .with::<JobPolicyEvent>()
            .with::<ScheduleEvent>()
            .with::<JobEvent>()
            .with::<RegradeEvent>()
            .with::<ReviewEvent>()
    }

    /// With the events of one more aggregate.
    #[must_use]
    pub fn with<E: EventSet>(mut self) -> Self {
        let types = E::LINEAGES.iter().zip(E::schemas());
        self.events.extend(types.map(|(lineage, (_, schema))| BuiltEvent {
            category: E::CATEGORY,
            lineage: *lineage,
            schema: schema.to_value(),
            rewrite: rewrite::<E>,
        }));
        self
    }

    /// Every version of every type that the program reads.
    pub fn versions(&self) -> impl Iterator<Item = (&BuiltEvent, EventType)> {
        self.events.iter().flat_map(|event| event.lineage.versions().map(move |version| (event, version)))
    }

    /// The type that a stored name and version belong to.
    #[must_use]
    pub fn reader_of(&self, name: &str, version: i16) -> Option<(&BuiltEvent, EventType)> {
        self.versions().find(|(_, stored)| stored.name == name && stored.version == version)
    }
}

fn rewrite<E: EventSet>(name: &str, version: i16, payload: &str) -> Result<Value, DecodeError> {
    let unwritable = |source| DecodeError::Payload { name: name.to_owned(), version, source };
    E::decode(name, version, payload)?.encode().map_err(unwritable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcs_domain::DomainEvent;

    #[test]
    fn it_has_every_event_of_the_domain() {
        let built: Vec<EventType> = Build::current().events.iter().map(|event| event.lineage.newest).collect();
        let domain: Vec<EventType> = DomainEvent::schemas().into_iter().map(|(event_type, _)| event_type).collect();
        assert_eq!(built, domain);
    }
}
