//! The retention of a day: what was kept for long enough is forgotten.

use std::time::Duration;

use pcs_domain::jobs::on_request::JobFailure;
use pcs_store::Store;
use serde_json::{Map, Value};

use crate::failed;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Forgets once; answers how much.
pub(crate) async fn run(store: &Store, answers: u32, unfinished: u32) -> Result<Map<String, Value>, JobFailure> {
    let forgotten = pcs_relay::forget(store.pool(), DAY * answers, DAY * unfinished).await.map_err(failed)?;
    Ok(Map::from_iter([
        ("answers".to_owned(), forgotten.answers.into()),
        ("unfinished".to_owned(), forgotten.unfinished.into()),
    ]))
}
