//! One bit a request: bit i of byte i/8.

/// As many clear bits, in whole bytes.
pub(super) fn clear(count: usize) -> Vec<u8> {
    vec![0; count.div_ceil(8)]
}

/// Sets a bit. False if it was set, or if there is no such bit.
pub(super) fn set(bits: &mut [u8], index: usize) -> bool {
    let mask = 1 << (index % 8);
    match bits.get_mut(index / 8) {
        Some(byte) if *byte & mask == 0 => {
            *byte |= mask;
            true
        }
        _ => false,
    }
}

/// Whether a bit is set.
#[cfg(test)]
pub(super) fn is_set(bits: &[u8], index: usize) -> bool {
    bits.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0)
}

/// Bits that are set.
#[cfg(test)]
pub(super) fn ones(bits: &[u8]) -> u32 {
    bits.iter().map(|byte| byte.count_ones()).sum()
}
