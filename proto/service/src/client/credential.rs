//! What a program shows of itself with every call.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use super::Options;
use crate::reload::{Reloaded, Unheard};

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
    /// Nobody would notice a new token.
    #[error(transparent)]
    Signal(#[from] Unheard),
}

/// A header that names the program, if it was given one.
#[derive(Debug, Clone)]
pub(super) enum Credential {
    None,
    Given(HeaderValue),
    File(Reloaded<HeaderValue>),
}

// === impl Credential ===

impl Credential {
    /// As the options say.
    pub(super) fn of(options: &Options) -> Result<Self, CredentialError> {
        match (&options.token, &options.token_file) {
            (None, None) => Ok(Self::None),
            (Some(token), _) => header(token.reveal()).map(Self::Given),
            (None, Some(path)) => {
                let path = path.clone();
                let interval = Duration::from_secs(options.token_reload_seconds.max(1));
                let reloaded =
                    Reloaded::new("token", interval, move || text(&path), |text: &String| header(text))?;
                Ok(Self::File(reloaded))
            }
        }
    }

    /// Puts it into a request that shows none.
    pub(super) fn show(&self, headers: &mut HeaderMap) {
        let header = match self {
            Self::None => return,
            Self::Given(header) => header.clone(),
            Self::File(reloaded) => HeaderValue::clone(&reloaded.now()),
        };
        headers.entry(AUTHORIZATION).or_insert(header);
    }
}

fn text(path: &Path) -> Result<String, CredentialError> {
    std::fs::read_to_string(path).map_err(|source| CredentialError::File { path: path.to_owned(), source })
}

fn header(token: &str) -> Result<HeaderValue, CredentialError> {
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CredentialError::Unusable);
    }
    let header = HeaderValue::try_from(format!("Bearer {token}"));
    let mut header = header.map_err(|_| CredentialError::Unusable)?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(token: Option<&str>, token_file: Option<PathBuf>) -> Options {
        Options { token: token.map(|token| token.to_owned().into()), token_file, ..Options::default() }
    }

    #[tokio::test]
    async fn a_credential_comes_from_one_place_and_is_not_shown() {
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

    #[tokio::test(start_paused = true)]
    async fn a_file_that_changes_is_shown_as_it_is() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let shown = |credential: &Credential| {
            let mut headers = HeaderMap::new();
            credential.show(&mut headers);
            headers[AUTHORIZATION].to_str().expect("text").to_owned()
        };
        std::fs::write(file.path(), "cvn_old\n").expect("written");
        let credential = Credential::of(&options(None, Some(file.path().into()))).expect("a credential");
        assert_eq!(shown(&credential), "Bearer cvn_old");
        std::fs::write(file.path(), "cvn_new\n").expect("written");
        let seen = async {
            while shown(&credential) != "Bearer cvn_new" {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(600), seen).await.expect("it is read again");
    }
}
