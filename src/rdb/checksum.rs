//! The CRC-64 at the end of a snapshot: "Jones", reflected, no initial value.

use crc::{CRC_64_REDIS, Crc, Digest, Table};

/// Sixteen tables (32 KiB), so that sixteen bytes are taken per step: gigabytes per second.
static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// A checksum under way.
pub(super) type Checksum = Digest<'static, u64, Table<16>>;

/// The checksum of nothing, so far.
pub(super) fn checksum() -> Checksum {
    CRC.digest()
}
