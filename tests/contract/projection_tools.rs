//! `pcs es projection` and `pcs es park`: one life of a read model, from its first event to a build that replaces it.

use pcs::commands::exit::ExitStatus;
use pcs_store::Store;
use pcs_tests::console::{Ran, es};
use pcs_tests::database::TestDatabase;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::log_tools;
use crate::projections::{append, catch_up, history};
use crate::verification::unprotected;

const NAME: &str = "card_list.v1";
/// A card of the history.
const CARD: Uuid = Uuid::from_u128(100);

async fn all_catch_up(store: &Store) {
    for projection in pcs_projections::all() {
        catch_up(store, &*projection, 1_000).await;
    }
}

/// One page for the read model of these tests, however it is.
async fn one_page(store: &Store) {
    let projection = pcs_projections::all().into_iter().find(|projection| projection.name() == NAME).unwrap();
    // A page that can't be applied is told by the state.
    drop(pcs_projections::step(store, &*projection, 1_000).await);
}

/// One more event of a card.
async fn tag(store: &Store, card: Uuid) {
    use pcs_domain::prompt_card::{PromptCardEvent, Tagged};
    append(store, card, &[PromptCardEvent::Tagged(Tagged { tags: vec!["new".to_owned()] })]).await;
}

/// The generation of the read model as `projection ls` or one of its neighbours shows it.
fn state<'a>(states: &'a Value, generation: &str) -> &'a Value {
    let mut all = states.as_array().unwrap().iter();
    let found = all.find(|state| state["name"] == NAME && state["generation"] == generation);
    found.unwrap_or_else(|| panic!("no {generation} in {states:#}"))
}

async fn shown(url: &str, generation: &str) -> Value {
    state(&es(url, &["projection", "ls", "--json"]).await.well().json(), generation).clone()
}

async fn titles(store: &Store) -> Vec<String> {
    let titles = "select distinct title from read.card order by 1";
    sqlx::query_scalar(titles).fetch_all(store.pool()).await.unwrap()
}

fn refused(ran: &Ran, message: &str, mend: &str) {
    assert_eq!(ran.status, ExitStatus::WrongUse, "{ran:?}");
    assert_eq!(ran.err, format!("{message}\n  mend: {mend}"));
}

#[tokio::test]
async fn a_read_model_is_paused_and_resumed_and_its_lag_is_told() {
    let database = TestDatabase::new().await;
    let (store, url) = (database.store().await, &database.url);
    // Before any process has run it.
    let paused = es(url, &["projection", "pause", "card_list", "--json"]).await.well().json();
    assert_eq!(state(&paused, "live")["status"], "paused");
    history(&store).await;
    one_page(&store).await;
    let head = store.head().await.unwrap();
    let lag = es(url, &["projection", "lag", "--json"]).await.well().json();
    let behind = state(&lag, "live");
    assert_eq!((&behind["status"], &behind["lag_events"]), (&json!("paused"), &json!(head)));
    assert!(behind["lag_seconds"].as_f64().unwrap() > 0.0);
    let resumed = es(url, &["projection", "resume", NAME, "--json"]).await.well().json();
    assert_eq!(state(&resumed, "live")["status"], "running");
    all_catch_up(&store).await;
    let listed = es(url, &["projection", "ls"]).await.well().out;
    assert!(listed.starts_with("name                  generation  status   position  behind  parked"), "{listed}");
    assert_eq!(listed.lines().count(), 1 + pcs_projections::all().len(), "{listed}");
    assert!(listed.contains(&format!("{NAME}          live        running  {head:8}       0")), "{listed}");
    let lag = es(url, &["projection", "lag"]).await.well().out;
    assert!(lag.contains("card_list.v1          running       0    0.000  -"), "{lag}");
    for call in [&["pause", "cards"][..], &["rebuild", "card"], &["promote", "card_list.v9"]] {
        let ran = es(url, &[&["projection"], call].concat()).await;
        let names: Vec<_> = pcs_projections::all().iter().map(|projection| projection.name()).collect();
        refused(&ran, &format!("there is no read model {}", call[1]), &format!("take one of {}", names.join(", ")));
    }
}

#[tokio::test]
async fn a_read_model_is_built_anew_compared_promoted_and_put_back() {
    let database = TestDatabase::new().await;
    let (store, url) = (database.store().await, &database.url);
    log_tools::history(&store).await;
    all_catch_up(&store).await;
    let no_build = "card_list.v1 has no generation next";
    for command in ["promote", "shadow"] {
        let ran = es(url, &["projection", command, "card_list"]).await;
        refused(&ran, no_build, "`pcs es projection rebuild` makes one");
    }
    let ran = es(url, &["projection", "rollback", "card_list"]).await;
    let mend = "`pcs es projection promote` leaves one, until it is dropped";
    refused(&ran, "card_list.v1 has no generation old", mend);
    let ran = es(url, &["projection", "drop", "card_list"]).await;
    refused(&ran, "card_list.v1 is live", "only what nobody reads can be dropped");

    let built = es(url, &["projection", "rebuild", "card_list", "--json"]).await.well().json();
    assert_eq!((&state(&built, "next")["status"], &state(&built, "next")["position"]), (&json!("ready"), &json!(12)));
    // It stays ready where somebody tells it to go on, and can be built on.
    let resumed = es(url, &["projection", "resume", "card_list", "--generation", "next", "--json"]).await.well().json();
    assert_eq!(state(&resumed, "next")["status"], "ready");
    let rebuilt = es(url, &["projection", "rebuild", "card_list", "--json"]).await.well().json();
    assert_eq!(state(&rebuilt, "next")["status"], "ready");
    let same = es(url, &["projection", "shadow", "card_list"]).await.well();
    assert_eq!(same.err, "at position 12 they are the same\n");
    sqlx::query("update read.card set title = 'Wrong'").execute(store.pool()).await.unwrap();
    let differs = es(url, &["projection", "shadow", "card_list"]).await;
    assert_eq!(differs.status, ExitStatus::GateFailed);
    assert_eq!(differs.err, "at position 12 they are not the same\n");
    // It is not promoted where they differ, for that was not meant to change anything.
    let careful = es(url, &["projection", "rebuild", "card_list", "--promote", "--json"]).await;
    assert_eq!((careful.status, titles(&store).await), (ExitStatus::GateFailed, vec!["Wrong".to_owned()]));
    assert_eq!(careful.json()["equal"], false, "one JSON value for programs");

    let promoted = es(url, &["projection", "promote", "card_list", "--json"]).await.well().json();
    assert_eq!(promoted.as_array().unwrap().len(), 2, "{promoted:#}");
    assert_eq!((titles(&store).await, &state(&promoted, "old")["position"]), (vec!["Greeter".to_owned()], &json!(12)));
    es(url, &["projection", "rollback", "card_list"]).await.well();
    assert_eq!(titles(&store).await, ["Wrong"]);
    es(url, &["projection", "rollback", "card_list"]).await.well();
    assert_eq!(titles(&store).await, ["Greeter"]);
    let dropped = es(url, &["projection", "drop", "card_list", "--generation", "old", "--json"]).await.well().json();
    assert_eq!(dropped.as_array().unwrap().len(), 1, "{dropped:#}");
    let again = es(url, &["projection", "rebuild", "card_list", "--promote"]).await.well();
    assert!(again.out.contains("live        running") && again.out.contains("old "), "{again:?}");
}

/// Replaces the payload of an event that is there; answers what it was.
async fn forge(connection: &mut PgConnection, position: i64, payload: &str) -> String {
    let read = "select payload from es.event where position = $1";
    let before = sqlx::query_scalar(read).bind(position).fetch_one(&mut *connection).await.unwrap();
    let write = "update es.event set payload = $2 where position = $1";
    sqlx::query(write).bind(position).bind(payload).execute(connection).await.unwrap();
    before
}

#[tokio::test]
async fn an_event_that_stops_a_read_model_is_named_and_tried_again() {
    let database = TestDatabase::new().await;
    let (store, url) = (database.store().await, &database.url);
    log_tools::history(&store).await;
    let mut connection = unprotected(&database).await;
    let payload = forge(&mut connection, 2, r#"{"nonsense":7}"#).await;
    one_page(&store).await;
    one_page(&store).await;
    let lag = es(url, &["projection", "lag"]).await;
    assert_eq!(lag.status, ExitStatus::GateFailed);
    let stopped = shown(url, "live").await;
    assert_eq!((&stopped["status"], &stopped["position"]), (&json!("stopped"), &json!(1)));
    assert_eq!(stopped["failure"]["position"], 2);
    let listed = es(url, &["projection", "ls"]).await.well().out;
    assert!(listed.contains("event 2 (prompt_card.revised.v2, stream "), "{listed}");
    forge(&mut connection, 2, &payload).await;
    es(url, &["projection", "resume", "card_list"]).await.well();
    all_catch_up(&store).await;
    assert_eq!(es(url, &["projection", "lag"]).await.status, ExitStatus::Success);
}

#[tokio::test]
async fn parked_events_are_listed_shown_retried_and_given_up() {
    let database = TestDatabase::new().await;
    let (store, url) = (database.store().await, &database.url);
    log_tools::history(&store).await;
    let card = log_tools::CARD;
    tag(&store, card).await;
    let mut connection = unprotected(&database).await;
    let payload = forge(&mut connection, 2, r#"{"nonsense":7}"#).await;
    es(url, &["projection", "policy", "card_list", "park-stream"]).await.well();
    all_but_stopped(&store).await;
    assert_eq!(shown(url, "live").await["parked"], 2);
    let listed = es(url, &["park", "ls", "card_list", "--json"]).await.well().json();
    let of = |number: usize, field: &str| listed[number][field].clone();
    assert_eq!((of(0, "position"), of(0, "state"), of(0, "attempts")), (json!(2), json!("parked"), json!(1)));
    assert_eq!((of(1, "position"), of(1, "state"), of(1, "error")), (json!(13), json!("queued"), Value::Null));
    let lane = of(0, "lane").as_str().unwrap().to_owned();
    assert_eq!(lane, card.to_string());
    let first = es(url, &["park", "ls", "card_list", "--limit", "1"]).await.well();
    assert!(first.out.contains("prompt_card.revised.v2") && first.err == "there are more: --after 2\n", "{first:?}");
    let rest = es(url, &["park", "ls", "card_list", "--after", "2"]).await.well();
    assert!(rest.out.contains("queued") && rest.err.is_empty(), "{rest:?}");
    let shown_one = es(url, &["park", "show", "card_list", "2"]).await.well().out;
    assert!(shown_one.contains("version     2\n") && shown_one.contains("state       parked\n"), "{shown_one}");

    let failed = es(url, &["park", "retry", "card_list", &lane, "--json"]).await;
    assert_eq!((failed.status, failed.json()), (ExitStatus::GateFailed, json!({ "applied": 0, "left": 2 })));
    forge(&mut connection, 2, &payload).await;
    let drained = es(url, &["park", "retry", "card_list", &lane]).await.well();
    assert_eq!(drained.out, "applied  2\nleft     0\n");
    refused(
        &es(url, &["park", "retry", "card_list", &lane]).await,
        &format!("nothing is parked in lane {lane}"),
        "`pcs es park ls` lists what is",
    );

    tag(&store, card).await;
    tag(&store, card).await;
    forge(&mut connection, 14, r#"{"nonsense":7}"#).await;
    all_but_stopped(&store).await;
    let skipped = es(url, &["park", "skip", "card_list", &lane, "--json"]).await.well().json();
    assert_eq!(skipped, json!({ "applied": 1, "left": 0 }));
    assert_eq!((&shown(url, "live").await["parked"], &shown(url, "live").await["skipped"]), (&json!(0), &json!(1)));
    let kept = es(url, &["park", "show", "card_list", "14", "--json"]).await.well().json();
    assert_eq!(kept["state"], "skipped");

    let none = es(url, &["park", "show", "card_list", "99"]).await;
    refused(&none, "card_list.v1 has set no event 99 aside", "`pcs es park ls` lists what it has");
    let unknown = es(url, &["park", "ls", "cards"]).await;
    assert!(unknown.status == ExitStatus::WrongUse && unknown.err.starts_with("there is no read model cards\n"));
    let strange = es(url, &["park", "skip", "card_list", &CARD.to_string()]).await;
    assert_eq!(strange.status, ExitStatus::WrongUse);
}

/// Steps the read model to the end of the log, past what it parks.
async fn all_but_stopped(store: &Store) {
    for _ in 0..5 {
        one_page(store).await;
    }
    let states = pcs_projections::states(store).await.unwrap();
    assert_eq!(states[0].lag_events, 0, "{states:#?}");
}
