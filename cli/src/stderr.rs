//! What is said to a person: on stderr, never on stdout.

use std::{
    fmt::Display,
    io::{self, Write as _},
    sync::LazyLock,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The bars that stand on the terminal now. indicatif draws none where stderr is no terminal.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Writes one line, above the bars. A closed stderr is no reason to stop.
pub(crate) fn note(text: impl Display) {
    BARS.suspend(|| {
        let _ = writeln!(io::stderr().lock(), "{text}");
    });
}

/// A bar of this form (indicatif's template).
pub(crate) fn bar(template: &str) -> ProgressBar {
    let bar = BARS.add(ProgressBar::new(0));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar
}
