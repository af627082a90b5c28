use std::{
    borrow::Cow,
    cell::Cell,
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
};

use serde_json::value::RawValue;

use super::{Error, template::unknown};

/// Bytes of one row at most: a line of a batch may have no more either.
pub(super) const MAX_ROW_BYTES: u64 = 16 << 20;

/// One row: its values by column.
pub(super) enum Row<'r> {
    Csv(&'r [String], &'r csv::StringRecord),
    Json(&'r [String], &'r BTreeMap<String, Box<RawValue>>),
}

/// Calls `each` with the line and the values of every row of a CSV text.
pub(super) fn csv(
    from: impl Read,
    mut each: impl FnMut(u64, Row<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let read = Rc::new(Cell::new(0));
    let mut reader = csv::Reader::from_reader(Bounded { from, read: Rc::clone(&read) });
    let columns: Vec<String> = reader.headers().map_err(unread)?.iter().map(str::to_owned).collect();
    let twin = columns.iter().enumerate().find(|(index, column)| columns[..*index].contains(column));
    if let Some((_, column)) = twin {
        return Err(Error::Line { line: 1, what: format!("two columns are named {column:?}: rename one") });
    }
    let mut record = csv::StringRecord::new();
    loop {
        read.set(0);
        if !reader.read_record(&mut record).map_err(unread)? {
            return Ok(());
        }
        let line = record.position().map_or(0, csv::Position::line);
        each(line, Row::Csv(&columns, &record))?;
    }
}

/// Calls `each` with the line and the values of every row of a JSONL text; empty lines are skipped.
pub(super) fn jsonl(
    from: impl Read,
    mut each: impl FnMut(u64, Row<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut reader = BufReader::new(from);
    let (mut bytes, mut line) = (Vec::new(), 0);
    loop {
        bytes.clear();
        line += 1;
        if (&mut reader).take(MAX_ROW_BYTES + 1).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(());
        }
        if bytes.len() as u64 > MAX_ROW_BYTES {
            return Err(Error::Line { line, what: too_long() });
        }
        let text = if line == 1 { caravan_request::strip_bom(&bytes) } else { &bytes };
        if caravan_request::is_blank(text) {
            continue;
        }
        let row: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(text)
            .map_err(|error| Error::Line { line, what: format!("not one JSON object: {error}") })?;
        let columns: Vec<String> = row.keys().cloned().collect();
        each(line, Row::Json(&columns, &row))?;
    }
}

/// What the reader of CSV says, in terms of lines.
fn unread(error: csv::Error) -> Error {
    let at = error.position().map(csv::Position::line);
    let what = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the row's number of fields is {len}, that of the line of column names {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "the row is not UTF-8: save the file as UTF-8".to_owned(),
        _ => error.to_string(),
    };
    match (at, error.into_kind()) {
        (_, csv::ErrorKind::Io(error)) => Error::Io(error),
        (at, _) => Error::Line { line: at.unwrap_or(1), what },
    }
}

fn too_long() -> String {
    format!("the row is longer than {MAX_ROW_BYTES} bytes; is a quote left open?")
}

/// Refuses to read more than a row may have since the last row was taken: a quote left open
/// makes one row of the rest of a file.
struct Bounded<R> {
    from: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read.get() > MAX_ROW_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, too_long()));
        }
        let count = self.from.read(buffer)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

// === impl Row ===

impl<'r> Row<'r> {
    pub(super) fn columns(&self) -> &'r [String] {
        match self {
            Self::Csv(columns, _) | Self::Json(columns, _) => columns,
        }
    }

    /// The value of a column as text: a string as it is, null as nothing, what else JSON has as JSON.
    pub(super) fn value(&self, column: &str) -> Option<Cow<'r, str>> {
        match self {
            Self::Csv(columns, record) => {
                let index = columns.iter().position(|known| known == column)?;
                record.get(index).map(Cow::Borrowed)
            }
            Self::Json(_, row) => row.get(column).map(|value| match value.get() {
                "null" => Cow::Borrowed(""),
                // As it is written: numbers keep their digits.
                other => serde_json::from_str(other).map_or(Cow::Borrowed(other), Cow::Owned),
            }),
        }
    }

    /// The value of the column that must be there.
    pub(super) fn required(&self, column: &str) -> Result<Cow<'r, str>, String> {
        self.value(column).ok_or_else(|| unknown(column, self.columns()))
    }
}
