//! The environment variables of the local stack, read once and checked.

use std::path::PathBuf;

use super::error::StackError;

pub(super) const POSTGRES_PORT: &str = "PCS_POSTGRES_PORT";
pub(super) const NATS_PORT: &str = "PCS_NATS_PORT";
pub(super) const POSTGRES_BIN: &str = "PCS_POSTGRES_BIN";
pub(super) const NATS_SERVER: &str = "PCS_NATS_SERVER";
const CACHE_DIR: &str = "PCS_CACHE_DIR";
const IGNORE_INSTALLED: &str = "PCS_STACK_IGNORE_INSTALLED";

/// What a person may set by hand; everything is optional.
#[derive(Debug, Default, Clone)]
pub struct StackSettings {
    pub postgres_port: Option<u16>,
    pub nats_port: Option<u16>,
    /// The folder with `postgres` and `initdb`.
    pub postgres_bin: Option<PathBuf>,
    /// The `nats-server` program itself.
    pub nats_server: Option<PathBuf>,
    pub cache_dir: Option<PathBuf>,
    /// Uses the pinned wheels even when the machine has the servers; tests run on known versions with it.
    pub ignore_installed: bool,
}

impl StackSettings {
    pub fn from_environment() -> Result<Self, StackError> {
        let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Ok(Self {
            postgres_port: text(POSTGRES_PORT).map(|value| parse_port(POSTGRES_PORT, value)).transpose()?,
            nats_port: text(NATS_PORT).map(|value| parse_port(NATS_PORT, value)).transpose()?,
            postgres_bin: path(POSTGRES_BIN),
            nats_server: path(NATS_SERVER),
            cache_dir: path(CACHE_DIR),
            ignore_installed: text(IGNORE_INSTALLED).is_some_and(|value| value != "0"),
        })
    }
}

fn parse_port(variable: &'static str, value: String) -> Result<u16, StackError> {
    match value.parse() {
        Ok(port) if port > 0 => Ok(port),
        Ok(_) | Err(_) => {
            Err(StackError::BadSetting { variable, value, reason: "it must be a port number, 1 to 65535".to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_between_1_and_65535() {
        assert_eq!(parse_port(NATS_PORT, "4222".to_owned()).unwrap(), 4222);
        for bad in ["0", "65536", "x"] {
            let error = parse_port(NATS_PORT, bad.to_owned()).unwrap_err().to_string();
            assert_eq!(error, format!("PCS_NATS_PORT={bad} cannot be used: it must be a port number, 1 to 65535"));
        }
    }
}
