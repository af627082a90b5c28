use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use caravan_proto::name::BatchId;

/// A place in a batch's results. Opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// As committed: behind so many records of the segment with this number.
    Committed {
        /// The batch.
        batch: BatchId,
        /// Cursor number of the segment.
        segment: i64,
        /// Final records of it that were read.
        records: i64,
    },
    /// In input order: behind this line.
    Input {
        /// The batch.
        batch: BatchId,
        /// Line number.
        line: i64,
    },
}

/// A text that is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a cursor of StreamResults")]
pub struct Error;

// === impl Cursor ===

impl Cursor {
    /// The batch that it belongs to.
    #[must_use]
    pub fn batch(self) -> BatchId {
        match self {
            Self::Committed { batch, .. } | Self::Input { batch, .. } => batch,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Committed { batch, segment, records } => format!("c.{batch}.{segment}.{records}"),
            Self::Input { batch, line } => format!("i.{batch}.{line}"),
        };
        f.write_str(&URL_SAFE_NO_PAD.encode(text))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        let text = URL_SAFE_NO_PAD.decode(given).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or(Error)?;
        let number = |part: &str| part.parse::<i64>().ok().filter(|n| *n >= 0).ok_or(Error);
        let cursor = match *text.split('.').collect::<Vec<_>>() {
            ["c", batch, segment, records] => Self::Committed {
                batch: batch.parse().map_err(|_| Error)?,
                segment: number(segment)?,
                records: number(records)?,
            },
            ["i", batch, line] => {
                Self::Input { batch: batch.parse().map_err(|_| Error)?, line: number(line)? }
            }
            _ => return Err(Error),
        };
        // Names and numbers can be written in other ways; streams have one.
        if cursor.to_string() == given { Ok(cursor) } else { Err(Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        let batch = BatchId::now();
        for cursor in [Cursor::Committed { batch, segment: 7, records: 3 }, Cursor::Input { batch, line: 9 }]
        {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in ["", "x", "Yy4x", "aS4xLi0x"] {
            assert_eq!(bad.parse::<Cursor>(), Err(Error), "{bad}");
        }
    }

    #[test]
    fn what_no_stream_wrote_is_refused() {
        let batch = BatchId::now();
        for text in [format!("i.{batch}.+9"), format!("i.{batch}.09"), format!("i.{}.9", batch.name())] {
            let made_up = URL_SAFE_NO_PAD.encode(&text);
            assert_eq!(made_up.parse::<Cursor>(), Err(Error), "{text}");
        }
    }
}
