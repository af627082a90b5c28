//! Data: on stdout, and nothing but data.

use std::{
    fmt::Display,
    io::{self, Write as _},
    path::Path,
};

use crate::failure::Failure;

/// Writes `text` and a line end.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    self::text(&format!("{text}\n"))
}

/// Writes lines as they are.
pub(crate) fn text(lines: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(lines.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| failed(error, Path::new("stdout")))
}

/// A failed write to `path`; a reader that went away is a case of its own.
pub(crate) fn failed(error: io::Error, path: &Path) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::OutputClosed
    } else {
        Failure::write(path, error)
    }
}
