//! The client against a server that is slow, broken, refusing or not there.

use serde_json::json;

use super::cards::CardFilter;
use super::error::ApiError;
use super::fake_server::{FakeServer, Reply};
use super::wire::{CardChange, NewCard, NewCases};

fn card() -> Reply {
    Reply::json(200, json!({ "id": "c1", "title": "T", "version": 1, "revision": 3 }))
}

fn new_card() -> NewCard {
    NewCard { title: "T".to_owned(), prompt: "P".to_owned(), ..NewCard::default() }
}

fn busy(status: u16) -> Reply {
    Reply::problem(status, json!({ "code": "busy", "title": "Busy" })).with("retry-after", "0")
}

#[tokio::test]
async fn a_command_is_tried_again_with_the_same_idempotency_key() {
    let server = FakeServer::in_order(vec![busy(503), busy(429), busy(502), card()]);
    let made = server.api().create_card(&new_card()).await.unwrap();
    assert_eq!((made.id.as_str(), made.revision), ("c1", 3));
    let asked = server.asked();
    assert_eq!(asked.len(), 4);
    let keys: std::collections::BTreeSet<_> = asked.iter().map(|asked| &asked.headers["idempotency-key"]).collect();
    assert_eq!(keys.len(), 1);
    assert!(asked.iter().all(|asked| asked.headers["authorization"] == "Bearer pcs_key"));
    assert!(asked.iter().all(|asked| asked.json() == json!({ "title": "T", "prompt": "P" })));
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    let server = FakeServer::in_order(vec![Reply::dropped(), card()]);
    server.api().create_card(&new_card()).await.unwrap();
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn two_commands_have_two_keys() {
    let server = FakeServer::in_order(vec![card()]);
    let api = server.api();
    api.create_card(&new_card()).await.unwrap();
    api.create_card(&new_card()).await.unwrap();
    let asked = server.asked();
    assert_ne!(asked[0].headers["idempotency-key"], asked[1].headers["idempotency-key"]);
}

#[tokio::test]
async fn trying_again_has_an_end() {
    let server = FakeServer::in_order(vec![busy(503)]);
    let error = server.api().card("c1").await.unwrap_err();
    assert_eq!(server.asked().len(), 5);
    assert!(error.may_pass() && !error.is_wrong_use());
    assert_eq!(error.code(), "busy");
}

#[tokio::test]
async fn a_refusal_is_not_tried_again_and_shows_each_mistake() {
    let body = json!({
        "type": "about:blank", "title": "Unprocessable", "status": 422, "code": "missing_variable",
        "detail": "1 case lacks a variable", "request_id": "r1",
        "errors": [{ "field": "cases[0]", "message": "question has no value" }],
    });
    let server = FakeServer::in_order(vec![Reply::problem(422, body)]);
    let error = server.api().create_card(&new_card()).await.unwrap_err();
    assert_eq!(server.asked().len(), 1);
    assert!(error.is_wrong_use());
    assert_eq!(
        error.to_string(),
        "the server refused: 1 case lacks a variable (422 missing_variable)\n  cases[0]: question has no value"
    );
}

#[tokio::test]
async fn a_wrong_key_says_where_to_put_the_right_one_and_is_not_shown() {
    let body = json!({ "code": "unauthenticated", "detail": "the API key is not known" });
    let server = FakeServer::in_order(vec![Reply::problem(401, body)]);
    let error = server.api().card("c1").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server refused: the API key is not known (401 unauthenticated)\n  mend: set PCS_API_KEY to a key of this \
         server, or use the .local/credentials.json it wrote"
    );
    assert!(!format!("{error:?}").contains("pcs_key"));
}

#[tokio::test]
async fn reads_wait_for_the_position_of_the_last_command() {
    let server = FakeServer::in_order(vec![card(), card().with("pcs-position", "41"), card()]);
    let api = server.api();
    api.card("c1").await.unwrap();
    api.create_card(&new_card()).await.unwrap();
    api.card("c1").await.unwrap();
    let lines = server.lines();
    assert_eq!(lines, ["GET /api/v1/cards/c1", "POST /api/v1/cards", "GET /api/v1/cards/c1?min_position=41"]);
}

#[tokio::test]
async fn a_read_of_the_past_waits_for_nothing() {
    let server = FakeServer::in_order(vec![card().with("pcs-position", "41"), card()]);
    let api = server.api();
    api.create_card(&new_card()).await.unwrap();
    api.card_as_of("c1", "2026-01-02T05:04:05+02:00").await.unwrap();
    let asked = "GET /api/v1/cards/c1?as_of=2026-01-02T05%3A04%3A05%2B02%3A00";
    assert_eq!(server.lines(), ["POST /api/v1/cards", asked]);
}

#[tokio::test]
async fn a_change_names_the_revision_that_it_saw() {
    let server = FakeServer::in_order(vec![card()]);
    let change = CardChange { prompt: Some("new".to_owned()), ..CardChange::default() };
    server.api().change_card("c1", 7, &change).await.unwrap();
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "PATCH /api/v1/cards/c1");
    assert_eq!(asked.headers["if-match"], "\"7\"");
    assert_eq!(asked.json(), json!({ "prompt": "new" }));
}

#[tokio::test]
async fn what_users_type_stays_one_part_of_the_path() {
    let server = FakeServer::in_order(vec![card()]);
    let api = server.api();
    api.unlabel_card("c1", "a/../b?x#y").await.unwrap();
    let filter = CardFilter { title: Some("a&b=ü".to_owned()), ..CardFilter::default() };
    drop(api.cards(&filter, 2, None).await);
    assert!(matches!(api.card("..").await.unwrap_err(), ApiError::Client { .. }));
    let lines = server.lines();
    assert_eq!(lines[0], "DELETE /api/v1/cards/c1/labels/a%2F..%2Fb%3Fx%23y");
    assert_eq!(lines[1], "GET /api/v1/cards?limit=2&archived=false&title=a%26b%3D%C3%BC");
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = FakeServer::in_order(vec![Reply::json(302, json!({})).with("location", "http://evil.example/")]);
    let error = server.api().card("c1").await.unwrap_err();
    assert!(error.to_string().contains("a redirect to http://evil.example/, which is not followed"), "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn an_answer_of_something_else_is_named() {
    let page =
        Reply { headers: vec![("content-type".into(), "text/html".into())], ..Reply::json(200, json!("<html>")) };
    let error = FakeServer::in_order(vec![page.clone()]).api().card("c1").await.unwrap_err();
    assert!(error.to_string().contains("an answer that can't be read"), "{error}");
    let missing = Reply { status: 404, ..page };
    let error = FakeServer::in_order(vec![missing]).api().card("c1").await.unwrap_err();
    assert!(error.to_string().contains("404 Not Found with a body of the type \"text/html\""), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_so() {
    // Bound and kept, but nobody listens: a port that was given back would be another test's in a moment.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let free = taken.local_addr().unwrap().port();
    let url = Some(format!("http://127.0.0.1:{free}"));
    let nowhere = std::path::Path::new("/nowhere");
    let connection = super::connection::Connection::find(url, Some("k".to_owned()), nowhere).unwrap();
    let error = super::Api::new(&connection).unwrap().card("c1").await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("the server at http://127.0.0.1:{free} does not answer: Connection refused")),
        "{error}"
    );
    assert!(error.ends_with("mend: is it running? `pcs up` starts one"), "{error}");
}

#[tokio::test]
async fn cases_are_sent_without_what_they_lack() {
    let server =
        FakeServer::in_order(vec![Reply::json(200, json!({ "case_ids": ["x"], "case_count": 4, "added": 1 }))]);
    let draft = pcs_domain::prompt_card::CaseDraft::default();
    let cases = NewCases { cases: vec![(&draft).into()], on_duplicate: "change" };
    let added = server.api().add_cases("c1", &cases).await.unwrap();
    assert_eq!((added.added, added.case_count, added.case_ids.len()), (1, 4, 1));
    assert_eq!(server.asked()[0].json(), json!({ "cases": [{ "input": {} }], "on_duplicate": "change" }));
}
