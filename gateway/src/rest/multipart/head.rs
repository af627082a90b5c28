//! The head of a part of a form: its name, and the name of its file.

/// Header lines of a part at most.
const HEADERS: usize = 16;

/// What a part says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Of the field.
    pub name: String,
    /// Of the file, as the client has it: no path, but otherwise as it came.
    pub filename: Option<String>,
}

// === impl Head ===

impl Head {
    /// Reads header lines with the empty one that ends them; none if they are no part of a form.
    pub(super) fn parse(lines: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let read = httparse::parse_headers(lines, &mut headers).ok()?;
        let httparse::Status::Complete((_, headers)) = read else { return None };
        let is_it = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("content-disposition");
        let disposition = headers.iter().find(is_it)?;
        let disposition = str::from_utf8(disposition.value).ok()?;
        let mut rest = disposition.strip_prefix("form-data")?;
        let (mut name, mut filename) = (None, None);
        while let Some((key, value, behind)) = parameter(rest)? {
            let slot = match key.to_ascii_lowercase().as_str() {
                "name" => &mut name,
                "filename" => &mut filename,
                // `filename*` is forbidden in forms (RFC 7578); whoever sends it sends `filename` too.
                _ => &mut None,
            };
            if slot.replace(value).is_some() {
                return None;
            }
            rest = behind;
        }
        Some(Self { name: name?, filename: filename.map(|name| base(&name).to_owned()) })
    }
}

/// The next `; key=value` with what is behind it: `Some(None)` at the end, none if it is something else.
#[expect(clippy::option_option, reason = "nothing more is not the same as nothing that can be read")]
fn parameter(text: &str) -> Option<Option<(&str, String, &str)>> {
    let text = text.trim_start_matches([' ', '\t']);
    if text.is_empty() {
        return Some(None);
    }
    let (key, value) = text.strip_prefix(';')?.trim_start_matches([' ', '\t']).split_once('=')?;
    let (value, behind) = match value.strip_prefix('"') {
        Some(quoted) => unquote(quoted)?,
        None => {
            let end = value.find(';').unwrap_or(value.len());
            (value[..end].trim_end_matches([' ', '\t']).to_owned(), &value[end..])
        }
    };
    Some(Some((key, value, behind)))
}

/// A quoted text up to its quote, and what is behind that. Clients write a quote in it as `\"` or `%22`.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value.replace("%22", "\""), &text[at + 1..])),
            (at, '\\') if text[at + 1..].starts_with(['"', '\\']) => {
                value.extend(chars.next().map(|(_, c)| c))
            }
            (_, other) => value.push(other),
        }
    }
}

/// The last name of a path: some clients send their own, and it is none of this server's.
fn base(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(disposition: &str) -> Option<(String, Option<String>)> {
        let lines = format!("Content-Type: text/plain\r\nContent-Disposition: {disposition}\r\n\r\n");
        Head::parse(lines.as_bytes()).map(|head| (head.name, head.filename))
    }

    #[test]
    fn a_head_is_read_as_clients_write_it() {
        for (text, name, filename) in [
            (r#"form-data; name="purpose""#, "purpose", None),
            (r#"form-data; name=file; filename=a.jsonl"#, "file", Some("a.jsonl")),
            (r#"form-data;name="file";FileName="a b.jsonl""#, "file", Some("a b.jsonl")),
            (r#"form-data; name="file"; filename="a\"b%22c.jsonl""#, "file", Some("a\"b\"c.jsonl")),
            (r#"form-data; name="file"; filename="../../etc/passwd""#, "file", Some("passwd")),
            (r#"form-data; name="file"; filename="C:\tmp\a.jsonl""#, "file", Some("a.jsonl")),
            (r#"form-data; name="file"; filename="ä;=.jsonl""#, "file", Some("ä;=.jsonl")),
            (r#"form-data; name="file"; filename="a"; filename*=UTF-8''b"#, "file", Some("a")),
        ] {
            assert_eq!(head(text), Some((name.to_owned(), filename.map(str::to_owned))), "{text}");
        }
    }

    #[test]
    fn what_is_no_head_of_a_form_is_refused() {
        for text in [
            "attachment; name=file",
            "form-data",
            "form-data; name=\"file",
            "form-data; name=a; name=b",
            "form-data; name",
            "form-data; filename=a",
            "form-datax; name=a",
        ] {
            assert_eq!(head(text), None, "{text}");
        }
    }
}
