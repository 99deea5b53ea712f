//! The whole system on a ground of ours: `pcs up` without a worker, workers of their own, and runs requested of it.
//!
//! Runs are requested by the store, as the server does, in this process: its appends are told to the system by hints, as
//! those of a `pcs serve` beside it would be.

use std::time::Duration;

use anyhow::{Context, bail};
use pcs::lifecycle::Lifecycle;
use pcs::roles::services;
use pcs_bus::{Bus, BusConfig};
use pcs_domain::ids::{ActorId, CommandId, PromptCardId, TenantId, TestRunId};
use pcs_domain::model::{ModelParams, ModelSpec, Script};
use pcs_domain::prompt_card::{CaseDraft, Create, OnDuplicate, PromptCard, PromptCardCommand};
use pcs_domain::test_run::{CancelCause, Lane, Requested, Terms, TestRun, TestRunCommand};
use pcs_projections::{execution_results, run_summary, wait_for_position};
use pcs_store::{CommandContext, Expected, Store, execute};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::ground::Ground;
use crate::role::{Role, wait_for};

/// Longest time that a run may take.
const RUN_MAX: Duration = Duration::from_secs(600);
/// How often it is looked whether a run has ended.
const LOOK: Duration = Duration::from_millis(5);

/// The system. `stop` ends it in order.
pub(crate) struct System {
    pub(crate) ground: Ground,
    pub(crate) workers: Vec<Role>,
    up: Role,
    hints: Lifecycle,
}

/// A card with cases of one small variable each.
pub(crate) struct Card {
    pub(crate) tenant: TenantId,
    id: PromptCardId,
    revision: i64,
    pub(crate) cases: u32,
}

impl System {
    /// Starts `pcs up`, and so many `pcs work` of so many slots.
    pub(crate) async fn start(workers: usize, slots: u32) -> anyhow::Result<Self> {
        let ground = Ground::prepare_with_broker().await?;
        let local = ground.folder().join("local");
        let (local_dir, nats) = (local.display().to_string(), ground.nats_url().to_owned());
        let up = ["up", "--no-demo", "--no-worker", "--listen", "127.0.0.1:0", "--local-dir", &local_dir];
        let servers = ["--database-url", ground.url(), "--nats-url", &nats];
        let up = Role::start(&[up.as_slice(), &servers].concat(), ground.folder(), "up.log")?;
        wait_for(&local.join("endpoints.json"))?;
        let slots = slots.to_string();
        let work = ["work", "--slots", &slots, "--nats-url", &nats];
        let start = |nth| Role::start(&work, ground.folder(), &format!("worker-{nth}.log"));
        let workers = (0..workers).map(start).collect::<anyhow::Result<Vec<_>>>()?;
        let hints = Lifecycle::default();
        services::hints(&hints, ground.store.clone(), BusConfig { url: nats, name: "bench hints".to_owned() });
        Ok(Self { ground, workers, up, hints })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.ground.store
    }

    /// A connection to the broker, for a worker in this process.
    pub(crate) async fn bus(&self) -> anyhow::Result<Bus> {
        Ok(Bus::connect(&BusConfig { url: self.ground.nats_url().to_owned(), name: "bench".to_owned() }).await?)
    }

    /// Waits until a run has ended and the read models of runs and results show it.
    pub(crate) async fn shown(&self, tenant: TenantId, run: TestRunId) -> anyhow::Result<()> {
        let deadline = Instant::now() + RUN_MAX;
        while !matches!(self.store().load::<TestRun>(tenant, run.0).await?.state, TestRun::Completed(..)) {
            if Instant::now() > deadline {
                bail!("the run did not end within {RUN_MAX:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
        // The completion is the run's last event.
        let head = self.store().head().await?;
        for name in [run_summary::NAME, execution_results::NAME] {
            let shown = wait_for_position(&self.ground.pool, name, head, RUN_MAX).await?;
            anyhow::ensure!(shown, "{name} does not follow the log");
        }
        Ok(())
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        for worker in self.workers {
            worker.stop()?;
        }
        self.hints.stop().await;
        self.up.stop()?;
        self.ground.stop().await;
        Ok(())
    }
}

fn context(tenant: TenantId) -> CommandContext {
    CommandContext::derived(tenant, CommandId(Uuid::new_v4()))
}

/// Makes a card.
pub(crate) async fn card(store: &Store, tenant: TenantId, cases: u32) -> anyhow::Result<Card> {
    let id = PromptCardId(Uuid::new_v4());
    let create = PromptCardCommand::Create(Create {
        title: "measured".to_owned(),
        description: String::new(),
        prompt: "{{n}}".to_owned(),
        model: None,
        category: String::new(),
        tags: Vec::new(),
        metadata: serde_json::Map::new(),
        is_public: false,
        created_by: ActorId(Uuid::nil()),
    });
    execute::<PromptCard>(store, &context(tenant), id.0, Expected::NoStream, create).await?;
    let draft = |n: u32| CaseDraft {
        metadata: serde_json::Map::new(),
        tags: Vec::new(),
        name: String::new(),
        subject: None,
        input: json!({ "n": n }).as_object().cloned().unwrap_or_default(),
        expected_output: None,
        assertions: Vec::new(),
        threshold: None,
    };
    let cases_of = (0..cases).map(draft).collect();
    let add = PromptCardCommand::AddCases { card: id, cases: cases_of, on_duplicate: OnDuplicate::Refuse };
    let added = execute::<PromptCard>(store, &context(tenant), id.0, Expected::Exists, add).await?;
    Ok(Card { tenant, id, revision: added.revision, cases })
}

/// Requests a run of a card without assertions; answers when the request is committed.
pub(crate) async fn request(store: &Store, card: &Card, model: &ModelSpec, repeats: u16) -> anyhow::Result<TestRunId> {
    let run = TestRunId(Uuid::new_v4());
    let requested = Requested {
        grader: None,
        partials: Vec::new(),
        skips: Vec::new(),
        name: "measured".to_owned(),
        card_id: card.id,
        card_revision: card.revision,
        versions: vec![1],
        models: vec![model.clone()],
        case_ids: None,
        cases: card.cases,
        repeats,
        assertions: Vec::new(),
        threshold: None,
        // The domain counts them.
        executions: 0,
        lane: Lane::Std,
        requested_by: ActorId(Uuid::nil()),
        terms: Terms::default(),
        retry: None,
        schedule_id: None,
        source: None,
    };
    let command = TestRunCommand::Request(Box::new(requested));
    execute::<TestRun>(store, &context(card.tenant), run.0, Expected::NoStream, command).await?;
    Ok(run)
}

/// Stops a run.
pub(crate) async fn cancel(store: &Store, tenant: TenantId, run: TestRunId) -> anyhow::Result<()> {
    let command = TestRunCommand::Cancel { reason: String::new(), cancelled_by: None, cause: CancelCause::Asked };
    execute::<TestRun>(store, &context(tenant), run.0, Expected::Exists, command).await?;
    Ok(())
}

/// The cheapest model: it says at once what it was told.
pub(crate) fn echo() -> ModelSpec {
    ModelSpec {
        transform: None,
        id: "echo".to_owned(),
        label: None,
        base_url: None,
        params: ModelParams::default(),
        script: None,
    }
}

/// A model that takes this long to say the same.
pub(crate) fn scripted(latency: Duration) -> anyhow::Result<ModelSpec> {
    let latency_ms = u64::try_from(latency.as_millis()).context("the latency is too long")?;
    let script = Some(Script { latency_ms, ..Script::default() });
    Ok(ModelSpec { id: "scripted".to_owned(), script, ..echo() })
}
