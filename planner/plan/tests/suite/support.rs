//! Inputs and a fleet of lanes for the tests.

use std::num::NonZeroU32;

use caravan_plan::{Fleet, Head, Input, Origin, Plan, Policy, Request, Speed, Tokens, plan};

pub(crate) fn request(group: u32, prompt_tokens: u32, answer_tokens: u32) -> Request {
    let answer_tokens = NonZeroU32::new(answer_tokens);
    Request {
        group,
        prompt_tokens,
        prompt_tokens_low: prompt_tokens,
        answer_tokens,
        bytes: prompt_tokens * 4,
    }
}

pub(crate) fn head(prefix_tokens: u32) -> Head {
    Head { model: 0, prefix_tokens, bytes: prefix_tokens * 4, answers: true }
}

/// 2,000 prompt tokens and 50 answer tokens a second and lane.
pub(crate) fn fleet(lanes: u32) -> Fleet {
    Fleet {
        lanes,
        lanes_known: true,
        context: Tokens(32_768),
        speeds: vec![Speed {
            lanes: 1,
            prompt_seconds: 1.0 / 2_000.0,
            answer_seconds: 1.0 / 50.0,
            request_seconds: 0.0,
        }],
        sliding_window: None,
        reuse: Vec::new(),
        answer_share: None,
        reserve_share: None,
        origin: Origin::Profile,
    }
}

pub(crate) fn unmeasured(lanes: u32) -> Fleet {
    Fleet { speeds: Vec::new(), origin: Origin::Reported, ..fleet(lanes) }
}

pub(crate) fn planned(requests: &[Request], heads: &[Head], fleets: &[Fleet], policy: &Policy) -> Plan {
    plan(Input { requests, heads, fleets, policy }).unwrap()
}

/// A small generator (SplitMix64), so that sizes are the same on every run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// 0 to `below - 1`.
    pub(crate) fn next(&mut self, below: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % u64::from(below)) as u32
    }
}
