//! Puts each role's service together from its parts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pcs_auth::Authenticator;
use pcs_bus::{Bus, BusConfig, JobHandler, JobMetrics, WorkerConfig, run_worker};
use pcs_domain::jobs::maintenance;
use pcs_domain::ports::{IdSource, System};
use pcs_projections::RunnerConfig;
use pcs_providers::{Gateway, GatewayConfig, ProviderKind, Secret};
use pcs_server::{AppState, Readiness, ReadinessCheck, Server, ServerConfig};
use pcs_store::Store;
use pcs_worker_maintenance::Maintenance;
use pcs_worker_on_request::OnRequest;
use pcs_worker_swarm_agent::SwarmAgent;
use pcs_worker_test_execution::TestExecution;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::settings::{ServeArgs, WorkArgs, WorkKind};
use crate::lifecycle::{Lifecycle, Stage};

/// Maintenance that a relay does at once: an archive takes hours, and nothing else shall wait for it.
const MAINTENANCE_SLOTS: u32 = 2;
/// How long maintenance may go on when the relay shall stop; then it is given back.
const MAINTENANCE_DRAIN: Duration = Duration::from_secs(2);
/// The pause before the broker of hints is tried again.
const HINTS_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Starts the HTTP server; answers the address that it listens on.
///
/// # Errors
/// Where the address can't be listened on.
pub async fn serve(
    lifecycle: &Lifecycle,
    store: Store,
    args: &ServeArgs,
    checks: Vec<Arc<dyn ReadinessCheck>>,
) -> anyhow::Result<SocketAddr> {
    let authenticator = Authenticator::new(store.pool().clone());
    let readiness = Readiness::new(&store, checks);
    let state = AppState::new(store.clone(), authenticator, readiness);
    let metrics = Arc::clone(state.metrics());
    let config = ServerConfig::new(args.listen);
    let server = Server::bind(config, state)
        .await
        .with_context(|| format!("{} can't be listened on; choose another with --listen", args.listen))?;
    let address = server.local_addr();
    lifecycle.start(Stage::Front, "serve", |stop| async move { Ok(server.run(stop).await?) });
    lifecycle.start(Stage::Readers, "metrics", |stop| async move {
        pcs_server::metrics_follower(store, metrics, stop).await;
        Ok(())
    });
    Ok(address)
}

/// Starts the relay, and beside it the worker of maintenance: it needs the database, which other workers don't have.
pub fn relay(lifecycle: &Lifecycle, store: Store, bus: Bus) {
    let config = worker_config(MAINTENANCE_SLOTS, MAINTENANCE_DRAIN, JobMetrics::default());
    let task = Arc::new(Maintenance::new(store.clone()));
    let handler = Arc::new(OnRequest::new(bus.clone(), task, config.name.clone()));
    let worker_bus = bus.clone();
    lifecycle.start(Stage::Front, "maintenance", |stop| async move {
        // The relay declares it.
        tokio::select! { () = stop.cancelled() => return Ok(()), () = worker_bus.wait_for_consumer(maintenance::KIND) => () }
        Ok(run_worker(worker_bus, config, handler, stop).await?)
    });
    lifecycle.start(Stage::Relay, "relay", |stop| async move { Ok(pcs_relay::run(store, bus, stop).await?) });
}

/// Starts every projection.
pub fn project(lifecycle: &Lifecycle, store: &Store) {
    for projection in pcs_projections::all() {
        let (name, store) = (projection.name(), store.clone());
        lifecycle.start(Stage::Readers, name, |stop| async move {
            Ok(pcs_projections::run(store, projection, RunnerConfig::default(), stop).await?)
        });
    }
}

/// Starts telling other processes of appends, and hearing of theirs. It waits for a broker that is not there: without
/// hints everything works, and is seen a poll later.
pub fn hints(lifecycle: &Lifecycle, store: Store, broker: BusConfig) {
    lifecycle.start(Stage::Readers, "hints", |stop| async move {
        let mut failed = false;
        while !stop.is_cancelled() {
            let end = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                end = exchange_hints(&store, &broker, &stop) => end,
            };
            if let (Err(error), false) = (end, std::mem::replace(&mut failed, true)) {
                tracing::warn!(%error, "no hints from other processes: their appends are found by polling");
            }
            tokio::select! { () = stop.cancelled() => (), () = tokio::time::sleep(HINTS_RETRY_PAUSE) => () }
        }
        Ok(())
    });
}

async fn exchange_hints(store: &Store, broker: &BusConfig, stop: &CancellationToken) -> anyhow::Result<()> {
    let bus = Bus::connect(broker).await?;
    let mut hints = bus.open_log_hints().await?;
    let heard = async {
        while let Some(position) = hints.next().await {
            store.hint(position);
        }
    };
    tokio::select! {
        () = heard => Ok(()),
        () = bus.send_log_hints(store.appended(), stop) => Ok(()),
    }
}

/// Starts a worker of each kind that it shall do.
///
/// # Errors
/// Where the settings of the model providers are wrong, or the address of the metrics is taken.
pub async fn work(lifecycle: &Lifecycle, stage: Stage, bus: Bus, args: &WorkArgs) -> anyhow::Result<()> {
    args.python.apply();
    let metrics = JobMetrics::default();
    if let Some(address) = args.metrics_listen {
        serve_metrics(lifecycle, address, &metrics).await?;
    }
    let gateway = Arc::new(Gateway::new(gateway_config(args))?);
    for kind in &args.kinds {
        let config = worker_config(args.slots, args.drain(), metrics.clone());
        let (bus, gateway, name) = (bus.clone(), Arc::clone(&gateway), config.name.clone());
        let handler: Arc<dyn JobHandler> = match kind {
            WorkKind::TestExecution => Arc::new(TestExecution::new(bus.clone(), gateway, name)),
            WorkKind::SwarmAgent => {
                let task = SwarmAgent::new(bus.clone(), gateway, name.clone(), pcs_worker_swarm_agent::agents());
                Arc::new(OnRequest::new(bus.clone(), Arc::new(task), name))
            }
        };
        let job = handler.kind().name;
        lifecycle.start(stage, job, |stop| async move { Ok(run_worker(bus, config, handler, stop).await?) });
    }
    Ok(())
}

fn worker_config(slots: u32, drain: Duration, metrics: JobMetrics) -> WorkerConfig {
    WorkerConfig { name: worker_name(), slots, drain, build: env!("CARGO_PKG_VERSION").to_owned(), metrics }
}

async fn serve_metrics(lifecycle: &Lifecycle, address: SocketAddr, metrics: &JobMetrics) -> anyhow::Result<()> {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("{address} can't be listened on; choose another with --metrics-listen"))?;
    tracing::info!(address = %listener.local_addr()?, "serving metrics");
    lifecycle.start(Stage::Readers, "metrics of the worker", |stop| async move {
        Ok(pcs_server::metrics_server(listener, Arc::new(registry), stop).await?)
    });
    Ok(())
}

/// The host's name and a random part: unique per start, or a restarted worker would be taken for its former self.
fn worker_name() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let host: String = host.unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let id = System.next().simple().to_string();
    format!("{host}-{}", &id[id.len() - 8..])
}

fn gateway_config(args: &WorkArgs) -> GatewayConfig {
    let mut config = GatewayConfig { recordings_dir: Some(args.recordings_dir.clone()), ..GatewayConfig::default() };
    config.allowed_base_urls.extend(args.allowed_base_urls.iter().cloned());
    for kind in ProviderKind::ALL {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        if let Some(key) = kind.key_variable().and_then(variable).and_then(|key| Secret::parse(&key)) {
            config.keys.insert(kind, key);
        }
        if let Some(url) = kind.base_url_variable().and_then(variable) {
            config.base_urls.insert(kind, url);
        }
    }
    config
}
