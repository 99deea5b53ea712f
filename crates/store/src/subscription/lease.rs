//! Which process works on which lane: members say that they live, and share the lanes evenly. All by the database's clock.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

/// A lane that was taken.
#[derive(sqlx::FromRow)]
pub(super) struct Claimed {
    pub(super) lane: i16,
    pub(super) position: i64,
    pub(super) fence: i64,
    /// Whether its last owner did not give it back: it crashed, or was too slow.
    pub(super) crashed: bool,
    pub(super) tried_position: i64,
    pub(super) tries: i32,
}

/// Says that a member lives, and forgets those that don't; answers all that do, in order. Empty where the subscription
/// is gone.
pub(super) async fn live(pool: &PgPool, name: &str, member: Uuid, lease: Duration) -> Result<Vec<Uuid>, sqlx::Error> {
    let seen = sqlx::query(
        "insert into es.subscription_member as m (name, member, seen_until)
         select name, $2, clock_timestamp() + make_interval(secs => $3) from es.subscription where name = $1
         on conflict (name, member) do update set seen_until = excluded.seen_until",
    )
    .bind(name)
    .bind(member)
    .bind(lease.as_secs_f64())
    .execute(pool)
    .await?;
    if seen.rows_affected() == 0 {
        return Ok(Vec::new());
    }
    sqlx::query("delete from es.subscription_member where name = $1 and seen_until < clock_timestamp()")
        .bind(name)
        .execute(pool)
        .await?;
    sqlx::query_scalar("select member from es.subscription_member where name = $1 order by member")
        .bind(name)
        .fetch_all(pool)
        .await
}

/// Takes the member out.
pub(super) async fn leave(pool: &PgPool, name: &str, member: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from es.subscription_member where name = $1 and member = $2")
        .bind(name)
        .bind(member)
        .execute(pool)
        .await?;
    Ok(())
}

/// How many lanes a member should have: they differ by one at most, and the first members have more.
pub(super) fn share(lanes: u16, members: &[Uuid], member: Uuid) -> usize {
    let lanes = usize::from(lanes);
    let Some(place) = members.iter().position(|other| *other == member) else { return 0 };
    lanes / members.len() + usize::from(place < lanes % members.len())
}

/// Takes lanes that nobody holds, and those that this member holds in name only.
pub(super) async fn claim(
    pool: &PgPool,
    name: &str,
    member: Uuid,
    lease: Duration,
    working: &[i16],
    most: usize,
) -> Result<Vec<Claimed>, sqlx::Error> {
    sqlx::query_as(
        "update es.subscription_lane l
         set owner = $2, fence = fence + 1, leased_until = clock_timestamp() + make_interval(secs => $3)
         from (
             select lane, owner from es.subscription_lane
             where name = $1 and lane <> all($4)
               and (owner is null or owner = $2 or leased_until < clock_timestamp())
             order by lane limit $5 for update skip locked
         ) free
         where l.name = $1 and l.lane = free.lane
         returning l.lane, l.position, l.fence, free.owner is not null as crashed, l.tried_position, l.tries",
    )
    .bind(name)
    .bind(member)
    .bind(lease.as_secs_f64())
    .bind(working)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await
}

/// Keeps the lanes for another lease; answers those that are still this member's.
pub(super) async fn renew(
    pool: &PgPool,
    name: &str,
    member: Uuid,
    lease: Duration,
    held: &[(i16, i64)],
) -> Result<Vec<i16>, sqlx::Error> {
    let (lanes, fences): (Vec<i16>, Vec<i64>) = held.iter().copied().unzip();
    sqlx::query_scalar(
        "update es.subscription_lane l set leased_until = clock_timestamp() + make_interval(secs => $3)
         from unnest($4::smallint[], $5::bigint[]) held(lane, fence)
         where l.name = $1 and l.owner = $2 and l.lane = held.lane and l.fence = held.fence
         returning l.lane",
    )
    .bind(name)
    .bind(member)
    .bind(lease.as_secs_f64())
    .bind(lanes)
    .bind(fences)
    .fetch_all(pool)
    .await
}

/// Gives a lane back, so that others need not wait for the end of its lease.
pub(super) async fn release(pool: &PgPool, name: &str, lane: u16, fence: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update es.subscription_lane set owner = null, leased_until = null where name = $1 and lane = $2 and fence = $3",
    )
    .bind(name)
    .bind(i32::from(lane))
    .bind(fence)
    .execute(pool)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_is_in_one_share_and_the_shares_are_even() {
        for lanes in [1, 4, 7, 64] {
            for count in 1..=9_u128 {
                let members: Vec<Uuid> = (0..count).map(Uuid::from_u128).collect();
                let shares: Vec<usize> = members.iter().map(|member| share(lanes, &members, *member)).collect();
                assert_eq!(shares.iter().sum::<usize>(), usize::from(lanes));
                let (least, most) = (shares.iter().min(), shares.iter().max());
                assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{shares:?}");
            }
        }
        assert_eq!(share(4, &[Uuid::from_u128(1)], Uuid::from_u128(2)), 0, "a member that is not seen has none");
    }
}
