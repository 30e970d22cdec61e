//! LZF, decompression only: the compression of long strings in snapshots.
//!
//! A control byte below 32 announces that many plus one literal bytes; any other is a copy of earlier output:
//! three bits of length (7: one more byte of it), thirteen bits of distance.

/// Three bytes stand for at most 264: no input unpacks to more than this factor.
pub(super) const MAX_EXPANSION: usize = 88;

/// Unpacks `input`, which must give exactly `len` bytes. Allocates nothing for a `len` that `input` cannot
/// have.
pub(super) fn decompress(input: &[u8], len: usize) -> Option<Vec<u8>> {
    if len > input.len().checked_mul(MAX_EXPANSION)? {
        return None;
    }
    let mut output = Vec::with_capacity(len);
    let mut rest = input;
    while let [control, tail @ ..] = rest {
        let control = usize::from(*control);
        if control < 32 {
            let (literals, tail) = tail.split_at_checked(control + 1)?;
            output.extend_from_slice(literals);
            rest = tail;
        } else {
            let (more, tail) =
                if control >> 5 == 7 { tail.split_first().map(|(m, t)| (*m, t))? } else { (0, tail) };
            let (low, tail) = tail.split_first()?;
            let distance = ((control & 0x1f) << 8 | usize::from(*low)) + 1;
            copy_back(&mut output, distance, (control >> 5) + usize::from(more) + 2)?;
            rest = tail;
        }
        if output.len() > len {
            return None;
        }
    }
    (output.len() == len).then_some(output)
}

/// Appends `count` bytes from `distance` behind the end; source and target may overlap.
fn copy_back(output: &mut Vec<u8>, distance: usize, count: usize) -> Option<()> {
    let start = output.len().checked_sub(distance)?;
    let mut left = count;
    // The repeated piece doubles with every round.
    while left > 0 {
        let piece = left.min(output.len() - start);
        output.extend_from_within(start..start + piece);
        left -= piece;
    }
    Some(())
}
