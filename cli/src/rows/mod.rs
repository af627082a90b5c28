//! Rows of data made into lines of a batch: each row's message from one template.

mod convert;
mod source;
mod template;

use std::{fs::File, io, path::Path};

use caravan_request::Endpoint;
use clap::ValueEnum;

use crate::failure::Failure;
use template::Template;

/// How rows become requests.
#[derive(Debug, Clone, clap::Args)]
// Its name is that of other options, and no two groups of a command may share one.
#[group(skip)]
pub(crate) struct Options {
    /// Make each row of FILE, a CSV or JSONL file with columns of any name, a request with
    /// this text, e.g. "Classify: {name}"; {{ and }} are braces.
    #[arg(long, value_name = "TEXT", help_heading = "Rows")]
    user_template: Option<String>,
    /// Format of the rows, where FILE does not end in .csv or .jsonl.
    #[arg(long, value_enum, requires = "user_template", help_heading = "Rows")]
    format: Option<Format>,
    /// Column that names each request; left out: custom_id or id, or row-1, row-2, …
    #[arg(long, value_name = "COLUMN", requires = "user_template", help_heading = "Rows")]
    id_column: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line of column names first, then a row each; fields quoted as in RFC 4180.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// Makes lines of rows.
#[derive(Debug)]
pub(crate) struct Rows {
    template: Template,
    format: Format,
    id_column: Option<String>,
    endpoint: Endpoint,
}

/// Why rows cannot be made into lines.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The rows cannot be read, or the lines not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What one line holds.
    #[error("line {line}: {what}")]
    Line {
        /// 1-based number of the line where the row begins.
        line: u64,
        /// What is wrong, and the way out.
        what: String,
    },
}

// === impl Options ===

impl Options {
    /// How the rows of `path` become lines for `endpoint`; none if they are lines already.
    pub(crate) fn rows(&self, path: &Path, endpoint: Endpoint) -> Result<Option<Rows>, Failure> {
        let is_csv = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        let Some(text) = &self.user_template else {
            let way_out =
                "a CSV file needs --user-template: the text of a request, with {column} for its values";
            return if is_csv { Err(Failure::Usage(way_out.to_owned())) } else { Ok(None) };
        };
        let template =
            Template::parse(text).map_err(|why| Failure::Usage(format!("--user-template {why}")))?;
        let format = self.format.unwrap_or(if is_csv { Format::Csv } else { Format::Jsonl });
        Ok(Some(Rows { template, format, id_column: self.id_column.clone(), endpoint }))
    }
}

// === impl Rows ===

impl Rows {
    /// Writes a line for each row of `from` into an unnamed temporary file; `name` names the
    /// rows in errors. Holds one row, of at most [`source::MAX_ROW_BYTES`].
    ///
    /// All rows are converted before the first is sent: what is wrong with the last one is
    /// told before anything is uploaded, and an upload can go on from any offset.
    pub(crate) fn convert(&self, from: impl io::Read, name: &Path) -> Result<(File, u64), Failure> {
        convert::convert(self, from).map_err(|error| match error {
            Error::Io(source) => Failure::read(name, source),
            Error::Line { .. } => Failure::Usage(format!("{}: {error}", name.display())),
        })
    }
}
