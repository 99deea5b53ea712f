//! A data subject's case: fetched sealed, and reported sealed, in one session with the relay.

use pcs_domain::execution::ExecutionRef;
use pcs_domain::ids::TenantId;
use pcs_domain::jobs::test_execution::{Outcome, Told, session_place};
use pcs_domain::prompt_card::TestCase;
use pcs_sealing::{Hello, SealError, Session};
use serde_json::{Map, Value};

/// A session that the relay has answered.
pub(crate) struct PrivateSession {
    session: Session,
    master: String,
    worker_key: String,
    place: String,
}

impl PrivateSession {
    /// The session that an answer begins, and the case in it.
    ///
    /// # Errors
    /// Where the answer is not for this worker and cell.
    pub(crate) fn begin(
        hello: &Hello,
        (tenant, cell): (TenantId, &ExecutionRef),
        (relay_key, master): (&str, String),
        case: &str,
    ) -> Result<(Self, TestCase), SealError> {
        let session = hello.meet(relay_key)?;
        let place = session_place(tenant, cell);
        let text = session.open_answer(place.as_bytes(), case)?;
        // The parser's error would quote the data.
        let case = serde_json::from_slice(&text).map_err(|_| SealError)?;
        Ok((Self { session, master, worker_key: hello.public_key(), place }, case))
    }

    /// Seals what came of the case.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub(crate) fn seal(&self, input: Map<String, Value>, outcome: Outcome) -> Result<Outcome, SealError> {
        let text = serde_json::to_vec(&Told { input, outcome }).map_err(|_| SealError)?;
        let told = self.session.seal_report(self.place.as_bytes(), &text)?;
        Ok(Outcome::Sealed { master: self.master.clone(), worker_key: self.worker_key.clone(), told })
    }
}
