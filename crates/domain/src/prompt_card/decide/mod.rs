//! What may happen to a card: commands, and the rules that refuse them.

mod cases;
mod labels;
mod revise;
mod schema;

use serde_json::{Map, Value};

use super::details;
use super::test_case::CaseDraft;
use super::{
    Archived, Card, CaseSchema, Created, PromptCard, PromptCardEvent as Event, Published, Restored, Tagged, Unpublished,
};
use crate::aggregate::RejectionCode;
use crate::assertion::Assertion;
use crate::ids::{ActorId, PromptCardId, TestCaseId};
use crate::limits;
use crate::model::ModelSpec;

/// What somebody wants to happen to a card.
#[derive(Clone, Debug, PartialEq)]
pub enum PromptCardCommand {
    /// Make the card, with version 1 of its prompt.
    Create(Create),
    /// Change the prompt (a new version), the description, the tags, or all of them as one.
    Revise(Revise),
    /// Replace the tags.
    Tag {
        /// All tags the card shall have.
        tags: Vec<String>,
    },
    /// Point a label to a version.
    Label {
        /// The label.
        label: String,
        /// The version.
        version: u32,
        /// Whether the one who asks may move protected labels.
        may_move_protected: bool,
    },
    /// Take a label away.
    Unlabel {
        /// The label.
        label: String,
        /// Whether the one who asks may take protected labels away.
        may_move_protected: bool,
    },
    /// Let only those move a label, or take it away, who may do so with protected ones.
    ProtectLabel {
        /// The label; a version need not have it yet.
        label: String,
    },
    /// Let everybody who writes the card move a label again.
    UnprotectLabel {
        /// The label.
        label: String,
    },
    /// Demand another form of cases.
    ChangeSchema(CaseSchema),
    /// Show the card to everybody.
    Publish,
    /// Show the card to the team only.
    Unpublish,
    /// Put the card out of use.
    Archive {
        /// Why; may be empty.
        reason: String,
        /// Whether the one who asks may move protected labels.
        may_move_protected: bool,
    },
    /// Put the card to use again.
    Restore,
    /// Add cases; those that the card already has, unchanged, are left alone.
    AddCases {
        /// The card that derives the cases' identities.
        card: PromptCardId,
        /// The cases.
        cases: Vec<CaseDraft>,
        /// What to do with a case that is there with other assertions.
        on_duplicate: OnDuplicate,
    },
    /// Give a case a new name, new assertions or a new threshold.
    ChangeCase {
        /// The case.
        case_id: TestCaseId,
        /// Its new name, or none to keep it.
        name: Option<String>,
        /// Its new assertions, or none to keep them.
        assertions: Option<Vec<Assertion>>,
        /// Its new threshold, or none to keep it; an inner none takes it away.
        threshold: Option<Option<f64>>,
        /// Its new tags, or none to keep them.
        tags: Option<Vec<String>>,
        /// Its new metadata, or none to keep them.
        metadata: Option<Map<String, Value>>,
    },
    /// Take cases away.
    RemoveCases {
        /// The cases.
        case_ids: Vec<TestCaseId>,
    },
}

/// What to do with an added case whose input and expected output the card has, with other demands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnDuplicate {
    /// Refuse the command: nobody should lose assertions by accident.
    #[default]
    Refuse,
    /// Give the case that is there the new name, assertions and threshold.
    Change,
}

/// The content of a new card.
#[derive(Clone, Debug, PartialEq)]
pub struct Create {
    /// 1 to 255 characters.
    pub title: String,
    /// Free text.
    pub description: String,
    /// The template.
    pub prompt: String,
    /// The model that it is written for, with its parameters.
    pub model: Option<ModelSpec>,
    /// At most 100 characters; empty for none.
    pub category: String,
    /// In any order, duplicates allowed.
    pub tags: Vec<String>,
    /// The team's own fields.
    pub metadata: Map<String, Value>,
    /// Whether everybody may see it.
    pub is_public: bool,
    /// Who makes it.
    pub created_by: ActorId,
}

/// What a revision changes; an absent field stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Revise {
    /// A new template.
    pub prompt: Option<String>,
    /// Another model that the newest version is written for; an inner none takes it away.
    pub model: Option<Option<ModelSpec>>,
    /// A new title.
    pub title: Option<String>,
    /// A new description.
    pub description: Option<String>,
    /// A new category.
    pub category: Option<String>,
    /// New metadata.
    pub metadata: Option<Map<String, Value>>,
    /// New tags, all of them, in any order.
    pub tags: Option<Vec<String>>,
    /// Why the prompt changed.
    pub message: String,
    /// Who changes it.
    pub author: ActorId,
    /// Whether the one who asks may move protected labels: applications fetch them by the title.
    pub may_move_protected: bool,
}

/// Why a command on a card is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PromptCardRejection {
    /// The card does not exist.
    #[error("there is no such card")]
    NotFound,
    /// The card exists.
    #[error("the card already exists")]
    AlreadyExists,
    /// The card is archived.
    #[error("the card is archived; restore it first")]
    IsArchived,
    /// A required text is empty.
    #[error("{field} must not be empty")]
    Empty {
        /// Which text.
        field: &'static str,
    },
    /// A text is too long.
    #[error("{field} has {len} {unit}, and at most {max} are allowed")]
    TooLong {
        /// Which text.
        field: &'static str,
        /// How long it is.
        len: usize,
        /// How long it may be.
        max: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// There are too many of something.
    #[error("there are {count} {field}, and at most {max} are allowed")]
    TooMany {
        /// Of what.
        field: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A number is out of its range.
    #[error("{field} must be {rule}")]
    OutOfRange {
        /// Which number.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// A text holds a NUL character, which no text column can keep.
    #[error("{field} holds a NUL character (\\u0000); take it out")]
    NulCharacter {
        /// Which text.
        field: &'static str,
    },
    /// A label is not of the alphabet, or is reserved.
    #[error(
        "{label:?} can't be a label: it starts with a lower-case letter and has lower-case letters, digits, '-', '_' \
         and '.' only; 'latest' is reserved"
    )]
    InvalidLabel {
        /// The label.
        label: String,
    },
    /// A protected label can't be moved by everybody.
    #[error("the label {label:?} is protected: moving it, or taking it away, takes the permission to protect labels")]
    LabelIsProtected {
        /// The label.
        label: String,
    },
    /// What would take a protected label from those who fetch it can't be done by everybody.
    #[error(
        "the card has the protected label {label:?}: archiving or renaming the card takes the permission to protect \
         labels; ask an administrator, or have the label unprotected first"
    )]
    HasProtectedLabel {
        /// The first of its protected labels.
        label: String,
    },
    /// The card has no such version.
    #[error("the card has no version {version}; its newest is {latest}")]
    NoSuchVersion {
        /// The version asked for.
        version: u32,
        /// The newest version.
        latest: u32,
    },
    /// Nobody says which model is to run.
    #[error("the run names no models, and version {version} is written for none: name models, or give the version one")]
    NoModel {
        /// The version.
        version: u32,
    },
    /// Nobody says which of several models is to run.
    #[error("the run names no models, and version {version} is written for another than those before it: name models")]
    OtherModel {
        /// The version.
        version: u32,
    },
    /// The card has no such label.
    #[error("the card has no label {label:?}")]
    NoSuchLabel {
        /// The label asked for.
        label: String,
    },
    /// The card has no such case.
    #[error("the card has no case {case_id}")]
    NoSuchCase {
        /// The case asked for.
        case_id: TestCaseId,
    },
    /// The case's data subject was shredded; nothing new is kept of them.
    #[error("the data subject of case {case_id} was shredded; the case can only be removed")]
    Shredded {
        /// The case.
        case_id: TestCaseId,
    },
    /// A case with the same input and expected output is there, with other assertions.
    #[error(
        "case {name:?} has the same input and expected output as case {existing:?} but differs in name, assertions or \
         threshold; change that case, or put all assertions into one"
    )]
    DuplicateCase {
        /// The new case's name.
        name: String,
        /// The name of the case that is there.
        existing: String,
    },
}

impl RejectionCode for PromptCardRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "card_not_found",
            Self::AlreadyExists => "card_already_exists",
            Self::IsArchived => "card_archived",
            Self::Empty { .. } => "field_empty",
            Self::TooLong { .. } => "field_too_long",
            Self::TooMany { .. } => "too_many_items",
            Self::OutOfRange { .. } => "out_of_range",
            Self::NulCharacter { .. } => "nul_character",
            Self::InvalidLabel { .. } => "invalid_label",
            Self::LabelIsProtected { .. } | Self::HasProtectedLabel { .. } => "label_protected",
            Self::NoSuchVersion { .. } => "version_not_found",
            Self::NoModel { .. } | Self::OtherModel { .. } => "no_model",
            Self::NoSuchLabel { .. } => "label_not_found",
            Self::NoSuchCase { .. } => "case_not_found",
            Self::Shredded { .. } => "subject_shredded",
            Self::DuplicateCase { .. } => "duplicate_case",
        }
    }
}

type Decision = Result<Vec<Event>, PromptCardRejection>;

pub(super) fn decide(state: &PromptCard, command: PromptCardCommand) -> Decision {
    match (state, command) {
        (PromptCard::Absent, PromptCardCommand::Create(create)) => created(create),
        (PromptCard::Absent, _) => Err(PromptCardRejection::NotFound),
        (_, PromptCardCommand::Create(_)) => Err(PromptCardRejection::AlreadyExists),
        (PromptCard::Archived(_), PromptCardCommand::Restore) => Ok(vec![Event::Restored(Restored {})]),
        (PromptCard::Archived(_), PromptCardCommand::Archive { .. }) => Ok(Vec::new()),
        (PromptCard::Archived(_), _) => Err(PromptCardRejection::IsArchived),
        (PromptCard::Active(card), command) => decide_active(card, command),
    }
}

fn decide_active(card: &Card, command: PromptCardCommand) -> Decision {
    match command {
        PromptCardCommand::Create(_) => Err(PromptCardRejection::AlreadyExists),
        PromptCardCommand::Revise(revise) => revise::revised(card, revise),
        PromptCardCommand::Tag { tags } => {
            let tags = details::tags(tags)?;
            Ok(changed(tags != card.tags, Event::Tagged(Tagged { tags })))
        }
        PromptCardCommand::Label { label, version, may_move_protected } => {
            labels::labelled(card, label, version, may_move_protected)
        }
        PromptCardCommand::Unlabel { label, may_move_protected } => labels::unlabelled(card, label, may_move_protected),
        PromptCardCommand::ProtectLabel { label } => labels::protected(card, label),
        PromptCardCommand::UnprotectLabel { label } => labels::unprotected(card, label),
        PromptCardCommand::ChangeSchema(schema) => schema::schema_changed(card, schema),
        PromptCardCommand::Publish => Ok(changed(!card.is_public, Event::Published(Published {}))),
        PromptCardCommand::Unpublish => Ok(changed(card.is_public, Event::Unpublished(Unpublished {}))),
        PromptCardCommand::Archive { reason, may_move_protected } => {
            labels::findable(card, may_move_protected)?;
            details::long_text("reason", &reason, limits::MESSAGE_BYTES_MAX)?;
            Ok(vec![Event::Archived(Archived { reason })])
        }
        PromptCardCommand::Restore => Ok(Vec::new()),
        PromptCardCommand::AddCases { card: id, cases, on_duplicate } => cases::added(card, id, cases, on_duplicate),
        PromptCardCommand::ChangeCase { case_id, name, assertions, threshold, tags, metadata } => {
            cases::changed(card, case_id, cases::CaseChange { name, assertions, threshold, tags, metadata })
        }
        PromptCardCommand::RemoveCases { case_ids } => cases::removed(card, case_ids),
    }
}

/// An event only where something changes: saying the same thing twice records nothing.
fn changed(differs: bool, event: Event) -> Vec<Event> {
    if differs { vec![event] } else { Vec::new() }
}

fn created(create: Create) -> Decision {
    details::title(&create.title)?;
    details::prompt(&create.prompt)?;
    details::long_text("description", &create.description, limits::DESCRIPTION_BYTES_MAX)?;
    details::text("category", &create.category, limits::CATEGORY_CHARS_MAX)?;
    details::metadata(&create.metadata)?;
    Ok(vec![Event::Created(Created {
        title: create.title,
        description: create.description,
        prompt: create.prompt,
        model: create.model,
        category: create.category,
        tags: details::tags(create.tags)?,
        metadata: create.metadata,
        is_public: create.is_public,
        created_by: create.created_by,
    })])
}
