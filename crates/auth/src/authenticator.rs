//! Turns the text of a key into a principal: a short cache in front of one row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pcs_domain::ids::{ActorId, TenantId};
use sqlx::PgPool;
use subtle::ConstantTimeEq;

use crate::error::AuthError;
use crate::key_text::{self, KeyText};
use crate::permission::{Principal, Role};

/// How long a key is believed without asking the database: how late a revocation can be.
const CACHE_TTL: Duration = Duration::from_secs(30);
/// Most keys in the cache.
const CACHE_LEN_MAX: usize = 10_000;

/// Checks API keys; clones share one cache. Wrong keys are not cached, so they can't crowd out right ones.
#[derive(Clone, Debug)]
pub struct Authenticator {
    pool: PgPool,
    cache: Arc<Mutex<HashMap<[u8; 32], Known>>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    principal: Principal,
    until: Instant,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    account_id: uuid::Uuid,
    tenant_id: i32,
    key_role: String,
    account_role: String,
    secret_hash: Vec<u8>,
}

impl Authenticator {
    /// An authenticator over the schema `auth` of this database.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool, cache: Arc::default() }
    }

    /// Whose key this is; none where it is wrong, unknown or revoked, without saying which.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn verify(&self, text: &str) -> Result<Option<Principal>, AuthError> {
        let Some(key) = KeyText::parse(text) else {
            return Ok(None);
        };
        // Over the whole text; the digest as the cache's key keeps the secret out of memory and out of timing.
        let digest = key_text::digest(text);
        if let Some(principal) = self.cached(&digest) {
            return Ok(Some(principal));
        }
        let Some(row) = self.row(&key).await? else {
            return Ok(None);
        };
        if !bool::from(row.secret_hash.ct_eq(&digest)) {
            return Ok(None);
        }
        let role = |name: String| Role::parse(&name).ok_or(AuthError::UnknownRole(name));
        // A key's rights never exceed those that its account has now.
        let role = role(row.key_role)?.min(role(row.account_role)?);
        let principal = Principal { account_id: ActorId(row.account_id), tenant: TenantId(row.tenant_id), role };
        self.touch(&key).await?;
        self.remember(digest, principal);
        Ok(Some(principal))
    }

    async fn row(&self, key: &KeyText<'_>) -> Result<Option<KeyRow>, AuthError> {
        let row = sqlx::query_as(
            "select k.account_id, k.tenant_id, k.role as key_role, a.role as account_role, k.secret_hash
             from auth.api_key k join auth.account a using (account_id)
             where k.prefix = $1 and k.revoked_at is null",
        )
        .bind(key.prefix)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row)
    }

    /// Notes the hour of the last use; a later use within the hour writes nothing.
    async fn touch(&self, key: &KeyText<'_>) -> Result<(), AuthError> {
        sqlx::query(
            "update auth.api_key set last_used_at = date_trunc('hour', clock_timestamp())
             where prefix = $1 and (last_used_at is null or last_used_at < date_trunc('hour', clock_timestamp()))",
        )
        .bind(key.prefix)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    fn cached(&self, digest: &[u8; 32]) -> Option<Principal> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(digest).filter(|known| known.until > Instant::now()).map(|known| known.principal)
    }

    fn remember(&self, digest: [u8; 32], principal: Principal) {
        let now = Instant::now();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_LEN_MAX {
            cache.retain(|_, known| known.until > now);
        }
        // Full of keys that are all in use: the next ones ask the database each time, and are right.
        if cache.len() < CACHE_LEN_MAX {
            cache.insert(digest, Known { principal, until: now + CACHE_TTL });
        }
    }
}
