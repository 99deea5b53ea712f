//! The archive of a day: closed partitions that every reader has read go into object storage.

use std::time::Duration;

use pcs_domain::execution::FailureClass;
use pcs_domain::jobs::on_request::JobFailure;
use pcs_store::{ArchiveRun, ArchiveStep, Reader, Store};
use serde_json::{Map, Value};

use crate::failed;

/// Runs the archive once; answers how many partitions went.
pub(crate) async fn run(store: &Store, keep: u32, grace_hours: u32) -> Result<Map<String, Value>, JobFailure> {
    if !store.has_archive() {
        let error = "no archive is set up: start `pcs relay` with --archive-url";
        return Err(JobFailure::new(FailureClass::BadRequest, error));
    }
    let run = ArchiveRun {
        keep,
        grace: Duration::from_secs(u64::from(grace_hours) * 3_600),
        readers: readers(store).await.map_err(failed)?,
        ..ArchiveRun::default()
    };
    let (mut detached, mut dropped) = (0_u64, 0_u64);
    let mut told = |step: ArchiveStep| match step {
        ArchiveStep::Detached { .. } => detached += 1,
        ArchiveStep::Dropped { .. } => dropped += 1,
        ArchiveStep::Written { .. }
        | ArchiveStep::Verified { .. }
        | ArchiveStep::Loaded { .. }
        | ArchiveStep::Attached { .. } => (),
    };
    store.archive_run(&run, &mut told).await.map_err(failed)?;
    Ok(Map::from_iter([("detached".to_owned(), detached.into()), ("dropped".to_owned(), dropped.into())]))
}

/// Everybody who follows the log, and how far: nothing is archived that one of them has not read.
///
/// # Errors
/// Where the database does not answer.
pub async fn readers(store: &Store) -> Result<Vec<Reader>, pcs_projections::ProjectionError> {
    let projections = pcs_projections::checkpoints(store.pool()).await?;
    let named = |(name, position)| Reader { name: format!("projection {name}"), position };
    let mut readers: Vec<Reader> = projections.into_iter().map(named).collect();
    let position = pcs_relay::cursor(store.pool()).await?;
    readers.push(Reader { name: "the relay".to_owned(), position });
    Ok(readers)
}
