//! Rows in PostgreSQL's binary COPY format: the fastest way into a table, and no text has to be escaped.

use pcs_domain::Timestamp;
use sqlx::PgConnection;
use sqlx::postgres::PgCopyIn;
use time::Duration;
use uuid::Uuid;

/// What every stream begins with: signature, flags, and no header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The number of fields that says that no row follows.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// The length of a null.
const NULL: [u8; 4] = (-1_i32).to_be_bytes();
/// The first byte of a jsonb value: the version of its format; its text follows.
const JSONB_VERSION: u8 = 1;
/// PostgreSQL counts its microseconds from the year 2000.
const YEAR_2000: Duration = Duration::seconds(946_684_800);
/// Bytes from which on rows are sent.
const CHUNK_BYTES: usize = 64 * 1024;

/// Rows of one table, encoded. Fields are put in the order of the statement's columns.
pub(crate) struct Rows {
    bytes: Vec<u8>,
    fields: i16,
}

impl Rows {
    /// No rows yet, of `fields` columns each.
    pub(crate) fn new(fields: i16) -> Self {
        Self { bytes: HEADER.to_vec(), fields }
    }

    /// Begins a row; its fields follow.
    pub(crate) fn row(&mut self) -> &mut Self {
        self.bytes.extend_from_slice(&self.fields.to_be_bytes());
        self
    }

    /// An `int`.
    pub(crate) fn int(&mut self, value: i32) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    /// A `bigint`.
    pub(crate) fn bigint(&mut self, value: impl Into<Option<i64>>) -> &mut Self {
        self.opt(value.into().map(i64::to_be_bytes).as_ref())
    }

    /// A `double precision`.
    pub(crate) fn double(&mut self, value: Option<f64>) -> &mut Self {
        self.opt(value.map(f64::to_be_bytes).as_ref())
    }

    /// A `uuid`.
    pub(crate) fn uuid(&mut self, value: Uuid) -> &mut Self {
        self.field(value.as_bytes())
    }

    /// A `bool`.
    pub(crate) fn bool(&mut self, value: bool) -> &mut Self {
        self.field(&[u8::from(value)])
    }

    /// A `text`, which must have no NUL character.
    pub(crate) fn text<'a>(&mut self, value: impl Into<Option<&'a str>>) -> &mut Self {
        self.opt(value.into().map(str::as_bytes))
    }

    /// A `jsonb`, from its text.
    pub(crate) fn jsonb(&mut self, text: &str) -> &mut Self {
        self.len(text.len() + 1);
        self.bytes.push(JSONB_VERSION);
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    /// A `jsonb` of a JSON text, or a null.
    pub(crate) fn jsonb_opt(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.jsonb(text),
            None => self.opt(None::<&[u8]>),
        }
    }

    /// A `timestamptz`.
    pub(crate) fn timestamp(&mut self, value: impl Into<Option<Timestamp>>) -> &mut Self {
        let micros = value.into().map(|at| {
            let since = at.get() - Timestamp::EPOCH.get() - YEAR_2000;
            // The calendar of both ends long before 64 bits of microseconds do.
            i64::try_from(since.whole_microseconds()).unwrap_or(i64::MAX)
        });
        self.bigint(micros)
    }

    fn opt(&mut self, value: Option<impl AsRef<[u8]>>) -> &mut Self {
        match value {
            Some(value) => self.field(value.as_ref()),
            None => {
                self.bytes.extend_from_slice(&NULL);
                self
            }
        }
    }

    fn field(&mut self, value: &[u8]) -> &mut Self {
        self.len(value.len());
        self.bytes.extend_from_slice(value);
        self
    }

    fn len(&mut self, len: usize) {
        // An event is smaller than 2 GiB by far; were it not, the server would refuse the row.
        self.bytes.extend_from_slice(&i32::try_from(len).unwrap_or(i32::MAX).to_be_bytes());
    }
}

/// A table that rows are sent to while further ones are encoded: the server works on the former meanwhile.
pub(crate) struct Load<'c> {
    rows: Rows,
    copy: PgCopyIn<&'c mut PgConnection>,
}

impl<'c> Load<'c> {
    /// Begins to send rows of `fields` columns: `statement` is a `copy ... from stdin with (format binary)`.
    pub(crate) async fn begin(
        connection: &'c mut PgConnection,
        statement: &str,
        fields: i16,
    ) -> Result<Self, sqlx::Error> {
        Ok(Self { rows: Rows::new(fields), copy: connection.copy_in_raw(statement).await? })
    }

    /// Where the next row is put.
    pub(crate) fn rows(&mut self) -> &mut Rows {
        &mut self.rows
    }

    /// Sends what was put, once it is worth it.
    pub(crate) async fn send(&mut self) -> Result<(), sqlx::Error> {
        if self.rows.bytes.len() >= CHUNK_BYTES {
            self.copy.send(self.rows.bytes.as_slice()).await?;
            self.rows.bytes.clear();
        }
        Ok(())
    }

    /// Sends the rest; answers how many rows were written.
    pub(crate) async fn finish(mut self) -> Result<u64, sqlx::Error> {
        self.rows.bytes.extend_from_slice(&TRAILER);
        self.copy.send(self.rows.bytes.as_slice()).await?;
        self.copy.finish().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_its_fields_with_their_lengths() {
        let mut rows = Rows::new(4);
        rows.row().int(7).text("ab").bigint(None).jsonb("{}");
        let expected =
            b"\x00\x04\x00\x00\x00\x04\x00\x00\x00\x07\x00\x00\x00\x02ab\xff\xff\xff\xff\x00\x00\x00\x03\x01{}";
        assert_eq!(&rows.bytes[HEADER.len()..], expected);
    }

    #[test]
    fn the_year_2000_is_zero() {
        let mut rows = Rows::new(1);
        rows.row().timestamp(Timestamp::EPOCH.plus(std::time::Duration::from_secs(946_684_800)));
        assert_eq!(&rows.bytes[HEADER.len() + 6..], [0; 8]);
    }
}
