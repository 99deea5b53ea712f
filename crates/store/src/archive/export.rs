//! Writes a partition's events, its index of streams and its manifest into the archive.

use bytes::Bytes;
use sqlx::PgPool;
use uuid::Uuid;

use super::catalogue::{self, ArchivedPartition};
use super::format::{
    FORMAT, Manifest, Packer, PositionKey, Segment, StreamIndex, StreamKey, StreamRun, TypeLine, sha256_hex,
};
use super::location::Location;
use super::merkle::{MerkleTree, leaf};
use super::verify::MANIFEST;
use crate::error::StoreError;

/// Rows that are read from the log at once.
const PAGE_LEN: i64 = 2_000;
/// Payload of one page, in bytes, above which no further event is added to it.
const PAGE_BYTES_MAX: i64 = 16 * 1024 * 1024;
/// Rows that are read at once where their payload is not.
const INDEX_PAGE_LEN: i64 = 20_000;
/// Most versions of a stream in one line of the index.
const RUN_LEN_MAX: usize = 512;

/// One partition on its way into the archive.
pub(crate) struct Export<'a> {
    pub(crate) pool: &'a PgPool,
    pub(crate) location: &'a Location,
    pub(crate) partition: &'a ArchivedPartition,
    /// Bytes of an object, packed, at which it is closed.
    pub(crate) object_bytes: usize,
}

impl Export<'_> {
    /// Writes the next segment after those that are there; none where all events are written.
    pub(crate) async fn next_segment(&self) -> Result<Option<Segment>, StoreError> {
        let written = catalogue::segments(self.pool, self.partition.number).await?;
        let after = written.last().map_or(self.partition.first_position - 1, |segment| segment.last_position);
        let Some((mut segment, content)) = self.pack_segment(after).await? else { return Ok(None) };
        segment.object = format!("events-{:020}.ndjson.zst", segment.first_position);
        self.location.put(&self.partition.object(&segment.object), content).await?;
        catalogue::add_segment(self.pool, self.partition, &segment).await?;
        Ok(Some(segment))
    }

    async fn pack_segment(&self, after: i64) -> Result<Option<(Segment, Bytes)>, StoreError> {
        let mut packer = Packer::new()?;
        let (mut tree, mut events, mut last, mut first) = (MerkleTree::default(), 0, after, None);
        'full: loop {
            let page = self.page(last).await?;
            if page.is_empty() {
                break;
            }
            for (position, hash, line) in page {
                packer.push(PositionKey { first_position: position }, &line)?;
                tree.push(leaf(position, &hash));
                first.get_or_insert(position);
                (last, events) = (position, events + 1);
                if packer.bytes() >= self.object_bytes {
                    break 'full;
                }
            }
        }
        let Some(first_position) = first else { return Ok(None) };
        let (content, blocks) = packer.finish()?;
        let segment = Segment {
            object: String::new(),
            first_position,
            last_position: last,
            events,
            bytes: content.len() as u64,
            sha256: sha256_hex(&content),
            merkle_root: hex::encode(tree.root()),
            blocks,
        };
        Ok(Some((segment, content)))
    }

    async fn page(&self, after: i64) -> Result<Vec<(i64, Vec<u8>, String)>, StoreError> {
        Ok(sqlx::query_as(
            "select position, hash, line from (
                 select e.position, e.hash, row_to_json(e)::text as line, octet_length(e.payload) as len,
                        sum(octet_length(e.payload)) over (order by e.position) as bytes
                 from (select * from es.event where position > $1 and position <= $2 order by position limit $3) e
             ) page
             where bytes - len < $4 order by position",
        )
        .bind(after)
        .bind(self.partition.last_position)
        .bind(PAGE_LEN)
        .bind(PAGE_BYTES_MAX)
        .fetch_all(self.pool)
        .await?)
    }

    /// Writes the index of streams.
    pub(crate) async fn index(&self) -> Result<Vec<StreamIndex>, StoreError> {
        let mut objects = Vec::new();
        let mut packer = Packer::new()?;
        let mut run: Option<StreamRun> = None;
        let mut after = StreamKey { stream_no: 0, version: 0 };
        loop {
            let page = self.index_page(after).await?;
            let is_last = page.is_empty();
            for next in page {
                after = next.key;
                if let Some(open) = run.as_mut().filter(|open| open.takes(next.key)) {
                    open.positions.extend(next.positions);
                    continue;
                }
                if let Some(closed) = run.replace(next) {
                    packer.push(closed.key, &serde_json::to_string(&closed)?)?;
                }
                if packer.bytes() >= self.object_bytes {
                    let full = std::mem::replace(&mut packer, Packer::new()?);
                    objects.push(self.index_object(objects.len(), full).await?);
                }
            }
            if is_last {
                break;
            }
        }
        if let Some(closed) = run {
            packer.push(closed.key, &serde_json::to_string(&closed)?)?;
        }
        objects.push(self.index_object(objects.len(), packer).await?);
        Ok(objects)
    }

    async fn index_page(&self, after: StreamKey) -> Result<Vec<StreamRun>, StoreError> {
        // The order is that of the partition's unique index; the range of positions leaves one partition to be read.
        let rows: Vec<(i64, i64, i32, Uuid, i64)> = sqlx::query_as(
            "select stream_no, version, tenant_id, stream_id, position from es.event
             where position between $1 and $2 and (stream_no, version) > ($3, $4)
             order by stream_no, version limit $5",
        )
        .bind(self.partition.first_position)
        .bind(self.partition.last_position)
        .bind(after.stream_no)
        .bind(after.version)
        .bind(INDEX_PAGE_LEN)
        .fetch_all(self.pool)
        .await?;
        let run = |(stream_no, version, tenant_id, stream_id, position)| {
            let key = StreamKey { stream_no, version };
            StreamRun { key, tenant_id, stream_id, positions: vec![position] }
        };
        Ok(rows.into_iter().map(run).collect())
    }

    async fn index_object(&self, nth: usize, packer: Packer<StreamKey>) -> Result<StreamIndex, StoreError> {
        let (content, blocks) = packer.finish()?;
        let object = format!("streams-{nth:05}.ndjson.zst");
        let index = StreamIndex { bytes: content.len() as u64, sha256: sha256_hex(&content), blocks, object };
        self.location.put(&self.partition.object(&index.object), content).await?;
        Ok(index)
    }

    /// Writes the manifest, last of all; answers the partition with what is known of it now.
    pub(crate) async fn manifest(&self, streams: Vec<StreamIndex>) -> Result<ArchivedPartition, StoreError> {
        let segments = catalogue::segments(self.pool, self.partition.number).await?;
        let events = segments.iter().map(|segment| segment.events).sum();
        let sizes = segments.iter().map(|segment| segment.bytes).chain(streams.iter().map(|index| index.bytes));
        let bytes: u64 = sizes.sum();
        let merkle_root = hex::encode(self.root_of_the_log().await?.root());
        let types: Vec<TypeLine> =
            sqlx::query_as("select type_id, name, schema_version from es.event_type order by type_id")
                .fetch_all(self.pool)
                .await?;
        let manifest = Manifest {
            format: FORMAT,
            number: self.partition.number,
            first_position: self.partition.first_position,
            last_position: self.partition.last_position,
            events,
            merkle_root: merkle_root.clone(),
            types,
            segments,
            streams,
        };
        let content = serde_json::to_vec(&manifest)?;
        let manifest_sha256 = sha256_hex(&content);
        let bytes = i64::try_from(bytes + content.len() as u64).unwrap_or(i64::MAX);
        self.location.put(&self.partition.object(MANIFEST), content.into()).await?;
        Ok(ArchivedPartition { events, bytes, manifest_sha256, merkle_root, ..self.partition.clone() })
    }

    /// The tree over the events as the log has them now: what is read back from the archive must have the same root.
    async fn root_of_the_log(&self) -> Result<MerkleTree, StoreError> {
        let mut tree = MerkleTree::default();
        let mut after = self.partition.first_position - 1;
        loop {
            let page: Vec<(i64, Vec<u8>)> = sqlx::query_as(
                "select position, hash from es.event where position > $1 and position <= $2 order by position limit $3",
            )
            .bind(after)
            .bind(self.partition.last_position)
            .bind(INDEX_PAGE_LEN)
            .fetch_all(self.pool)
            .await?;
            let Some((last, _)) = page.last() else { return Ok(tree) };
            after = *last;
            for (position, hash) in &page {
                tree.push(leaf(*position, hash));
            }
        }
    }
}

impl StreamRun {
    /// Whether a key is the next version of this run's stream, and the run has room.
    fn takes(&self, key: StreamKey) -> bool {
        let next = self.key.version + i64::try_from(self.positions.len()).unwrap_or(i64::MAX);
        let expected = StreamKey { version: next, ..self.key };
        self.positions.len() < RUN_LEN_MAX && key == expected
    }
}
