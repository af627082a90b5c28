use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Blocks of a text's beginning, in bytes.
const BLOCK: usize = 256;
/// End of that beginning: from here on a block is an eighth of what the text has before it, so
/// that a divergence is found to within an eighth and a text of 1 MB has 62 blocks.
const FINE: usize = 2_048;
/// What later block ends are multiples of.
const ALIGN: usize = 64;

/// A prompt up to some point. Steps with equal hashes are taken for equal prompts up to there:
/// of 25 million different ones, two have the same hash with a chance of 2 in 100,000. Whoever
/// constructs a collision confuses only requests of their own batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Step {
    /// XXH3 over everything before this point, chained block by block.
    pub hash: u64,
    /// Bytes of prompt before this point; stays at `u32::MAX` past 4 GiB.
    pub bytes: u32,
    /// Whole messages before this point.
    pub messages: u32,
}

/// Makes the steps of one prompt after the other, in the same memory: 16 bytes a step, of which
/// a text has one at its end, one every 256 bytes up to 2 KiB, and from there on each an eighth
/// further than the last: 23 for 10 KB, 62 for 1 MB.
#[derive(Debug, Clone, Default)]
pub struct Path {
    steps: Vec<Step>,
    at: Step,
}

/// What a step's hash is made for, beside the bytes: ends of blocks, messages and texts at the
/// same place differ.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Root,
    Block,
    Message,
    Text,
}

// === impl Path ===

impl Path {
    /// Begins a new prompt. `key` is everything that keeps requests apart whatever their
    /// messages are: model, endpoint, kinds of engine, options that reload, tools, response
    /// format. `bytes` are those of prompt that it stands for, as tools do.
    pub fn begin(&mut self, key: &[u8], bytes: u32) {
        self.steps.clear();
        self.at = Step { hash: chain(0, key, Kind::Root), bytes, messages: 0 };
        self.steps.push(self.at);
    }

    /// The next message, as the text that stands in the body.
    pub fn message(&mut self, text: &[u8]) {
        let rest = self.blocks(text);
        self.at.messages = self.at.messages.saturating_add(1);
        self.step(rest, Kind::Message);
    }

    /// The next text that is no message: a prompt or input that is no list of messages.
    pub fn text(&mut self, text: &[u8]) {
        let rest = self.blocks(text);
        self.step(rest, Kind::Text);
    }

    /// The steps so far, the root's first. Empty before the first `begin`.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Steps over the blocks of a text that something follows; gives the last block.
    fn blocks<'t>(&mut self, text: &'t [u8]) -> &'t [u8] {
        let (mut rest, mut begin, mut end) = (text, 0, BLOCK);
        while let Some((block, after)) =
            rest.split_at_checked(end - begin).filter(|(_, after)| !after.is_empty())
        {
            self.step(block, Kind::Block);
            (rest, begin, end) = (after, end, next(end));
        }
        rest
    }

    fn step(&mut self, block: &[u8], kind: Kind) {
        self.at.hash = chain(self.at.hash, block, kind);
        self.at.bytes = self.at.bytes.saturating_add(u32::try_from(block.len()).unwrap_or(u32::MAX));
        self.steps.push(self.at);
    }
}

/// The hash of everything up to the end of `block`, if `before` is that of everything before it.
fn chain(before: u64, block: &[u8], kind: Kind) -> u64 {
    let mut link = [0; 16];
    let (first, second) = link.split_at_mut(8);
    first.copy_from_slice(&before.to_le_bytes());
    second.copy_from_slice(&xxh3_64(block).to_le_bytes());
    xxh3_64_with_seed(&link, kind as u64)
}

/// The block end after `end`.
fn next(end: usize) -> usize {
    if end < FINE { end + BLOCK } else { (end + end / 8) / ALIGN * ALIGN }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(key: &str, messages: &[&[u8]]) -> Vec<Step> {
        let mut path = Path::default();
        path.begin(key.as_bytes(), 0);
        messages.iter().for_each(|message| path.message(message));
        path.steps().to_vec()
    }

    #[test]
    fn steps_stand_at_block_and_message_ends() {
        let steps = path("m", &[&[b'a'; 600], b"b", &[b'c'; 2_700]]);
        let places: Vec<(u32, u32)> = steps.iter().map(|step| (step.bytes, step.messages)).collect();
        let fine = (1..=8).map(|block| (601 + block * 256, 2));
        let mut expected = vec![(0, 0), (256, 0), (512, 0), (600, 1), (601, 2)];
        expected.extend(fine);
        expected.extend([(601 + 2_304, 2), (601 + 2_560, 2), (601 + 2_700, 3)]);
        assert_eq!(places, expected);
    }

    #[test]
    fn as_many_steps_as_documented() {
        for (bytes, steps) in [(0, 1), (256, 1), (257, 2), (10_000, 23), (1_000_000, 62)] {
            assert_eq!(path("m", &[&vec![b'a'; bytes]]).len(), 1 + steps, "{bytes}");
        }
    }

    #[test]
    fn a_hash_covers_all_before_it_and_what_ends_there() {
        let all = [
            path("m", &[b"ab", b"c"]),
            path("m", &[b"a", b"bc"]),
            path("m", &[b"abc"]),
            path("n", &[b"ab", b"c"]),
            path("m", &[b"ab", b"c", b""]),
        ];
        let mut ends: Vec<u64> = all.iter().filter_map(|path| Some(path.last()?.hash)).collect();
        ends.sort_unstable();
        ends.dedup();
        assert_eq!(ends.len(), all.len());
        assert_eq!(all[0][..3], all[4][..3]);
    }

    #[test]
    fn what_follows_changes_no_step_before_it() {
        let text: Vec<u8> = (0..9_000u32).flat_map(u32::to_le_bytes).collect();
        let whole = path("m", &[&text]);
        for cut in [256, 300, 2_048, 5_000] {
            let mut other = text.clone();
            other[cut] ^= 1;
            let shared = whole.iter().zip(path("m", &[&other])).take_while(|(a, b)| **a == *b).count();
            let bytes = whole[shared - 1].bytes as usize;
            assert!(bytes <= cut && cut - bytes <= (cut / 8).max(BLOCK), "{cut}: {bytes}");
        }
    }

    #[test]
    fn a_text_is_no_message() {
        let mut path = Path::default();
        path.begin(b"m", 40);
        path.text(b"once upon a time");
        let places: Vec<(u32, u32)> = path.steps().iter().map(|step| (step.bytes, step.messages)).collect();
        assert_eq!(places, [(40, 0), (56, 0)]);
    }
}
