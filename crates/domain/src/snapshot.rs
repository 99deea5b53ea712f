//! How an aggregate's state is kept beside its stream, for the few aggregates whose streams get long.
//!
//! A snapshot is only a saving: it is never the truth, never brought from one shape of state to another, and may be
//! lost at any time. What is kept is read again only by a build whose state has the same hash.

use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::canonical::canonical_json;

/// Length of a state's hash, in bytes.
pub const STATE_HASH_LEN: usize = 32;

/// The state of an aggregate as text, and the hash of its shape.
#[derive(Debug)]
pub struct SnapshotFormat<A> {
    /// The name of the state's type; never a type path.
    pub name: &'static str,
    /// Counts the changes of `evolve` that give the same history another state of the same shape.
    pub fold: u32,
    schema: fn() -> Schema,
    encode: fn(&A) -> Result<String, serde_json::Error>,
    decode: fn(&str) -> Result<A, serde_json::Error>,
}

impl<A: DeserializeOwned + JsonSchema + Serialize> SnapshotFormat<A> {
    /// The format of a state that is written as JSON.
    #[must_use]
    pub const fn json(name: &'static str, fold: u32) -> Self {
        Self {
            name,
            fold,
            schema: || schema_for!(A),
            encode: |state| serde_json::to_string(state),
            decode: |text| serde_json::from_str(text),
        }
    }
}

impl<A> SnapshotFormat<A> {
    /// The hash of the state's name, its JSON Schema and its fold: two builds with the same one understand each other's
    /// snapshots, and no other builds do.
    #[must_use]
    pub fn state_hash(&self) -> [u8; STATE_HASH_LEN] {
        let shape = json!({ "name": self.name, "fold": self.fold, "schema": (self.schema)().to_value() });
        Sha256::digest(canonical_json(&shape)).into()
    }

    /// The state as text.
    ///
    /// # Errors
    /// None for states without non-string map keys, and there are none.
    pub fn encode(&self, state: &A) -> Result<String, serde_json::Error> {
        (self.encode)(state)
    }

    /// The state of a text.
    ///
    /// # Errors
    /// Where the text is not of this format; the state is then folded from its whole stream.
    pub fn decode(&self, text: &str) -> Result<A, serde_json::Error> {
        (self.decode)(text)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
    struct Narrow {
        sum: u32,
    }

    #[derive(Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
    struct Wide {
        sum: u32,
        count: u32,
    }

    #[test]
    fn another_name_fold_or_shape_is_another_hash() {
        let hashes = [
            SnapshotFormat::<Narrow>::json("sum", 1).state_hash(),
            SnapshotFormat::<Narrow>::json("sum", 2).state_hash(),
            SnapshotFormat::<Narrow>::json("total", 1).state_hash(),
            SnapshotFormat::<Wide>::json("sum", 1).state_hash(),
        ];
        assert_eq!(hashes.iter().collect::<std::collections::BTreeSet<_>>().len(), hashes.len());
        assert_eq!(SnapshotFormat::<Narrow>::json("sum", 1).state_hash(), hashes[0]);
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        let format = SnapshotFormat::<Narrow>::json("sum", 1);
        let text = format.encode(&Narrow { sum: 7 }).unwrap();
        assert_eq!(format.decode(&text).unwrap(), Narrow { sum: 7 });
        assert!(format.decode("{}").is_err());
    }
}
