/// `first_line` without the UTF-8 byte order mark that some editors put at a file's start.
/// Only the first line of a file may have one.
#[must_use]
pub fn strip_bom(first_line: &[u8]) -> &[u8] {
    first_line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first_line)
}

/// Whether a line holds nothing but JSON white space (also the `\r` of a CRLF). Such a line
/// is no request and is skipped.
#[must_use]
pub fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// The name of the compressed format that a file starting with `bytes` is in, by its magic
/// number; no JSON text starts like any of them.
#[must_use]
pub fn looks_compressed(bytes: &[u8]) -> Option<&'static str> {
    const MAGIC: [(&[u8], &str); 6] = [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"PK\x03\x04", "zip"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
    ];
    MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name)
}
