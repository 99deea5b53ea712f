//! Loads of cards whose streams are long, with their snapshots and without.

use std::time::Instant;

use pcs_domain::ids::{ActorId, CommandId, TenantId, TestCaseId};
use pcs_domain::prompt_card::{
    CasesAdded, Created, PromptCard, PromptCardCommand, PromptCardEvent, PromptCardRejection, TestCase,
};
use pcs_domain::{Aggregate, Timestamp};
use pcs_store::{Append, CommandContext, Expected, Store};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::ground::Ground;
use crate::report::{Row, Target};
use crate::settings::{Settings, median};

/// Lengths of streams in events, and the most that a load may take of one without snapshots. The shortest has none: it
/// shows that those which need none pay nothing.
const LENGTHS: [(usize, f64); 3] = [(200, 1.1), (1_000, 0.9), (10_000, 0.5)];
/// Loads of a round, of each kind; the median of all counts.
const LOADS_A_ROUND: usize = 12;
/// Events that are appended at once.
const APPEND_LEN: usize = 500;
/// What a case's question has, in bytes: about that of a word problem.
const QUESTION_BYTES: usize = 250;

/// A card that has no snapshots: loaded by the same code in every other way.
#[derive(Clone, Debug, Default)]
struct Bare(PromptCard);

impl Aggregate for Bare {
    type Command = PromptCardCommand;
    type Event = PromptCardEvent;
    type Rejection = PromptCardRejection;

    fn decide(&self, command: PromptCardCommand, at: Timestamp) -> Result<Vec<PromptCardEvent>, PromptCardRejection> {
        self.0.decide(command, at)
    }

    fn evolve(&mut self, event: PromptCardEvent) {
        self.0.evolve(event);
    }
}

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let ground = Ground::prepare().await?;
    let store = &ground.store;
    let mut rows = Vec::new();
    for (length, ratio_max) in LENGTHS {
        let stream = Uuid::new_v4();
        append(store, stream, 0, length).await?;
        store.load::<PromptCard>(TenantId::DEFAULT, stream).await?;
        store.snapshots_written().await;
        // On average a load meets a snapshot that is half an interval old.
        append(store, stream, length, length + (length / 10).max(100) / 2).await?;
        let (mut with, mut without) = (Vec::new(), Vec::new());
        // In turn, so that a machine that changes its speed changes it for both.
        for _ in 0..settings.rounds * LOADS_A_ROUND {
            with.push(load_ms::<PromptCard>(store, stream).await?);
            without.push(load_ms::<Bare>(store, stream).await?);
        }
        let name = format!("snapshot load of {length} events, median");
        rows.push(Row::new(&name, median(with), "without", median(without), "ms", &Target::AtMost(ratio_max)));
    }
    ground.stop().await;
    Ok(rows)
}

async fn load_ms<A: Aggregate>(store: &Store, stream: Uuid) -> anyhow::Result<f64> {
    let started = Instant::now();
    store.load::<A>(TenantId::DEFAULT, stream).await?;
    Ok(started.elapsed().as_secs_f64() * 1_000.0)
}

fn event(number: usize) -> PromptCardEvent {
    if number == 0 {
        return PromptCardEvent::Created(Created {
            title: "long".to_owned(),
            description: String::new(),
            prompt: "{{question}}".to_owned(),
            model: None,
            category: String::new(),
            tags: Vec::new(),
            metadata: Map::new(),
            is_public: false,
            created_by: ActorId(Uuid::nil()),
        });
    }
    let case = TestCase {
        metadata: serde_json::Map::new(),
        tags: Vec::new(),
        id: TestCaseId(Uuid::new_v4()),
        name: format!("case {number}"),
        input: Map::from_iter([("question".to_owned(), Value::from("x".repeat(QUESTION_BYTES)))]),
        expected_output: Some(number.to_string()),
        assertions: Vec::new(),
        threshold: None,
        subject: None,
    };
    PromptCardEvent::CasesAdded(CasesAdded { cases: vec![case] })
}

/// Appends the events of a card from one number up to another.
async fn append(store: &Store, stream: Uuid, from: usize, to: usize) -> anyhow::Result<()> {
    for start in (from..to).step_by(APPEND_LEN) {
        let events: Vec<_> = (start..to.min(start + APPEND_LEN)).map(event).collect();
        let mut append = Append::new(CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())));
        store.write(&mut append, stream, Expected::Any, &events)?;
        store.append(append).await?;
    }
    Ok(())
}
