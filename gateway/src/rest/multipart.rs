//! `multipart/form-data` piece by piece, in bounded memory: what was pushed last, and a part's head or the length of
//! a boundary of what came before. The usual parsers take in as much as the client sends at once, or heads without
//! end; this one does no input or output of its own.

mod head;

use bytes::{Buf as _, Bytes, BytesMut};
pub use head::Head;
use memchr::memmem::Finder;

/// Bytes of a part's head at most: hyper bounds those of a request likewise.
const HEAD_BYTES: usize = 16 << 10;
/// Parts at most: a form for a file has two or four.
const PARTS: usize = 16;
/// Bytes behind the last boundary at most, which mean nothing.
const EPILOGUE_BYTES: usize = 4 << 10;
/// Characters of a boundary at most: RFC 2046.
const BOUNDARY: usize = 70;

/// What the bytes say, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A part begins.
    Part(Head),
    /// Some bytes of it.
    Data(Bytes),
    /// It has ended.
    PartEnd,
}

/// Why bytes are no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A boundary that RFC 2046 does not know.
    #[error("the boundary must be 1 to {BOUNDARY} characters of ASCII")]
    Boundary,
    /// Something else than a boundary where one must be.
    #[error("a boundary was expected")]
    NoBoundary,
    /// A head that is too long, or none.
    #[error("a part's head cannot be read, or has more than {HEAD_BYTES} bytes")]
    Head,
    /// More parts than any form needs.
    #[error("the form has more than {PARTS} parts")]
    TooManyParts,
    /// Much behind the last boundary.
    #[error("bytes follow the last boundary")]
    Epilogue,
    /// The end before the last boundary.
    #[error("the form ended before its last boundary")]
    Truncated,
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first boundary.
    Start,
    /// Behind the text of a boundary, before its line's end.
    Boundary,
    Head,
    Data,
    /// Behind the last boundary, with so many bytes.
    Epilogue(usize),
}

/// Reads a form. Push bytes, then ask for events until there is none, then push more.
#[derive(Debug)]
pub struct Parser {
    /// What is between parts: CRLF, two dashes, the boundary.
    delimiter: Finder<'static>,
    buffer: BytesMut,
    place: Place,
    parts: usize,
}

// === impl Parser ===

impl Parser {
    /// One of a form with this boundary.
    ///
    /// # Errors
    /// If no boundary is such.
    pub fn new(boundary: &str) -> Result<Self, Error> {
        let good =
            (1..=BOUNDARY).contains(&boundary.len()) && boundary.bytes().all(|b| (b' '..=b'~').contains(&b));
        if !good {
            return Err(Error::Boundary);
        }
        let delimiter = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        Ok(Self { delimiter, buffer: BytesMut::new(), place: Place::Start, parts: 0 })
    }

    /// The next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that it holds back: once there is no event left, at most 16 KiB, those of a part's head.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// The next event; none if more bytes are needed for it.
    ///
    /// # Errors
    /// If this is no form.
    pub fn event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            match self.place {
                Place::Start => {
                    // The first boundary has no line before it.
                    let first = &self.delimiter.needle()[2..];
                    let Some(begin) = self.buffer.get(..first.len()) else {
                        return if first.starts_with(&self.buffer) {
                            Ok(None)
                        } else {
                            Err(Error::NoBoundary)
                        };
                    };
                    if begin != first {
                        return Err(Error::NoBoundary);
                    }
                    self.buffer.advance(first.len());
                    self.place = Place::Boundary;
                }
                Place::Boundary => match self.buffer.get(..2) {
                    None => return Ok(None),
                    Some(b"--") => {
                        self.buffer.advance(2);
                        self.place = Place::Epilogue(0);
                    }
                    Some(b"\r\n") if self.parts == PARTS => return Err(Error::TooManyParts),
                    Some(b"\r\n") => {
                        self.buffer.advance(2);
                        self.place = Place::Head;
                    }
                    Some(_) => return Err(Error::NoBoundary),
                },
                Place::Head => return self.head(),
                Place::Data => return Ok(self.data()),
                Place::Epilogue(before) => {
                    let bytes = before + self.buffer.len();
                    self.buffer.clear();
                    self.place = Place::Epilogue(bytes);
                    return if bytes > EPILOGUE_BYTES { Err(Error::Epilogue) } else { Ok(None) };
                }
            }
        }
    }

    /// All bytes were pushed, and no event is left.
    ///
    /// # Errors
    /// If it was not the whole form.
    pub fn end(&self) -> Result<(), Error> {
        if matches!(self.place, Place::Epilogue(_)) { Ok(()) } else { Err(Error::Truncated) }
    }

    fn head(&mut self) -> Result<Option<Event>, Error> {
        let look = &self.buffer[..self.buffer.len().min(HEAD_BYTES)];
        let Some(end) = memchr::memmem::find(look, b"\r\n\r\n") else {
            return if look.len() == HEAD_BYTES { Err(Error::Head) } else { Ok(None) };
        };
        let head = Head::parse(&self.buffer[..end + 4]).ok_or(Error::Head)?;
        self.buffer.advance(end + 4);
        self.parts += 1;
        self.place = Place::Data;
        Ok(Some(Event::Part(head)))
    }

    fn data(&mut self) -> Option<Event> {
        match self.delimiter.find(&self.buffer) {
            Some(0) => {
                self.buffer.advance(self.delimiter.needle().len());
                self.place = Place::Boundary;
                Some(Event::PartEnd)
            }
            Some(end) => Some(Event::Data(self.buffer.split_to(end).freeze())),
            None => {
                // The end may be the beginning of a boundary.
                let sure = self.buffer.len().saturating_sub(self.delimiter.needle().len() - 1);
                (sure > 0).then(|| Event::Data(self.buffer.split_to(sure).freeze()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &[u8] = b"--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\n\
        content-disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{}\r\n--bb\r\n\r\n--b--\r\n";

    /// The parts, whatever pieces the bytes come in.
    fn read(form: &[u8], piece: usize) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let (mut parser, mut parts) = (Parser::new("b")?, Vec::new());
        for bytes in form.chunks(piece) {
            parser.push(bytes);
            while let Some(event) = parser.event()? {
                match event {
                    Event::Part(head) => parts.push((head.name, Vec::new())),
                    Event::Data(bytes) => parts.last_mut().expect("a part").1.extend_from_slice(&bytes),
                    Event::PartEnd => {}
                }
            }
            assert!(parser.held() <= HEAD_BYTES);
        }
        parser.end().map(|()| parts)
    }

    #[test]
    fn a_form_is_the_same_in_whatever_pieces_it_comes() {
        // `--bb` begins as the boundary does, which no line of a part may.
        for piece in 1..FORM.len() {
            assert_eq!(read(FORM, piece), Err(Error::NoBoundary), "{piece}");
        }
        let form = String::from_utf8_lossy(FORM).replace("--bb", "--c");
        for piece in 1..form.len() {
            let file = b"{}\r\n--c\r\n".to_vec();
            let expected = vec![("purpose".into(), b"batch".to_vec()), ("file".into(), file)];
            assert_eq!(read(form.as_bytes(), piece), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let head = "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n";
        for (form, error) in [
            (String::new(), Error::Truncated),
            ("hello".to_owned(), Error::NoBoundary),
            ("--b".to_owned(), Error::Truncated),
            ("--b  \r\n".to_owned(), Error::NoBoundary),
            (head.to_owned(), Error::Truncated),
            (format!("{head}abc\r\n--b"), Error::Truncated),
            (format!("--b\r\nX: {}", "x".repeat(HEAD_BYTES)), Error::Head),
            ("--b\r\nContent-Type: text/plain\r\n\r\n".to_owned(), Error::Head),
            (format!("--b--{}", "x".repeat(EPILOGUE_BYTES + 1)), Error::Epilogue),
            (format!("{}--b--", format!("{head}\r\n").repeat(PARTS + 1)), Error::TooManyParts),
        ] {
            assert_eq!(read(form.as_bytes(), 7), Err(error), "{form:?}");
        }
        for boundary in ["", "\r\n", &"x".repeat(71)] {
            assert_eq!(Parser::new(boundary).err(), Some(Error::Boundary));
        }
    }

    #[test]
    fn an_empty_part_has_no_data() {
        let form = b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n\r\n--b--";
        assert_eq!(read(form, 3), Ok(vec![("file".into(), Vec::new())]));
    }
}
