//! Releases of Ollama, and what some of them do otherwise than the others of their line.

/// The release whose peculiarities are shown: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release([u32; 3]);

/// The first with every model in a llama-server.
const LLAMA_SERVER: Release = Release([0, 30, 0]);
/// The first that knows `truncate` and `shift`.
const REFUSES: Release = Release([0, 12, 6]);
/// The one whose `prompt_eval_count` leaves out what came from a cache.
const COUNTS_ONLY_EVALUATED: Release = Release([0, 30, 0]);
/// The first with `prompt_eval_cached_count`.
const COUNTS_CACHED: Release = Release([0, 33, 3]);

// === impl Release ===

impl Release {
    /// Reads `0.33.0` or `0.33.0-rc2`; a development build (`0.0.0`) is no release.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let core = text.split('-').next().unwrap_or_default();
        let mut parts = core.split('.').map(|part| part.parse().ok());
        let number = [parts.next()??, parts.next()??, parts.next()??];
        (number != [0, 0, 0]).then_some(Self(number))
    }

    pub(crate) fn runs_llama_server(self) -> bool {
        self >= LLAMA_SERVER
    }

    pub(crate) fn refuses_long_prompts(self) -> bool {
        self >= REFUSES
    }

    pub(crate) fn counts_only_evaluated(self) -> bool {
        self == COUNTS_ONLY_EVALUATED
    }

    pub(crate) fn counts_cached(self) -> bool {
        self >= COUNTS_CACHED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_told_apart() {
        let release = |text| Release::parse(text).unwrap();
        assert_eq!(Release::parse("0.0.0"), None);
        assert!(!release("0.12.5").refuses_long_prompts() && release("0.12.6").refuses_long_prompts());
        assert!(!release("0.25.0").runs_llama_server() && release("0.30.0").runs_llama_server());
        assert!(release("0.30.0").counts_only_evaluated() && !release("0.30.1").counts_only_evaluated());
        assert!(!release("0.33.2").counts_cached() && release("0.33.3-rc0").counts_cached());
    }
}
