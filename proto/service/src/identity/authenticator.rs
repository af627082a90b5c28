use std::sync::Arc;

use http::{Extensions, HeaderMap, header::AUTHORIZATION};
use tonic::Status;

use super::{
    CertificateHolder, KeyHash, Keys, MARK, Mode, Options, Principal, certificates, hash, refusal::Refusal,
    remembered::Remembered, tokens::Tokens,
};
use crate::{config, peer::Peer};

/// Finds out who makes a call, by what it shows: an API key or a token in the header `authorization`, else the
/// certificate of its connection.
pub(super) struct Authenticator {
    pub(super) keys: Remembered,
    tokens: Option<Tokens>,
    certificates: Vec<CertificateHolder>,
}

// === impl Authenticator ===

impl Authenticator {
    /// As `options` say, with `keys` to ask for keys. None if nobody is asked who they are.
    ///
    /// # Errors
    /// If the options cannot be met.
    pub(super) fn new(options: &Options, keys: Arc<dyn Keys>) -> Result<Option<Self>, config::Error> {
        options.check("identity")?;
        if options.mode == Mode::Off {
            return Ok(None);
        }
        let tokens = options.oidc.as_ref().map(Tokens::new).transpose()?;
        Ok(Some(Self {
            keys: Remembered::new(keys, options.key_cache()),
            tokens,
            certificates: options.certificates.clone(),
        }))
    }

    /// Whoever makes a call with these headers, over a connection with these extensions.
    pub(super) async fn authenticate(
        &self,
        headers: &HeaderMap,
        connection: &Extensions,
    ) -> Result<Principal, Status> {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let Some(first) = shown.next() else { return Ok(self.certified(connection)?) };
        // Of two, a proxy on the way may have looked at the other one.
        let only = Some(first).filter(|_| shown.next().is_none());
        let credential = only.and_then(|only| bearer(only.as_bytes())).ok_or(Refusal::Malformed)?;
        if credential.starts_with(MARK) {
            let holder = self.keys.holder(credential).await?;
            return holder.ok_or_else(|| Refusal::UnknownKey.into());
        }
        let tokens = self.tokens.as_ref().ok_or(Refusal::NoIssuer)?;
        Ok(tokens.principal(credential).await?)
    }

    /// The key that these headers show, if they show one.
    pub(super) fn key(headers: &HeaderMap) -> Option<KeyHash> {
        let credential = bearer(headers.get(AUTHORIZATION)?.as_bytes())?;
        credential.starts_with(MARK).then(|| hash(credential))
    }

    /// Whomever the certificate of the connection stands for.
    fn certified(&self, connection: &Extensions) -> Result<Principal, Refusal> {
        let certificate = connection.get::<Peer>().and_then(|peer| peer.certificate.as_ref());
        let certificate = certificate.ok_or(Refusal::NoCredential)?;
        certificates::principal(&self.certificates, certificate).ok_or(Refusal::UnknownCertificate)
    }
}

/// What stands behind `Bearer`, in whatever case that is.
fn bearer(header: &[u8]) -> Option<&str> {
    let (scheme, credential) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let credential = credential.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty()).then_some(credential)
}

#[cfg(test)]
mod tests {
    use super::{super::KeyHash, *};

    struct Nobody;

    #[tonic::async_trait]
    impl Keys for Nobody {
        async fn holder(&self, _: &KeyHash) -> Result<Option<Principal>, Status> {
            Ok(None)
        }
    }

    #[tokio::test]
    async fn of_two_credentials_none_is_believed() {
        let options = Options { mode: Mode::Required, ..Options::default() };
        let asks = Authenticator::new(&options, Arc::new(Nobody)).expect("options").expect("somebody asks");
        let mut headers = HeaderMap::new();
        for why in [Refusal::UnknownKey, Refusal::Malformed] {
            headers.append(AUTHORIZATION, "Bearer cvn_1".parse().expect("a value"));
            let refused = asks.authenticate(&headers, &Extensions::new()).await.expect_err("nobody");
            assert_eq!(refused.message(), why.to_string());
        }
    }

    #[test]
    fn only_bearers_are_read() {
        assert_eq!(bearer(b"Bearer cvn_1"), Some("cvn_1"));
        assert_eq!(bearer(b"bearer  a.b.c "), Some("a.b.c"));
        for bad in [&b"Basic abc"[..], b"Bearer", b"Bearer ", b"cvn_1", b"", b"Bearer \xff"] {
            assert_eq!(bearer(bad), None, "{bad:?}");
        }
    }
}
