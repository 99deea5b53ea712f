//! Data subjects: people whose data is in cases and results, sealed under a key of their own, and shredded on demand.
//!
//! The domain knows whose a field is ([`Subject`]) and what became of it ([`Guard`]). Keys and ciphers are the store's.

mod guard;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::guard::{Guard, Guarded, MARK, SHREDDED, Sealed, Subject, SubjectName, SubjectNameError, put_back};
use crate::aggregate::{Aggregate, RejectionCode};
use crate::event::events;
use crate::ids::ActorId;
use crate::timestamp::Timestamp;

events! {
    /// What happened to a data subject.
    pub enum DataSubjectEvent in DataSubject {
        /// The subject's key was destroyed: nobody can read their data any more, in no copy of it.
        Shredded(Shredded) = "data_subject.shredded" version 1,
    }
}

/// Payload of `data_subject.shredded` version 1. Its stream is the subject's id, which says nothing about the person.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Shredded {
    /// Who did it; absent where an operator did it beside the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shredded_by: Option<ActorId>,
}

/// What somebody wants to happen to a data subject.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DataSubjectCommand {
    /// Record that their key is destroyed.
    RecordShredded {
        /// Who did it.
        shredded_by: Option<ActorId>,
    },
}

/// Why a command on a data subject is refused: nothing is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DataSubjectRejection {}

impl RejectionCode for DataSubjectRejection {
    fn code(&self) -> &'static str {
        match *self {}
    }
}

/// A data subject as their history left them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub enum DataSubject {
    /// Their data, where there is any, can be read.
    #[default]
    Known,
    /// Their data can't be read any more.
    Shredded,
}

impl Aggregate for DataSubject {
    type Command = DataSubjectCommand;
    type Event = DataSubjectEvent;
    type Rejection = DataSubjectRejection;

    fn decide(&self, command: DataSubjectCommand, _: Timestamp) -> Result<Vec<DataSubjectEvent>, DataSubjectRejection> {
        let DataSubjectCommand::RecordShredded { shredded_by } = command;
        Ok(match self {
            Self::Known => vec![DataSubjectEvent::Shredded(Shredded { shredded_by })],
            Self::Shredded => Vec::new(),
        })
    }

    fn evolve(&mut self, event: DataSubjectEvent) {
        let DataSubjectEvent::Shredded(_) = event;
        *self = Self::Shredded;
    }
}
