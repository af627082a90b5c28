use caravan_gateway::multipart::{Error, Event, Parser};

/// Boundaries as clients choose them, the longest that there may be, and one that hardly differs from what is around it.
const BOUNDARIES: [&str; 4] = [
    "b",
    "----WebKitFormBoundaryAbCdEfGhIjKlMnOp",
    "0123456789012345678901234567890123456789012345678901234567890123456789",
    "--",
];
/// Bytes that the parser may hold back when it has no event left.
const HELD: usize = 16 << 10;
/// Parts of a form at most.
const PARTS: usize = 16;

/// A part's name, its file's name, its bytes.
type Part = (String, Option<String>, Vec<u8>);

/// Any bytes as a form: whatever pieces they come in, they are the same parts or the same error, and little is held
/// back. The first byte chooses a boundary, the second the length of pieces. Then the same bytes as what is in a form.
pub fn multipart(bytes: &[u8]) {
    let [boundary, piece, form @ ..] = bytes else { return };
    let boundary = BOUNDARIES[usize::from(*boundary) % BOUNDARIES.len()];
    let whole = read(boundary, form, form.len().max(1));
    for piece in [1, usize::from(*piece).max(2)] {
        assert_eq!(read(boundary, form, piece), whole, "in pieces of {piece}");
    }
    written(boundary, form, usize::from(*piece).max(1));
}

/// The parts of `form`, which comes in pieces.
fn read(boundary: &str, form: &[u8], piece: usize) -> Result<Vec<Part>, Error> {
    let (mut parser, mut parts) = (Parser::new(boundary)?, Vec::<Part>::new());
    let mut open = false;
    for bytes in form.chunks(piece) {
        parser.push(bytes);
        while let Some(event) = parser.event()? {
            match event {
                Event::Part(head) => {
                    assert!(!std::mem::replace(&mut open, true), "a part in a part");
                    parts.push((head.name, head.filename, Vec::new()));
                }
                Event::Data(bytes) => {
                    assert!(open && !bytes.is_empty());
                    parts.last_mut().unwrap().2.extend_from_slice(&bytes);
                }
                Event::PartEnd => assert!(std::mem::replace(&mut open, false), "an end without a part"),
            }
        }
        assert!(parser.held() <= HELD, "{} bytes", parser.held());
    }
    parser.end()?;
    assert!(!open && parts.len() <= PARTS);
    Ok(parts)
}

/// A form of these bytes, cut at each 0xff, is read as it was written.
fn written(boundary: &str, bytes: &[u8], piece: usize) {
    let delimiter = format!("\r\n--{boundary}");
    let (mut form, mut parts) = (Vec::new(), Vec::new());
    for (index, data) in bytes.split(|byte| *byte == 0xff).take(PARTS).enumerate() {
        if data.windows(delimiter.len()).any(|window| window == delimiter.as_bytes()) {
            return;
        }
        let line_end = if index == 0 { "" } else { "\r\n" };
        let head = format!(
            "{line_end}--{boundary}\r\nContent-Disposition: form-data; name=\"{index}\"; filename=\"a\\\"b\"\r\n\r\n"
        );
        form.extend_from_slice(head.as_bytes());
        form.extend_from_slice(data);
        parts.push((index.to_string(), Some("a\"b".to_owned()), data.to_vec()));
    }
    form.extend_from_slice(format!("{delimiter}--\r\n").as_bytes());
    assert_eq!(read(boundary, &form, piece), Ok(parts));
}
