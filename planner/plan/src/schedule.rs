use std::{cmp::Reverse, collections::BinaryHeap};

use crate::Micros;

/// When the last lane ends, if each lane that is free takes the next chunk. `None` if a time is not known.
pub(crate) fn makespan(chunks: impl Iterator<Item = Option<Micros>>, lanes: u32) -> Option<Micros> {
    let mut busy_until = BinaryHeap::new();
    let mut end = 0;
    for time in chunks {
        let idle = busy_until.len() < lanes as usize;
        let start = if idle { 0 } else { busy_until.pop().map_or(0, |Reverse(until)| until) };
        let until = time?.0.saturating_add(start);
        busy_until.push(Reverse(until));
        end = end.max(until);
    }
    Some(Micros(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_run_side_by_side() {
        let span = |times: &[u64], lanes| makespan(times.iter().map(|&time| Some(Micros(time))), lanes);
        assert_eq!(span(&[], 4), Some(Micros(0)));
        assert_eq!(span(&[5; 9], 8), Some(Micros(10)));
        assert_eq!(span(&[7, 3, 3], 2), Some(Micros(7)));
        assert_eq!(makespan([Some(Micros(1)), None].into_iter(), 2), None);
    }
}
