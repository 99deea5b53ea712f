//! `pcs up`: starting, starting again, what goes wrong, and that nothing is left running.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pcs_tests::eventually;
use pcs_tests::process::{Process, processes_naming};

/// The exit code for "the system failed".
const SYSTEM_FAILED: i32 = 3;

/// A folder of its own and the log of what runs in it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn local(&self) -> PathBuf {
        self.folder.path().join("local")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn up(&self, listen: &str) -> Process {
        std::fs::remove_file(self.folder.path().join("log")).ok();
        let local = self.local().display().to_string();
        let cache = pcs_tests::cache_dir().display().to_string();
        let arguments = ["up", "--no-demo", "--listen", listen, "--local-dir", &local];
        Process::start(&arguments, &[("PCS_CACHE_DIR", &cache)], &self.folder.path().join("log"))
    }

    async fn ready(&self, up: &mut Process) {
        eventually("pcs up is ready", || {
            assert!(up.is_running(), "pcs up ended:\n{}", self.log());
            let ready = self.log().contains("ready at");
            async move { ready.then_some(()) }
        })
        .await;
    }

    async fn nothing_is_left(&self) {
        let folder = self.local().display().to_string();
        eventually("every process has ended", || async { processes_naming(&folder).is_empty().then_some(()) }).await;
    }
}

fn server_pid(local: &Path, pid_file: &str) -> Pid {
    let text = std::fs::read_to_string(local.join(pid_file)).expect("a pid file");
    Pid::from_raw(text.lines().next().and_then(|line| line.trim().parse().ok()).expect("a process id"))
}

#[tokio::test]
async fn the_second_start_is_fast_and_has_the_data() {
    let place = Place::new();
    let mut up = place.up("127.0.0.1:0");
    place.ready(&mut up).await;
    let first = std::fs::read_to_string(place.local().join("credentials.json")).expect("credentials");
    up.signal(Signal::SIGINT);
    assert!(up.wait().success(), "{}", place.log());
    place.nothing_is_left().await;

    let started = Instant::now();
    let mut up = place.up("127.0.0.1:0");
    place.ready(&mut up).await;
    // 3 s on a quiet machine; other tests run beside this one.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let second = std::fs::read_to_string(place.local().join("credentials.json")).expect("credentials");
    let key = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON")["api_key"].clone();
    assert_eq!(key(&first), key(&second), "the administrator and its key are still there");

    let mut other = place.up("127.0.0.1:0");
    assert_eq!(other.wait().code(), Some(SYSTEM_FAILED), "two at once on one folder");
    assert!(up.is_running());
    up.signal(Signal::SIGTERM);
    assert!(up.wait().success(), "{}", place.log());
    place.nothing_is_left().await;
}

#[tokio::test]
async fn a_port_in_use_is_one_clear_line() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut up = place.up(&address);
    assert_eq!(up.wait().code(), Some(SYSTEM_FAILED));
    assert!(place.log().contains(&address) && place.log().contains("--listen"), "{}", place.log());
    place.nothing_is_left().await;
}

#[tokio::test]
async fn a_crash_of_a_server_ends_everything_and_says_which() {
    for (pid_file, name) in [("postgres/postmaster.pid", "PostgreSQL"), ("nats/nats.pid", "nats-server")] {
        let place = Place::new();
        let mut up = place.up("127.0.0.1:0");
        place.ready(&mut up).await;
        kill(server_pid(&place.local(), pid_file), Signal::SIGKILL).expect("it runs");
        assert_eq!(up.wait().code(), Some(SYSTEM_FAILED), "{}", place.log());
        assert!(place.log().contains(name), "{}", place.log());
        place.nothing_is_left().await;
    }
}

#[tokio::test]
async fn a_killed_pcs_leaves_nothing_running() {
    let place = Place::new();
    let mut up = place.up("127.0.0.1:0");
    place.ready(&mut up).await;
    up.kill();
    place.nothing_is_left().await;
    // And its data is whole.
    let mut up = place.up("127.0.0.1:0");
    place.ready(&mut up).await;
    up.signal(Signal::SIGTERM);
    assert!(up.wait().success(), "{}", place.log());
}
