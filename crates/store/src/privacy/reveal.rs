//! Opens what is sealed, for a command's decision or for somebody who may read it.

use std::collections::BTreeSet;

use pcs_domain::Aggregate;
use pcs_domain::data_subject::{Guard, Guarded};
use pcs_domain::ids::{SubjectId, TenantId};
use pcs_sealing::{Session, Signer, relay_public_key};

use super::envelope::open;
use super::error::PrivacyError;
use super::keys::Held;
use crate::Store;
use crate::error::StoreError;

impl Store {
    /// Opens the sealed fields of these parts. Those of a shredded subject stay empty, and their guard says so.
    ///
    /// # Errors
    /// Where this process has no master key, a key is missing, or what is sealed was changed.
    pub async fn reveal<'a>(
        &self,
        tenant: TenantId,
        parts: impl IntoIterator<Item = &'a mut (dyn Guarded + 'a)>,
    ) -> Result<(), StoreError> {
        let is_sealed = |part: &&mut (dyn Guarded + 'a)| {
            part.subject().is_some_and(|subject| matches!(subject.guard, Guard::Sealed(_)))
        };
        let parts: Vec<&mut (dyn Guarded + 'a)> = parts.into_iter().filter(is_sealed).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let ids: BTreeSet<SubjectId> =
            parts.iter().filter_map(|part| part.subject()).map(|subject| subject.id).collect();
        let ids: Vec<SubjectId> = ids.into_iter().collect();
        let keys = self.inner.keys.for_reading(self.pool(), tenant, &ids).await?;
        for part in parts {
            let Some(subject) = part.subject_mut() else { continue };
            let Guard::Sealed(sealed) = &subject.guard else { continue };
            match keys.get(&subject.id) {
                Some(Held::Key(key)) => {
                    let fields = open(tenant, subject.id, sealed, key)?;
                    subject.guard = Guard::Open;
                    // The parser's error would quote the data.
                    part.put_back(fields).map_err(|_| PrivacyError::Unfitting)?;
                }
                Some(Held::Destroyed) => subject.guard = Guard::Shredded,
                None => return Err(PrivacyError::KeyMissing { subject: subject.id }.into()),
            }
        }
        Ok(())
    }

    /// Opens the sealed fields of an aggregate's state.
    ///
    /// # Errors
    /// As [`Self::reveal`].
    pub async fn reveal_state<A: Aggregate>(&self, tenant: TenantId, state: &mut A) -> Result<(), StoreError> {
        self.reveal(tenant, state.guarded()).await
    }

    /// The public key of this relay for workers' sessions, and the name of the master key that it belongs to.
    ///
    /// # Errors
    /// Where this process has no master key.
    pub fn relay_key(&self) -> Result<(String, String), PrivacyError> {
        let ring = self.inner.keys.masters().ring()?;
        let (name, master) = ring.current();
        Ok((name.to_owned(), relay_public_key(master)?))
    }

    /// Signs for the holders of this process' master key.
    ///
    /// # Errors
    /// Where this process has no master key.
    pub fn signer(&self) -> Result<Signer, PrivacyError> {
        let ring = self.inner.keys.masters().ring()?;
        Ok(Signer::of_master(ring.current().1)?)
    }

    /// The session with a worker, with the relay's key of this master key's name.
    ///
    /// # Errors
    /// Where this process does not have the master key, or the worker's public key is none.
    pub fn worker_session(&self, master: &str, worker: &str) -> Result<Session, PrivacyError> {
        let ring = self.inner.keys.masters().ring()?;
        let unknown = || PrivacyError::UnknownMasterKey { name: master.to_owned() };
        Ok(Session::with_worker(ring.get(master).ok_or_else(unknown)?, worker)?)
    }
}
