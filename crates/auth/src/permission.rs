//! Which role may do what: one table, asked through one function.

use pcs_domain::ids::{ActorId, TenantId};
use serde::Serialize;

/// Who is asking.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Principal {
    /// The account.
    pub account_id: ActorId,
    /// The only tenant whose data it sees.
    pub tenant: TenantId,
    /// What it may do.
    pub role: Role,
}

/// What an account, or a key, may do; the order is by rights.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Writes cards and runs them.
    Editor,
    /// Everything.
    Admin,
}

impl Role {
    /// All of them, the weakest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Editor, Self::Admin];

    /// The word in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    /// The role of a word.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// What somebody wants to do; every route asks for one of these.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// See cards, their versions and cases.
    ReadCard,
    /// Make and change cards, labels and cases.
    WriteCard,
    /// Protect a card's labels, and move those that are protected.
    ProtectLabel,
    /// Show a card to everybody, or stop it.
    PublishCard,
    /// Put a card out of use, or back.
    ArchiveCard,
    /// See runs and results.
    ReadRun,
    /// Start a run, which may cost money.
    StartRun,
    /// Stop a run, or dismiss what it left.
    CancelRun,
    /// Score answers, and override their verdicts.
    ReviewRun,
    /// Hold jobs back, limit providers, and share the fleet.
    ManageQueues,
    /// See how the system itself is: what it shows is not one tenant's.
    InspectSystem,
    /// Destroy the key of a data subject, for ever.
    ShredSubject,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::ReadCard,
        Self::WriteCard,
        Self::ProtectLabel,
        Self::PublishCard,
        Self::ArchiveCard,
        Self::ReadRun,
        Self::StartRun,
        Self::CancelRun,
        Self::ReviewRun,
        Self::ManageQueues,
        Self::InspectSystem,
        Self::ShredSubject,
    ];

    /// The permission's name, as documents and errors show it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadCard => "card.read",
            Self::WriteCard => "card.write",
            Self::ProtectLabel => "label.protect",
            Self::PublishCard => "card.publish",
            Self::ArchiveCard => "card.archive",
            Self::ReadRun => "run.read",
            Self::StartRun => "run.start",
            Self::CancelRun => "run.cancel",
            Self::ReviewRun => "run.review",
            Self::ManageQueues => "queue.manage",
            Self::InspectSystem => "system.inspect",
            Self::ShredSubject => "subject.shred",
        }
    }

    /// The weakest role that may.
    fn least_role(self) -> Role {
        match self {
            Self::ReadCard | Self::ReadRun => Role::Viewer,
            Self::WriteCard
            | Self::PublishCard
            | Self::ArchiveCard
            | Self::StartRun
            | Self::CancelRun
            | Self::ReviewRun => Role::Editor,
            Self::ProtectLabel | Self::ManageQueues | Self::InspectSystem | Self::ShredSubject => Role::Admin,
        }
    }
}

/// The principal's role does not allow the action.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the role {} does not have the permission {}", .role.name(), .action.name())]
pub struct Forbidden {
    /// What it is.
    pub role: Role,
    /// What it wanted.
    pub action: Action,
}

/// Whether a principal may do something.
///
/// # Errors
/// [`Forbidden`] where its role is too weak.
pub fn authorize(principal: &Principal, action: Action) -> Result<(), Forbidden> {
    if principal.role >= action.least_role() { Ok(()) } else { Err(Forbidden { role: principal.role, action }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcs_domain::ids::ActorId;
    use uuid::Uuid;

    fn may(role: Role, action: Action) -> bool {
        let principal = Principal { account_id: ActorId(Uuid::nil()), tenant: TenantId::DEFAULT, role };
        authorize(&principal, action).is_ok()
    }

    #[test]
    fn a_viewer_reads_and_does_nothing_else() {
        for action in Action::ALL {
            assert_eq!(may(Role::Viewer, action), action.name().ends_with(".read"), "{action:?}");
        }
    }

    #[test]
    fn an_administrator_may_do_everything_that_an_editor_may() {
        for action in Action::ALL {
            assert!(may(Role::Admin, action));
            assert!(may(Role::Editor, action) <= may(Role::Admin, action));
        }
    }

    #[test]
    fn every_role_has_its_word() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.name()), Some(role));
        }
        assert_eq!(Role::parse("owner"), None);
    }
}
