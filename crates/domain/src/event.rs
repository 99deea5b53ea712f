//! Events and their wire names: explicit constants beside each variant, never a type path.

use std::sync::Arc;

use schemars::Schema;

use crate::data_subject::{DataSubjectEvent, Guarded, Subject};
use crate::execution::ExecutionEvent;
use crate::job::JobEvent;
use crate::job_policy::JobPolicyEvent;
use crate::prompt_card::PromptCardEvent;
use crate::regrade::RegradeEvent;
use crate::review::ReviewEvent;
use crate::schedule::ScheduleEvent;
use crate::test_run::TestRunEvent;
use crate::upcast::Lineage;

/// An event's released name and version, such as `prompt_card.revised` version 1.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EventType {
    /// `<category>.<past tense>`.
    pub name: &'static str,
    /// The payload's version; a released version never changes.
    pub version: i16,
}

impl std::fmt::Display for EventType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.v{}", self.name, self.version)
    }
}

/// Why a stored event can't be read; it stops every reader that subscribes to its category.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No such type and version is known to this build.
    #[error("unknown event type {name} version {version}: run a newer build, or repair the row")]
    UnknownType {
        /// The stored name.
        name: String,
        /// The stored version.
        version: i16,
    },
    /// The payload is not what its schema says.
    #[error("the payload of {name} version {version} can't be read: {source}")]
    Payload {
        /// The stored name.
        name: String,
        /// The stored version.
        version: i16,
        /// Where and why.
        source: serde_json::Error,
    },
}

/// The closed set of events of one aggregate.
pub trait EventSet: Sized + Clone + std::fmt::Debug + PartialEq + Send + Sync + 'static {
    /// The category of the streams that hold these events.
    const CATEGORY: Category;
    /// All types and versions that this build writes.
    const TYPES: &'static [EventType];
    /// The same types in the same order, each with the versions that earlier builds wrote.
    const LINEAGES: &'static [Lineage];

    /// The type and version of this event.
    fn event_type(&self) -> EventType;

    /// The payload as JSON.
    ///
    /// # Errors
    /// None for payloads without non-string map keys, and there are none.
    fn encode(&self) -> Result<serde_json::Value, serde_json::Error>;

    /// Reads a stored payload of any version there ever was; a former one is raised to the newest.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown type or a payload that is not of its schema.
    fn decode(name: &str, version: i16, payload: &str) -> Result<Self, DecodeError>;

    /// The JSON Schema of each type's payload.
    fn schemas() -> Vec<(EventType, Schema)>;
}

/// The kind of a stream; the number is what the database keeps.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(i16)]
pub enum Category {
    /// Streams of [`crate::prompt_card::PromptCard`].
    PromptCard = 1,
    /// Streams of [`crate::test_run::TestRun`].
    TestRun = 2,
    /// Streams of [`crate::execution::Execution`].
    Execution = 3,
    /// Streams of [`crate::data_subject::DataSubject`].
    DataSubject = 4,
    /// Streams of [`crate::job_policy::JobPolicy`].
    JobPolicy = 5,
    /// Streams of [`crate::schedule::Schedule`].
    Schedule = 6,
    /// Streams of [`crate::job::Job`].
    Job = 7,
    /// Streams of [`crate::regrade::Regrade`].
    Regrade = 8,
    /// Streams of [`crate::review::Review`].
    Review = 9,
}

impl Category {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::PromptCard,
        Self::TestRun,
        Self::Execution,
        Self::DataSubject,
        Self::JobPolicy,
        Self::Schedule,
        Self::Job,
        Self::Regrade,
        Self::Review,
    ];

    /// The name in front of a stream's dash and of its events' dot.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PromptCard => "prompt_card",
            Self::TestRun => "test_run",
            Self::Execution => "execution",
            Self::DataSubject => "data_subject",
            Self::JobPolicy => "job_policy",
            Self::Schedule => "schedule",
            Self::Job => "job",
            Self::Regrade => "regrade",
            Self::Review => "review",
        }
    }

    /// The number that the database keeps.
    #[must_use]
    pub fn number(self) -> i16 {
        self as i16
    }

    /// The category with this number.
    #[must_use]
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.number() == number)
    }
}

/// Any event of the system, for readers of the whole log.
#[derive(Clone, Debug, PartialEq)]
pub enum DomainEvent {
    /// Of a card.
    PromptCard(PromptCardEvent),
    /// Of a run.
    TestRun(TestRunEvent),
    /// Of an execution.
    Execution(ExecutionEvent),
    /// Of a data subject.
    DataSubject(DataSubjectEvent),
    /// Of a tenant's policy of jobs.
    JobPolicy(JobPolicyEvent),
    /// Of a schedule.
    Schedule(ScheduleEvent),
    /// Of a job on request.
    Job(JobEvent),
    /// Of a regrade.
    Regrade(RegradeEvent),
    /// Of the review of a run.
    Review(ReviewEvent),
    /// This build can't read it. Only a reader that does not subscribe to its category is handed one, to pass by.
    Unread(Unread),
}

/// Why an event that is passed by could not be read: in most cases because a newer build wrote it.
#[derive(Clone, Debug)]
pub struct Unread(pub Arc<DecodeError>);

impl PartialEq for Unread {
    fn eq(&self, other: &Self) -> bool {
        // The reason holds a parser's error, which can't be compared; its text says the type, the version and the place.
        self.0.to_string() == other.0.to_string()
    }
}

impl DomainEvent {
    /// Reads a stored payload of a category, of any version there ever was.
    ///
    /// # Errors
    /// [`DecodeError`] for an unknown type or a payload that is not of its schema.
    pub fn decode(category: Category, name: &str, version: i16, payload: &str) -> Result<Self, DecodeError> {
        Ok(match category {
            Category::PromptCard => Self::PromptCard(PromptCardEvent::decode(name, version, payload)?),
            Category::TestRun => Self::TestRun(TestRunEvent::decode(name, version, payload)?),
            Category::Execution => Self::Execution(ExecutionEvent::decode(name, version, payload)?),
            Category::DataSubject => Self::DataSubject(DataSubjectEvent::decode(name, version, payload)?),
            Category::JobPolicy => Self::JobPolicy(JobPolicyEvent::decode(name, version, payload)?),
            Category::Schedule => Self::Schedule(ScheduleEvent::decode(name, version, payload)?),
            Category::Job => Self::Job(JobEvent::decode(name, version, payload)?),
            Category::Regrade => Self::Regrade(RegradeEvent::decode(name, version, payload)?),
            Category::Review => Self::Review(ReviewEvent::decode(name, version, payload)?),
        })
    }

    /// The data subjects that its fields are of, with what became of these.
    #[must_use]
    pub fn subjects(&self) -> Vec<&Subject> {
        match self {
            Self::PromptCard(event) => event.subjects(),
            Self::Regrade(event) => event.subjects(),
            Self::Execution(event) => event.subject().into_iter().collect(),
            Self::TestRun(_)
            | Self::DataSubject(_)
            | Self::JobPolicy(_)
            | Self::Schedule(_)
            | Self::Job(_)
            | Self::Review(_)
            | Self::Unread(_) => Vec::new(),
        }
    }

    /// The parts whose fields may be sealed, to be opened.
    #[must_use]
    pub fn guarded(&mut self) -> Vec<&mut dyn Guarded> {
        match self {
            Self::PromptCard(event) => event.guarded(),
            Self::Regrade(event) => event.guarded(),
            Self::Execution(event) => event.guarded().into_iter().collect(),
            Self::TestRun(_)
            | Self::DataSubject(_)
            | Self::JobPolicy(_)
            | Self::Schedule(_)
            | Self::Job(_)
            | Self::Review(_)
            | Self::Unread(_) => Vec::new(),
        }
    }

    /// The JSON Schema of every type that this build writes.
    #[must_use]
    pub fn schemas() -> Vec<(EventType, Schema)> {
        let mut all = PromptCardEvent::schemas();
        all.extend(TestRunEvent::schemas());
        all.extend(ExecutionEvent::schemas());
        all.extend(DataSubjectEvent::schemas());
        all.extend(JobPolicyEvent::schemas());
        all.extend(ScheduleEvent::schemas());
        all.extend(JobEvent::schemas());
        all.extend(RegradeEvent::schemas());
        all.extend(ReviewEvent::schemas());
        all
    }

    /// Every type that this build writes, with its former versions.
    #[must_use]
    pub fn lineages() -> Vec<(Category, Lineage)> {
        fn of<E: EventSet>() -> impl Iterator<Item = (Category, Lineage)> {
            E::LINEAGES.iter().map(|lineage| (E::CATEGORY, *lineage))
        }
        let runs =
            of::<TestRunEvent>().chain(of::<ExecutionEvent>()).chain(of::<RegradeEvent>()).chain(of::<ReviewEvent>());
        let work = runs.chain(of::<DataSubjectEvent>()).chain(of::<JobEvent>());
        let rules = of::<JobPolicyEvent>().chain(of::<ScheduleEvent>());
        of::<PromptCardEvent>().chain(work).chain(rules).collect()
    }
}

/// Declares an aggregate's events: one line per variant with its payload, wire name and version.
///
/// The variant's documentation says when the event happens, and goes into the catalogue. A version that is no longer
/// written stays as a line `formerly "<name>" version <n>`, the oldest first, with the function that makes the next
/// version's payload of it: `with <function>`. Without one, the next version must read the old payload as it is.
///
/// ```
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// # use serde_json::{Map, Value};
/// use pcs_domain::{EventSet, events};
///
/// events! {
///     /// What happened to a door.
///     pub enum DoorEvent in PromptCard {
///         /// Somebody went out.
///         Closed(Closed) = "door.closed" version 2
///             formerly "door.shut" version 1 with with_force,
///     }
/// }
///
/// # #[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
/// pub struct Closed {
///     /// In newtons; 0 where nobody measured.
///     pub force: u32,
/// }
///
/// fn with_force(mut payload: Map<String, Value>) -> Map<String, Value> {
///     payload.insert("force".to_owned(), 0.into());
///     payload
/// }
///
/// let event = DoorEvent::decode("door.shut", 1, "{}").unwrap();
/// assert_eq!(event, DoorEvent::Closed(Closed { force: 0 }));
/// ```
#[macro_export]
macro_rules! events {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $name:ident in $category:ident {
            $(
                $(#[doc = $when:literal])+
                $variant:ident($payload:ty) = $wire:literal version $version:literal
                $( formerly $former:literal version $former_version:literal $(with $upcast:ident)? )*,
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $visibility enum $name {
            $( $(#[doc = $when])+ $variant($payload), )*
        }

        impl $crate::event::EventSet for $name {
            const CATEGORY: $crate::event::Category = $crate::event::Category::$category;
            const TYPES: &'static [$crate::event::EventType] =
                &[$( $crate::event::EventType { name: $wire, version: $version }, )*];
            const LINEAGES: &'static [$crate::upcast::Lineage] = &[$( $crate::upcast::Lineage {
                newest: $crate::event::EventType { name: $wire, version: $version },
                when: concat!($( $when, )+),
                former: &[$( $crate::upcast::Former {
                    event_type: $crate::event::EventType { name: $former, version: $former_version },
                    upcast: $crate::event::upcast_of!($( $upcast )?),
                }, )*],
            }, )*];

            fn event_type(&self) -> $crate::event::EventType {
                match self {
                    $( Self::$variant(_) => $crate::event::EventType { name: $wire, version: $version }, )*
                }
            }

            fn encode(&self) -> Result<serde_json::Value, serde_json::Error> {
                match self {
                    $( Self::$variant(payload) => serde_json::to_value(payload), )*
                }
            }

            fn decode(name: &str, version: i16, payload: &str) -> Result<Self, $crate::event::DecodeError> {
                match (name, version) {
                    // Nearly every event that is read is of the newest version: straight from the text.
                    $( ($wire, $version) => serde_json::from_str(payload).map(Self::$variant), )*
                    (_, _) => {
                        let (newest, value) = $crate::upcast::raise(
                            <Self as $crate::event::EventSet>::LINEAGES, name, version, payload,
                        )?;
                        match (newest.name, newest.version) {
                            $( ($wire, $version) => serde_json::from_value(value).map(Self::$variant), )*
                            (_, _) => return Err($crate::event::DecodeError::UnknownType { name: name.to_owned(), version }),
                        }
                    }
                }
                .map_err(|source| $crate::event::DecodeError::Payload { name: name.to_owned(), version, source })
            }

            fn schemas() -> Vec<($crate::event::EventType, schemars::Schema)> {
                vec![$( (
                    $crate::event::EventType { name: $wire, version: $version },
                    schemars::schema_for!($payload),
                ), )*]
            }
        }
    };
}
pub use events;

/// The step of a former version, where it has one.
#[doc(hidden)]
#[macro_export]
macro_rules! upcast_of {
    () => {
        None
    };
    ($upcast:ident) => {
        Some($upcast)
    };
}
pub use upcast_of;
