//! What was fetched lately, bounded in bytes; two readers that want the same thing fetch it once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

/// A cache that forgets what was used the longest time ago.
pub(crate) struct Cache<K, V> {
    bytes_max: usize,
    entries: Mutex<Entries<K, V>>,
}

struct Entries<K, V> {
    by_key: HashMap<K, Entry<V>>,
    bytes: usize,
    /// Counts uses: the entry with the smallest number was used the longest time ago.
    clock: u64,
}

struct Entry<V> {
    cell: Arc<OnceCell<Arc<V>>>,
    bytes: usize,
    used: u64,
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let entries = Entries { by_key: HashMap::new(), bytes: 0, clock: 0 };
        Self { bytes_max, entries: Mutex::new(entries) }
    }

    /// The value of a key, loaded with its size in bytes where it is not there.
    pub(crate) async fn get<E>(&self, key: &K, load: impl Future<Output = Result<(V, usize), E>>) -> Result<Arc<V>, E> {
        let cell = self.cell(key);
        let mut loaded = None;
        let value = cell
            .get_or_try_init(|| async {
                let (value, bytes) = load.await?;
                loaded = Some(bytes);
                Ok(Arc::new(value))
            })
            .await
            .cloned();
        self.settle(key, loaded, value.is_ok());
        value
    }

    fn cell(&self, key: &K) -> Arc<OnceCell<Arc<V>>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clock += 1;
        let used = entries.clock;
        let entry = entries.by_key.entry(key.clone()).or_insert_with(|| Entry { cell: Arc::default(), bytes: 0, used });
        entry.used = used;
        Arc::clone(&entry.cell)
    }

    /// Takes account of what was loaded, and forgets what no longer fits.
    fn settle(&self, key: &K, loaded: Option<usize>, is_ok: bool) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_ok {
            // Another reader may be loading it by now: then its entry stays.
            if entries.by_key.get(key).is_some_and(|entry| Arc::strong_count(&entry.cell) <= 2 && entry.bytes == 0) {
                entries.by_key.remove(key);
            }
            return;
        }
        let Some(bytes) = loaded else { return };
        if let Some(entry) = entries.by_key.get_mut(key) {
            entry.bytes = bytes;
            entries.bytes += bytes;
        }
        while entries.bytes > self.bytes_max {
            let full = entries.by_key.iter().filter(|(_, entry)| entry.bytes > 0);
            let Some(oldest) = full.min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone()) else { return };
            if let Some(entry) = entries.by_key.remove(&oldest) {
                entries.bytes -= entry.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    async fn get(cache: &Cache<u32, u32>, key: u32, loads: &AtomicUsize) -> Result<u32, &'static str> {
        let load = async {
            loads.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            if key == 13 { Err("no") } else { Ok((key, 10)) }
        };
        cache.get(&key, load).await.map(|value| *value)
    }

    #[tokio::test]
    async fn many_readers_load_once_and_failures_are_not_kept() {
        let (cache, loads) = (Cache::new(100), AtomicUsize::new(0));
        for result in join_all((0..50).map(|_| get(&cache, 1, &loads))).await {
            assert_eq!(result, Ok(1));
        }
        assert_eq!(loads.load(Ordering::Relaxed), 1);
        assert_eq!(get(&cache, 13, &loads).await, Err("no"));
        assert_eq!(get(&cache, 13, &loads).await, Err("no"));
        assert_eq!(loads.load(Ordering::Relaxed), 3);
        assert_eq!(cache.entries.lock().unwrap().by_key.len(), 1);
    }

    #[tokio::test]
    async fn what_was_not_used_is_forgotten_first() {
        let (cache, loads) = (Cache::new(30), AtomicUsize::new(0));
        for key in [1, 2, 3, 1, 4] {
            get(&cache, key, &loads).await.unwrap();
        }
        let mut left: Vec<u32> = cache.entries.lock().unwrap().by_key.keys().copied().collect();
        left.sort_unstable();
        assert_eq!(left, [1, 3, 4]);
        assert_eq!(cache.entries.lock().unwrap().bytes, 30);
    }
}
