//! `pcs es subjects`, `shred` and `keys`: a subject comes, the master keys change, the subject goes.

use std::collections::BTreeSet;

use pcs::commands::exit::ExitStatus;
use pcs_domain::data_subject::SubjectName;
use pcs_domain::ids::TenantId;
use pcs_store::{KeySource, Store, StoreConfig};
use pcs_tests::console::{Ran, es};
use pcs_tests::database::{MASTER_KEYS, TestDatabase};
use serde_json::{Value, json};

/// Runs a command with the keys of a file.
async fn with_keys(url: &str, keys: &str, call: &[&str]) -> Ran {
    es(url, &[call, &["--key-file", keys]].concat()).await
}

/// Keeps something of these subjects.
async fn know(url: &str, keys: &std::path::Path, names: &[&str]) {
    let keys = Some(KeySource::File(keys.to_owned()));
    let store = Store::connect(&StoreConfig { keys, ..StoreConfig::new(url, "test") }).await.unwrap();
    let names: BTreeSet<SubjectName> = names.iter().map(|name| SubjectName::parse(name).unwrap()).collect();
    store.know_subjects(TenantId::DEFAULT, &names).await.unwrap();
}

fn of<'a>(lines: &'a Value, name: &str) -> &'a Value {
    let mut all = lines.as_array().unwrap().iter();
    all.find(|line| line["subject"] == name).unwrap_or_else(|| panic!("no {name} in {lines:#}"))
}

#[tokio::test]
async fn a_subject_is_listed_rekeyed_and_shredded() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().unwrap());
    let (url, path) = (&database.url, folder.path().join("master.keys"));
    let file = path.to_str().unwrap();
    std::fs::write(&path, MASTER_KEYS).unwrap();
    let none = with_keys(url, file, &["subjects"]).await.well();
    assert_eq!((none.out.as_str(), none.err.as_str()), ("", "nothing was found\n"));
    know(url, &path, &["customer-1", "customer-2"]).await;
    let listed = with_keys(url, file, &["subjects", "--json"]).await.well().json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(
        (&of(&listed, "customer-1")["master_key"], &of(&listed, "customer-1")["shredded_at"]),
        (&json!("test"), &Value::Null)
    );
    // Two subjects and the tenant.
    let used = with_keys(url, file, &["keys", "ls"]).await.well().out;
    assert_eq!(used, "master key  wraps\ntest            3\n");

    let added = with_keys(url, file, &["keys", "add", "--json"]).await.well().json();
    let fresh = added["master_key"].as_str().unwrap();
    assert!(fresh.starts_with("master-") && added["file"] == file, "{added}");
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2, "the former key is kept");
    assert_eq!(with_keys(url, file, &["keys", "rotate", "--json"]).await.well().json(), json!({ "rotated": 3 }));
    assert_eq!(with_keys(url, file, &["keys", "rotate"]).await.well().out, "rotated  0\n");
    let used = with_keys(url, file, &["keys", "ls", "--json"]).await.well().json();
    assert_eq!(used, json!([{ "master_key": fresh, "wraps": 3 }]));

    let asked = with_keys(url, file, &["shred", "customer-1"]).await;
    assert_eq!(asked.status, ExitStatus::WrongUse);
    assert!(asked.err.contains("unreadable for ever") && asked.err.contains("mend: add --yes"), "{}", asked.err);
    let id = of(&listed, "customer-1")["id"].clone();
    for already in [false, true] {
        let done = with_keys(url, file, &["shred", "customer-1", "--yes", "--json"]).await.well().json();
        assert_eq!(done, json!({ "id": id, "already": already }));
    }
    let again = with_keys(url, file, &["shred", "customer-1", "--yes"]).await.well().out;
    assert!(again.ends_with("done     had been shredded before\n"), "{again}");
    let left = with_keys(url, file, &["subjects", "--json"]).await.well().json();
    let gone = left.as_array().unwrap().iter().find(|line| line["id"] == id).unwrap();
    assert!(gone["subject"].is_null() && gone["master_key"].is_null() && gone["shredded_at"].is_string(), "{gone}");
    assert!(of(&left, "customer-2")["shredded_at"].is_null());
    let shown = with_keys(url, file, &["subjects"]).await.well().out;
    assert!(shown.starts_with("id") && shown.contains("customer-2") && !shown.contains("customer-1"), "{shown}");
}

#[tokio::test]
async fn wrong_names_and_missing_keys_are_refused_with_their_mend() {
    let (database, folder) = (TestDatabase::new().await, tempfile::tempdir().unwrap());
    let (url, path) = (&database.url, folder.path().join("master.keys"));
    let file = path.to_str().unwrap();
    std::fs::write(&path, MASTER_KEYS).unwrap();
    know(url, &path, &["customer-1"]).await;
    let unknown = with_keys(url, file, &["shred", "customer-9", "--yes"]).await;
    let expected = "nothing was ever kept of this data subject\n  mend: `pcs es subjects` lists all of them";
    assert_eq!((unknown.status, unknown.err.as_str()), (ExitStatus::WrongUse, expected));
    let nameless = with_keys(url, file, &["shred", "", "--yes"]).await;
    assert_eq!(nameless.status, ExitStatus::WrongUse);
    assert!(nameless.err.contains("mend: name the subject as the cases do"), "{}", nameless.err);

    let missing = folder.path().join("missing.keys");
    let other = folder.path().join("other.keys");
    std::fs::write(&other, "other 6f746865726f746865726f746865726f746865726f746865726f746865726f74").unwrap();
    let damaged = folder.path().join("damaged.keys");
    std::fs::write(&damaged, "test nothing").unwrap();
    let cases = [
        (&missing, "set PCS_KEY_FILE to the file that has them"),
        (&other, "wrapped by the master key test, which this process does not have: add its line"),
        (&damaged, "the master keys can't be used: "),
    ];
    for (keys, expected) in cases {
        let keys = keys.to_str().unwrap();
        for call in [&["subjects"][..], &["shred", "customer-1", "--yes"], &["keys", "rotate"]] {
            let refused = with_keys(url, keys, call).await;
            assert_eq!(refused.status, ExitStatus::WrongUse, "{call:?} with {keys}: {refused:?}");
            assert!(refused.err.contains(expected), "{call:?} with {keys}: {}", refused.err);
        }
    }
    // None of it has destroyed anything.
    let listed = with_keys(url, file, &["subjects", "--json"]).await.well().json();
    assert!(of(&listed, "customer-1")["shredded_at"].is_null());
    // A key file is made where there is none.
    with_keys(url, missing.to_str().unwrap(), &["keys", "add"]).await.well();
    assert_eq!(std::fs::read_to_string(&missing).unwrap().lines().count(), 1);
}
