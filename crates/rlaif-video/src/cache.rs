//! Vision features, computed once per clip and kept: in memory, then on disk.
//!
//! The key is a digest of all that the features depend on: the clip's content, sampling and
//! preprocessing ([`Loader::pixels_digest`](crate::Loader::pixels_digest)) and the weights of the
//! vision tower, combined with [`digest_parts`]. Nothing is ever
//! stale under a changed key, so that nothing needs to be invalidated.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rlaif_data::VideoMetadata;

use crate::{
    digest::digest_parts,
    feature_file::{ReadOutcome, read, write},
};

/// A tensor of 32-bit floats as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Length of each dimension, for instance `[F, P, D]`.
    pub shape: Vec<usize>,
    /// Row-major, as many as the product of `shape`.
    pub values: Vec<f32>,
    /// Where the clip's frames lie in its video.
    pub video: VideoMetadata,
}

impl Features {
    /// True where there are as many values as the shape says.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let product = self.shape.iter().try_fold(1_usize, |n, dim| n.checked_mul(*dim));
        product == Some(self.values.len())
    }

    fn bytes(&self) -> u64 {
        (self.values.len() as u64) * 4 + ((self.shape.len() + self.video.indices.len()) as u64) * 8
    }
}

/// The cache could not be set up.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot create the feature cache folder `{}`; check its permissions, or choose another",
    path.display()
)]
pub struct CacheError {
    path: PathBuf,
    source: io::Error,
}

/// What a cache has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CacheStats {
    /// Features found in memory.
    pub memory_hits: u64,
    /// Features found on disk.
    pub disk_hits: u64,
    /// Features that had to be computed.
    pub computed: u64,
    /// Files on disk that were damaged; each was removed and its features computed again.
    pub corrupted: u64,
    /// Features dropped from memory to stay within the budget.
    pub evicted: u64,
    /// Features that could not be written to disk; they stay in memory only.
    pub write_failures: u64,
    /// Bytes in memory now.
    pub memory_bytes: u64,
}

/// Features by key: the most recently used ones in memory within a budget of bytes, all of them
/// in a folder where one is given. Shared between threads by reference.
#[derive(Debug)]
pub struct FeatureCache {
    budget: u64,
    folder: Option<PathBuf>,
    state: Mutex<State>,
    computed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<String, Entry>,
    /// Keys by the time of their last use, oldest first.
    by_use: BTreeMap<u64, String>,
    clock: u64,
    in_flight: HashSet<String>,
    stats: CacheStats,
}

#[derive(Debug)]
struct Entry {
    features: Arc<Features>,
    used: u64,
}

impl FeatureCache {
    /// A cache in memory alone, of at most `memory_bytes`. Features larger than the whole budget
    /// are handed out but not kept in memory.
    #[must_use]
    pub fn in_memory(memory_bytes: u64) -> Self {
        FeatureCache {
            budget: memory_bytes,
            folder: None,
            state: Mutex::default(),
            computed: Condvar::new(),
        }
    }

    /// A cache in memory and in `folder`, which is made where it does not exist. What lies on disk
    /// is not bounded; the folder may be deleted at any time.
    ///
    /// # Errors
    ///
    /// [`CacheError`] where the folder cannot be made.
    pub fn with_folder(memory_bytes: u64, folder: &Path) -> Result<Self, CacheError> {
        fs::create_dir_all(folder)
            .map_err(|source| CacheError { path: folder.to_owned(), source })?;
        let folder = Some(folder.to_owned());
        Ok(FeatureCache { folder, ..FeatureCache::in_memory(memory_bytes) })
    }

    /// The features of `key`, where they are in memory or on disk.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<Features>> {
        if let Some(features) = self.lock().touch(key) {
            return Some(features);
        }
        self.read_disk(key)
    }

    /// The features of `key`, computed by `compute` where they are neither in memory nor on disk,
    /// and kept. Of several threads that ask for the same key at once, one computes and the
    /// others wait; where it fails, the next one tries.
    ///
    /// # Errors
    ///
    /// Whatever `compute` returns; nothing is then kept.
    ///
    /// # Panics
    ///
    /// Panics if `compute` returns features whose values do not fill their shape.
    pub fn get_or_compute<E>(
        &self,
        key: &str,
        compute: impl FnOnce() -> Result<Features, E>,
    ) -> Result<Arc<Features>, E> {
        let mut state = self.lock();
        loop {
            if let Some(features) = state.touch(key) {
                return Ok(features);
            }
            if state.in_flight.insert(key.to_owned()) {
                break;
            }
            state = self.computed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        let _claim = Claim { cache: self, key };
        if let Some(features) = self.read_disk(key) {
            return Ok(features);
        }
        let features = compute()?;
        self.lock().stats.computed += 1;
        Ok(self.put(key, features))
    }

    /// Keeps features under `key`, in memory and on disk. A failure to write is counted and
    /// logged, and no error: the features are at hand.
    ///
    /// # Panics
    ///
    /// Panics if the values do not fill the shape.
    pub fn put(&self, key: &str, features: Features) -> Arc<Features> {
        assert!(
            features.is_consistent(),
            "{} values do not fill the shape {:?}",
            features.values.len(),
            features.shape
        );
        if let Some(path) = self.path(key)
            && let Err(error) = write(&path, key, &features)
        {
            tracing::warn!(path = %path.display(), %error, "cannot keep features on disk");
            self.lock().stats.write_failures += 1;
        }
        let features = Arc::new(features);
        self.lock().insert(key, &features, self.budget);
        features
    }

    /// What the cache has done so far.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.lock().stats
    }

    /// The file of `key`. Keys are digested, so that any text will do and no key leaves the folder.
    fn path(&self, key: &str) -> Option<PathBuf> {
        let name = digest_parts(&["rlaif-video/features", key]);
        Some(self.folder.as_ref()?.join(&name[..2]).join(format!("{name}.features")))
    }

    fn read_disk(&self, key: &str) -> Option<Arc<Features>> {
        let path = self.path(key)?;
        match read(&path, key) {
            ReadOutcome::Whole(features) => {
                let features = Arc::new(features);
                let mut state = self.lock();
                state.stats.disk_hits += 1;
                state.insert(key, &features, self.budget);
                Some(features)
            }
            ReadOutcome::Absent => None,
            ReadOutcome::Unreadable(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read kept features");
                None
            }
            ReadOutcome::Corrupted(reason) => {
                tracing::warn!(path = %path.display(), reason, "kept features are damaged");
                fs::remove_file(&path).ok();
                self.lock().stats.corrupted += 1;
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to compute one key, given back even when the computation panics.
struct Claim<'a> {
    cache: &'a FeatureCache,
    key: &'a str,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.cache.lock().in_flight.remove(self.key);
        self.cache.computed.notify_all();
    }
}

impl State {
    /// The features of `key`, marked as just used.
    fn touch(&mut self, key: &str) -> Option<Arc<Features>> {
        let entry = self.entries.get_mut(key)?;
        self.clock += 1;
        self.by_use.remove(&entry.used);
        entry.used = self.clock;
        self.by_use.insert(self.clock, key.to_owned());
        self.stats.memory_hits += 1;
        Some(Arc::clone(&entry.features))
    }

    fn insert(&mut self, key: &str, features: &Arc<Features>, budget: u64) {
        self.remove(key);
        if features.bytes() > budget {
            return;
        }
        self.clock += 1;
        self.stats.memory_bytes += features.bytes();
        self.by_use.insert(self.clock, key.to_owned());
        let entry = Entry { features: Arc::clone(features), used: self.clock };
        self.entries.insert(key.to_owned(), entry);
        while self.stats.memory_bytes > budget
            && let Some((_, oldest)) = self.by_use.first_key_value()
        {
            let oldest = oldest.clone();
            self.remove(&oldest);
            self.stats.evicted += 1;
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_use.remove(&entry.used);
            self.stats.memory_bytes -= entry.features.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn features(n: u8) -> Features {
        Features {
            shape: vec![2, 2],
            values: vec![f32::from(n), -0.0, f32::MIN_POSITIVE, 3.5],
            video: VideoMetadata::new(9, 7.5, vec![0, 8]),
        }
    }

    /// Each entry of `features` takes 4 * 4 + 2 * 8 + 2 * 8 bytes.
    const ENTRY: u64 = 48;

    fn compute(cache: &FeatureCache, key: &str, n: u8) -> Arc<Features> {
        cache.get_or_compute(key, || Ok::<_, Infallible>(features(n))).unwrap()
    }

    #[test]
    fn the_least_recently_used_leaves_first() {
        let cache = FeatureCache::in_memory(2 * ENTRY);
        compute(&cache, "a", 1);
        compute(&cache, "b", 2);
        assert!(cache.get("a").is_some());
        compute(&cache, "c", 3);
        assert!(cache.get("b").is_none());
        assert_eq!(*cache.get("a").unwrap(), features(1));
        assert_eq!(*cache.get("c").unwrap(), features(3));
        let stats = cache.stats();
        assert_eq!((stats.computed, stats.evicted, stats.memory_bytes), (3, 1, 2 * ENTRY));
    }

    #[test]
    fn what_exceeds_the_budget_is_handed_out_and_not_kept() {
        let cache = FeatureCache::in_memory(ENTRY - 1);
        assert_eq!(*compute(&cache, "a", 1), features(1));
        assert_eq!((cache.get("a"), cache.stats().memory_bytes), (None, 0));
    }

    #[test]
    fn another_process_finds_them_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        compute(&FeatureCache::with_folder(1 << 20, folder.path()).unwrap(), "../k/e\0y", 1);
        let cache = FeatureCache::with_folder(1 << 20, folder.path()).unwrap();
        assert_eq!(*compute(&cache, "../k/e\0y", 9), features(1));
        let stats = cache.stats();
        assert_eq!((stats.disk_hits, stats.computed), (1, 0));
        assert_eq!(*compute(&cache, "another", 2), features(2));
    }

    #[test]
    fn a_file_under_the_wrong_name_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::with_folder(0, folder.path()).unwrap();
        compute(&cache, "a", 1);
        let wrong = cache.path("b").unwrap();
        fs::create_dir_all(wrong.parent().unwrap()).unwrap();
        fs::copy(cache.path("a").unwrap(), &wrong).unwrap();
        assert_eq!(*compute(&cache, "b", 2), features(2));
        assert_eq!(cache.stats().corrupted, 1);
    }

    #[test]
    fn a_failed_computation_leaves_nothing_and_may_be_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::with_folder(1 << 20, folder.path()).unwrap();
        assert_eq!(cache.get_or_compute("a", || Err::<Features, _>("no")), Err("no"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(*compute(&cache, "a", 1), features(1));
    }

    #[test]
    fn a_disk_that_cannot_be_written_is_counted_and_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("cache");
        let cache = FeatureCache::with_folder(1 << 20, &inner).unwrap();
        fs::remove_dir(&inner).unwrap();
        fs::write(&inner, "a file in the way").unwrap();
        assert_eq!(*compute(&cache, "a", 1), features(1));
        assert_eq!(cache.stats().write_failures, 1);
        let error = FeatureCache::with_folder(1, &inner.join("below")).unwrap_err();
        assert!(error.to_string().contains("below"), "{error}");
    }
}
