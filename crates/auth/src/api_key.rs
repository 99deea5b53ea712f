//! API keys: made once, shown once, kept as a digest, revoked for good.

use pcs_domain::ids::ActorId;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::error::AuthError;
use crate::key_text;
use crate::permission::Role;

/// A key that was just made.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// Its id, for revoking it.
    pub key_id: Uuid,
    /// Its text; nobody can see it again.
    pub text: String,
}

/// Makes a key for an account; its role is at most the account's.
///
/// # Errors
/// [`AuthError::NoSuchAccount`], or where the database does not answer.
pub async fn create_api_key(
    pool: &PgPool,
    account_id: ActorId,
    name: &str,
    role: Role,
) -> Result<NewApiKey, AuthError> {
    let mut connection = pool.acquire().await?;
    insert(&mut connection, account_id, name, role).await
}

/// Revokes a key; answers whether it was in use. Other processes may accept it for as long as their cache keeps it.
///
/// # Errors
/// Where the database does not answer.
pub async fn revoke(pool: &PgPool, key_id: Uuid) -> Result<bool, AuthError> {
    let revoked =
        sqlx::query("update auth.api_key set revoked_at = clock_timestamp() where key_id = $1 and revoked_at is null")
            .bind(key_id)
            .execute(pool)
            .await?;
    Ok(revoked.rows_affected() == 1)
}

pub(crate) async fn insert(
    connection: &mut PgConnection,
    account_id: ActorId,
    name: &str,
    role: Role,
) -> Result<NewApiKey, AuthError> {
    let account: Option<(i32, String)> =
        sqlx::query_as("select tenant_id, role from auth.account where account_id = $1")
            .bind(account_id.0)
            .fetch_optional(&mut *connection)
            .await?;
    let (tenant_id, account_role) = account.ok_or(AuthError::NoSuchAccount)?;
    let most = Role::parse(&account_role).ok_or(AuthError::UnknownRole(account_role))?;
    let key_id = Uuid::new_v4();
    let (prefix, text) = key_text::fresh(key_id);
    sqlx::query(
        "insert into auth.api_key (key_id, account_id, tenant_id, name, prefix, secret_hash, role)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(key_id)
    .bind(account_id.0)
    .bind(tenant_id)
    .bind(name)
    .bind(prefix)
    .bind(key_text::digest(&text).as_slice())
    .bind(role.min(most).name())
    .execute(connection)
    .await?;
    Ok(NewApiKey { key_id, text })
}
