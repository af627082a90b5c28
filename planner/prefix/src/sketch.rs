use crate::Step;

/// Which steps at least two prompts have, and where prompts part, in a table of fixed size.
///
/// An entry holds 16 bits of its step and a fingerprint of what follows it. A step whose prompts
/// go on differently, or of which one ends there, is a parting. Steps for which there is no room,
/// and one in 8,000 others, are taken for partings: that costs the tree a node and changes no
/// count. One parting in 30,000 of exactly two ways is overlooked between prompts that each share
/// more with others further on.
#[derive(Debug, Clone)]
pub struct Sketch {
    /// A power of two of them.
    buckets: Vec<[u32; WAYS]>,
}

/// Entries a bucket; they are `tag << 16 | state`, and 0 where there is none. A state is the
/// fingerprint of what follows, shifted by the bit that says whether the step was seen twice.
const WAYS: usize = 8;
/// State of a step with different successors.
const PARTING: u32 = 1;
/// Fingerprint of a prompt's end: no two ends go on together.
const END: u32 = 1;
/// Bits of an entry's state.
const STATE: u32 = 0xFFFF;
/// Bytes of table at least.
const MIN_BYTES: usize = 64 * 1_024;
/// Bytes of input for a step, where prompts are of a few KB and nothing is shared.
const BYTES_PER_STEP: u64 = 256;
/// Bytes of table for a step, twice what it takes.
const TABLE_BYTES_PER_STEP: u64 = 8;

// === impl Sketch ===

impl Sketch {
    /// Bytes at most that [`Self::for_input`] takes: room for 8 million different steps.
    pub const MAX_BYTES: usize = 32 << 20;

    /// A sketch of `bytes`, rounded down to a power of two and to at least 64 KiB. A step takes
    /// 4 bytes; with half as many steps as there is room for, one in 100 finds none, with twice as
    /// many every second.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let bytes = bytes.max(MIN_BYTES);
        Self { buckets: vec![[0; WAYS]; (1 << bytes.ilog2()) / size_of::<[u32; WAYS]>()] }
    }

    /// A sketch for an input of this many bytes: a 32nd of it, at most [`Self::MAX_BYTES`].
    #[must_use]
    pub fn for_input(bytes: u64) -> Self {
        let wanted = (bytes / BYTES_PER_STEP).saturating_mul(TABLE_BYTES_PER_STEP);
        let wanted = usize::try_from(wanted).unwrap_or(Self::MAX_BYTES).clamp(MIN_BYTES, Self::MAX_BYTES);
        Self::new(wanted.checked_next_power_of_two().unwrap_or(Self::MAX_BYTES))
    }

    /// Takes a prompt of the first reading.
    pub fn see(&mut self, steps: &[Step]) {
        let mask = self.buckets.len().wrapping_sub(1);
        for (step, after) in with_next(steps) {
            let after = after.map_or(END, fingerprint);
            let tag = tag(step);
            let bucket = self.buckets.get_mut(step.hash as usize & mask);
            let Some(entry) = bucket.and_then(|bucket| bucket.iter_mut().find(|entry| holds(**entry, tag)))
            else {
                continue;
            };
            *entry = tag
                | match *entry & STATE {
                    0 => after << 1,
                    seen if seen >> 1 == after && after != END => seen | 1,
                    _ => PARTING,
                };
        }
    }

    /// Whether at least two prompts had this step: never false if they had, rarely true if not.
    #[must_use]
    pub fn twice(&self, step: &Step) -> bool {
        self.state(step) & 1 == 1
    }

    /// Memory that it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(self.buckets.as_slice())
    }

    /// The steps of a prompt where it parts from others that shared it so far, the root not
    /// counted.
    pub(crate) fn partings<'s>(&'s self, steps: &'s [Step]) -> impl Iterator<Item = &'s Step> {
        let shared = with_next(steps).skip(1).take_while(|(step, _)| self.twice(step));
        let parting = |(step, after): &(&Step, Option<&Step>)| {
            // Where what follows is nobody else's, the fingerprints were equal by chance.
            self.state(step) == PARTING || !after.is_some_and(|after| self.twice(after))
        };
        shared.filter(parting).map(|(step, _)| step)
    }

    /// 0 for a step that was not seen.
    fn state(&self, step: &Step) -> u32 {
        let bucket = self.buckets.get(step.hash as usize & self.buckets.len().wrapping_sub(1));
        let entry = bucket.map(|bucket| bucket.iter().find(|entry| holds(**entry, tag(step))));
        // Where there is no room left, there may have been none for this step.
        entry.map_or(0, |entry| entry.map_or(PARTING, |entry| *entry & STATE))
    }
}

fn with_next(steps: &[Step]) -> impl Iterator<Item = (&Step, Option<&Step>)> {
    let after = steps.iter().skip(1).map(Some).chain([None]);
    steps.iter().zip(after)
}

/// Whether this entry is the step's, or free for it.
fn holds(entry: u32, tag: u32) -> bool {
    entry == 0 || entry & !STATE == tag
}

/// The bits of a step that its entry has: above those that choose the bucket.
fn tag(step: &Step) -> u32 {
    (step.hash >> 32) as u32 & !STATE
}

/// 15 bits of a step, neither 0 nor `END`.
fn fingerprint(step: &Step) -> u32 {
    ((step.hash >> 33) as u32 & 0x7FFF).max(END + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps with these hashes, spread over slots and fingerprints.
    fn steps(names: &[u64]) -> Vec<Step> {
        let spread = |name: &u64| Step { hash: name.wrapping_mul(0x9E37_79B9_7F4A_7C15), ..Step::default() };
        names.iter().map(spread).collect()
    }

    fn partings(sketch: &Sketch, names: &[u64]) -> Vec<u64> {
        let steps = steps(names);
        let of = |step: &Step| steps.iter().position(|other| other == step).map(|index| names[index]);
        sketch.partings(&steps).filter_map(of).collect()
    }

    #[test]
    fn knows_where_prompts_part_and_end() {
        let mut sketch = Sketch::new(0);
        let prompts: [&[u64]; 6] =
            [&[1, 2, 3, 4, 5], &[1, 2, 3, 6, 7], &[1, 2, 3], &[1, 8, 9, 10], &[1, 8, 9, 10], &[1, 11]];
        prompts.iter().for_each(|names| sketch.see(&steps(names)));
        let found: Vec<Vec<u64>> = prompts.iter().map(|names| partings(&sketch, names)).collect();
        assert_eq!(found, [vec![3], vec![3], vec![3], vec![10], vec![10], vec![]]);
        assert!([1, 2, 3, 8, 9, 10].iter().all(|&name| sketch.twice(&steps(&[name])[0])));
        assert!([4, 5, 6, 7, 11].iter().all(|&name| !sketch.twice(&steps(&[name])[0])));
    }

    #[test]
    fn a_parting_with_equal_fingerprints_is_found_by_those_who_go_on_alone() {
        let mut sketch = Sketch::new(0);
        let after = |low: u64| Step { hash: 7 << 33 | low, ..Step::default() };
        for low in [1, 2] {
            sketch.see(&[steps(&[1]), steps(&[2]), vec![after(low)]].concat());
        }
        let prompt = [steps(&[1]), steps(&[2]), vec![after(1)]].concat();
        assert_eq!(sketch.partings(&prompt).count(), 1);
    }

    #[test]
    fn what_finds_no_room_counts_as_a_parting() {
        let mut sketch = Sketch::new(0);
        let room = (sketch.bytes() / 4) as u64;
        (0..4 * room).for_each(|name| sketch.see(&steps(&[name])));
        assert!((0..4 * room).filter(|&name| sketch.twice(&steps(&[name])[0])).count() as u64 >= 2 * room);
        (0..4 * room).for_each(|name| sketch.see(&steps(&[name])));
        assert!((0..4 * room).all(|name| sketch.twice(&steps(&[name])[0])));
    }

    #[test]
    fn sizes() {
        assert_eq!(Sketch::new(0).bytes(), 64 << 10);
        assert_eq!(Sketch::new((1 << 20) + 5).bytes(), 1 << 20);
        assert_eq!(Sketch::for_input(200_000_000).bytes(), 8 << 20);
        assert_eq!(Sketch::for_input(u64::MAX).bytes(), Sketch::MAX_BYTES);
    }
}
