//! Sliding-window attention: how much of a common prefix a slot can go on from.
//!
//! The cache of such layers holds the last positions only. To go on at a position, the window before
//! it must still be there; llama-server also saves the cache at two points of every prompt, and can go
//! back to one that lies within the prefix.

use crate::options::Options;

use super::ReloadSet;

/// Cells of a cache come in steps of so many.
const STEP: usize = 256;
/// A cache is saved so many tokens before the end of a prompt, and a batch before that.
const SAVED_BEFORE_END: usize = 4;

/// The batch that Ollama takes for a cache of at most so many tokens in all, and beyond.
const AUTOMATIC: [(usize, usize); 2] = [(4_096, 512), (32_768, 1_024)];
const LARGEST: usize = 2_048;

/// The window of a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Tokens that a token sees.
    tokens: usize,
    /// Tokens evaluated at once; none on the line before llama-server, which saves nothing.
    batch: Option<usize>,
}

// === impl Window ===

impl Window {
    /// The window of a runner with `set` on `slots` slots; none if the model has none, or all of its
    /// cache is kept.
    pub(crate) fn of(options: &Options, set: &ReloadSet, slots: usize) -> Option<Self> {
        let tokens = options.sliding_window;
        let limited = tokens > 0 && tokens < set.context && !options.swa_full;
        let batch = options.is_v0_33().then(|| batch(options, set, slots));
        limited.then_some(Self { tokens, batch })
    }

    /// Positions that the cache of one slot holds.
    pub(crate) fn cells(self) -> usize {
        match self.batch {
            Some(batch) => (self.tokens + batch).next_multiple_of(STEP),
            None => self.tokens + 1,
        }
    }

    /// Of `common` tokens that a prompt begins with, those that a slot with `held` tokens, `prompt` of
    /// them its last prompt, need not evaluate again.
    pub(crate) fn reusable(self, common: usize, held: usize, prompt: usize) -> usize {
        if common == held {
            return common;
        }
        let (oldest, needed) = (held.saturating_sub(self.cells()), common.saturating_sub(self.tokens));
        let Some(batch) = self.batch else {
            return if oldest <= needed { common } else { 0 };
        };
        // At 0 it is not below, even where nothing was ever dropped: a prefix within the window is lost.
        if oldest < needed {
            return common;
        }
        let saved = [SAVED_BEFORE_END, SAVED_BEFORE_END + batch].map(|before| prompt.saturating_sub(before));
        saved.into_iter().find(|at| needed > 0 && *at <= common).unwrap_or(0)
    }
}

/// Prompt tokens evaluated at once (`num_batch`): asked for, or what Ollama takes for so large a cache.
pub(crate) fn batch(options: &Options, set: &ReloadSet, slots: usize) -> usize {
    match set.num_batch.and_then(|asked| usize::try_from(asked).ok()) {
        Some(asked) if asked > 0 => asked,
        _ if !options.is_v0_33() => 512,
        _ => {
            let total = set.context.saturating_mul(slots);
            AUTOMATIC.iter().find(|(most, _)| total <= *most).map_or(LARGEST, |(_, batch)| *batch)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(batch: i64) -> Window {
        let options = Options { sliding_window: 1_024, ..Options::default() };
        let set = ReloadSet { context: 8_192, num_batch: Some(batch), ..ReloadSet::default() };
        Window::of(&options, &set, 4).unwrap()
    }

    /// As measured with Gemma 3, whose window is 1,024: a prefix of 1,500 tokens and a template of 8.
    #[test]
    fn a_prefix_longer_than_the_window_is_reused_if_the_rest_fits_a_batch() {
        for (batch, suffix, answer, reused) in [
            (512, 110, 32, 1_508),
            (512, 110, 300, 1_508),
            (512, 110, 2_500, 1_102),
            (512, 640, 32, 0),
            (512, 640, 300, 0),
            (1_024, 640, 32, 1_508),
            (1_024, 640, 300, 1_508),
            (2_048, 110, 900, 1_508),
        ] {
            let prompt = 1_508 + suffix;
            let found = window(batch).reusable(1_508, prompt + answer, prompt);
            assert_eq!(found, reused, "batch {batch}, suffix {suffix}, answer {answer}");
        }
    }

    #[test]
    fn a_prefix_within_the_window_is_never_reused_and_a_growing_chat_is() {
        assert_eq!(window(512).reusable(600, 700, 690), 0);
        assert_eq!(window(2_048).reusable(1_024, 1_200, 1_190), 0);
        assert_eq!(window(512).reusable(700, 700, 690), 700);
    }

    #[test]
    fn the_line_before_llama_server_has_lost_all_but_the_end() {
        let options = Options { sliding_window: 1_024, emulate: crate::Emulate::V0_12, ..Options::default() };
        let set = ReloadSet { context: 8_192, ..ReloadSet::default() };
        let window = Window::of(&options, &set, 4).unwrap();
        assert_eq!(window.reusable(1_500, 1_620, 1_610), 0);
        assert_eq!(window.reusable(1_500, 1_501, 1_500), 1_500);
    }

    #[test]
    fn the_whole_cache_can_be_kept_and_a_batch_grows_with_it() {
        let options = Options { sliding_window: 1_024, swa_full: true, ..Options::default() };
        let set = |context| ReloadSet { context, ..ReloadSet::default() };
        assert_eq!(Window::of(&options, &set(8_192), 4), None);
        assert_eq!(
            [1_024, 8_192, 8_448].map(|context| batch(&options, &set(context), 4)),
            [512, 1_024, 2_048]
        );
    }
}
