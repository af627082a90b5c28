//! Tables for a person: aligned columns without frames, so that cut and grep work too.

use comfy_table::{Table, presets};

/// A table with a heading.
pub(crate) fn with_heading<const N: usize>(heading: [&str; N]) -> Table {
    let mut table = plain();
    table.set_header(heading);
    table
}

/// A table of names and values.
pub(crate) fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// A time in UTC, to the second; `-` if there is none.
pub(crate) fn time(at: Option<prost_types::Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| prost_types::Timestamp { nanos: 0, ..at }.to_string())
}
