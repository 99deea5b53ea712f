//! `reviews.v1`: one row the review of a run, its answers and reviewers, and the verdicts that people overrode.

mod fold;
mod queries;

use pcs_domain::Category;
use pcs_store::Recorded;
use sqlx::PgConnection;

pub use self::queries::{
    ItemRow, PartRow, ReviewFilter, ReviewRow, Scoring, by_run, items, page, recorded_verdicts, scorings,
};
use crate::{BoxFuture, Projection, ProjectionError};

/// The name of the projection and of its checkpoint.
pub const NAME: &str = "reviews.v1";

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct Reviews;

impl Projection for Reviews {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tables(&self) -> &'static [&'static str] {
        &["review", "review_item", "review_part", "verdict_override"]
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Review]
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        batch: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), ProjectionError>> {
        Box::pin(async move {
            // What people do is little: a statement each is enough.
            for recorded in batch {
                fold::fold(connection, recorded).await?;
            }
            Ok(())
        })
    }
}
