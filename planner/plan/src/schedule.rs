use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
};

use crate::Micros;

/// A chunk as lanes take it; times are those of one lane while all are at work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    pub(crate) group: u32,
    pub(crate) share: u32,
    /// Whether a lane that is not warm for it may take it from one that is.
    pub(crate) worth_stealing: bool,
    /// Of its requests.
    pub(crate) own: Micros,
    /// Of the group's prefix, on a lane that has not read it.
    pub(crate) prefix: Micros,
}

/// When the last lane ends. Lanes take chunks as they are leased: the next of the share that the lane is at,
/// else the first of a share that nobody has begun, else one from the tail of another's.
///
/// At the end fewer and fewer lanes are at work: `pace` says how much faster each then is than
/// with all at work, 1 for all.
pub(crate) fn makespan(tasks: &[Task], lanes: u32, pace: impl Fn(u32) -> f64) -> Micros {
    let lanes = lanes.min(u32::try_from(tasks.len()).unwrap_or(u32::MAX));
    let mut board = Board::of(tasks);
    let mut free: BinaryHeap<_> = (0..lanes).map(|lane| Reverse((0, lane))).collect();
    let mut warm: Vec<Option<(usize, u32)>> = vec![None; lanes as usize];
    let (mut span, mut ended, mut busy) = (0.0, 0, lanes);
    while let Some(Reverse((now, lane))) = free.pop() {
        let Some(warm) = warm.get_mut(lane as usize) else { continue };
        let Some((share, task)) = board.take(warm.map(|(share, _)| share)) else {
            span += (now - ended) as f64 / pace(busy);
            (ended, busy) = (now, busy - 1);
            continue;
        };
        let cold = warm.is_none_or(|(_, group)| group != task.group);
        let prefix = if cold { task.prefix.0 } else { 0 };
        *warm = Some((share, task.group));
        free.push(Reverse((task.own.0.saturating_add(prefix).saturating_add(now), lane)));
    }
    Micros(span.round() as u64)
}

/// Chunks that no lane has taken, by share.
struct Board {
    shares: Vec<Share>,
    /// Shares before this one are begun.
    begun: usize,
    /// Where there may be some left.
    open: Vec<usize>,
}

#[derive(Default)]
struct Share {
    tasks: VecDeque<(usize, Task)>,
    /// Lanes that are at it.
    lanes: u32,
}

// === impl Board ===

impl Board {
    fn of(tasks: &[Task]) -> Self {
        let mut shares: Vec<Share> = Vec::new();
        let mut known = HashMap::new();
        for (number, task) in tasks.iter().enumerate() {
            let index = *known.entry((task.group, task.share)).or_insert(shares.len());
            if index == shares.len() {
                shares.push(Share::default());
            }
            if let Some(share) = shares.get_mut(index) {
                share.tasks.push_back((number, *task));
            }
        }
        let open = (0..shares.len()).collect();
        Self { shares, begun: 0, open }
    }

    /// A chunk for a lane that ends one of share `at`, and its share.
    fn take(&mut self, at: Option<usize>) -> Option<(usize, Task)> {
        if let Some(share) = at.and_then(|at| self.shares.get_mut(at)) {
            share.lanes -= 1;
        }
        let index = at.filter(|&at| self.shares.get(at).is_some_and(|share| !share.tasks.is_empty()));
        let index = index.or_else(|| self.begin());
        let (index, place) = index.map(|index| (index, 0)).or_else(|| self.last())?;
        let share = self.shares.get_mut(index)?;
        let (_, task) = share.tasks.remove(place)?;
        share.lanes += 1;
        Some((index, task))
    }

    fn begin(&mut self) -> Option<usize> {
        let next = self.begun;
        self.begun += usize::from(next < self.shares.len());
        (next < self.shares.len()).then_some(next)
    }

    /// The last chunk of all that is worth a theft, or that belongs to a share without a lane.
    fn last(&mut self) -> Option<(usize, usize)> {
        let Self { shares, open, .. } = self;
        open.retain(|&index| shares.get(index).is_some_and(|share| !share.tasks.is_empty()));
        let of_share = |&index: &usize| {
            let share = shares.get(index)?;
            let may = |(_, task): &(usize, Task)| task.worth_stealing || share.lanes == 0;
            let place = share.tasks.iter().rposition(may)?;
            Some((share.tasks.get(place)?.0, index, place))
        };
        let (_, index, place) = open.iter().filter_map(of_share).max()?;
        Some((index, place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(group: u32, share: u32, own: u64) -> Task {
        Task { group, share, worth_stealing: true, own: Micros(own), prefix: Micros(100) }
    }

    fn span(tasks: &[Task], lanes: u32) -> u64 {
        makespan(tasks, lanes, |_| 1.0).0
    }

    #[test]
    fn a_lane_reads_a_prefix_once() {
        assert_eq!(span(&[], 4), 0);
        assert_eq!(span(&[task(0, 0, 5), task(0, 0, 5), task(0, 0, 5)], 1), 115);
        let two = [task(0, 0, 5), task(0, 0, 5), task(1, 0, 5)];
        assert_eq!(span(&two, 1), 215);
        assert_eq!(span(&two, 2), 110);
    }

    #[test]
    fn an_idle_lane_helps_where_that_pays() {
        let long = [task(0, 0, 400), task(0, 0, 400), task(0, 0, 400)];
        // The thief reads the prefix too: 100 + 400 beside 100 + 800.
        assert_eq!(span(&long, 2), 900);
        let held = long.map(|task| Task { worth_stealing: false, ..task });
        assert_eq!(span(&held, 2), 1_300);
    }

    #[test]
    fn the_last_lanes_are_faster() {
        let tasks = [task(0, 0, 100), task(1, 0, 300), task(2, 0, 500)];
        // 200 with three at work, 200 with two, 200 with one.
        let pace = |busy| [4.0, 2.0, 1.0][busy as usize - 1];
        assert_eq!(makespan(&tasks, 3, pace), Micros(200 + 100 + 50));
    }
}
