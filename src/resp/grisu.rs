//! Digits of a double as Valkey finds them: Grisu2.
//!
//! Florian Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers" (2010). The digits
//! are the shortest that read back as the same double in all but about 0.1 % of random doubles, and 2 % of
//! sums of cents; there they are one more, or other than the closest. Which ones depends on the roundings of
//! the implementation: these are those of Valkey's (`fpconv`), so that a score is the same text here and
//! there.
//!
//! # How
//!
//! The double and the middles between it and its neighbours are scaled by a power of ten from a table so that
//! their binary exponents lie between -60 and -32. Then the digits of the upper middle are generated until
//! what is left is less than the distance of the middles, less the error of the scaling, and the last digit
//! is moved towards the double.

/// The most digits of a double.
pub(super) const DIGITS_MAX: usize = 18;

/// Bits of a double's significand that are stored.
const STORED_BITS: u32 = 52;
const HIDDEN_BIT: u64 = 1 << STORED_BITS;
const EXPONENT_BIAS: i32 = 1023 + STORED_BITS as i32;
/// The exponents that scaling aims at.
const EXPONENTS: std::ops::RangeInclusive<i32> = -60..=-32;
/// The power of the first row of [`POWERS`], and from row to row.
const FIRST_POWER: i32 = -348;
const POWER_STEP: i32 = 8;

/// A number: `fraction` times two to the power of `exponent`.
#[derive(Clone, Copy, Debug)]
struct Scaled {
    fraction: u64,
    exponent: i32,
}

impl Scaled {
    fn of(value: f64) -> Scaled {
        let bits = value.to_bits();
        let fraction = bits & (HIDDEN_BIT - 1);
        match ((bits >> STORED_BITS) & 0x7ff) as i32 {
            0 => Scaled { fraction, exponent: 1 - EXPONENT_BIAS },
            exponent => Scaled { fraction: fraction + HIDDEN_BIT, exponent: exponent - EXPONENT_BIAS },
        }
    }

    /// With the highest bit set; the number is not 0.
    fn normalized(self) -> Scaled {
        let shift = self.fraction.leading_zeros();
        Scaled { fraction: self.fraction << shift, exponent: self.exponent - shift as i32 }
    }

    /// The middles to the neighbours below and above, with the exponent of the latter normalized.
    fn middles(self) -> (Scaled, Scaled) {
        let upper = Scaled { fraction: (self.fraction << 1) + 1, exponent: self.exponent - 1 }.normalized();
        // The neighbour below a power of two is only half as far.
        let shift = if self.fraction == HIDDEN_BIT { 2 } else { 1 };
        let lower = Scaled { fraction: (self.fraction << shift) - 1, exponent: self.exponent - shift };
        let aligned = lower.fraction << (lower.exponent - upper.exponent);
        (Scaled { fraction: aligned, exponent: upper.exponent }, upper)
    }

    /// The product, rounded to 64 bits.
    fn times(self, other: Scaled) -> Scaled {
        let product = u128::from(self.fraction) * u128::from(other.fraction);
        // Rounded as the sum of the partial products is, whose lowest 32 bits are dropped before.
        let rounded = (product >> 32) + (1 << 31);
        Scaled { fraction: (rounded >> 32) as u64, exponent: self.exponent + other.exponent + 64 }
    }
}

/// A power of ten by which a number with this exponent is scaled, and its logarithm.
fn power_for(exponent: i32) -> (Scaled, i32) {
    // Begins with an estimate; a step or two leads to the power.
    let estimate = -f64::from(exponent + POWERS.len() as i32) * std::f64::consts::LOG10_2;
    let mut row = ((estimate as i32 - FIRST_POWER) / POWER_STEP).clamp(0, POWERS.len() as i32 - 1);
    loop {
        let (fraction, power_exponent) = POWERS[row as usize];
        let product_exponent = exponent + power_exponent + 64;
        if product_exponent < *EXPONENTS.start() && row + 1 < POWERS.len() as i32 {
            row += 1;
        } else if product_exponent > *EXPONENTS.end() && row > 0 {
            row -= 1;
        } else {
            return (Scaled { fraction, exponent: power_exponent }, FIRST_POWER + row * POWER_STEP);
        }
    }
}

/// The digits of `value`, which is positive and finite, and the power of ten by which they, read as one
/// integer, are to be multiplied. Returns how many there are.
pub(super) fn digits(value: f64, digits: &mut [u8; DIGITS_MAX]) -> (usize, i32) {
    let exact = Scaled::of(value);
    let (lower, upper) = exact.middles();
    let (power, logarithm) = power_for(upper.exponent);
    let exact = exact.normalized().times(power);
    let (lower, upper) = (lower.times(power), upper.times(power));
    // One unit inwards: the products may be wrong by that.
    let (lowest, highest) = (lower.fraction + 1, upper.fraction - 1);
    let bits = upper.exponent.unsigned_abs();
    let mut digits = Digits { digits, count: 0 };
    let left = digits.generate(highest, bits, highest - exact.fraction, highest - lowest);
    (digits.count, left - logarithm)
}

/// Digits that are being generated.
struct Digits<'a> {
    digits: &'a mut [u8; DIGITS_MAX],
    count: usize,
}

impl Digits<'_> {
    fn push(&mut self, digit: u64) {
        // A leading zero is none. The count is below the most there can be for every double.
        if (digit > 0 || self.count > 0) && self.count < DIGITS_MAX {
            self.digits[self.count] = b'0' + digit as u8;
            self.count += 1;
        }
    }

    /// Generates the digits of `number`, of which the lowest `bits` bits are a fraction, down to what may be
    /// left out; `distance` is that of the exact value. Returns the power of ten of the last digit.
    fn generate(&mut self, number: u64, bits: u32, distance: u64, mut may_be_left: u64) -> i32 {
        let one = 1_u64 << bits;
        let (mut whole, mut fraction) = (number >> bits, number & (one - 1));
        for kappa in (0..10).rev() {
            let unit = 10_u64.pow(kappa);
            self.push(whole / unit);
            whole %= unit;
            let left = (whole << bits) + fraction;
            if left <= may_be_left {
                self.approach(may_be_left, left, unit << bits, distance);
                return kappa as i32;
            }
        }
        let (mut kappa, mut scale) = (0, 1_u64);
        loop {
            fraction = fraction.wrapping_mul(10);
            may_be_left = may_be_left.wrapping_mul(10);
            scale = scale.wrapping_mul(10);
            kappa -= 1;
            self.push(fraction >> bits);
            fraction &= one - 1;
            if fraction < may_be_left || self.count == DIGITS_MAX {
                self.approach(may_be_left, fraction, one, distance.wrapping_mul(scale));
                return kappa;
            }
        }
    }

    /// Lowers the last digit as long as that brings the number nearer to the exact value and leaves it
    /// between the middles.
    fn approach(&mut self, may_be_left: u64, mut left: u64, unit: u64, distance: u64) {
        let Some(last) = self.count.checked_sub(1).map(|last| &mut self.digits[last]) else { return };
        while left < distance
            && may_be_left - left >= unit
            && (left + unit < distance || distance - left > left + unit - distance)
        {
            *last -= 1;
            left += unit;
        }
    }
}

/// Every eighth power of ten from 10^-348 on: 64 bits of it, rounded to the nearest, and the power of two
/// that they are to be multiplied by.
static POWERS: [(u64, i32); 87] = [
    (0xfa8fd5a0081c0288, -1220),
    (0xbaaee17fa23ebf76, -1193),
    (0x8b16fb203055ac76, -1166),
    (0xcf42894a5dce35ea, -1140),
    (0x9a6bb0aa55653b2d, -1113),
    (0xe61acf033d1a45df, -1087),
    (0xab70fe17c79ac6ca, -1060),
    (0xff77b1fcbebcdc4f, -1034),
    (0xbe5691ef416bd60c, -1007),
    (0x8dd01fad907ffc3c, -980),
    (0xd3515c2831559a83, -954),
    (0x9d71ac8fada6c9b5, -927),
    (0xea9c227723ee8bcb, -901),
    (0xaecc49914078536d, -874),
    (0x823c12795db6ce57, -847),
    (0xc21094364dfb5637, -821),
    (0x9096ea6f3848984f, -794),
    (0xd77485cb25823ac7, -768),
    (0xa086cfcd97bf97f4, -741),
    (0xef340a98172aace5, -715),
    (0xb23867fb2a35b28e, -688),
    (0x84c8d4dfd2c63f3b, -661),
    (0xc5dd44271ad3cdba, -635),
    (0x936b9fcebb25c996, -608),
    (0xdbac6c247d62a584, -582),
    (0xa3ab66580d5fdaf6, -555),
    (0xf3e2f893dec3f126, -529),
    (0xb5b5ada8aaff80b8, -502),
    (0x87625f056c7c4a8b, -475),
    (0xc9bcff6034c13053, -449),
    (0x964e858c91ba2655, -422),
    (0xdff9772470297ebd, -396),
    (0xa6dfbd9fb8e5b88f, -369),
    (0xf8a95fcf88747d94, -343),
    (0xb94470938fa89bcf, -316),
    (0x8a08f0f8bf0f156b, -289),
    (0xcdb02555653131b6, -263),
    (0x993fe2c6d07b7fac, -236),
    (0xe45c10c42a2b3b06, -210),
    (0xaa242499697392d3, -183),
    (0xfd87b5f28300ca0e, -157),
    (0xbce5086492111aeb, -130),
    (0x8cbccc096f5088cc, -103),
    (0xd1b71758e219652c, -77),
    (0x9c40000000000000, -50),
    (0xe8d4a51000000000, -24),
    (0xad78ebc5ac620000, 3),
    (0x813f3978f8940984, 30),
    (0xc097ce7bc90715b3, 56),
    (0x8f7e32ce7bea5c70, 83),
    (0xd5d238a4abe98068, 109),
    (0x9f4f2726179a2245, 136),
    (0xed63a231d4c4fb27, 162),
    (0xb0de65388cc8ada8, 189),
    (0x83c7088e1aab65db, 216),
    (0xc45d1df942711d9a, 242),
    (0x924d692ca61be758, 269),
    (0xda01ee641a708dea, 295),
    (0xa26da3999aef774a, 322),
    (0xf209787bb47d6b85, 348),
    (0xb454e4a179dd1877, 375),
    (0x865b86925b9bc5c2, 402),
    (0xc83553c5c8965d3d, 428),
    (0x952ab45cfa97a0b3, 455),
    (0xde469fbd99a05fe3, 481),
    (0xa59bc234db398c25, 508),
    (0xf6c69a72a3989f5c, 534),
    (0xb7dcbf5354e9bece, 561),
    (0x88fcf317f22241e2, 588),
    (0xcc20ce9bd35c78a5, 614),
    (0x98165af37b2153df, 641),
    (0xe2a0b5dc971f303a, 667),
    (0xa8d9d1535ce3b396, 694),
    (0xfb9b7cd9a4a7443c, 720),
    (0xbb764c4ca7a44410, 747),
    (0x8bab8eefb6409c1a, 774),
    (0xd01fef10a657842c, 800),
    (0x9b10a4e5e9913129, 827),
    (0xe7109bfba19c0c9d, 853),
    (0xac2820d9623bf429, 880),
    (0x80444b5e7aa7cf85, 907),
    (0xbf21e44003acdd2d, 933),
    (0x8e679c2f5e44ff8f, 960),
    (0xd433179d9c8cb841, 986),
    (0x9e19db92b4e31ba9, 1013),
    (0xeb96bf6ebadf77d9, 1039),
    (0xaf87023b9bf0ee6b, 1066),
];
