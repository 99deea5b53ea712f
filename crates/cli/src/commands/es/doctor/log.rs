//! The log and what hangs on it: schema, rights, ends, partitions, appenders that are stuck, lag, sizes.

use pcs_store::SubscriptionStatus;
use pcs_store::diagnosis::{self, HeadSession, LogEnds};
use sqlx::PgPool;

use super::Checked;
use crate::commands::exit::CliError;
use crate::commands::output::excerpt;

/// An append takes milliseconds; who holds the head for longer than this many seconds is slow, and for longer than that
/// is stuck.
const HEAD_SECONDS_SLOW: f64 = 1.0;
const HEAD_SECONDS_STUCK: f64 = 10.0;
/// A transaction that is open for longer than this many seconds keeps dead rows from being cleaned.
const TRANSACTION_SECONDS_MAX: f64 = 300.0;
/// Positions for which there should be partitions: several hours at the highest rate that was measured.
const ROOM_MIN: i64 = 5_000_000;
/// A projection or subscription that is further behind is told.
const LAG_MAX: i64 = 10_000;
const QUERY_CHARS_MAX: usize = 80;

/// Whether the database's schema is that of this build.
pub(super) async fn migrations(pool: &PgPool) -> Result<Checked, CliError> {
    let state = pcs_store::migration_state(pool).await?;
    let seen = format!("migration {}", state.newest);
    let list = |numbers: &[i64]| numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    Ok(if state.newest == 0 {
        Checked::bad("schema", "the database has not been migrated", "run `pcs migrate`")
    } else if !state.different.is_empty() {
        let seen = format!("{seen}; not as this build has them: {}", list(&state.different));
        Checked::bad("schema", seen, "use the build that migrated it, or restore the database")
    } else if !state.missing.is_empty() {
        Checked::bad("schema", format!("{seen}; missing: {}", list(&state.missing)), "run `pcs migrate`")
    } else if !state.unknown.is_empty() {
        let seen = format!("{seen}; newer than this build: {}", list(&state.unknown));
        Checked::warn("schema", seen, "use the newer build")
    } else {
        Checked::ok("schema", seen)
    })
}

pub(super) async fn examine(pool: &PgPool) -> Result<Vec<Checked>, CliError> {
    let mut checks = vec![rights(pool).await?];
    let ends = diagnosis::ends(pool).await?;
    checks.push(head(&ends));
    checks.push(partitions(&ends));
    checks.push(appenders(&diagnosis::head_sessions(pool).await?));
    checks.extend(transactions(pool).await?);
    checks.extend(projections(pool, ends.head).await?);
    checks.extend(subscriptions(pool).await?);
    for size in diagnosis::sizes(pool).await? {
        checks.push(Checked::ok(&format!("size of {}", size.name), human_bytes(size.bytes)));
    }
    Ok(checks)
}

async fn rights(pool: &PgPool) -> Result<Checked, CliError> {
    let rights = diagnosis::rights(pool).await?;
    Ok(match (rights.may_read, rights.may_append, rights.may_change) {
        (false, _, _) => {
            Checked::bad("rights", "the log can't be read", "grant usage on schema es and select on its tables")
        }
        (true, false, _) => {
            let mend = "for a role that only reads this is right; else grant insert on es.event and its companions";
            Checked::warn("rights", "the log can be read, not appended to", mend)
        }
        (true, true, true) => {
            let mend = "a trigger refuses it all the same; a role that is not the owner needs insert and select alone";
            Checked::warn("rights", "the role may change events", mend)
        }
        (true, true, false) => Checked::ok("rights", "read and append"),
    })
}

fn head(ends: &LogEnds) -> Checked {
    let seen = format!("position {}", ends.head);
    if ends.head == ends.newest {
        return Checked::ok("head", seen);
    }
    let seen = format!("{seen}, and the newest event is at {}", ends.newest);
    Checked::bad("head", seen, "run `pcs es verify`; something wrote past es.append, or the log was restored in part")
}

fn partitions(ends: &LogEnds) -> Checked {
    let room = ends.partitions_end.unwrap_or(0) - ends.head - 1;
    let seen = format!("{}, room for {room} more events", ends.partitions);
    let mend = "run `pcs migrate`, or start a relay: it creates them ahead";
    if room <= 0 {
        Checked::bad("partitions", seen, mend)
    } else if room < ROOM_MIN {
        Checked::warn("partitions", seen, mend)
    } else {
        Checked::ok("partitions", seen)
    }
}

/// Who holds the head, and since when: everybody's appends wait for the end of that transaction.
fn appenders(sessions: &[HeadSession]) -> Checked {
    let waiting = sessions.iter().filter(|session| session.is_waiting).count();
    let Some(holder) = sessions.iter().find(|session| !session.is_waiting) else {
        return Checked::ok("appenders", "nobody holds the head");
    };
    let seconds = holder.seconds.unwrap_or(0.0);
    let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
    let seen = format!(
        "pid {} ({}, {}, {}) has held the head for {seconds:.1} s, {waiting} wait; {}",
        holder.pid,
        holder.application_name,
        holder.client.as_deref().unwrap_or("local"),
        or_unknown(&holder.state),
        excerpt(&or_unknown(&holder.query), QUERY_CHARS_MAX),
    );
    if seconds < HEAD_SECONDS_SLOW {
        return Checked::ok("appenders", seen);
    }
    let mend = format!("if it does not end by itself: select pg_terminate_backend({})", holder.pid);
    if seconds < HEAD_SECONDS_STUCK {
        Checked::warn("appenders", seen, mend)
    } else {
        Checked::bad("appenders", seen, mend)
    }
}

async fn transactions(pool: &PgPool) -> Result<Vec<Checked>, CliError> {
    let long = diagnosis::long_transactions(pool, TRANSACTION_SECONDS_MAX).await?;
    if long.is_empty() {
        return Ok(vec![Checked::ok("transactions", format!("none is older than {TRANSACTION_SECONDS_MAX:.0} s"))]);
    }
    let told = long.iter().map(|transaction| {
        let state = transaction.state.as_deref().unwrap_or("?");
        let (pid, name, seconds) = (transaction.pid, &transaction.application_name, transaction.seconds);
        let seen = format!("pid {pid} ({name}, {state}) has one that is {seconds:.0} s old");
        let mend = format!("dead rows can't be cleaned meanwhile; to end it: select pg_terminate_backend({pid})");
        Checked::warn("transactions", seen, mend)
    });
    Ok(told.collect())
}

async fn projections(pool: &PgPool, head: i64) -> Result<Vec<Checked>, CliError> {
    let mut checks = Vec::new();
    for projection in pcs_projections::all() {
        let name = format!("projection {}", projection.name());
        let position = pcs_projections::position(pool, projection.name()).await?;
        let lag = (head - position).max(0);
        let seconds = if lag == 0 { None } else { diagnosis::waiting_seconds(pool, position).await? };
        let mend = "is `pcs project` running? `pcs es projection ls` says where it stands still and why";
        checks.push(behind(&name, (position, lag, seconds), mend));
    }
    Ok(checks)
}

async fn subscriptions(pool: &PgPool) -> Result<Vec<Checked>, CliError> {
    let statuses = pcs_store::subscription_statuses(pool).await?;
    let checked = |status: &SubscriptionStatus| {
        let mend = "does its process run? `pcs es subscription show` says who works on which lane";
        let place = (status.position, status.lag, status.lag_seconds);
        behind(&format!("subscription {}", status.name), place, mend)
    };
    Ok(statuses.iter().map(checked).collect())
}

/// A reader at a position, behind by so many events, the oldest of which has waited for so long.
fn behind(check: &str, (position, lag, seconds): (i64, i64, Option<f64>), mend: &str) -> Checked {
    let waited = seconds.map(|seconds| format!(", for {seconds:.1} s")).unwrap_or_default();
    let seen = format!("at {position}, {lag} behind{waited}");
    if lag > LAG_MAX { Checked::warn(check, seen, mend) } else { Checked::ok(check, seen) }
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn human_bytes(bytes: i64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return format!("{size:.1} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    fn session(pid: i32, seconds: f64, is_waiting: bool) -> HeadSession {
        HeadSession {
            pid,
            application_name: "pcs serve".to_owned(),
            role: None,
            client: None,
            state: Some("idle in transaction".to_owned()),
            seconds: Some(seconds),
            is_waiting,
            query: Some("select".to_owned()),
        }
    }

    #[test]
    fn who_holds_the_head_for_long_is_named_with_those_who_wait() {
        assert_eq!(appenders(&[]).health, Health::Ok);
        assert_eq!(appenders(&[session(1, 0.01, false)]).health, Health::Ok);
        assert_eq!(appenders(&[session(1, 2.0, false)]).health, Health::Warn);
        let stuck = appenders(&[session(7, 60.0, false), session(8, 59.0, true), session(9, 58.0, true)]);
        assert_eq!(stuck.health, Health::Bad);
        assert!(stuck.seen.contains("pid 7 (pcs serve, local, idle in transaction)"), "{}", stuck.seen);
        assert!(stuck.seen.contains("60.0 s, 2 wait") && stuck.mend.contains("pg_terminate_backend(7)"));
    }

    #[test]
    fn room_and_ends_are_judged() {
        let ends = |head, newest, end| LogEnds { head, newest, partitions_end: end, partitions: 3 };
        assert_eq!(partitions(&ends(5, 5, Some(30_000_000))).health, Health::Ok);
        assert_eq!(partitions(&ends(29_000_000, 29_000_000, Some(30_000_000))).health, Health::Warn);
        assert_eq!(partitions(&ends(29_999_999, 29_999_999, Some(30_000_000))).health, Health::Bad);
        assert_eq!((head(&ends(5, 5, None)).health, head(&ends(5, 4, None)).health), (Health::Ok, Health::Bad));
        assert_eq!((human_bytes(512), human_bytes(3 << 30)), ("512.0 B".to_owned(), "3.0 GiB".to_owned()));
    }
}
