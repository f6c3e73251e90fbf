//! The feature cache under damage and under threads.

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rlaif_video::{FeatureCache, Features};

fn features(n: u8) -> Features {
    Features {
        shape: vec![2, 2],
        values: vec![f32::from(n), -0.0, f32::MIN_POSITIVE, 3.5],
        video: rlaif_data::VideoMetadata::new(9, 7.5, vec![0, 8]),
    }
}

fn compute(cache: &FeatureCache, key: &str, n: u8) -> Arc<Features> {
    cache.get_or_compute(key, || Ok::<_, Infallible>(features(n))).expect("cannot fail")
}

/// The one file in the one folder below `folder`.
fn the_file(folder: &Path) -> PathBuf {
    let only = |folder: &Path| {
        let entries: Vec<PathBuf> = fs::read_dir(folder)
            .expect("the folder is there")
            .map(|entry| entry.expect("its entries are read").path())
            .collect();
        let [path] = entries.as_slice() else { panic!("not one file: {entries:?}") };
        path.clone()
    };
    only(&only(folder))
}

/// Every kind of damage: a flipped bit anywhere, a cut, an empty file, foreign bytes.
#[test]
fn damaged_files_are_detected_counted_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let open = || FeatureCache::with_folder(1 << 20, folder.path()).unwrap();
    compute(&open(), "key", 1);
    let path = the_file(folder.path());
    let good = fs::read(&path).unwrap();
    let mut damages: Vec<Vec<u8>> = (0..good.len())
        .map(|at| {
            let mut bad = good.clone();
            bad[at] ^= 1;
            bad
        })
        .collect();
    damages.extend([good[..good.len() - 1].to_vec(), vec![], b"something else".to_vec()]);
    for bad in damages {
        fs::write(&path, &bad).unwrap();
        let cache = open();
        assert_eq!(*compute(&cache, "key", 1), features(1));
        let stats = cache.stats();
        assert_eq!((stats.corrupted, stats.computed, stats.disk_hits), (1, 1, 0));
        assert_eq!(fs::read(the_file(folder.path())).unwrap(), good);
    }
}

#[test]
fn threads_that_ask_at_once_share_one_computation() {
    let cache = FeatureCache::in_memory(1 << 20);
    let runs = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                cache
                    .get_or_compute("a", || {
                        runs.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(std::time::Duration::from_millis(30));
                        Ok::<_, Infallible>(features(1))
                    })
                    .unwrap();
            });
        }
    });
    assert_eq!(runs.into_inner(), 1);
    assert_eq!(cache.stats().memory_hits, 7);
}
