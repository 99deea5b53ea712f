//! Shredding: a subject's key is destroyed, and with it every copy of their data, wherever it is.

use pcs_domain::data_subject::{DataSubject, DataSubjectCommand, SubjectName};
use pcs_domain::ids::{CommandId, SubjectId, TenantId};
use pcs_domain::{Category, RejectionCode};
use sqlx::PgPool;

use super::error::PrivacyError;
use crate::error::{ExecuteError, StoreError};
use crate::{CommandContext, Expected, Store, execute};

/// What a shredding did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ShreddedSubject {
    /// The subject; also the stream that says so.
    pub id: SubjectId,
    /// Whether they had been shredded before.
    pub already: bool,
}

impl Store {
    /// Destroys a subject's key, then records it. From then on their fields are empty wherever they are read: in the
    /// log, in read models, in snapshots, in archives and in restored backups; other processes follow within
    /// [`super::KEY_FRESH`]. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`PrivacyError::UnknownSubject`] where nothing was ever kept of them; where the database does not answer, after
    /// which it may be done again.
    pub async fn shred(
        &self,
        tenant: TenantId,
        name: &SubjectName,
        context: Option<CommandContext>,
    ) -> Result<ShreddedSubject, StoreError> {
        let id = self.subject_id(tenant, name).await?;
        let destroyed = destroy(self.pool(), tenant, id).await?;
        self.inner.keys.forget(tenant, id);
        // Second: a record of something that has not happened would be worse than none. A retry adds it.
        let context = context.unwrap_or_else(|| CommandContext::derived(tenant, CommandId::derived(id.0, "shredded")));
        let record = DataSubjectCommand::RecordShredded { shredded_by: context.actor };
        match execute::<DataSubject>(self, &context, id.0, Expected::Any, record).await {
            Ok(_) => Ok(ShreddedSubject { id, already: !destroyed }),
            Err(ExecuteError::Store(error)) => Err(error),
            Err(ExecuteError::Rejected(rejection)) => Err(StoreError::Unknowable(rejection.code().to_owned())),
            Err(
                error @ (ExecuteError::Conflict { .. }
                | ExecuteError::KeyReused
                | ExecuteError::StreamClosed { .. }
                | ExecuteError::Overloaded { .. }),
            ) => Err(StoreError::Unknowable(error.to_string())),
        }
    }

    /// Destroys again the keys of subjects whose shredding is in the log: somebody restored them.
    pub(crate) async fn keep_shredded(&self) -> Result<(), StoreError> {
        let destroyed = sqlx::query(
            "update es.subject_key k
             set key_id = null, wrapped_key = null, sealed_name = null, destroyed_at = clock_timestamp()
             from es.stream s
             where k.destroyed_at is null
               and s.tenant_id = k.tenant_id and s.stream_id = k.subject_id and s.category = $1",
        )
        .bind(Category::DataSubject.number())
        .execute(self.pool())
        .await?
        .rows_affected();
        if destroyed > 0 {
            tracing::warn!(destroyed, "keys of shredded data subjects had come back, and were destroyed again");
        }
        Ok(())
    }
}

/// Destroys a key; answers whether there was one.
async fn destroy(pool: &PgPool, tenant: TenantId, id: SubjectId) -> Result<bool, StoreError> {
    let destroyed = sqlx::query(
        "update es.subject_key
         set key_id = null, wrapped_key = null, sealed_name = null, destroyed_at = clock_timestamp()
         where tenant_id = $1 and subject_id = $2 and destroyed_at is null",
    )
    .bind(tenant.0)
    .bind(id.0)
    .execute(pool)
    .await?;
    if destroyed.rows_affected() > 0 {
        return Ok(true);
    }
    let known: bool =
        sqlx::query_scalar("select exists (select from es.subject_key where tenant_id = $1 and subject_id = $2)")
            .bind(tenant.0)
            .bind(id.0)
            .fetch_one(pool)
            .await?;
    if known { Ok(false) } else { Err(PrivacyError::UnknownSubject.into()) }
}
