//! Verifying the log: positions, versions, payloads and hashes, in bounded steps, each finding with its place.
//!
//! The first walk goes over the positions and looks at each event beside the one before it in its stream; the second
//! over the seals of batches; the third over the heads of streams. Each holds one page at a time and may run while others
//! append: the end is fixed at the start, and each step sees one state of the database. What is archived is not looked at:
//! [`Store::archive_verify`] does that.

mod events;
mod heads;
pub(crate) mod seals;

use serde::Serialize;
use uuid::Uuid;

use self::seals::Sealed;
use crate::Store;
use crate::error::StoreError;

/// What can be verified of the log itself.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Positions go from 1 to the head without gaps.
    Positions,
    /// Versions go from 1 to the stream's head without gaps, in the order of positions.
    Versions,
    /// Payloads can be read by this build and are of their schemas.
    Schemas,
    /// Every event has the hash of its content and of the event before it in its stream, and every batch its seal.
    Chain,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Positions, Self::Versions, Self::Schemas, Self::Chain];

    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Positions => "positions",
            Self::Versions => "versions",
            Self::Schemas => "schemas",
            Self::Chain => "chain",
        }
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// Which check found it.
    pub check: Check,
    /// The position of the event that is wrong, or missing.
    pub position: Option<i64>,
    /// The tenant of its stream.
    pub tenant: Option<i32>,
    /// Its stream.
    pub stream_id: Option<Uuid>,
    /// Its version in the stream.
    pub version: Option<i64>,
    /// What is wrong.
    pub what: String,
}

/// A verification in progress.
pub struct Verification {
    checks: Vec<Check>,
    from: i64,
    to: i64,
    head: i64,
    position: i64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Events,
    Seals(Option<Sealed>),
    Head,
    Streams { after: (Uuid, i32) },
    Done,
}

impl Verification {
    /// Begins to verify the events between two positions, both included; behind what is archived where there is no `from`,
    /// and up to the newest where there is no `to`. The heads of streams are compared only where the range is the whole
    /// log, and the head of the log where it ends with the newest.
    ///
    /// # Errors
    /// Where the database does not answer, or a part of the range is archived.
    pub async fn begin(
        store: &Store,
        checks: &[Check],
        from: Option<i64>,
        to: Option<i64>,
    ) -> Result<Self, StoreError> {
        let head = store.head().await?;
        let from = match from {
            Some(from) => from.max(1),
            None => {
                let behind = store.archived_to().await? + 1;
                // A range that ends before it is refused below, with what is archived of it.
                if to.is_some_and(|to| to < behind) { 1 } else { behind }
            }
        };
        let to = to.unwrap_or(head).min(head).max(from - 1);
        store.refuse_archived(from, to).await?;
        Ok(Self { checks: checks.to_vec(), from, to, head, position: from - 1, stage: Stage::Events })
    }

    /// The first position that is verified.
    #[must_use]
    pub fn from(&self) -> i64 {
        self.from
    }

    /// How many positions are verified.
    #[must_use]
    pub fn total(&self) -> u64 {
        u64::try_from(self.to - self.from + 1).unwrap_or(0)
    }

    /// How many positions have gone by.
    #[must_use]
    pub fn done(&self) -> u64 {
        u64::try_from(self.position - self.from + 1).unwrap_or(0)
    }

    /// What the next step finds; none when everything has been looked at.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn next(&mut self, store: &Store) -> Result<Option<Vec<Finding>>, StoreError> {
        let mut findings = Vec::new();
        match self.stage {
            Stage::Events if self.position < self.to => {
                self.position = events::step(store, self, &mut findings).await?;
            }
            Stage::Events if self.has(Check::Chain) => {
                self.stage = Stage::Seals(Some(seals::before(store, self.from).await?));
            }
            Stage::Seals(Some(before)) => {
                self.stage = Stage::Seals(seals::step(store, before, self.to, &mut findings).await?);
            }
            Stage::Events | Stage::Seals(None) => {
                self.stage = if self.to == self.head { Stage::Head } else { Stage::Done };
            }
            Stage::Head => {
                heads::compare_head(store, &self.checks, &mut findings).await?;
                let first = Stage::Streams { after: (Uuid::nil(), i32::MIN) };
                let has_heads = self.from == 1 && (self.has(Check::Versions) || self.has(Check::Chain));
                self.stage = if has_heads { first } else { Stage::Done };
            }
            Stage::Streams { after } => {
                let last = heads::step(store, after, &self.checks, &mut findings).await?;
                self.stage = last.map_or(Stage::Done, |after| Stage::Streams { after });
            }
            Stage::Done => return Ok(None),
        }
        if !findings.is_empty() {
            // What has left the log meanwhile is not missing.
            store.refuse_archived(self.from, self.to).await?;
        }
        Ok(Some(findings))
    }

    fn has(&self, check: Check) -> bool {
        self.checks.contains(&check)
    }
}
