use crate::{Kinds, json::Node, path::Path, report::Report};

/// How PNG, JPEG, GIF and WebP start in base64.
const KNOWN: [&str; 4] = ["iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR"];

/// An image's URL: a data URI, for an engine fetches nothing.
pub(super) fn check_data_uri(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    let Some(uri) = node.as_text() else {
        return report.wrong_type(path, "a string", node);
    };
    let Some((media, data)) = uri.strip_prefix("data:").and_then(|rest| rest.split_once(',')) else {
        return report.invalid(path, "must be a data: URI with the image itself, for engines fetch nothing");
    };
    if !media.starts_with("image/") || !media.ends_with(";base64") {
        report.invalid(path, "must start with data:image/…;base64,");
    } else if !is_base64(data) {
        report.invalid(path, "holds no valid base64 after its comma");
    }
}

/// A native image: base64 alone.
pub(super) fn check_base64(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node.as_text() {
        None => report.wrong_type(path, "a string", node),
        Some(data) if !is_base64(data) => report.invalid(path, "is not base64 (without data: and line ends)"),
        // A compatible engine wants to be told the format, which these tell themselves.
        Some(data) if !KNOWN.iter().any(|start| data.starts_with(start)) => {
            report.restrict(Kinds::OLLAMA, path);
        }
        Some(_) => {}
    }
}

/// `detail`: engines see an image in one way only.
pub(super) fn check_detail(node: &Node<'_>, path: &Path<'_>, report: &mut Report<'_>) {
    match node.as_text() {
        None => report.wrong_type(path, "a string", node),
        Some("auto") => {}
        Some("low" | "high") => report.unsupported(path, "is not honoured: only auto is"),
        Some(_) => report.invalid(path, "is not one of: auto"),
    }
}

/// Whether `data` is padded base64 of at least one byte, in the standard alphabet.
fn is_base64(data: &str) -> bool {
    let digits = data.trim_end_matches('=');
    !digits.is_empty()
        && data.len() - digits.len() <= 2
        && data.len().is_multiple_of(4)
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}
