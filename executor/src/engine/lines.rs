use serde_json::{Map, Value};

use super::{Failure, connection::lost};

/// Bytes of one line at most: a report of progress has some hundred.
const MAX_LINE: usize = 1 << 20;

/// An answer that comes line by line, each a JSON object. One line is held at a time. Whoever reads it
/// bounds how long it may take.
#[derive(Debug)]
pub(super) struct Lines {
    response: reqwest::Response,
    /// Bytes that came behind the last line.
    rest: Vec<u8>,
}

// === impl Lines ===

impl Lines {
    pub(super) fn new(response: reqwest::Response) -> Self {
        Self { response, rest: Vec::new() }
    }

    /// The next line; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Map<String, Value>>, Failure> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return read(&line).map(Some);
            }
            if self.rest.len() > MAX_LINE {
                return Err(Failure::unreadable(&format!("a line is longer than {MAX_LINE} bytes")));
            }
            match self.response.chunk().await.map_err(|error| lost(&error))? {
                Some(chunk) => self.rest.extend_from_slice(&chunk),
                None if self.rest.trim_ascii().is_empty() => return Ok(None),
                None => return read(&std::mem::take(&mut self.rest)).map(Some),
            }
        }
    }
}

fn read(line: &[u8]) -> Result<Map<String, Value>, Failure> {
    serde_json::from_slice(line).map_err(|error| Failure::unreadable(&error))
}
