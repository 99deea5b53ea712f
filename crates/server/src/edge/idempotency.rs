//! `Idempotency-Key`: the same key is the same command, and its first result comes back.

use axum::http::{HeaderMap, Method, StatusCode};
use pcs_auth::Principal;
use pcs_domain::ids::CommandId;
use pcs_domain::ports::{IdSource, System};
use uuid::Uuid;

use crate::problem::Problem;

const HEADER: &str = "idempotency-key";
/// Longest key, in characters.
const KEY_LEN_MAX: usize = 255;
/// Under which command ids are derived from keys.
const COMMANDS: Uuid = Uuid::from_u128(0x5a2f_6e04_8c0b_4b6f_9d0e_7c53_1d1e_a002);
/// Under which fingerprints are derived from requests.
const FINGERPRINTS: Uuid = Uuid::from_u128(0x5a2f_6e04_8c0b_4b6f_9d0e_7c53_1d1e_a003);

/// Which command a request is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    /// Its id: derived from the key, or fresh.
    pub(crate) command_id: CommandId,
    /// What it says, where it has a key; without one nothing need be remembered.
    pub(crate) fingerprint: Option<Uuid>,
}

/// The key of a request, if it has one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    let fits = (1..=KEY_LEN_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits || values.next().is_some() {
        let detail = "Idempotency-Key must be one value of 1 to 255 visible ASCII characters";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", detail));
    }
    Ok(Some(key))
}

/// The identity of a command: a key is the account's own, so nobody can take another's result with it.
pub(crate) fn identity(key: Option<&str>, principal: &Principal, method: &Method, path: &str, body: &[u8]) -> Identity {
    let Some(key) = key else {
        return Identity { command_id: CommandId(System.next()), fingerprint: None };
    };
    let name = format!("{}/{}/{key}", principal.tenant, principal.account_id);
    let mut request = format!("{method} {path}\n").into_bytes();
    request.extend_from_slice(body);
    Identity {
        command_id: CommandId(Uuid::new_v5(&COMMANDS, name.as_bytes())),
        fingerprint: Some(Uuid::new_v5(&FINGERPRINTS, &request)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcs_auth::Role;
    use pcs_domain::ids::{ActorId, TenantId};

    fn principal(account: u128) -> Principal {
        Principal { account_id: ActorId(Uuid::from_u128(account)), tenant: TenantId::DEFAULT, role: Role::Editor }
    }

    fn identity_of(key: Option<&str>, account: u128, path: &str, body: &[u8]) -> Identity {
        identity(key, &principal(account), &Method::POST, path, body)
    }

    #[test]
    fn the_same_request_with_the_same_key_is_the_same_command() {
        let first = identity_of(Some("k"), 1, "/cards", b"{}");
        assert_eq!(first, identity_of(Some("k"), 1, "/cards", b"{}"));
        assert!(first.fingerprint.is_some());
    }

    #[test]
    fn another_key_or_account_is_another_command() {
        let first = identity_of(Some("k"), 1, "/cards", b"{}").command_id;
        assert_ne!(first, identity_of(Some("l"), 1, "/cards", b"{}").command_id);
        assert_ne!(first, identity_of(Some("k"), 2, "/cards", b"{}").command_id);
    }

    #[test]
    fn another_path_or_body_is_the_same_command_with_another_fingerprint() {
        let first = identity_of(Some("k"), 1, "/cards", b"{}");
        for other in [identity_of(Some("k"), 1, "/runs", b"{}"), identity_of(Some("k"), 1, "/cards", b"{ }")] {
            assert_eq!(first.command_id, other.command_id);
            assert_ne!(first.fingerprint, other.fingerprint);
        }
    }

    #[test]
    fn without_a_key_every_request_is_a_command_of_its_own() {
        let first = identity_of(None, 1, "/cards", b"{}");
        assert_eq!(first.fingerprint, None);
        assert_ne!(first.command_id, identity_of(None, 1, "/cards", b"{}").command_id);
    }

    #[test]
    fn a_key_is_one_short_visible_word() {
        let keyed = |value: &str| HeaderMap::from_iter([(HEADER.parse().unwrap(), value.parse().unwrap())]);
        assert_eq!(key(&keyed("a~!")).unwrap(), Some("a~!"));
        assert_eq!(key(&HeaderMap::new()).unwrap(), None);
        let mut twice = keyed("a");
        twice.append(HEADER, "b".parse().unwrap());
        for headers in [keyed(""), keyed("a b"), keyed(&"x".repeat(256)), twice] {
            assert_eq!(key(&headers).unwrap_err().code, "invalid_idempotency_key");
        }
    }
}
