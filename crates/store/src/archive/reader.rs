//! Reads archived events: which partition has them, which block of it, and what of that was fetched lately.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::try_join_all;
use sqlx::PgPool;
use tokio::time::Instant;

use super::cache::Cache;
use super::catalogue::{self, ArchiveState, ArchivedPartition};
use super::error::ArchiveError;
use super::event;
use super::format::{
    BLOCK_LINES_MAX, Block, Manifest, PositionKey, Segment, StreamIndex, StreamKey, StreamRun, parse, unpack,
};
use super::location::{ArchiveConfig, Location};
use super::verify::{self, block_at};
use crate::error::StoreError;
use crate::rows::Row;

/// Unpacked events that a process remembers, in bytes: a reader at its page, and some who look for single streams.
const EVENTS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Unpacked parts of indexes of streams that a process remembers, in bytes.
const STREAMS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Manifests that a process remembers, in bytes; that of ten million events has about three megabytes.
const MANIFESTS_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Blocks that one reader fetches at once: object storage takes long to answer, and answers many at once.
const BLOCKS_AT_ONCE: usize = 4;

/// How long a process believes what it knows of the archive.
const KNOWN_FOR: Duration = Duration::from_secs(30);

/// An object and the byte in it where a block begins.
type BlockId = (String, u64);

/// The archive as this process reads it.
pub(crate) struct Archive {
    location: Option<Location>,
    /// What can be read from the archive, as it was known when somebody last missed something in the log.
    known: RwLock<Known>,
    manifests: Cache<String, Manifest>,
    events: Cache<BlockId, EventBlock>,
    streams: Cache<BlockId, Vec<StreamRun>>,
}

#[derive(Clone)]
struct Known {
    partitions: Arc<Vec<ArchivedPartition>>,
    at: Instant,
}

/// The lines of a block, and where each position's line begins and ends.
struct EventBlock {
    text: String,
    lines: Vec<(i64, usize, usize)>,
}

impl Archive {
    /// Opens the archive that the settings name; asks it nothing.
    pub(crate) fn open(config: &ArchiveConfig) -> Result<Self, ArchiveError> {
        Ok(Self {
            location: Location::open(config)?,
            known: RwLock::new(Known { partitions: Arc::default(), at: Instant::now() }),
            manifests: Cache::new(MANIFESTS_BYTES_MAX),
            events: Cache::new(EVENTS_BYTES_MAX),
            streams: Cache::new(STREAMS_BYTES_MAX),
        })
    }

    pub(crate) fn location(&self) -> Option<&Location> {
        self.location.as_ref()
    }

    /// What was known lately. It is looked up again from time to time, because a partition that was restored is better
    /// read from the log; a process that knows of no archive looks only when it misses something.
    pub(crate) async fn current(&self, pool: &PgPool) -> Result<Arc<Vec<ArchivedPartition>>, StoreError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        if known.partitions.is_empty() || known.at.elapsed() < KNOWN_FOR {
            return Ok(known.partitions);
        }
        self.refresh(pool).await
    }

    /// Looks up what can be read from the archive. A partition is in this list before it leaves the log: who misses
    /// events in the log and looks here afterwards finds them.
    pub(crate) async fn refresh(&self, pool: &PgPool) -> Result<Arc<Vec<ArchivedPartition>>, StoreError> {
        let mut partitions = catalogue::partitions(pool).await?;
        partitions.retain(|partition| partition.state != ArchiveState::Exporting);
        let partitions = Arc::new(partitions);
        let known = Known { partitions: Arc::clone(&partitions), at: Instant::now() };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(partitions)
    }

    fn reachable(&self, partition: &ArchivedPartition) -> Result<&Location, ArchiveError> {
        let (first, last) = (partition.first_position, partition.last_position);
        self.location.as_ref().ok_or(ArchiveError::NotConfigured { first, last })
    }

    /// Events of a partition after a position, at most `limit`, and no further one once they have `bytes_max` of payload.
    pub(crate) async fn after(
        &self,
        partition: &ArchivedPartition,
        position: i64,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Row>, ArchiveError> {
        let manifest = self.manifest(partition).await?;
        let mut blocks = blocks_after(&manifest, position);
        let at_once = (limit / BLOCK_LINES_MAX + 1).min(BLOCKS_AT_ONCE);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        loop {
            let mut loads = Vec::with_capacity(at_once);
            for (segment, block) in blocks.by_ref().take(at_once) {
                loads.push(self.event_block(partition, segment, block));
            }
            if loads.is_empty() {
                return Ok(rows);
            }
            for block in try_join_all(loads).await? {
                let from = block.lines.partition_point(|(of_line, _, _)| *of_line <= position);
                for line in &block.lines[from..] {
                    if rows.len() >= limit || bytes >= bytes_max {
                        return Ok(rows);
                    }
                    let row = block.row(line).map_err(|why| self.damaged(partition, why))?;
                    bytes += row.payload.len();
                    rows.push(row);
                }
            }
        }
    }

    /// Events of a stream in a partition, of the versions from `from` to `to`, in order.
    pub(crate) async fn of_stream(
        &self,
        partition: &ArchivedPartition,
        from: StreamKey,
        to: i64,
    ) -> Result<Vec<Row>, ArchiveError> {
        let manifest = self.manifest(partition).await?;
        let mut rows = Vec::new();
        for position in self.positions(partition, &manifest, from, to).await? {
            let missing = || self.damaged(partition, format!("event {position} is not where the index says"));
            let place = manifest.segments.partition_point(|segment| segment.first_position <= position);
            let segment = place.checked_sub(1).and_then(|nth| manifest.segments.get(nth)).ok_or_else(missing)?;
            let nth = block_at(&segment.blocks, position).ok_or_else(missing)?;
            let block = self.event_block(partition, segment, &segment.blocks[nth]).await?;
            let line = block.lines.binary_search_by_key(&position, |(of_line, _, _)| *of_line);
            let line = line.map_err(|_| missing())?;
            rows.push(block.row(&block.lines[line]).map_err(|why| self.damaged(partition, why))?);
        }
        Ok(rows)
    }

    /// The positions of a stream's versions from `from` to `to`, by the index.
    async fn positions(
        &self,
        partition: &ArchivedPartition,
        manifest: &Manifest,
        from: StreamKey,
        to: i64,
    ) -> Result<Vec<i64>, ArchiveError> {
        let last = StreamKey { version: to, ..from };
        let mut positions = Vec::new();
        for index in &manifest.streams {
            // A run that begins in the block before may reach into the wanted versions.
            let first = index.blocks.partition_point(|block| block.key <= from).saturating_sub(1);
            let end = index.blocks.partition_point(|block| block.key <= last);
            for block in index.blocks.get(first..end).unwrap_or_default() {
                for run in self.stream_block(partition, index, block).await?.iter() {
                    if run.key.stream_no == from.stream_no {
                        let versions = (run.key.version..).zip(&run.positions);
                        let wanted = versions.filter(|(version, _)| (from.version..=to).contains(version));
                        positions.extend(wanted.map(|(_, position)| *position));
                    }
                }
            }
        }
        Ok(positions)
    }

    async fn manifest(&self, partition: &ArchivedPartition) -> Result<Arc<Manifest>, ArchiveError> {
        let location = self.reachable(partition)?;
        let load = async {
            let manifest = verify::manifest(location, partition).await?;
            let blocks: usize = manifest.segments.iter().map(|segment| segment.blocks.len()).sum();
            let indexed: usize = manifest.streams.iter().map(|index| index.blocks.len()).sum();
            Ok((manifest, (blocks + indexed + 1) * size_of::<Block<StreamKey>>() * 2))
        };
        self.manifests.get(&partition.folder, load).await
    }

    async fn event_block(
        &self,
        partition: &ArchivedPartition,
        segment: &Segment,
        block: &Block<PositionKey>,
    ) -> Result<Arc<EventBlock>, ArchiveError> {
        let object = partition.object(&segment.object);
        let load = async {
            let text = self.text(partition, &object, block).await?;
            let block = EventBlock::new(text).map_err(|why| self.damaged(partition, why))?;
            let bytes = block.text.len() + block.lines.len() * size_of::<(i64, usize, usize)>();
            Ok((block, bytes))
        };
        self.events.get(&(object.clone(), block.offset), load).await
    }

    async fn stream_block(
        &self,
        partition: &ArchivedPartition,
        index: &StreamIndex,
        block: &Block<StreamKey>,
    ) -> Result<Arc<Vec<StreamRun>>, ArchiveError> {
        let object = partition.object(&index.object);
        let load = async {
            let text = self.text(partition, &object, block).await?;
            let runs: Result<Vec<StreamRun>, String> = text.lines().map(parse).collect();
            Ok((runs.map_err(|why| self.damaged(partition, why))?, text.len()))
        };
        self.streams.get(&(object.clone(), block.offset), load).await
    }

    async fn text<K>(
        &self,
        partition: &ArchivedPartition,
        object: &str,
        block: &Block<K>,
    ) -> Result<String, ArchiveError> {
        let location = self.reachable(partition)?;
        let packed = location.get_range(object, block.offset..block.offset + block.bytes).await?;
        unpack(block, &packed).map_err(|why| ArchiveError::Damaged { object: location.address(object), why })
    }

    fn damaged(&self, partition: &ArchivedPartition, why: String) -> ArchiveError {
        let folder = &partition.folder;
        let object = self.location.as_ref().map_or_else(|| folder.clone(), |location| location.address(folder));
        ArchiveError::Damaged { object, why }
    }
}

/// The blocks of a partition that can have events after a position, in order.
fn blocks_after(manifest: &Manifest, position: i64) -> impl Iterator<Item = (&Segment, &Block<PositionKey>)> {
    let segments = manifest.segments.iter().filter(move |segment| segment.last_position > position);
    segments.flat_map(move |segment| {
        let first = block_at(&segment.blocks, position.saturating_add(1)).unwrap_or(0);
        segment.blocks.iter().skip(first).map(move |block| (segment, block))
    })
}

impl EventBlock {
    fn new(text: String) -> Result<Self, String> {
        let mut lines = Vec::new();
        let mut begin = 0;
        for line in text.lines() {
            lines.push((event::position(line)?, begin, begin + line.len()));
            begin += line.len() + 1;
        }
        Ok(Self { text, lines })
    }

    fn row(&self, (_, begin, end): &(i64, usize, usize)) -> Result<Row, String> {
        event::row(self.text.get(*begin..*end).unwrap_or_default())
    }
}
