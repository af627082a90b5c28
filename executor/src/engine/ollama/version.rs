//! What a release of Ollama can be relied on for, by its version.

/// A version as `/api/version` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Version {
    /// Built from a source tree (`0.0.0`), or one that does not read as a version: what it can do has to be
    /// tried.
    #[default]
    Unknown,
    /// A release, or a candidate for one.
    Release {
        /// Major, minor and patch.
        number: [u32; 3],
        /// It came before the release of this number.
        candidate: bool,
    },
}

/// Whether a release has a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Has {
    Yes,
    No,
    /// Only a trial tells.
    Perhaps,
}

/// The first release that refuses a prompt that is too long instead of cutting it (`truncate`, `shift`).
const REFUSES_LONG_PROMPTS: [u32; 3] = [0, 12, 6];
/// The release whose `prompt_eval_count` leaves out what came from the cache. (From 0.33.3 on
/// `prompt_eval_cached_count` tells of that; it is read wherever it stands.)
const COUNTS_ONLY_EVALUATED: [u32; 3] = [0, 30, 0];

// === impl Version ===

impl Version {
    /// Reads `0.33.0`, `v0.33.0`, `0.33.0-rc2`; anything else is unknown.
    pub(super) fn parse(text: &str) -> Self {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let (core, suffix) =
            text.split_once(['-', '+']).map_or((text, None), |(core, rest)| (core, Some(rest)));
        let mut parts = core.split('.').map(str::parse::<u32>);
        let mut next = || parts.next().and_then(Result::ok);
        let number = match (next(), next(), next(), parts.next()) {
            (Some(major), Some(minor), Some(patch), None) => [major, minor, patch],
            _ => return Self::Unknown,
        };
        if number == [0, 0, 0] {
            return Self::Unknown;
        }
        Self::Release { number, candidate: suffix.is_some_and(|suffix| suffix.starts_with("rc")) }
    }

    /// Whether it refuses prompts that are too long, as `truncate: false` asks.
    pub(super) fn refuses_long_prompts(self) -> Has {
        self.since(REFUSES_LONG_PROMPTS)
    }

    /// Whether `prompt_eval_count` has all of the prompt.
    pub(super) fn counts_whole_prompts(self) -> bool {
        !matches!(self, Self::Release { number: COUNTS_ONLY_EVALUATED, .. })
    }

    fn since(self, first: [u32; 3]) -> Has {
        match self {
            Self::Unknown => Has::Perhaps,
            Self::Release { number, candidate: true } if number == first => Has::Perhaps,
            Self::Release { number, .. } if number < first => Has::No,
            Self::Release { .. } => Has::Yes,
        }
    }
}

/// Why a server of this version cannot be used, if so.
pub(super) fn unfit(text: &str) -> Option<String> {
    let [major, minor, patch] = REFUSES_LONG_PROMPTS;
    (Version::parse(text).refuses_long_prompts() == Has::No).then(|| {
        format!(
            "Ollama {text} cuts prompts that are too long without a word: update it to {major}.{minor}.{patch} \
             or newer"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(number: [u32; 3], candidate: bool) -> Version {
        Version::Release { number, candidate }
    }

    #[test]
    fn versions_are_read_and_what_is_none_is_unknown() {
        for (text, version) in [
            ("0.33.0", release([0, 33, 0], false)),
            (" v0.12.6\n", release([0, 12, 6], false)),
            ("0.33.0-rc2", release([0, 33, 0], true)),
            ("0.33.0-0-gabc1234", release([0, 33, 0], false)),
            ("0.13.1+cuda", release([0, 13, 1], false)),
            ("1.0.0", release([1, 0, 0], false)),
            ("0.0.0", Version::Unknown),
            ("0.0.0-dirty", Version::Unknown),
            ("", Version::Unknown),
            ("main", Version::Unknown),
            ("0.33", Version::Unknown),
            ("0.33.0.1", Version::Unknown),
            ("0.x.0", Version::Unknown),
            ("99999999999.0.0", Version::Unknown),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
    }

    #[test]
    fn long_prompts_are_refused_from_0_12_6_on() {
        for (text, has) in [
            ("0.12.5", Has::No),
            ("0.9.6", Has::No),
            ("0.12.6-rc1", Has::Perhaps),
            ("0.12.6", Has::Yes),
            ("0.13.0-rc0", Has::Yes),
            ("0.33.0-rc2", Has::Yes),
            ("1.0.0", Has::Yes),
            ("0.0.0", Has::Perhaps),
            ("garbage", Has::Perhaps),
        ] {
            assert_eq!(Version::parse(text).refuses_long_prompts(), has, "{text}");
        }
        let why = unfit("0.12.5").unwrap();
        assert!(why.contains("0.12.5") && why.contains("0.12.6 or newer"), "{why}");
        assert_eq!((unfit("0.12.6"), unfit("0.0.0")), (None, None));
    }

    #[test]
    fn one_release_counts_only_what_it_evaluated() {
        let counts = |text| Version::parse(text).counts_whole_prompts();
        assert!(!counts("0.30.0") && !counts("0.30.0-rc3"));
        assert!(counts("0.30.1") && counts("0.29.9") && counts("0.0.0"));
    }
}
