//! The OpenAPI 3.1 document: made from the routes themselves, completed with what holds for all of them.

#[expect(dead_code, reason = "only the schemas of these types are used")]
pub(crate) mod answers;
#[expect(dead_code, reason = "only the schemas of these types are used")]
pub(crate) mod projections;
#[expect(dead_code, reason = "only the schemas of these types are used")]
pub(crate) mod usage;
#[expect(dead_code, reason = "only the schemas of these types are used")]
pub(crate) mod jobs;
#[expect(dead_code, reason = "only the schemas of these types are used")]
pub(crate) mod comparison;
#[expect(dead_code, reason = "only the schemas of these types are used")]
pub(crate) mod regrades;
#[expect(dead_code, reason = "only the schemas of these types are used")]
pub(crate) mod reviews;
#[expect(dead_code, reason = "only the schemas of these types are used")]
pub(crate) mod certificates;
#[expect(dead_code, reason = "only the schemas of these types are used")]
pub(crate) mod langfuse;
mod complete;
mod domain;
#[cfg(test)]
mod tests;

use serde_json::Value;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use crate::edge::error_form::LangfuseErrorBody;
use crate::problem::{FieldError, ProblemBody};

pub(crate) use self::domain::{AssertionDoc, ModelSpecDoc, VerdictDoc};

/// The name of the security scheme.
pub(crate) const API_KEY: &str = "api_key";
/// The name of the one that Langfuse's clients have: the key as the password of HTTP Basic.
pub(crate) const LANGFUSE: &str = "langfuse";

/// What is not said by any single route.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Prompt Card System",
        version = "1",
        description = "Prompt cards, their test cases, and runs of them against models. Commands take an \
                       Idempotency-Key and answer with Pcs-Position; reads take min_position to see them."
    ),
    components(schemas(ProblemBody, FieldError, LangfuseErrorBody)),
    modifiers(&Security),
    tags(
        (name = "cards", description = "Prompt cards and their life"),
        (name = "versions", description = "What a card's prompt was, and how versions differ"),
        (name = "labels", description = "Names for versions, such as production"),
        (name = "cases", description = "Test cases of a card"),
        (name = "runs", description = "Runs of versions, models and cases"),
        (name = "results", description = "What came of each execution"),
        (name = "regrades", description = "Recorded answers, graded once more without asking a model"),
        (name = "reviews", description = "What people make of answers: scores, agreement, and verdicts that they override"),
        (name = "playground", description = "Drafts of prompts, tried out without saving them"),
        (name = "jobs", description = "Queues, limits, the fleet, and what ended without an answer"),
        (name = "schedules", description = "Runs at the times of a cron expression"),
        (name = "projections", description = "How the read models are"),
        (name = "subjects", description = "People whose data is in cases and results"),
        (name = "langfuse", description = "Prompts for applications that use a client of Langfuse"),
        (name = "system", description = "How this process is"),
    )
)]
pub(crate) struct ApiDoc;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme(API_KEY, scheme);
        let basic = SecurityScheme::Http(Http::new(HttpAuthScheme::Basic));
        components.add_security_scheme(LANGFUSE, basic);
    }
}

/// The whole document as JSON.
#[must_use]
pub fn document() -> Value {
    let (_, document) = crate::routes::documented().split_for_parts();
    // A document of strings and maps can always be written; the tests read it.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    domain::define(&mut document);
    complete::complete(&mut document);
    document
}
