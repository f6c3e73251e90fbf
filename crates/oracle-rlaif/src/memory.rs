//! How much memory this process took at most.

/// Largest resident memory of the process so far, in bytes; `None` where the system does not say.
#[cfg(unix)]
#[must_use]
pub fn peak_rss_bytes() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let peak = u64::try_from(getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss()).ok()?;
    // Linux and the BSDs count in KiB, macOS in bytes.
    Some(if cfg!(target_vendor = "apple") { peak } else { peak << 10 })
}

/// Largest resident memory of the process so far; unknown on this system.
#[cfg(not(unix))]
#[must_use]
pub fn peak_rss_bytes() -> Option<u64> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_follows_what_was_touched() {
        let before = peak_rss_bytes().unwrap();
        let block = std::hint::black_box(vec![1_u8; 256 << 20]);
        let after = peak_rss_bytes().unwrap();
        assert!(after >= 256 << 20 && after >= before, "{before} {after} {}", block.len());
    }
}
