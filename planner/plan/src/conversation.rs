use crate::{
    Budget, Head, Limits, Tokens,
    draft::{Bounds, Draft, Item, Open, Place},
    spread::Load,
};

/// Cuts a group into conversations, in input order, each filled up to its budget of tokens.
///
/// Where all exchanges are equally long, a chunk takes `Budget::chunk_exchanges` of them. Where they
/// are not, it takes exchanges, each with its own prompt and answer, up to `Budget::chunk` tokens.
/// An exchange beyond the budget, which fits a slot nevertheless, goes alone. The group's lanes take
/// turns: with k lanes, chunk i is in share i mod k.
pub(crate) fn cut(
    draft: &mut Draft<'_>,
    head: &Head,
    load: &Load,
    ordinals: &[u32],
    (limits, bounds, max_context): (&Limits, &Bounds, Tokens),
) {
    let budget = Budget::new(max_context, Tokens(load.prefix_tokens), limits);
    let quota = equal_exchange(draft, head, load, ordinals)
        .map_or(u64::MAX, |exchange| budget.chunk_exchanges(Tokens(exchange), limits));
    let first = draft.chunks.len();
    let mut open = Open::new(head, load, true);
    for &ordinal in ordinals {
        let Some(item) = draft.item(ordinal, head, load) else { continue };
        if !fits(&open, &item, &budget, quota) || !open.admits(&item, bounds) {
            draft.close(&open, load, place(&open, load));
            open = Open::new(head, load, true);
        }
        draft.too_long += u64::from(item.size.exchange() > budget.chunk.0);
        draft.push(&mut open, &item, bounds);
    }
    draft.close(&open, load, place(&open, load));
    deal(draft, first, load.lanes);
}

fn fits(open: &Open, item: &Item, budget: &Budget, quota: u64) -> bool {
    let exchanges = open.exchanges.saturating_add(item.size.exchange());
    open.requests == 0 || (u64::from(open.requests) < quota && exchanges <= budget.chunk.0)
}

/// Tokens of an exchange, if all of the group are equally long.
fn equal_exchange(draft: &Draft<'_>, head: &Head, load: &Load, ordinals: &[u32]) -> Option<u64> {
    let exchange = |&ordinal: &u32| draft.item(ordinal, head, load).map(|item| item.size.exchange());
    let mut exchanges = ordinals.iter().filter_map(exchange);
    let first = exchanges.next()?;
    exchanges.all(|other| other == first).then_some(first)
}

fn place(open: &Open, load: &Load) -> Place {
    Place {
        share: 0,
        position: 0,
        context: load.prefix_tokens.saturating_add(open.exchanges),
        left: open.work,
    }
}

fn deal(draft: &mut Draft<'_>, first: usize, lanes: u32) {
    let chunks = draft.chunks.get_mut(first..).unwrap_or_default();
    let shares = lanes.min(chunks.len() as u32).max(1);
    for (index, chunk) in (0u32..).zip(chunks) {
        (chunk.share, chunk.position) = (index % shares, index / shares);
    }
}
