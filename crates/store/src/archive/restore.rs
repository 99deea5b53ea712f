//! Takes partitions back from the archive into the log, and looks through the archive for damage.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::catalogue::{self, ArchiveState, ArchivedPartition, Attachment};
use super::error::ArchiveError;
use super::finding::ArchiveFinding;
use super::format::{Manifest, unpack};
use super::location::Location;
use super::merkle::{MerkleTree, leaf};
use super::run::ArchiveStep;
use super::verify::{self, slice, verify};
use crate::Store;
use crate::error::StoreError;

impl Store {
    /// Attaches the archived partitions again that have positions between `from` and `to`, each in one transaction; the
    /// archive keeps its copy. Answers how many there were.
    ///
    /// # Errors
    /// Where the database or the archive does not answer, or where what is in the archive is damaged: the partition is
    /// then not attached. [`ArchiveError::Busy`] where an archive run is at work.
    pub async fn archive_restore(
        &self,
        from: i64,
        to: i64,
        told: &mut (dyn FnMut(ArchiveStep) + Send),
    ) -> Result<usize, StoreError> {
        let location = self.inner.archive.location().ok_or(ArchiveError::NoAddress)?.clone();
        let mut connection = self.archive_lock().await?;
        let mut restored = 0;
        for partition in catalogue::partitions(self.pool()).await? {
            let is_meant = partition.first_position <= to && partition.last_position >= from;
            if !is_meant || !partition.state.is_only_archived() {
                continue;
            }
            match catalogue::attachment(self.pool(), partition.number).await? {
                Attachment::Absent => self.load_back(&mut connection, &location, &partition, told).await?,
                Attachment::Detached => self.attach(&mut connection, &partition).await?,
                Attachment::Attached | Attachment::DetachPending => {
                    let why = "it is part of the log, and es.archive says that it is not".to_owned();
                    return Err(ArchiveError::NotRestorable { number: partition.number, why }.into());
                }
            }
            told(ArchiveStep::Attached { number: partition.number });
            restored += 1;
        }
        Ok(restored)
    }

    /// Attaches a table that was detached and is still there.
    async fn attach(&self, connection: &mut PgConnection, partition: &ArchivedPartition) -> Result<(), StoreError> {
        let (partition_len, _) = catalogue::partition_len_and_head(self.pool()).await?;
        let number = partition.number;
        let (first, end) = (number * partition_len, (number + 1) * partition_len);
        let table = catalogue::table(number);
        let mut transaction = connection.begin().await?;
        let statement = format!("alter table es.event attach partition {table} for values from ({first}) to ({end})");
        catalogue::run_on_table(&mut transaction, statement).await?;
        catalogue::set_state(&mut transaction, number, ArchiveState::Restored).await?;
        Ok(transaction.commit().await?)
    }

    /// Makes a table from the archive and attaches it.
    async fn load_back(
        &self,
        connection: &mut PgConnection,
        location: &Location,
        partition: &ArchivedPartition,
        told: &mut (dyn FnMut(ArchiveStep) + Send),
    ) -> Result<(), StoreError> {
        let number = partition.number;
        let manifest = verify::manifest(location, partition).await?;
        let mut transaction = connection.begin().await?;
        sqlx::query("select es.make_partition($1)").bind(number).execute(&mut *transaction).await?;
        let root = load(&mut transaction, location, (partition, &manifest), told).await?;
        if hex::encode(root.root()) != partition.merkle_root {
            let why = "the events that were put back have another Merkle root than those that were archived".to_owned();
            return Err(ArchiveError::NotRestorable { number, why }.into());
        }
        sqlx::query("select es.attach_partition($1)").bind(number).execute(&mut *transaction).await?;
        catalogue::set_state(&mut transaction, number, ArchiveState::Restored).await?;
        Ok(transaction.commit().await?)
    }

    /// Reads every byte of the archived partitions that have positions between `from` and `to`, and answers what is wrong.
    ///
    /// # Errors
    /// Where the database or the archive does not answer.
    pub async fn archive_verify(
        &self,
        from: i64,
        to: i64,
        told: &mut (dyn FnMut(ArchiveStep) + Send),
    ) -> Result<Vec<ArchiveFinding>, StoreError> {
        let location = self.inner.archive.location().ok_or(ArchiveError::NoAddress)?;
        let mut findings = Vec::new();
        for partition in catalogue::partitions(self.pool()).await? {
            let is_meant = partition.first_position <= to && partition.last_position >= from;
            if is_meant && partition.state != ArchiveState::Exporting {
                findings.extend(verify(self, location, &partition).await?);
                told(ArchiveStep::Verified { number: partition.number });
            }
        }
        Ok(findings)
    }
}

/// Puts all events of a partition into its new table; answers the tree over the rows as they are there.
async fn load(
    connection: &mut PgConnection,
    location: &Location,
    (partition, manifest): (&ArchivedPartition, &Manifest),
    told: &mut (dyn FnMut(ArchiveStep) + Send),
) -> Result<MerkleTree, StoreError> {
    let mut tree = MerkleTree::default();
    // Only the number is put into the text. A column that came after the export is null, or has its default.
    let statement = format!(
        "insert into {} as e
         select r.* from unnest($1::text[]) with ordinality t (line, nth),
                json_populate_record(null::es.event, t.line::json) r order by t.nth
         returning e.position, e.hash",
        catalogue::table(partition.number)
    );
    for segment in &manifest.segments {
        let object = partition.object(&segment.object);
        let content = location.get(&object).await?;
        for block in &segment.blocks {
            let text = slice(&content, block).and_then(|packed| unpack(block, &packed));
            let damaged = |why| ArchiveError::Damaged { object: location.address(&object), why };
            let text = text.map_err(damaged)?;
            let lines: Vec<&str> = text.lines().collect();
            let rows: Vec<(i64, Vec<u8>)> =
                sqlx::query_as(AssertSqlSafe(statement.as_str())).bind(lines).fetch_all(&mut *connection).await?;
            for (position, hash) in &rows {
                tree.push(leaf(*position, hash));
            }
        }
        told(ArchiveStep::Loaded { number: partition.number, position: segment.last_position });
    }
    Ok(tree)
}
