//! Images: base64 in Ollama's bodies, data URIs in OpenAI's.

/// The base64 of a data URI of an image; `None` for any other URL.
pub(super) fn from_data_uri(url: &str) -> Option<&str> {
    let (kind, data) = url.strip_prefix("data:")?.split_once(',')?;
    (kind.starts_with("image/") && kind.ends_with(";base64")).then_some(data)
}

/// The data URI of an image in base64; `None` if it is no PNG, JPEG, GIF or WebP by its first bytes.
pub(super) fn to_data_uri(base64: &str) -> Option<String> {
    let kinds = [("iVBORw0KGgo", "png"), ("/9j/", "jpeg"), ("R0lGOD", "gif"), ("UklGR", "webp")];
    let (_, kind) = kinds.into_iter().find(|(start, _)| base64.starts_with(start))?;
    Some(format!("data:image/{kind};base64,{base64}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        assert_eq!(from_data_uri(&to_data_uri("/9j/4AAQ").unwrap()), Some("/9j/4AAQ"));
        assert_eq!(to_data_uri("aGVsbG8="), None);
        for url in ["http://host/a.png", "data:text/plain;base64,aGk=", "data:image/png,raw", ""] {
            assert_eq!(from_data_uri(url), None, "{url}");
        }
    }
}
