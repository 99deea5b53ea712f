//! Reads a partition back from the archive, every byte of it, and compares it with what its manifest and the database say.

use bytes::Bytes;

use super::catalogue::ArchivedPartition;
use super::chain_check::ChainCheck;
use super::error::ArchiveError;
use super::event::{self, Census};
use super::finding::ArchiveFinding;
use super::format::{
    Block, FORMAT, Manifest, PositionKey, Segment, StreamIndex, StreamKey, StreamRun, parse, sha256_hex, unpack,
};
use super::location::Location;
use super::merkle::{self, MerkleTree};
use super::seal_check::SealCheck;
use crate::Store;
use crate::error::StoreError;

/// The object that says what a partition consists of.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Findings of a partition after which the look ends: it is broken, and each of a million events need not be listed.
const FINDINGS_MAX: usize = 100;

/// A look through one partition.
struct Verification<'a> {
    chain: ChainCheck<'a>,
    seals: SealCheck<'a>,
    location: &'a Location,
    partition: &'a ArchivedPartition,
    findings: Vec<ArchiveFinding>,
    whole: MerkleTree,
    events: Census,
    indexed: Census,
}

/// Looks through a partition; no finding means that it is what was archived, that every event builds on the one before
/// it in its stream, and that every batch that ends in it is as it was sealed.
pub(crate) async fn verify(
    store: &Store,
    location: &Location,
    partition: &ArchivedPartition,
) -> Result<Vec<ArchiveFinding>, StoreError> {
    let mut verification = Verification {
        chain: ChainCheck::new(store),
        seals: SealCheck::new(store, partition.last_position),
        location,
        partition,
        findings: Vec::new(),
        whole: MerkleTree::default(),
        events: Census::default(),
        indexed: Census::default(),
    };
    verification.run().await?;
    Ok(verification.findings)
}

/// Reads a partition's manifest and compares it with the digest that the database has.
pub(crate) async fn manifest(location: &Location, partition: &ArchivedPartition) -> Result<Manifest, ArchiveError> {
    let object = partition.object(MANIFEST);
    let bytes = location.get(&object).await?;
    let damaged = |why: String| ArchiveError::Damaged { object: location.address(&object), why };
    if sha256_hex(&bytes) != partition.manifest_sha256 {
        return Err(damaged("its digest is not the one in es.archive".to_owned()));
    }
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if manifest.format != FORMAT {
        return Err(damaged(format!("it is of format {}, and this build reads {FORMAT}", manifest.format)));
    }
    Ok(manifest)
}

/// A short look at a partition that was verified before: its manifest is the right one, every object has its size.
pub(crate) async fn look(location: &Location, partition: &ArchivedPartition) -> Result<(), ArchiveError> {
    let manifest = manifest(location, partition).await?;
    let segments = manifest.segments.iter().map(|segment| (&segment.object, segment.bytes));
    for (name, bytes) in segments.chain(manifest.streams.iter().map(|index| (&index.object, index.bytes))) {
        let object = partition.object(name);
        let size = location.size(&object).await?;
        if size != bytes {
            let why = format!("it has {size} bytes where {bytes} were archived");
            return Err(ArchiveError::Damaged { object: location.address(&object), why });
        }
    }
    Ok(())
}

impl Verification<'_> {
    async fn run(&mut self) -> Result<(), StoreError> {
        let manifest = match manifest(self.location, self.partition).await {
            Ok(manifest) => manifest,
            Err(error) => return Ok(self.note_or_fail(MANIFEST, error)?),
        };
        self.chain.name_types(&manifest.types);
        let mut after = manifest.first_position - 1;
        for segment in &manifest.segments {
            self.segment(segment, &mut after).await?;
        }
        let mut last_key = None;
        for index in &manifest.streams {
            self.index(index, &mut last_key).await?;
        }
        let root = hex::encode(self.whole.root());
        if root != manifest.merkle_root || root != self.partition.merkle_root {
            self.note(MANIFEST, None, format!("the events have the Merkle root {root}, recorded is another"));
        }
        if self.events.events != manifest.events || self.events.events != self.partition.events {
            let what = format!("there are {} events, and {} were archived", self.events.events, manifest.events);
            self.note(MANIFEST, None, what);
        }
        if self.indexed != self.events {
            self.note(MANIFEST, None, "the index of streams does not name the events that are there".to_owned());
        }
        Ok(())
    }

    async fn segment(&mut self, segment: &Segment, after: &mut i64) -> Result<(), StoreError> {
        let Some(object) = self.object(&segment.object, &segment.sha256).await? else { return Ok(()) };
        let mut tree = MerkleTree::default();
        for (nth, block) in segment.blocks.iter().enumerate() {
            let next = segment.blocks.get(nth + 1).map(|next| next.key.first_position - 1);
            let range = (block.key.first_position, next.unwrap_or(segment.last_position));
            match slice(&object, block).and_then(|packed| unpack(block, &packed)) {
                Ok(lines) => self.events_of(&segment.object, range, &lines, (&mut tree, &mut *after)).await?,
                Err(what) => self.note(&segment.object, Some(range), what),
            }
            *after = range.1;
        }
        if hex::encode(tree.root()) != segment.merkle_root {
            let range = (segment.first_position, segment.last_position);
            self.note(&segment.object, Some(range), "the events have another Merkle root".to_owned());
        }
        Ok(())
    }

    async fn events_of(
        &mut self,
        object: &str,
        range: (i64, i64),
        lines: &str,
        so_far: (&mut MerkleTree, &mut i64),
    ) -> Result<(), StoreError> {
        let (tree, after) = so_far;
        for line in lines.lines() {
            let row = match event::row(line) {
                Ok(row) => row,
                Err(what) => {
                    self.note(object, Some(range), what);
                    continue;
                }
            };
            if row.position <= *after || row.position > range.1 {
                self.note(object, Some((row.position, row.position)), "it is not in its place".to_owned());
            }
            *after = row.position;
            if let Some(what) = self.chain.fault(&row).await? {
                self.note(object, Some((row.position, row.position)), what);
            }
            for (position, what) in self.seals.faults(&row).await? {
                self.note(object, Some((position, position)), what);
            }
            let leaf = merkle::leaf(row.position, &row.hash);
            tree.push(leaf);
            self.whole.push(leaf);
            let key = StreamKey { stream_no: row.stream_no, version: row.version };
            self.events.count(key, row.position);
        }
        Ok(())
    }

    async fn index(&mut self, index: &StreamIndex, last_key: &mut Option<StreamKey>) -> Result<(), ArchiveError> {
        let Some(object) = self.object(&index.object, &index.sha256).await? else { return Ok(()) };
        for block in &index.blocks {
            let lines = match slice(&object, block).and_then(|packed| unpack(block, &packed)) {
                Ok(lines) => lines,
                Err(what) => {
                    self.note(&index.object, None, what);
                    continue;
                }
            };
            for line in lines.lines() {
                let run: StreamRun = match parse(line) {
                    Ok(run) => run,
                    Err(what) => {
                        self.note(&index.object, None, what);
                        continue;
                    }
                };
                if last_key.is_some_and(|last| last >= run.key) {
                    self.note(&index.object, None, format!("stream {} is not in its place", run.stream_id));
                }
                *last_key = Some(run.key);
                for (version, position) in (run.key.version..).zip(&run.positions) {
                    self.indexed.count(StreamKey { version, ..run.key }, *position);
                }
            }
        }
        Ok(())
    }

    /// An object in whole; none where that is a finding. A wrong digest is one too, and the look goes on: the blocks say
    /// which events it hit.
    async fn object(&mut self, name: &str, sha256: &str) -> Result<Option<Bytes>, ArchiveError> {
        match self.location.get(&self.partition.object(name)).await {
            Ok(object) => {
                if sha256_hex(&object) != *sha256 {
                    self.note(name, None, "its digest is not the one in the manifest".to_owned());
                }
                Ok(Some(object))
            }
            Err(error) => self.note_or_fail(name, error).map(|()| None),
        }
    }

    /// An object that is missing or damaged is what was looked for; everything else ends the look.
    fn note_or_fail(&mut self, name: &str, error: ArchiveError) -> Result<(), ArchiveError> {
        match error {
            ArchiveError::Damaged { why, .. } => self.note(name, None, why),
            ArchiveError::Object { source, .. } if matches!(*source, object_store::Error::NotFound { .. }) => {
                self.note(name, None, "it is missing".to_owned());
            }
            other => return Err(other),
        }
        Ok(())
    }

    fn note(&mut self, name: &str, positions: Option<(i64, i64)>, what: String) {
        if self.findings.len() < FINDINGS_MAX {
            let object = self.location.address(&self.partition.object(name));
            self.findings.push(ArchiveFinding { number: self.partition.number, object, positions, what });
        }
    }
}

/// A block's bytes in its object.
pub(crate) fn slice<K>(object: &Bytes, block: &Block<K>) -> Result<Bytes, String> {
    let cut = || format!("it ends before the block at byte {}", block.offset);
    let first = usize::try_from(block.offset).map_err(|_| cut())?;
    let last = first.checked_add(usize::try_from(block.bytes).map_err(|_| cut())?).ok_or_else(cut)?;
    if last > object.len() {
        return Err(cut());
    }
    Ok(object.slice(first..last))
}

/// The block of a segment that has a position, if it is in the segment at all.
pub(crate) fn block_at(blocks: &[Block<PositionKey>], position: i64) -> Option<usize> {
    blocks.partition_point(|block| block.key.first_position <= position).checked_sub(1)
}
