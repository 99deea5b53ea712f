//! The server and who we are on it: version, settings, rights.

use pcs_store::diagnosis::{self, Setting};
use sqlx::PgPool;

use super::Checked;
use crate::commands::exit::CliError;

/// The oldest PostgreSQL on which everything is tested.
const VERSION_MIN: i32 = 150_000;

/// A setting, the values that are right, and what the others mean.
struct Demand {
    name: &'static str,
    right: &'static [&'static str],
    is_vital: bool,
    mend: &'static str,
}

const DEMANDS: [Demand; 6] = [
    Demand {
        name: "fsync",
        right: &["on"],
        is_vital: true,
        mend: "switch it on: without it a power cut can destroy the whole database",
    },
    Demand {
        name: "full_page_writes",
        right: &["on"],
        is_vital: true,
        mend: "switch it on: without it a power cut can tear pages",
    },
    Demand {
        name: "synchronous_commit",
        right: &["on", "local", "remote_write", "remote_apply"],
        is_vital: true,
        mend: "switch it on: what was acknowledged could be lost in a crash",
    },
    Demand {
        name: "wal_level",
        right: &["replica", "logical"],
        is_vital: false,
        mend: "set it to replica: with minimal there are neither standbys nor point-in-time recovery",
    },
    Demand {
        name: "idle_in_transaction_session_timeout",
        right: &[],
        is_vital: false,
        mend: "set it, for instance to 1min: a frozen client that holds the head stops all appends",
    },
    Demand {
        name: "lock_timeout",
        right: &[],
        is_vital: false,
        mend: "set it for the role, for instance to 10s: whoever waits for the head should give up some day",
    },
];

pub(super) async fn examine(pool: &PgPool) -> Result<Vec<Checked>, CliError> {
    let server = diagnosis::server(pool).await?;
    let mut checks = Vec::new();
    checks.push(if server.version_number >= VERSION_MIN {
        Checked::ok("version", format!("PostgreSQL {}", server.version))
    } else {
        Checked::bad("version", format!("PostgreSQL {}", server.version), "upgrade to 15 or newer")
    });
    checks.push(match (server.is_standby, server.is_read_only) {
        (true, _) => {
            Checked::bad("primary", "a standby: it can be read, and takes no appends", "connect to the primary")
        }
        (false, true) => Checked::bad("primary", "a primary, read-only", "unset default_transaction_read_only"),
        (false, false) => Checked::ok("primary", "a primary that takes writes"),
    });
    let role = format!("{}{}", server.role, if server.is_superuser { ", a superuser" } else { "" });
    checks.push(if server.is_superuser {
        Checked::warn("role", role, "give the system a role without that right: it could switch the log's triggers off")
    } else {
        Checked::ok("role", role)
    });
    if !server.may_monitor {
        let mend = "grant pg_read_all_stats to see what other roles do";
        checks.push(Checked::warn("monitoring", "other roles' sessions are only partly seen", mend));
    }
    let names = DEMANDS.map(|demand| demand.name);
    let settings = diagnosis::settings(pool, &names).await?;
    checks.extend(DEMANDS.iter().filter_map(|demand| judge(demand, &settings)));
    Ok(checks)
}

fn judge(demand: &Demand, settings: &[Setting]) -> Option<Checked> {
    let value = &settings.iter().find(|setting| setting.name == demand.name)?.value;
    // Without a list of right values it is a time: anything but none.
    let is_right = if demand.right.is_empty() { value != "0" } else { demand.right.contains(&value.as_str()) };
    Some(match (is_right, demand.is_vital) {
        (true, _) => Checked::ok(demand.name, value.clone()),
        (false, true) => Checked::bad(demand.name, value.clone(), demand.mend),
        (false, false) => Checked::warn(demand.name, value.clone(), demand.mend),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    #[test]
    fn what_loses_data_is_bad_and_what_only_lacks_a_bound_is_a_warning() {
        let judged = |name: &str, value: &str| {
            let demand = DEMANDS.iter().find(|demand| demand.name == name).unwrap();
            judge(demand, &[Setting { name: name.to_owned(), value: value.to_owned() }]).unwrap().health
        };
        assert_eq!(judged("fsync", "off"), Health::Bad);
        assert_eq!(judged("synchronous_commit", "off"), Health::Bad);
        assert_eq!(judged("synchronous_commit", "remote_apply"), Health::Ok);
        assert_eq!(judged("wal_level", "minimal"), Health::Warn);
        assert_eq!(judged("lock_timeout", "0"), Health::Warn);
        assert_eq!(judged("lock_timeout", "10s"), Health::Ok);
        assert!(judge(&DEMANDS[0], &[]).is_none());
    }
}
