//! Data subjects by name: their ids, the identities of their cases, and the list of them.

use std::collections::{BTreeMap, BTreeSet};

use pcs_domain::Timestamp;
use pcs_domain::data_subject::SubjectName;
use pcs_domain::ids::{PromptCardId, SubjectId, TenantId, TestCaseId};
use pcs_domain::prompt_card::DraftSubject;
use pcs_sealing::{KEY_BYTES, Key};
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::PrivacyError;
use super::master::subject_place;
use crate::Store;
use crate::error::StoreError;

/// A subject of whom something may be kept.
#[derive(Clone, Debug)]
pub struct KnownSubject {
    /// Their id.
    pub id: SubjectId,
    identities: Key,
}

impl KnownSubject {
    /// The subject of a case with this content ([`TestCaseId::content`]) on a card.
    #[must_use]
    pub fn of_case(&self, card: PromptCardId, content: &str) -> DraftSubject {
        let digest = self.identities.digest(&[card.0.as_bytes(), content.as_bytes()].concat());
        DraftSubject { id: self.id, case_id: TestCaseId(id_of(&digest)) }
    }
}

/// A row of the list of subjects.
#[derive(Clone, Debug, PartialEq)]
pub struct SubjectEntry {
    /// Their id, which events carry.
    pub id: SubjectId,
    /// How people call them; absent where they were shredded.
    pub name: Option<String>,
    /// The master key that wraps their key; absent where they were shredded.
    pub master_key: Option<String>,
    /// When something was first kept of them.
    pub created_at: Timestamp,
    /// When their key was destroyed.
    pub shredded_at: Option<Timestamp>,
}

/// An id of the first half of a digest: UUID version 8, the one without a meaning of its own.
pub(super) fn id_of(digest: &[u8; KEY_BYTES]) -> Uuid {
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(half).into_uuid()
}

impl Store {
    /// The id of a subject, whether something is kept of them or not.
    ///
    /// # Errors
    /// Where this process has no master key or the database does not answer.
    pub async fn subject_id(&self, tenant: TenantId, name: &SubjectName) -> Result<SubjectId, StoreError> {
        let key = self.inner.keys.index(self.pool(), tenant).await?.derive("subject id");
        Ok(SubjectId(id_of(&key.digest(name.as_str().as_bytes()))))
    }

    /// Subjects of whom something is about to be kept; gives a key to those who have none.
    ///
    /// # Errors
    /// [`PrivacyError::Shredded`] for one who was shredded; as [`Self::subject_id`].
    pub async fn know_subjects(
        &self,
        tenant: TenantId,
        names: &BTreeSet<SubjectName>,
    ) -> Result<BTreeMap<SubjectName, KnownSubject>, StoreError> {
        let mut known = BTreeMap::new();
        if names.is_empty() {
            return Ok(known);
        }
        let mut ids = BTreeMap::new();
        for name in names {
            ids.insert(name.clone(), self.subject_id(tenant, name).await?);
        }
        self.make_keys(tenant, &ids).await?;
        let wanted: Vec<SubjectId> = ids.values().copied().collect();
        let keys = self.inner.keys.for_writing(self.pool(), tenant, &wanted).await?;
        for (name, id) in ids {
            let key = keys.get(&id).ok_or(PrivacyError::KeyMissing { subject: id })?;
            known.insert(name, KnownSubject { id, identities: key.derive("case identity") });
        }
        Ok(known)
    }

    async fn make_keys(&self, tenant: TenantId, ids: &BTreeMap<SubjectName, SubjectId>) -> Result<(), StoreError> {
        let wanted: Vec<Uuid> = ids.values().map(|id| id.0).collect();
        let there: Vec<Uuid> =
            sqlx::query_scalar("select subject_id from es.subject_key where tenant_id = $1 and subject_id = any($2)")
                .bind(tenant.0)
                .bind(wanted)
                .fetch_all(self.pool())
                .await?;
        let mut new: Vec<(&SubjectName, SubjectId)> =
            ids.iter().map(|(name, id)| (name, *id)).filter(|(_, id)| !there.contains(&id.0)).collect();
        if new.is_empty() {
            return Ok(());
        }
        // In one order everywhere, so that two who add the same subjects don't wait for each other.
        new.sort_by_key(|(_, id)| *id);
        let (mut masters, mut wrapped, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for (name, id) in &new {
            let (key, place) = (Key::random().map_err(PrivacyError::from)?, subject_place(tenant, *id));
            let (master, bytes) = self.inner.keys.masters().wrap(&place, &key)?;
            names.push(key.seal(&name_place(&place), name.as_str().as_bytes()).map_err(PrivacyError::from)?);
            masters.push(master);
            wrapped.push(bytes);
        }
        sqlx::query(
            "insert into es.subject_key (tenant_id, subject_id, key_id, wrapped_key, sealed_name)
             select $1, id, key_id, wrapped_key, sealed_name
             from unnest($2::uuid[], $3::text[], $4::bytea[], $5::bytea[]) u (id, key_id, wrapped_key, sealed_name)
             order by id on conflict do nothing",
        )
        .bind(tenant.0)
        .bind(new.iter().map(|(_, id)| id.0).collect::<Vec<_>>())
        .bind(masters)
        .bind(wrapped)
        .bind(names)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Subjects of a tenant in the order of their ids, after one of them, at most `limit`.
    ///
    /// # Errors
    /// Where this process has no master key or the database does not answer.
    pub async fn subjects(
        &self,
        tenant: TenantId,
        after: Option<SubjectId>,
        limit: i64,
    ) -> Result<Vec<SubjectEntry>, StoreError> {
        type Row = (Uuid, Option<String>, Option<Vec<u8>>, Option<Vec<u8>>, OffsetDateTime, Option<OffsetDateTime>);
        let rows: Vec<Row> = sqlx::query_as(
            "select subject_id, key_id, wrapped_key, sealed_name, created_at, destroyed_at from es.subject_key
             where tenant_id = $1 and ($2::uuid is null or subject_id > $2) order by subject_id limit $3",
        )
        .bind(tenant.0)
        .bind(after.map(|id| id.0))
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        let entry = |(id, master_key, wrapped, sealed, created_at, destroyed_at): Row| {
            let id = SubjectId(id);
            let name = match (&master_key, wrapped, sealed) {
                (Some(master), Some(wrapped), Some(sealed)) => Some(self.name(tenant, id, master, &wrapped, &sealed)?),
                _ => None,
            };
            let (created_at, shredded_at) = (Timestamp::new(created_at), destroyed_at.map(Timestamp::new));
            Ok(SubjectEntry { id, name, master_key, created_at, shredded_at })
        };
        rows.into_iter().map(entry).collect::<Result<_, PrivacyError>>().map_err(StoreError::from)
    }

    fn name(
        &self,
        tenant: TenantId,
        id: SubjectId,
        master: &str,
        wrapped: &[u8],
        sealed: &[u8],
    ) -> Result<String, PrivacyError> {
        let place = subject_place(tenant, id);
        let key = self.inner.keys.masters().unwrap(&place, master, wrapped)?;
        let name = key.open(&name_place(&place), sealed)?;
        String::from_utf8(name.to_vec()).map_err(|_| PrivacyError::Unfitting)
    }
}

fn name_place(place: &str) -> Vec<u8> {
    format!("{place} name").into_bytes()
}
