//! How archived events lie in objects: lines of JSON in zstd frames that are each readable alone, and a manifest.
//!
//! An object is a file that `zstd -d` reads. Its frames, here called blocks, hold a few hundred lines each; the manifest
//! knows where each begins and its digest. So one event is read, and proven to be what was archived, with one request
//! for one block.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zstd::bulk::{Compressor, Decompressor};

use super::error::ArchiveError;

/// The version of this format; a reader refuses others.
pub(crate) const FORMAT: u32 = 1;
/// Most lines of a block: a read of one event unpacks them all.
pub(crate) const BLOCK_LINES_MAX: usize = 1_024;
/// Bytes of lines, unpacked, above which a block gets no further one. A single larger line is a block of its own.
const BLOCK_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes of a block, unpacked, that a reader allots: far above the largest event.
pub(crate) const BLOCK_RAW_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Measured on lines of a run (docs/decisions/0027): level 9 is 2 % smaller and takes five times as long.
const ZSTD_LEVEL: i32 = 3;

/// What one archived partition consists of.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Manifest {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// The number of the partition.
    pub(crate) number: i64,
    /// The first position that it can hold.
    pub(crate) first_position: i64,
    /// The last position that it can hold.
    pub(crate) last_position: i64,
    /// How many events it has.
    pub(crate) events: i64,
    /// The root over all leaves, in hex; it does not depend on how the events are cut into segments.
    pub(crate) merkle_root: String,
    /// The names of the event types by number: the files can be read without the database.
    pub(crate) types: Vec<TypeLine>,
    /// The events.
    pub(crate) segments: Vec<Segment>,
    /// Where each stream's events are.
    pub(crate) streams: Vec<StreamIndex>,
}

/// A type's number and name.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, sqlx::FromRow)]
pub(crate) struct TypeLine {
    pub(crate) type_id: i16,
    pub(crate) name: String,
    pub(crate) schema_version: i16,
}

/// One object of events.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Segment {
    /// Its name in the partition's folder.
    pub(crate) object: String,
    pub(crate) first_position: i64,
    pub(crate) last_position: i64,
    pub(crate) events: i64,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    /// The root over the leaves of its events.
    pub(crate) merkle_root: String,
    pub(crate) blocks: Vec<Block<PositionKey>>,
}

/// One object of the index of streams, sorted by [`StreamKey`].
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct StreamIndex {
    /// Its name in the partition's folder.
    pub(crate) object: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    pub(crate) blocks: Vec<Block<StreamKey>>,
}

/// One block: the first key that is in it, and where it lies.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Block<K> {
    #[serde(flatten)]
    pub(crate) key: K,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Its length once unpacked.
    pub(crate) raw_bytes: u64,
    pub(crate) sha256: String,
}

/// The key of blocks of events.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct PositionKey {
    pub(crate) first_position: i64,
}

/// The key of blocks of the index: the order of its lines.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct StreamKey {
    pub(crate) stream_no: i64,
    pub(crate) version: i64,
}

/// One line of the index: the positions of consecutive versions of a stream, from `version` on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct StreamRun {
    #[serde(flatten)]
    pub(crate) key: StreamKey,
    pub(crate) tenant_id: i32,
    pub(crate) stream_id: Uuid,
    pub(crate) positions: Vec<i64>,
}

/// The digest of some bytes, in hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Packs lines into blocks, one after the other.
pub(crate) struct Packer<K> {
    compressor: Compressor<'static>,
    packed: Vec<u8>,
    blocks: Vec<Block<K>>,
    open: Vec<u8>,
    open_lines: usize,
    open_key: Option<K>,
}

impl<K: Copy> Packer<K> {
    pub(crate) fn new() -> Result<Self, ArchiveError> {
        let mut compressor = Compressor::new(ZSTD_LEVEL).map_err(|error| ArchiveError::Pack(error.to_string()))?;
        compressor.include_checksum(true).map_err(|error| ArchiveError::Pack(error.to_string()))?;
        let (packed, blocks, open) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { compressor, packed, blocks, open, open_lines: 0, open_key: None })
    }

    /// Adds a line; closes the block before it where that one is full.
    pub(crate) fn push(&mut self, key: K, line: &str) -> Result<(), ArchiveError> {
        if self.open_lines >= BLOCK_LINES_MAX || self.open.len() + line.len() > BLOCK_BYTES_MAX {
            self.close_block()?;
        }
        self.open_key.get_or_insert(key);
        self.open.extend_from_slice(line.as_bytes());
        self.open.push(b'\n');
        self.open_lines += 1;
        Ok(())
    }

    /// Bytes so far; those of the open block count as they are, unpacked.
    pub(crate) fn bytes(&self) -> usize {
        self.packed.len() + self.open.len()
    }

    fn close_block(&mut self) -> Result<(), ArchiveError> {
        let Some(key) = self.open_key.take() else { return Ok(()) };
        let frame = self.compressor.compress(&self.open).map_err(|error| ArchiveError::Pack(error.to_string()))?;
        self.blocks.push(Block {
            key,
            offset: self.packed.len() as u64,
            bytes: frame.len() as u64,
            raw_bytes: self.open.len() as u64,
            sha256: sha256_hex(&frame),
        });
        self.packed.extend_from_slice(&frame);
        self.open.clear();
        self.open_lines = 0;
        Ok(())
    }

    /// The object and its blocks.
    pub(crate) fn finish(mut self) -> Result<(Bytes, Vec<Block<K>>), ArchiveError> {
        self.close_block()?;
        Ok((self.packed.into(), self.blocks))
    }
}

/// Unpacks a block after comparing its digest with the manifest's; the error says what differs.
pub(crate) fn unpack<K>(block: &Block<K>, packed: &[u8]) -> Result<String, String> {
    if packed.len() as u64 != block.bytes {
        return Err(format!("a block has {} bytes where {} were archived", packed.len(), block.bytes));
    }
    if sha256_hex(packed) != block.sha256 {
        return Err(format!("the block at byte {} has another digest", block.offset));
    }
    if block.raw_bytes > BLOCK_RAW_BYTES_MAX {
        return Err(format!("the block at byte {} promises {} bytes", block.offset, block.raw_bytes));
    }
    let capacity = usize::try_from(block.raw_bytes).map_err(|error| error.to_string())?;
    let raw = Decompressor::new().and_then(|mut zstd| zstd.decompress(packed, capacity));
    let raw = raw.map_err(|error| format!("the block at byte {} can't be unpacked: {error}", block.offset))?;
    String::from_utf8(raw).map_err(|error| format!("the block at byte {} is not text: {error}", block.offset))
}

/// Reads a line.
pub(crate) fn parse<T: DeserializeOwned>(line: &str) -> Result<T, String> {
    serde_json::from_str(line).map_err(|error| format!("a line can't be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(lines: usize, len: usize) -> (Bytes, Vec<Block<PositionKey>>) {
        let mut packer = Packer::new().unwrap();
        for first_position in 0..lines {
            let key = PositionKey { first_position: i64::try_from(first_position).unwrap() };
            let digits = first_position.to_string();
            packer.push(key, &("0".repeat(len.saturating_sub(digits.len())) + &digits)).unwrap();
        }
        packer.finish().unwrap()
    }

    #[test]
    fn each_block_is_read_alone_and_all_are_one_file() {
        for (lines, len) in [(0, 1), (1, 1), (BLOCK_LINES_MAX, 8), (2 * BLOCK_LINES_MAX + 1, 8), (5, BLOCK_BYTES_MAX)] {
            let (object, blocks) = packed(lines, len);
            let unpack_at = |block: &Block<PositionKey>| {
                let end = block.offset + block.bytes;
                unpack(block, &object[usize::try_from(block.offset).unwrap()..usize::try_from(end).unwrap()]).unwrap()
            };
            let alone: String = blocks.iter().map(unpack_at).collect();
            // No lines are no frames, which a decoder takes for a file that was cut.
            let whole = if lines == 0 { Vec::new() } else { zstd::stream::decode_all(&object[..]).unwrap() };
            assert_eq!(alone.as_bytes(), whole);
            let numbers: Vec<usize> = alone.lines().map(|line| line.parse().unwrap()).collect();
            assert_eq!(numbers, (0..lines).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let (object, blocks) = packed(3, 10);
        for at in 0..object.len() {
            let mut bytes = object.to_vec();
            bytes[at] ^= 1;
            assert!(unpack(&blocks[0], &bytes).is_err(), "byte {at}");
        }
    }
}
