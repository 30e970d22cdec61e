//! `math.random`: the same numbers for the same seed on every machine, those of `lrand48`.

/// The state of the generator.
#[derive(Debug)]
pub(super) struct Random(u64);

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;
/// The greatest number there is.
const MAX: u32 = i32::MAX as u32;

impl Default for Random {
    fn default() -> Self {
        Random(0x1234_ABCD_330E)
    }
}

impl Random {
    pub fn seed(&mut self, seed: i32) {
        self.0 = (u64::from(seed.cast_unsigned()) << 16) | 0x330E;
    }

    /// From 0 to below 1.
    pub fn next(&mut self) -> f64 {
        self.0 = (self.0.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT)) & MASK;
        let number = (self.0 >> 17) as u32;
        f64::from(number % MAX) / f64::from(MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_lrand48() {
        let mut random = Random::default();
        assert_eq!((random.next() * 1e9) as u64, 396_464_773);
        random.seed(3);
        assert_eq!((random.next() * 1e6).floor() as u64 + 1, 783_235);
    }
}
