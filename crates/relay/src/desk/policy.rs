//! What a tenant's policy says: holds, limits and weights.

use pcs_domain::ids::TenantId;
use pcs_domain::job_policy::{JobPolicyEvent, Limits, Scope};
use pcs_store::Recorded;
use sqlx::{PgConnection, PgPool};

use crate::RelayError;

/// Brings the desk up to an event of a policy.
pub(crate) async fn apply_policy(
    connection: &mut PgConnection,
    recorded: &Recorded,
    event: &JobPolicyEvent,
) -> Result<(), RelayError> {
    let tenant = recorded.tenant;
    match event {
        JobPolicyEvent::Paused(e) => {
            let (scope, value) = columns(&e.scope);
            sqlx::query(
                "insert into jobs.hold (tenant_id, source, scope, value, until, reason, since)
                 values ($1, 'policy', $2, $3, 'infinity', $4, $5) on conflict do nothing",
            )
            .bind(tenant.0)
            .bind(scope)
            .bind(value)
            .bind(&e.reason)
            .bind(recorded.recorded_at.get())
            .execute(connection)
            .await?;
        }
        JobPolicyEvent::Resumed(e) => {
            let (scope, value) = columns(&e.scope);
            sqlx::query(
                "delete from jobs.hold where tenant_id = $1 and source = 'policy' and scope = $2 and value = $3",
            )
            .bind(tenant.0)
            .bind(scope)
            .bind(value)
            .execute(connection)
            .await?;
        }
        JobPolicyEvent::LimitSet(e) => set_limit(connection, tenant, &e.key, e.limits).await?,
        JobPolicyEvent::LimitRemoved(e) => {
            sqlx::query("delete from jobs.rate_limit where tenant_id = $1 and key = $2")
                .bind(tenant.0)
                .bind(&e.key)
                .execute(connection)
                .await?;
        }
        JobPolicyEvent::WeightSet(e) => {
            sqlx::query(
                "insert into jobs.tenant (tenant_id, weight) values ($1, $2)
                 on conflict (tenant_id) do update set weight = excluded.weight",
            )
            .bind(tenant.0)
            .bind(i32::from(e.weight))
            .execute(connection)
            .await?;
        }
    }
    Ok(())
}

fn columns(scope: &Scope) -> (&'static str, &str) {
    match scope {
        Scope::Everything => ("everything", ""),
        Scope::Lane(lane) => ("lane", lane.name()),
        Scope::Kind(kind) => ("kind", kind),
        Scope::Provider(provider) => ("provider", provider),
        Scope::Model(model) => ("model", model),
    }
}

/// Another limit begins anew: what was used under the former one may be more than the new one knows.
async fn set_limit(
    connection: &mut PgConnection,
    tenant: TenantId,
    key: &str,
    limits: Limits,
) -> Result<(), RelayError> {
    let bigint = |value: Option<u64>| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX));
    sqlx::query(
        "insert into jobs.rate_limit (tenant_id, key, requests_per_minute, input_tokens_per_minute,
                                      output_tokens_per_minute, concurrency)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (tenant_id, key) do update set
             requests_per_minute = excluded.requests_per_minute,
             input_tokens_per_minute = excluded.input_tokens_per_minute,
             output_tokens_per_minute = excluded.output_tokens_per_minute, concurrency = excluded.concurrency,
             requests_at = '-infinity', input_at = '-infinity', output_at = '-infinity'",
    )
    .bind(tenant.0)
    .bind(key)
    .bind(limits.requests_per_minute.map(i64::from))
    .bind(bigint(limits.input_tokens_per_minute))
    .bind(bigint(limits.output_tokens_per_minute))
    .bind(limits.concurrency.map(i64::from))
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether anything is held anywhere: then workers ask before they begin.
pub(crate) async fn has_holds(pool: &PgPool) -> Result<bool, RelayError> {
    sqlx::query("delete from jobs.hold where until < clock_timestamp()").execute(pool).await?;
    Ok(sqlx::query_scalar("select exists (select from jobs.hold)").fetch_one(pool).await?)
}
