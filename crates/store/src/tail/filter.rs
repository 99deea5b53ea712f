//! Which events a follower wants: by category, by type, and by lane.

use std::collections::BTreeSet;
use std::sync::Arc;

use pcs_domain::Category;
use uuid::Uuid;

/// Most lanes that the streams can be divided into.
pub const LANES_MAX: u16 = 64;

/// A lane that can't be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidLane {
    /// The number of lanes is zero, or too large.
    #[error("streams can be divided into 1 to {LANES_MAX} lanes, not {of}")]
    Count {
        /// The number that was asked for.
        of: u16,
    },
    /// Lanes are numbered from zero.
    #[error("there is no lane {index} among {of}: they are numbered from 0")]
    Index {
        /// The lane that was asked for.
        index: u16,
        /// How many there are.
        of: u16,
    },
}

/// One share of all streams. A stream is always in the same lane, so its events stay in order within it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lane {
    index: u16,
    of: u16,
}

impl Lane {
    /// Lane `index` of `of`.
    ///
    /// # Errors
    /// [`InvalidLane`] for a number of lanes or a lane that can't be.
    pub fn new(index: u16, of: u16) -> Result<Self, InvalidLane> {
        if of == 0 || of > LANES_MAX {
            return Err(InvalidLane::Count { of });
        }
        if index >= of {
            return Err(InvalidLane::Index { index, of });
        }
        Ok(Self { index, of })
    }

    /// Whether a stream is in this lane.
    #[must_use]
    pub fn has(self, stream_id: Uuid) -> bool {
        lane_of(stream_id, self.of) == self.index
    }
}

/// The lane of a stream. Frozen: checkpoints were stored by it.
fn lane_of(stream_id: Uuid, of: u16) -> u16 {
    let (high, low) = stream_id.as_u64_pair();
    // Fibonacci hashing: ids that sort by time differ in few bits, and all of them must reach the upper half.
    let mixed = (high ^ low.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let share = (u128::from(mixed) * u128::from(of)) >> 64;
    u16::try_from(share).unwrap_or_default()
}

/// Which events are wanted; without a restriction all are.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    categories: Option<BTreeSet<i16>>,
    needed: Option<BTreeSet<i16>>,
    types: Option<Arc<BTreeSet<String>>>,
    lane: Option<Lane>,
}

impl Filter {
    /// Every event.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Only events of these categories.
    #[must_use]
    pub fn categories(mut self, categories: &[Category]) -> Self {
        self.categories = Some(categories.iter().map(|category| category.number()).collect());
        self
    }

    /// Only events of these types, by their wire names, in any version.
    #[must_use]
    pub fn types<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.types = Some(Arc::new(names.into_iter().map(str::to_owned).collect()));
        self
    }

    /// Only events of the streams in this lane.
    #[must_use]
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = Some(lane);
        self
    }

    /// Needs only events of these categories: one of another that can't be read comes as
    /// [`pcs_domain::DomainEvent::Unread`] instead of as an error, so that the position still passes over it.
    #[must_use]
    pub fn needing(mut self, categories: &[Category]) -> Self {
        self.needed = Some(categories.iter().map(|category| category.number()).collect());
        self
    }

    /// Whether an event that can't be read stops the follower.
    pub(crate) fn needs(&self, category: i16) -> bool {
        self.needed.as_ref().is_none_or(|needed| needed.contains(&category))
    }

    /// Whether an event is wanted. A type whose name is not known is not among the wanted ones.
    pub(crate) fn wants(&self, category: i16, type_name: Option<&str>, stream_id: Uuid) -> bool {
        self.categories.as_ref().is_none_or(|wanted| wanted.contains(&category))
            && self.types.as_ref().is_none_or(|wanted| type_name.is_some_and(|name| wanted.contains(name)))
            && self.lane.is_none_or(|lane| lane.has(stream_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_can_not_be_is_refused() {
        assert_eq!(Lane::new(0, 0), Err(InvalidLane::Count { of: 0 }));
        assert_eq!(Lane::new(0, LANES_MAX + 1), Err(InvalidLane::Count { of: LANES_MAX + 1 }));
        assert_eq!(Lane::new(3, 3), Err(InvalidLane::Index { index: 3, of: 3 }));
        assert!(Lane::new(2, 3).is_ok());
    }

    #[test]
    fn every_stream_is_in_one_lane_and_the_lanes_are_about_equal() {
        for of in [1, 2, 3, 8, LANES_MAX] {
            let mut streams = vec![0_u32; usize::from(of)];
            for number in 0..6_400_u128 {
                // Neighbours in time, as ids of version 7 are, and derived ones.
                let stream = Uuid::from_u128((number << 80) | 0x7000_8000_0000_0000_0000);
                let lanes: Vec<u16> =
                    (0..of).filter(|index| Lane::new(*index, of).is_ok_and(|lane| lane.has(stream))).collect();
                assert_eq!(lanes.len(), 1);
                streams[usize::from(lanes[0])] += 1;
            }
            let even = 6_400 / u32::from(of);
            assert!(streams.iter().all(|count| (even / 2..=even * 2).contains(count)), "{of} lanes: {streams:?}");
        }
    }

    #[test]
    fn the_lane_of_a_stream_never_changes() {
        let lane = |number| lane_of(Uuid::from_u128(number), 8);
        assert_eq!([1, 2, 3, u128::MAX, 1 << 100].map(lane), [3, 7, 3, 0, 7]);
    }
}
