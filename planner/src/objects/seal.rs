//! Checksums: an object is written in blocks, each followed by one, so that any range can be verified
//! with one read and no index. A checksum holds for the block's place too, and for the object's name:
//! bytes of another object, of another place, or of an object that was cut short do not pass.

use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};
use object_store::{PutPayload, path::Path as Key};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes of data in a block, the last one excepted: what reading a line reads at least, for checksums
/// of 0.05 %.
const BLOCK: u64 = 16 << 10;
/// Bytes of a checksum.
const SUM: u64 = 8;

/// What the checksums of one object are mixed with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seal {
    seed: u64,
}

/// Why bytes are not those that were written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// The object does not end where one could.
    Length,
    /// This block, from 0, does not have its checksum.
    Block(u64),
    /// The object ends before what was asked for.
    Short,
}

/// Seals an object that comes bit by bit.
#[derive(Debug)]
pub(super) struct Sealer {
    seal: Seal,
    block: u64,
    pending: BytesMut,
}

// === impl Seal ===

impl Seal {
    pub(super) fn of(key: &Key) -> Self {
        Self { seed: xxh3_64(key.as_ref().as_bytes()) }
    }

    /// The blocks of `bytes` with their checksums; the bytes are not copied.
    pub(super) fn payload(self, bytes: &Bytes) -> PutPayload {
        let blocks = blocks(bytes.len() as u64);
        let mut pieces = Vec::new();
        for block in 0..blocks {
            let from = block * BLOCK;
            let data = bytes.slice(index(from)..index((from + BLOCK).min(bytes.len() as u64)));
            let sum = self.sum(block, block + 1 == blocks, &data);
            pieces.extend([data, Bytes::copy_from_slice(&sum)]);
        }
        pieces.into_iter().collect()
    }

    /// Takes the data out of sealed bytes that begin with block `first` of an object of `total` sealed
    /// bytes, and gives `range` of the object's data.
    pub(super) fn verify(
        self,
        sealed: &[u8],
        first: u64,
        total: u64,
        range: Range<u64>,
    ) -> Result<Bytes, Damage> {
        let end = data_len(total)?;
        if range.end > end {
            return Err(Damage::Short);
        }
        let last = blocks(end) - 1;
        let mut data = BytesMut::with_capacity(sealed.len());
        for (block, piece) in (first..).zip(sealed.chunks(index(BLOCK + SUM))) {
            let (bytes, sum) = piece.split_last_chunk::<{ SUM as usize }>().ok_or(Damage::Block(block))?;
            if self.sum(block, block == last, bytes) != *sum {
                return Err(Damage::Block(block));
            }
            data.extend_from_slice(bytes);
        }
        let base = first * BLOCK;
        let wanted = index(range.start.saturating_sub(base))..index(range.end - base);
        if wanted.end > data.len() { Err(Damage::Short) } else { Ok(data.freeze().slice(wanted)) }
    }

    fn sum(self, block: u64, is_last: bool, data: &[u8]) -> [u8; SUM as usize] {
        xxh3_64_with_seed(data, self.seed ^ (block << 1 | u64::from(is_last))).to_le_bytes()
    }
}

/// The block that holds the first byte of `range`, and the sealed bytes to read for it.
pub(super) fn place(range: &Range<u64>) -> (u64, Range<u64>) {
    let (first, end) = (range.start / BLOCK, range.end.div_ceil(BLOCK));
    (first, first * (BLOCK + SUM)..end.max(first + 1) * (BLOCK + SUM))
}

/// Bytes of data in an object of so many sealed bytes.
pub(super) fn data_len(sealed: u64) -> Result<u64, Damage> {
    let blocks = sealed.div_ceil(BLOCK + SUM).max(1);
    let rest = sealed.saturating_sub((blocks - 1) * (BLOCK + SUM));
    let fits = rest > SUM || (rest == SUM && blocks == 1);
    if fits { Ok(sealed - blocks * SUM) } else { Err(Damage::Length) }
}

/// An object without bytes has one block, so that it has a checksum.
fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).max(1)
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

// === impl Sealer ===

impl Sealer {
    pub(super) fn new(key: &Key) -> Self {
        Self { seal: Seal::of(key), block: 0, pending: BytesMut::new() }
    }

    /// Takes data; gives the blocks that it fills. The last one is kept: it may be the object's last.
    pub(super) fn push(&mut self, data: &[u8]) -> BytesMut {
        self.pending.extend_from_slice(data);
        let mut sealed = BytesMut::new();
        while self.pending.len() as u64 > BLOCK {
            let block = self.pending.split_to(index(BLOCK));
            self.put(&block, false, &mut sealed);
        }
        sealed
    }

    /// The object's last block.
    pub(super) fn finish(mut self) -> BytesMut {
        let mut sealed = BytesMut::new();
        let block = self.pending.split();
        self.put(&block, true, &mut sealed);
        sealed
    }

    fn put(&mut self, data: &[u8], is_last: bool, sealed: &mut BytesMut) {
        sealed.reserve(data.len() + index(SUM));
        sealed.put_slice(data);
        sealed.put_slice(&self.seal.sum(self.block, is_last, data));
        self.block += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [u64; 8] = [0, 1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 100];

    fn data(bytes: u64) -> Bytes {
        (0..bytes).map(|i| (i % 251) as u8).collect()
    }

    fn sealed(key: &Key, data: &Bytes) -> Vec<u8> {
        Seal::of(key).payload(data).iter().flatten().copied().collect()
    }

    fn read(key: &Key, sealed: &[u8], range: Range<u64>) -> Result<Bytes, Damage> {
        let (first, place) = place(&range);
        let total = sealed.len();
        let (from, to) = (index(place.start).min(total), index(place.end).min(total));
        Seal::of(key).verify(&sealed[from..to], first, total as u64, range)
    }

    #[test]
    fn any_range_reads_back() {
        let key = Key::from("a/b");
        for bytes in LENGTHS {
            let data = data(bytes);
            let sealed = sealed(&key, &data);
            assert_eq!(data_len(sealed.len() as u64), Ok(bytes));
            for range in [0..bytes, 0..bytes.min(5), bytes / 2..bytes, bytes.saturating_sub(1)..bytes] {
                let (from, to) = (index(range.start), index(range.end));
                assert_eq!(read(&key, &sealed, range).unwrap(), data[from..to], "{bytes} bytes");
            }
            assert_eq!(read(&key, &sealed, 0..bytes + 1), Err(Damage::Short));
        }
    }

    #[test]
    fn what_comes_bit_by_bit_is_sealed_alike() {
        let key = Key::from("a/b");
        for bytes in LENGTHS {
            let data = data(bytes);
            let mut sealer = Sealer::new(&key);
            let mut out = BytesMut::new();
            data.chunks(1_000).for_each(|some| out.extend_from_slice(&sealer.push(some)));
            out.extend_from_slice(&sealer.finish());
            assert!(out == sealed(&key, &data), "{bytes} bytes");
        }
    }

    #[test]
    fn every_damage_is_noticed() {
        let key = Key::from("a/b");
        for bytes in LENGTHS {
            let data = data(bytes);
            let whole = sealed(&key, &data);
            for at in [0, whole.len() / 2, whole.len() - 1] {
                let mut flipped = whole.clone();
                flipped[at] ^= 0x10;
                assert!(read(&key, &flipped, 0..bytes).is_err(), "byte {at} of {bytes}");
            }
            for cut in [0, whole.len() - 1, index(BLOCK + SUM)].into_iter().filter(|cut| *cut < whole.len()) {
                let shorter = &whole[..cut];
                let left = data_len(cut as u64).unwrap_or_default();
                assert!(read(&key, shorter, 0..left).is_err(), "cut to {cut} of {}", whole.len());
            }
            assert!(read(&Key::from("a/c"), &whole, 0..bytes).is_err(), "of another object");
        }
    }

    #[test]
    fn a_block_in_another_place_is_noticed() {
        let key = Key::from("a/b");
        let mut sealed = sealed(&key, &vec![7; index(3 * BLOCK)].into());
        let (one, two) = sealed.split_at_mut(index(BLOCK + SUM));
        one.swap_with_slice(&mut two[..index(BLOCK + SUM)]);
        assert_eq!(read(&key, &sealed, 0..10), Err(Damage::Block(0)));
    }
}
