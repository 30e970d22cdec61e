//! When to connect again.

use super::settings::Settings;

/// Doublings after which a delay grows no further, whatever its limit is.
const MAX_DOUBLINGS: u32 = 32;

/// Delays between attempts: none after a link that was stable, then doubling up to a limit, each shortened by
/// a part of itself that the seed decides, so that the replicas of one primary do not come back at one
/// moment.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    failures: u32,
    state: u64,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Backoff { failures: 0, state: seed }
    }

    /// The delay after a link that ended, in milliseconds. A stable one ends the row of failures.
    pub(super) fn next_delay_ms(&mut self, stable: bool, settings: &Settings) -> u64 {
        if stable {
            self.failures = 0;
            return 0;
        }
        let factor = 1_u64 << self.failures.min(MAX_DOUBLINGS);
        self.failures = self.failures.saturating_add(1);
        let whole = settings.backoff_base_ms.saturating_mul(factor).min(settings.backoff_max_ms);
        let percent = u64::from(settings.backoff_jitter_percent.min(100));
        let most = u128::from(whole) * u128::from(percent) / 100;
        // At most `whole`, which is 64 bits.
        let cut = (u128::from(self.random()) * (most + 1)) >> 64;
        whole - cut as u64
    }

    /// SplitMix64: every seed will do.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
