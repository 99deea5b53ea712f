//! The keys of data subjects and tenants: made when they are first needed, kept in memory for a bounded time.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pcs_domain::ids::{SubjectId, TenantId};
use pcs_sealing::Key;
use sqlx::PgPool;
use uuid::Uuid;

use super::error::PrivacyError;
use super::master::{KeySource, Masters, index_place, subject_place};
use crate::error::StoreError;

/// How long a key, or that there is none any more, is believed. A process that tails the log forgets a shredded
/// subject's key when it meets the event; this is the longest for all others.
pub const KEY_FRESH: Duration = Duration::from_secs(30);
/// Most keys that a process keeps.
const KEYS_KEPT_MAX: usize = 10_000;

/// What is known of a subject's key.
#[derive(Clone)]
pub(super) enum Held {
    /// The key.
    Key(Key),
    /// It was destroyed.
    Destroyed,
}

/// The keys of a process.
pub(crate) struct Keys {
    masters: Masters,
    subjects: Fresh<(TenantId, SubjectId), Held>,
    indexes: Fresh<TenantId, Key>,
}

/// Values that are believed for [`KEY_FRESH`].
struct Fresh<K, V>(Mutex<HashMap<K, (V, Instant)>>);

impl<K: Eq + Hash, V: Clone> Fresh<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|(_, since)| since.elapsed() < KEY_FRESH).map(|(value, _)| value.clone())
    }

    /// Keeps a value that was true at `since`: before the database was asked, or a shredding could be overlooked.
    fn keep(&self, key: K, value: V, since: Instant) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEYS_KEPT_MAX {
            kept.retain(|_, (_, since)| since.elapsed() < KEY_FRESH);
            if kept.len() >= KEYS_KEPT_MAX {
                // Rare, and they are fetched again.
                kept.clear();
            }
        }
        kept.insert(key, (value, since));
    }

    fn forget(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl Keys {
    pub(crate) fn new(source: Option<KeySource>) -> Self {
        let (subjects, indexes) = (Fresh(Mutex::default()), Fresh(Mutex::default()));
        Self { masters: Masters::new(source), subjects, indexes }
    }

    /// Whether this process has master keys.
    pub(crate) fn are_set(&self) -> bool {
        self.masters.is_set()
    }

    pub(super) fn masters(&self) -> &Masters {
        &self.masters
    }

    /// The key of a tenant's digests; made where there is none yet.
    pub(super) async fn index(&self, pool: &PgPool, tenant: TenantId) -> Result<Key, StoreError> {
        if let Some(key) = self.indexes.get(&tenant) {
            return Ok(key);
        }
        let (asked, place) = (Instant::now(), index_place(tenant));
        let stored = "select key_id, wrapped_key from es.index_key where tenant_id = $1";
        let mut row: Option<(String, Vec<u8>)> = sqlx::query_as(stored).bind(tenant.0).fetch_optional(pool).await?;
        if row.is_none() {
            let fresh = Key::random().map_err(PrivacyError::from)?;
            let (name, wrapped) = self.masters.wrap(&place, &fresh)?;
            sqlx::query(
                "insert into es.index_key (tenant_id, key_id, wrapped_key) values ($1, $2, $3) on conflict do nothing",
            )
            .bind(tenant.0)
            .bind(name)
            .bind(wrapped)
            .execute(pool)
            .await?;
            // Whoever was first: all use the same one.
            row = Some(sqlx::query_as(stored).bind(tenant.0).fetch_one(pool).await?);
        }
        let (name, wrapped) = row.unwrap_or_default();
        let key = self.masters.unwrap(&place, &name, &wrapped)?;
        self.indexes.keep(tenant, key.clone(), asked);
        Ok(key)
    }

    /// The keys of subjects, for reading: what is kept is believed.
    pub(super) async fn for_reading(
        &self,
        pool: &PgPool,
        tenant: TenantId,
        subjects: &[SubjectId],
    ) -> Result<BTreeMap<SubjectId, Held>, StoreError> {
        let mut found = BTreeMap::new();
        let mut missing = Vec::new();
        for subject in subjects {
            match self.subjects.get(&(tenant, *subject)) {
                Some(held) => drop(found.insert(*subject, held)),
                None => missing.push(*subject),
            }
        }
        if !missing.is_empty() {
            found.append(&mut self.fetch(pool, tenant, &missing).await?);
        }
        Ok(found)
    }

    /// The keys of subjects, for writing: asked of the database each time, so that nothing is acknowledged that a
    /// shredding has already made unreadable.
    pub(super) async fn for_writing(
        &self,
        pool: &PgPool,
        tenant: TenantId,
        subjects: &[SubjectId],
    ) -> Result<BTreeMap<SubjectId, Key>, StoreError> {
        let mut keys = BTreeMap::new();
        for (subject, held) in self.fetch(pool, tenant, subjects).await? {
            match held {
                Held::Key(key) => drop(keys.insert(subject, key)),
                Held::Destroyed => return Err(PrivacyError::Shredded { subject }.into()),
            }
        }
        Ok(keys)
    }

    /// Forgets a subject's key.
    pub(crate) fn forget(&self, tenant: TenantId, subject: SubjectId) {
        self.subjects.forget(&(tenant, subject));
    }

    async fn fetch(
        &self,
        pool: &PgPool,
        tenant: TenantId,
        subjects: &[SubjectId],
    ) -> Result<BTreeMap<SubjectId, Held>, StoreError> {
        let asked = Instant::now();
        let ids: Vec<Uuid> = subjects.iter().map(|subject| subject.0).collect();
        let rows: Vec<(Uuid, Option<String>, Option<Vec<u8>>)> = sqlx::query_as(
            "select subject_id, key_id, wrapped_key from es.subject_key where tenant_id = $1 and subject_id = any($2)",
        )
        .bind(tenant.0)
        .bind(ids)
        .fetch_all(pool)
        .await?;
        let mut found = BTreeMap::new();
        for (id, name, wrapped) in rows {
            let subject = SubjectId(id);
            let held = match name.zip(wrapped) {
                Some((name, wrapped)) => {
                    Held::Key(self.masters.unwrap(&subject_place(tenant, subject), &name, &wrapped)?)
                }
                None => Held::Destroyed,
            };
            self.subjects.keep((tenant, subject), held.clone(), asked);
            found.insert(subject, held);
        }
        match subjects.iter().find(|subject| !found.contains_key(subject)) {
            Some(subject) => Err(PrivacyError::KeyMissing { subject: *subject }.into()),
            None => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_for_less_than_a_minute_and_forgotten_when_told() {
        assert!(KEY_FRESH <= Duration::from_secs(60));
        let kept: Fresh<u8, u8> = Fresh(Mutex::default());
        kept.keep(1, 10, Instant::now());
        assert_eq!(kept.get(&1), Some(10));
        kept.forget(&1);
        assert_eq!(kept.get(&1), None);
        if let Some(long_ago) = Instant::now().checked_sub(KEY_FRESH) {
            kept.keep(2, 20, long_ago);
            assert_eq!(kept.get(&2), None);
        }
    }

    #[test]
    fn no_more_keys_are_kept_than_allowed() {
        let kept: Fresh<usize, ()> = Fresh(Mutex::default());
        for key in 0..=KEYS_KEPT_MAX {
            kept.keep(key, (), Instant::now());
        }
        assert!(kept.0.lock().is_ok_and(|kept| kept.len() <= KEYS_KEPT_MAX));
    }
}
