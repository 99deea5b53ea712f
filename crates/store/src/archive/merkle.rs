//! The Merkle tree over a range of the log, shaped as in RFC 6962, built leaf by leaf in logarithmic memory.

use sha2::{Digest, Sha256};

use crate::chain::Hash;

/// Leaves and nodes are hashed apart, or a node could be passed off as a leaf.
const LEAF: u8 = 0;
const NODE: u8 = 1;

/// The leaf of one event: its hash at its position, so that two events that changed places change the root.
pub(crate) fn leaf(position: i64, event_hash: &[u8]) -> Hash {
    let mut digest = Sha256::new();
    digest.update([LEAF]);
    digest.update(position.to_be_bytes());
    digest.update(event_hash);
    digest.finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut digest = Sha256::new();
    digest.update([NODE]);
    digest.update(left);
    digest.update(right);
    digest.finalize().into()
}

/// Grows a tree to the right.
#[derive(Clone, Debug, Default)]
pub(crate) struct MerkleTree {
    /// Roots of full subtrees, the largest first, each with its height.
    peaks: Vec<(u32, Hash)>,
}

impl MerkleTree {
    /// Adds the next leaf.
    pub(crate) fn push(&mut self, leaf: Hash) {
        let (mut height, mut root) = (0, leaf);
        while let Some((_, left)) = self.peaks.pop_if(|(of_left, _)| *of_left == height) {
            root = node(&left, &root);
            height += 1;
        }
        self.peaks.push((height, root));
    }

    /// The root; that of no leaves is the digest of nothing.
    pub(crate) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev().map(|(_, root)| *root);
        let Some(last) = peaks.next() else { return Sha256::digest([]).into() };
        peaks.fold(last, |right, left| node(&left, &right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree by its definition: split at the largest power of two that is smaller than the number of leaves.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [only] => *only,
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node(&by_definition(&leaves[..split]), &by_definition(&leaves[split..]))
            }
        }
    }

    #[test]
    fn the_root_is_the_one_of_the_definition() {
        let leaves: Vec<Hash> = (0..130).map(|position| leaf(position, b"event")).collect();
        let mut tree = MerkleTree::default();
        assert_eq!(tree.root(), by_definition(&[]));
        for (count, leaf) in leaves.iter().enumerate() {
            tree.push(*leaf);
            assert_eq!(tree.root(), by_definition(&leaves[..=count]), "{} leaves", count + 1);
        }
    }

    #[test]
    fn two_events_that_change_places_change_the_root() {
        let root = |events: [&[u8]; 3]| {
            let mut tree = MerkleTree::default();
            for (position, event) in (1..).zip(events) {
                tree.push(leaf(position, event));
            }
            tree.root()
        };
        assert_ne!(root([b"a", b"b", b"c"]), root([b"a", b"c", b"b"]));
        assert_ne!(root([b"a", b"b", b"c"]), root([b"a", b"b", b"d"]));
    }
}
