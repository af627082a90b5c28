use std::cmp::Reverse;

use crate::{
    Head, Limits,
    draft::{Bounds, Draft, Open, Place},
    spread::Load,
};

/// Cuts a group into shares, one a lane, and each share into chunks; `scratch` is reused.
///
/// Requests are dealt to the shares longest first, to and fro, so that shares are even, each goes
/// from long to short, and equal requests stay near their input order.
pub(crate) fn cut(
    draft: &mut Draft<'_>,
    head: &Head,
    load: &Load,
    ordinals: &[u32],
    (limits, bounds): (&Limits, &Bounds),
    scratch: &mut Vec<(Reverse<u64>, u32)>,
) {
    scratch.clear();
    let items = ordinals.iter().filter_map(|&ordinal| draft.item(ordinal, head, load));
    scratch.extend(items.map(|item| (Reverse(item.work), item.ordinal)));
    scratch.sort_unstable();
    for share in 0..load.lanes {
        cut_share(draft, head, load, scratch, (limits, bounds), share);
    }
}

/// A chunk takes an eighth of the share, or half of what is left if that is less: so the last eighth
/// is cut into halving chunks, and lanes that are done early find small ones to take.
fn cut_share(
    draft: &mut Draft<'_>,
    head: &Head,
    load: &Load,
    dealt: &[(Reverse<u64>, u32)],
    (limits, bounds): (&Limits, &Bounds),
    share: u32,
) {
    let hand = || hand(dealt, load.lanes, share);
    let total = hand().fold(0, |sum: u64, &(Reverse(work), _)| sum.saturating_add(work));
    let least = load.pace.work_in(limits.min_chunk_time).unwrap_or(0);
    let even = limits.lane_fraction.of(total).max(least).min(bounds.work);
    let target = |left: u64| if total <= bounds.small { total } else { even.min(left / 2) };

    let (mut left, mut position) = (total, 0);
    let (mut open, mut aim) = (Open::new(head, load, true), target(left));
    for &(_, ordinal) in hand() {
        let Some(item) = draft.item(ordinal, head, load) else { continue };
        let few = if aim < even { limits.tail_requests.get() } else { 1 };
        let full = open.requests >= few && open.work.saturating_add(item.work) > aim;
        if full || !open.admits(&item, bounds) {
            draft.close(&open, load, place(&open, load, (share, position, left)));
            left = left.saturating_sub(open.work);
            position += 1;
            (open, aim) = (Open::new(head, load, false), target(left));
        }
        draft.push(&mut open, &item, bounds);
    }
    draft.close(&open, load, place(&open, load, (share, position, left)));
}

fn place(open: &Open, load: &Load, (share, position, left): (u32, u32, u64)) -> Place {
    Place { share, position, context: load.prefix_tokens.saturating_add(open.longest()), left }
}

/// The requests of one share: forth in even rounds of dealing, back in odd ones.
fn hand<T>(dealt: &[T], shares: u32, share: u32) -> impl Iterator<Item = &T> {
    let (forth, back) = (share as usize, (shares - 1 - share) as usize);
    let rounds = dealt.chunks(shares as usize).enumerate();
    rounds.filter_map(move |(round, dealt)| dealt.get(if round % 2 == 0 { forth } else { back }))
}
