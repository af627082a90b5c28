//! How bodies are packed: not at all.

use axum::http::{HeaderMap, header::CONTENT_ENCODING};

use super::error::Error;

/// Refuses a body that is packed: its bytes would be read as what they are not.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Error> {
    for value in headers.get_all(CONTENT_ENCODING) {
        let given = String::from_utf8_lossy(value.as_bytes());
        let plain = |coding: &str| coding.is_empty() || coding.eq_ignore_ascii_case("identity");
        if !given.split(',').map(str::trim).all(plain) {
            return Err(Error::content_encoding(&given));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_packed_passes() {
        let passes = |values: &[&'static str]| {
            let values = values.iter().map(|value| (CONTENT_ENCODING, value.parse().expect("a value")));
            check(&values.collect::<HeaderMap>()).is_ok()
        };
        assert!(passes(&[]) && passes(&[""]) && passes(&["identity"]) && passes(&["Identity, identity"]));
        for packed in ["gzip", "GZIP", "br", "identity, gzip", "deflate,identity", "x"] {
            assert!(!passes(&[packed]) && !passes(&["identity", packed]), "{packed}");
        }
    }
}
