//! What may happen to a tenant's policy of jobs: commands, and the rules that refuse them.

use super::{JobPolicy, JobPolicyEvent as Event, LimitRemoved, LimitSet, Limits, Paused, Resumed, Scope, WeightSet};
use crate::aggregate::RejectionCode;
use crate::ids::ActorId;
use crate::limits;

/// What somebody wants to happen to the policy.
#[derive(Clone, Debug, PartialEq)]
pub enum JobPolicyCommand {
    /// Hold jobs back.
    Pause {
        /// Which.
        scope: Scope,
        /// Why; may be empty.
        reason: String,
        /// Who pauses them.
        paused_by: ActorId,
    },
    /// Let jobs go on.
    Resume {
        /// Which.
        scope: Scope,
        /// Who resumes them.
        resumed_by: ActorId,
    },
    /// Limit the calls to a provider or a model.
    SetLimit {
        /// The provider or model.
        key: String,
        /// What it allows.
        limits: Limits,
        /// Who sets it.
        set_by: ActorId,
    },
    /// Limit them no more.
    RemoveLimit {
        /// The provider or model.
        key: String,
        /// Who removes it.
        removed_by: ActorId,
    },
    /// Give the tenant another share.
    SetWeight {
        /// How many shares.
        weight: u16,
        /// Who sets it.
        set_by: ActorId,
    },
}

/// Why a command on the policy is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum JobPolicyRejection {
    /// A text is empty, too long, or holds a NUL character.
    #[error("{field} must have 1 to {max} bytes and no NUL character")]
    InvalidText {
        /// Which text.
        field: &'static str,
        /// How many bytes it may have.
        max: usize,
    },
    /// Nothing would be limited, or nothing allowed.
    #[error("a limit needs at least one number, and each must be 1 or more; remove the limit to limit nothing")]
    InvalidLimits,
    /// The key has no limit.
    #[error("there is no limit of {key:?}")]
    NoSuchLimit {
        /// The key.
        key: String,
    },
    /// There are too many.
    #[error("there are {max} {what} already, and no more are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// The share is out of its range.
    #[error("weight must be a number from 1 to {}", limits::WEIGHT_MAX)]
    InvalidWeight,
}

impl RejectionCode for JobPolicyRejection {
    fn code(&self) -> &'static str {
        match self {
            Self::InvalidText { .. } => "invalid_text",
            Self::InvalidLimits => "invalid_limits",
            Self::NoSuchLimit { .. } => "limit_not_found",
            Self::TooMany { .. } => "too_many_items",
            Self::InvalidWeight => "out_of_range",
        }
    }
}

type Decision = Result<Vec<Event>, JobPolicyRejection>;

pub(super) fn decide(state: &JobPolicy, command: JobPolicyCommand) -> Decision {
    match command {
        JobPolicyCommand::Pause { scope, reason, paused_by } => pause(state, scope, reason, paused_by),
        // What is not paused may be resumed: saying it twice is saying it once.
        JobPolicyCommand::Resume { scope, .. } if !state.paused.contains(&scope) => Ok(Vec::new()),
        JobPolicyCommand::Resume { scope, resumed_by } => Ok(vec![Event::Resumed(Resumed { scope, resumed_by })]),
        JobPolicyCommand::SetLimit { key, limits, set_by } => set_limit(state, key, limits, set_by),
        JobPolicyCommand::RemoveLimit { key, removed_by } => {
            if !state.limits.contains_key(&key) {
                return Err(JobPolicyRejection::NoSuchLimit { key });
            }
            Ok(vec![Event::LimitRemoved(LimitRemoved { key, removed_by })])
        }
        JobPolicyCommand::SetWeight { weight, .. } if !(1..=limits::WEIGHT_MAX).contains(&weight) => {
            Err(JobPolicyRejection::InvalidWeight)
        }
        JobPolicyCommand::SetWeight { weight, .. } if weight == state.weight => Ok(Vec::new()),
        JobPolicyCommand::SetWeight { weight, set_by } => Ok(vec![Event::WeightSet(WeightSet { weight, set_by })]),
    }
}

fn pause(state: &JobPolicy, scope: Scope, reason: String, paused_by: ActorId) -> Decision {
    match &scope {
        Scope::Everything | Scope::Lane(_) => (),
        Scope::Kind(name) => text("kind", name)?,
        Scope::Provider(name) => text("provider", name)?,
        Scope::Model(name) => text("model", name)?,
    }
    let max = limits::MESSAGE_BYTES_MAX;
    if reason.len() > max || reason.contains('\0') {
        return Err(JobPolicyRejection::InvalidText { field: "reason", max });
    }
    if state.paused.contains(&scope) {
        return Ok(Vec::new());
    }
    if state.paused.len() >= limits::PAUSES_MAX {
        return Err(JobPolicyRejection::TooMany { what: "pauses", max: limits::PAUSES_MAX });
    }
    Ok(vec![Event::Paused(Paused { scope, reason, paused_by })])
}

fn set_limit(state: &JobPolicy, key: String, limits: Limits, set_by: ActorId) -> Decision {
    text("key", &key)?;
    if limits.is_unlimited() || limits.has_zero() {
        return Err(JobPolicyRejection::InvalidLimits);
    }
    if state.limits.get(&key) == Some(&limits) {
        return Ok(Vec::new());
    }
    let max = limits::LIMIT_KEYS_MAX;
    if !state.limits.contains_key(&key) && state.limits.len() >= max {
        return Err(JobPolicyRejection::TooMany { what: "limits", max });
    }
    Ok(vec![Event::LimitSet(LimitSet { key, limits, set_by })])
}

fn text(field: &'static str, value: &str) -> Result<(), JobPolicyRejection> {
    let max = limits::NAME_CHARS_MAX;
    let fits = !value.trim().is_empty() && value.len() <= max && !value.contains('\0');
    if fits { Ok(()) } else { Err(JobPolicyRejection::InvalidText { field, max }) }
}
