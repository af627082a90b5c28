//! What a program shows of itself with every call.

use std::path::PathBuf;

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use super::Options;

/// A credential that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file.
    #[error("cannot read the token in {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A text that can be no token. It is not repeated.
    #[error("the token is empty, or holds what a header cannot: it must be one line of ASCII")]
    Unusable,
}

/// A header that names the program, if it was given one.
#[derive(Debug, Clone, Default)]
pub(super) struct Credential(Option<HeaderValue>);

// === impl Credential ===

impl Credential {
    /// As the options say. A file is read once, here.
    pub(super) fn of(options: &Options) -> Result<Self, CredentialError> {
        let token = match (&options.token, &options.token_file) {
            (None, None) => return Ok(Self(None)),
            (Some(token), _) => token.reveal().to_owned(),
            (None, Some(path)) => std::fs::read_to_string(path)
                .map_err(|source| CredentialError::File { path: path.clone(), source })?,
        };
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CredentialError::Unusable);
        }
        let header = HeaderValue::try_from(format!("Bearer {token}"));
        let mut header = header.map_err(|_| CredentialError::Unusable)?;
        header.set_sensitive(true);
        Ok(Self(Some(header)))
    }

    /// Puts it into a request that shows none.
    pub(super) fn show(&self, headers: &mut HeaderMap) {
        if let Some(header) = &self.0 {
            headers.entry(AUTHORIZATION).or_insert_with(|| header.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(token: Option<&str>, token_file: Option<PathBuf>) -> Options {
        Options { token: token.map(|token| token.to_owned().into()), token_file, ..Options::default() }
    }

    #[test]
    fn a_credential_comes_from_one_place_and_is_not_shown() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "cvn_secret\n").expect("written");
        for options in [options(Some("cvn_secret"), None), options(None, Some(file.path().into()))] {
            let credential = Credential::of(&options).expect("a credential");
            let mut headers = HeaderMap::new();
            credential.show(&mut headers);
            assert_eq!(headers[AUTHORIZATION], "Bearer cvn_secret");
            assert!(!format!("{options:?} {credential:?} {headers:?}").contains("secret\""));
            headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer other"));
            credential.show(&mut headers);
            assert_eq!(headers[AUTHORIZATION], "Bearer other", "a call's own goes before");
        }
        let both = options(Some("a"), Some(file.path().into()));
        let error = both.check("client").expect_err("two credentials").to_string();
        assert!(error.contains("`client.token`") && error.contains("`token_file`"), "{error}");
        let gone = options(None, Some("/nonexistent/token".into()));
        assert!(matches!(Credential::of(&gone), Err(CredentialError::File { .. })));
        for bad in ["", " ", "a b", "a\nb", "ä"] {
            let refused = Credential::of(&options(Some(bad), None));
            assert!(matches!(refused, Err(CredentialError::Unusable)), "{bad:?}");
        }
    }
}
