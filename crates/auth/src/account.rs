//! Accounts, and the first of them: the administrator of a fresh installation.

use pcs_domain::ids::{ActorId, TenantId};
use sqlx::PgPool;
use uuid::Uuid;

use crate::api_key;
use crate::error::AuthError;
use crate::permission::Role;

/// The address of the first account.
pub const ADMINISTRATOR_EMAIL: &str = "admin@localhost";
/// How the first key is called.
const FIRST_KEY_NAME: &str = "first";
/// The advisory lock under which the first account is made; the number is "pcs_auth" in ASCII.
const BOOTSTRAP_LOCK: i64 = 0x7063_735f_6175_7468;

/// The first account's key; shown once and kept nowhere.
#[derive(Clone, Debug)]
pub struct NewCredentials {
    /// The account.
    pub account_id: ActorId,
    /// Its address.
    pub email: String,
    /// The key's text.
    pub api_key: String,
}

/// Makes the administrator and a key where there is no account yet; none where there is one.
///
/// Two processes that start at once make one administrator: the second waits for the first, and finds its account.
///
/// # Errors
/// Where the database does not answer.
pub async fn bootstrap(pool: &PgPool) -> Result<Option<NewCredentials>, AuthError> {
    let mut transaction = pool.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(BOOTSTRAP_LOCK).execute(&mut *transaction).await?;
    let any: bool = sqlx::query_scalar("select exists (select from auth.account)").fetch_one(&mut *transaction).await?;
    if any {
        return Ok(None);
    }
    let account_id = ActorId(Uuid::new_v4());
    sqlx::query("insert into auth.account (account_id, tenant_id, email, role) values ($1, $2, $3, $4)")
        .bind(account_id.0)
        .bind(TenantId::DEFAULT.0)
        .bind(ADMINISTRATOR_EMAIL)
        .bind(Role::Admin.name())
        .execute(&mut *transaction)
        .await?;
    let key = api_key::insert(&mut transaction, account_id, FIRST_KEY_NAME, Role::Admin).await?;
    transaction.commit().await?;
    Ok(Some(NewCredentials { account_id, email: ADMINISTRATOR_EMAIL.to_owned(), api_key: key.text }))
}
