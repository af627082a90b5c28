//! What is said to a person: on stderr, never on stdout.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

/// Writes one line. A closed stderr is no reason to stop.
pub(crate) fn note(text: impl Display) {
    let mut err = io::stderr().lock();
    // On a terminal a progress bar may stand on the line: clear it, it is drawn again.
    let clear = if err.is_terminal() { "\r\x1b[2K" } else { "" };
    let _ = writeln!(err, "{clear}{text}");
}
