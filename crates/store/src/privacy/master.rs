//! The master keys: where they come from, and the change from one to the next.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pcs_domain::ids::{SubjectId, TenantId};
use pcs_sealing::{Key, KeyRing};
use sqlx::PgPool;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::error::PrivacyError;
use super::keys::KEY_FRESH;
use crate::Store;
use crate::error::StoreError;

/// Keys that are wrapped anew with one look at the table.
const ROTATE_LEN: i64 = 500;

/// Where the master keys are. The first of them wraps what is new, the others still open what they wrapped.
#[derive(Clone)]
pub enum KeySource {
    /// A file, one `<name> <64 hexadecimal digits>` a line. It is read again while the process runs, so that a key can
    /// be added without a restart.
    File(PathBuf),
    /// The same text, from a variable.
    Text(Zeroizing<String>),
}

impl std::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text"),
        }
    }
}

impl KeySource {
    fn read(&self) -> Result<KeyRing, PrivacyError> {
        match self {
            Self::Text(text) => Ok(KeyRing::parse(text)?),
            Self::File(path) => {
                let read = std::fs::read_to_string(path);
                let fault = |source| PrivacyError::File { path: path.display().to_string(), source };
                Ok(KeyRing::parse(&Zeroizing::new(read.map_err(fault)?))?)
            }
        }
    }
}

/// The master keys of a process, read again from time to time.
pub(super) struct Masters {
    source: Option<KeySource>,
    ring: Mutex<Option<(Arc<KeyRing>, Instant)>>,
}

impl Masters {
    pub(super) fn new(source: Option<KeySource>) -> Self {
        Self { source, ring: Mutex::default() }
    }

    pub(super) fn is_set(&self) -> bool {
        self.source.is_some()
    }

    pub(super) fn ring(&self) -> Result<Arc<KeyRing>, PrivacyError> {
        let source = self.source.as_ref().ok_or(PrivacyError::NoMasterKey)?;
        let mut kept = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *kept {
            Some((ring, read)) if read.elapsed() < KEY_FRESH => return Ok(Arc::clone(ring)),
            Some((ring, read)) => match source.read() {
                Ok(new) => *ring = Arc::new(new),
                // Half written, perhaps: what is known still works, and the next look is soon.
                Err(error) => {
                    tracing::warn!(%error, "the master keys could not be read again");
                    *read = Instant::now();
                    return Ok(Arc::clone(ring));
                }
            },
            None => (),
        }
        let ring = match kept.take() {
            Some((ring, _)) => ring,
            None => Arc::new(source.read()?),
        };
        *kept = Some((Arc::clone(&ring), Instant::now()));
        Ok(ring)
    }

    /// Wraps a key for its place with the master key in use.
    pub(super) fn wrap(&self, place: &str, key: &Key) -> Result<(String, Vec<u8>), PrivacyError> {
        let ring = self.ring()?;
        let (name, master) = ring.current();
        Ok((name.to_owned(), master.seal(place.as_bytes(), key.expose())?))
    }

    /// Unwraps the key of a place.
    pub(super) fn unwrap(&self, place: &str, master: &str, wrapped: &[u8]) -> Result<Key, PrivacyError> {
        let ring = self.ring()?;
        let unknown = || PrivacyError::UnknownMasterKey { name: master.to_owned() };
        let bytes = ring.get(master).ok_or_else(unknown)?.open(place.as_bytes(), wrapped)?;
        Key::from_bytes(&bytes).ok_or(PrivacyError::Unfitting)
    }
}

/// The place of a subject's wrapped key.
pub(super) fn subject_place(tenant: TenantId, subject: SubjectId) -> String {
    format!("pcs subject key v1 {tenant} {subject}")
}

/// The place of a tenant's wrapped index key.
pub(super) fn index_place(tenant: TenantId) -> String {
    format!("pcs index key v1 {tenant}")
}

/// How many keys a master key wraps.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyUse {
    /// The master key's name.
    pub name: String,
    /// Keys of subjects and tenants that it wraps.
    pub keys: i64,
}

impl Store {
    /// Wraps every key anew with the master key in use, and answers how many there were. What the keys have sealed
    /// stays as it is. May be stopped and called again at any time.
    ///
    /// # Errors
    /// Where a key is wrapped by a master key that this process does not have, or the database does not answer.
    pub async fn rotate_keys(&self) -> Result<u64, StoreError> {
        let masters = self.inner.keys.masters();
        let current = masters.ring()?.current().0.to_owned();
        let mut rotated = rotate_index_keys(self.pool(), masters, &current).await?;
        loop {
            let rows: Vec<(i32, Uuid, String, Vec<u8>)> = sqlx::query_as(
                "select tenant_id, subject_id, key_id, wrapped_key from es.subject_key
                 where destroyed_at is null and key_id <> $1 order by tenant_id, subject_id limit $2",
            )
            .bind(&current)
            .bind(ROTATE_LEN)
            .fetch_all(self.pool())
            .await?;
            if rows.is_empty() {
                return Ok(rotated);
            }
            for (tenant, subject, name, wrapped) in rows {
                let place = subject_place(TenantId(tenant), SubjectId(subject));
                let (name, anew) = masters.wrap(&place, &masters.unwrap(&place, &name, &wrapped)?)?;
                // A key that was destroyed meanwhile stays destroyed.
                rotated += sqlx::query(
                    "update es.subject_key set key_id = $3, wrapped_key = $4
                     where tenant_id = $1 and subject_id = $2 and wrapped_key = $5",
                )
                .bind(tenant)
                .bind(subject)
                .bind(name)
                .bind(anew)
                .bind(wrapped)
                .execute(self.pool())
                .await?
                .rows_affected();
            }
        }
    }

    /// The master keys that wrap something: any other may be destroyed.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn keys_in_use(&self) -> Result<Vec<KeyUse>, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "select key_id, count(*) from (
                 select key_id from es.subject_key where key_id is not null union all select key_id from es.index_key
             ) wrapped group by key_id order by key_id",
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|(name, keys)| KeyUse { name, keys }).collect())
    }
}

async fn rotate_index_keys(pool: &PgPool, masters: &Masters, current: &str) -> Result<u64, StoreError> {
    let rows: Vec<(i32, String, Vec<u8>)> =
        sqlx::query_as("select tenant_id, key_id, wrapped_key from es.index_key where key_id <> $1")
            .bind(current)
            .fetch_all(pool)
            .await?;
    let mut rotated = 0;
    for (tenant, name, wrapped) in rows {
        let place = index_place(TenantId(tenant));
        let (name, anew) = masters.wrap(&place, &masters.unwrap(&place, &name, &wrapped)?)?;
        rotated += sqlx::query(
            "update es.index_key set key_id = $2, wrapped_key = $3 where tenant_id = $1 and wrapped_key = $4",
        )
        .bind(tenant)
        .bind(name)
        .bind(anew)
        .bind(wrapped)
        .execute(pool)
        .await?
        .rows_affected();
    }
    Ok(rotated)
}
