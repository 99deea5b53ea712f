//! The lines of an exported log, read one after the other and refused where they are not what they should be.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

use super::{ImportError, fault};
use crate::transfer::{ClosedLine, EXPORT_FORMAT, EventLine, Footer, Header, LinesDigest};

/// Longest line, in bytes: more than an event can be, and little enough to be held.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How a footer begins; no event line does.
const FOOTER_START: &[u8] = b"{\"count\":";
/// How the line of a closed stream begins.
const CLOSED_START: &[u8] = b"{\"closed_stream\":";

/// A file that is being read.
pub(super) struct Lines<R> {
    source: R,
    number: u64,
    digest: LinesDigest,
    text: Vec<u8>,
    /// The position that the next event must have, and the last one.
    expected: i64,
    last: i64,
    count: u64,
    closed: Vec<ClosedLine>,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            number: 0,
            digest: LinesDigest::default(),
            text: Vec::new(),
            expected: 0,
            last: 0,
            count: 0,
            closed: Vec::new(),
        }
    }

    /// The streams that the lines so far say are closed.
    pub(super) fn closed(&self) -> &[ClosedLine] {
        &self.closed
    }

    /// The number of the line that was read last.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Reads the first line.
    pub(super) async fn header(&mut self) -> Result<Header, ImportError> {
        if !self.read().await? {
            return Err(fault(1, "the file is empty"));
        }
        let header: Header = parse(&self.text, 1)?;
        if header.pcs_export != EXPORT_FORMAT {
            let found = header.pcs_export;
            return Err(fault(1, format!("the format is {found}, and this build reads {EXPORT_FORMAT}")));
        }
        if let Some(tenant) = header.tenant {
            let what = format!("the file has the events of tenant {tenant} alone, and a log has no gaps");
            return Err(fault(1, what));
        }
        if header.from < 1 || header.to < header.from - 1 {
            return Err(fault(1, format!("there are no positions from {} to {}", header.from, header.to)));
        }
        self.digest.add(&self.text);
        (self.expected, self.last) = (header.from, header.to);
        Ok(header)
    }

    /// Reads the next event; none after the last one, whose footer has then been compared.
    pub(super) async fn event(&mut self) -> Result<Option<EventLine>, ImportError> {
        loop {
            if !self.read().await? {
                let what = "the file breaks off: there is no last line with count and digest";
                return Err(fault(self.number + 1, what));
            }
            if !self.text.starts_with(CLOSED_START) {
                break;
            }
            self.closed.push(parse(&self.text, self.number)?);
            self.digest.add(&self.text);
        }
        let number = self.number;
        if self.text.starts_with(FOOTER_START) {
            return self.footer().await.map(|()| None);
        }
        let event: EventLine = parse(&self.text, number)?;
        if event.position != self.expected || event.position > self.last {
            let what = if self.expected > self.last {
                format!("position {} is beyond {}, where the file ends", event.position, self.last)
            } else {
                format!("position {} stands where {} should", event.position, self.expected)
            };
            return Err(fault(number, what));
        }
        if event.version < 1 {
            return Err(fault(number, format!("version {} can't be", event.version)));
        }
        if [&event.payload, event.trace.as_ref().unwrap_or(&String::new())].iter().any(|text| text.contains('\0')) {
            return Err(fault(number, "a text has a character that the database can't keep"));
        }
        if let Err(error) = serde_json::from_str::<&RawValue>(&event.payload) {
            return Err(fault(number, format!("the payload is not JSON: {error}")));
        }
        self.digest.add(&self.text);
        self.expected += 1;
        self.count += 1;
        Ok(Some(event))
    }

    async fn footer(&mut self) -> Result<(), ImportError> {
        let number = self.number;
        let footer: Footer = parse(&self.text, number)?;
        if self.expected <= self.last {
            let missing = self.expected;
            return Err(fault(number, format!("the events from position {missing} to {} are missing", self.last)));
        }
        if footer.count != self.count {
            let what = format!("there are {} events, and {} are announced", self.count, footer.count);
            return Err(fault(number, what));
        }
        if footer.sha256 != self.digest.hex() {
            return Err(fault(number, "the digest is another one: some line before this one was changed"));
        }
        if self.read().await? {
            return Err(fault(self.number, "there is more after the last line"));
        }
        Ok(())
    }

    /// Reads a line with its end; false at the end of the file.
    async fn read(&mut self) -> Result<bool, ImportError> {
        self.text.clear();
        let mut bounded = (&mut self.source).take(LINE_BYTES_MAX);
        let len = bounded.read_until(b'\n', &mut self.text).await?;
        if len == 0 {
            return Ok(false);
        }
        self.number += 1;
        if self.text.last() != Some(&b'\n') {
            let long = u64::try_from(len).is_ok_and(|len| len == LINE_BYTES_MAX);
            let what = if long { "the line is too long" } else { "the file breaks off inside of this line" };
            return Err(fault(self.number, what));
        }
        Ok(true)
    }
}

fn parse<T: DeserializeOwned>(text: &[u8], number: u64) -> Result<T, ImportError> {
    serde_json::from_slice(text).map_err(|error| fault(number, format!("it can't be read: {error}")))
}
