//! Resume tokens of WatchBatch: they say which state of which batch a client has.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::name::BatchId;

/// A state that a watch has sent. As text, the batch's 32 hex digits, a point, and the revision. It holds no
/// secret: whoever presents one must be allowed to read the batch all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeToken {
    /// Whose state.
    pub batch: BatchId,
    /// Which state: `Batch.revision`, at least 0.
    pub revision: i64,
}

/// A text that no watch has sent as a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no resume token: expected the last one that a watch sent")]
pub struct NoToken;

// === impl ResumeToken ===

impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.batch.uuid().simple(), self.revision)
    }
}

impl FromStr for ResumeToken {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let (batch, revision) = text.split_once('.').ok_or(NoToken)?;
        let batch = Uuid::try_parse(batch).map_err(|_| NoToken)?.into();
        let revision = revision.parse().ok().filter(|revision| *revision >= 0).ok_or(NoToken)?;
        let token = Self { batch, revision };
        // Both halves can be written in other ways; watches have one.
        if token.to_string() == text { Ok(token) } else { Err(NoToken) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_as_it_was_written() {
        let token = ResumeToken { batch: BatchId::now(), revision: 7 };
        assert_eq!(token.to_string().parse(), Ok(token));
    }

    #[test]
    fn what_no_watch_wrote_is_no_token() {
        let batch = BatchId::now().uuid();
        let simple = batch.simple();
        let made_up = [
            String::new(),
            ".".into(),
            format!("{simple}"),
            format!("{simple}."),
            format!("{simple}.-1"),
            format!("{simple}.+1"),
            format!("{simple}.01"),
            format!("{simple}.1 "),
            format!("{simple}.1.1"),
            format!("{simple}.9223372036854775808"),
            format!("{batch}.1"),
            format!("{}.1", simple.to_string().to_uppercase()),
            format!("{}.1", &simple.to_string()[1..]),
            "é.1".into(),
        ];
        for text in made_up {
            assert_eq!(text.parse::<ResumeToken>(), Err(NoToken), "{text}");
        }
    }
}
