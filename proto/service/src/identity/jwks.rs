//! The public keys of an issuer of tokens, as its JWKS document has them.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, Jwk, PublicKeyUse},
};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};
use url::Url;

use super::refusal::Refusal;

/// An issuer that does not answer in this time is away.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the document: some hundred keys.
const LONGEST: usize = 256 << 10;
/// Keys of the document that are kept; issuers have two or three.
const MOST_KEYS: usize = 100;

/// A key that signs tokens.
#[derive(Clone)]
pub(super) struct Signer {
    pub(super) key: DecodingKey,
    /// What it may be used with, if the issuer says.
    algorithm: Option<String>,
}

/// The keys of an issuer: fetched when the first is asked for, again when they are old, and again when one is
/// asked for that is not there, but no more often than once in `pause`.
pub(super) struct Jwks {
    url: Url,
    http: reqwest::Client,
    /// How old they may be.
    age: Duration,
    /// Between two fetches at least: whoever makes up ids of keys makes nobody ask the issuer for each.
    pause: Duration,
    held: RwLock<Option<Held>>,
    /// When a fetch was begun last. Held during one.
    begun: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Held {
    signers: Arc<HashMap<String, Signer>>,
    at: Instant,
}

/// Why a document is not to be had.
#[derive(Debug, thiserror::Error)]
enum Unfetched {
    #[error("the issuer does not answer")]
    Http(#[from] reqwest::Error),
    #[error("the document has more than {LONGEST} bytes")]
    TooLong,
    #[error("the document is no JWKS")]
    Unreadable(#[from] serde_json::Error),
}

// === impl Signer ===

impl Signer {
    /// Of a key that signs, and with which nobody else could.
    fn of(jwk: &Jwk) -> Option<Self> {
        let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        let is_public = matches!(
            jwk.algorithm,
            AlgorithmParameters::RSA(_)
                | AlgorithmParameters::EllipticCurve(_)
                | AlgorithmParameters::OctetKeyPair(_)
        );
        if !signs || !is_public {
            return None;
        }
        let algorithm = jwk.common.key_algorithm.map(|algorithm| algorithm.to_string());
        Some(Self { key: DecodingKey::from_jwk(jwk).ok()?, algorithm })
    }

    /// Whether a token may be signed with it by this algorithm.
    pub(super) fn takes(&self, algorithm: Algorithm) -> bool {
        let is_of_its_kind = self.key.family().algorithms().contains(&algorithm);
        is_of_its_kind && self.algorithm.as_ref().is_none_or(|stated| *stated == format!("{algorithm:?}"))
    }
}

// === impl Jwks ===

impl Jwks {
    pub(super) fn new(url: Url, age: Duration, pause: Duration) -> Result<Self, reqwest::Error> {
        // Where the keys are is configured: nobody is to send us elsewhere.
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { url, http, age, pause, held: RwLock::default(), begun: Mutex::default() })
    }

    /// The key with this id; without an id, the only one.
    pub(super) async fn signer(&self, id: Option<&str>) -> Result<Signer, Refusal> {
        if let Some((signer, at)) = self.find(id) {
            if at.elapsed() < self.age {
                return Ok(signer);
            }
            // One caller asks for news; whoever comes meanwhile goes on with what there is.
            if let Ok(begun) = self.begun.try_lock() {
                self.fetch(begun).await;
            }
            return Ok(self.find(id).map_or(signer, |(fresh, _)| fresh));
        }
        self.fetch(self.begun.lock().await).await;
        let found = self.find(id).map(|(signer, _)| signer);
        found.ok_or_else(|| if self.held().is_some() { Refusal::UnknownSigner } else { Refusal::IssuerAway })
    }

    fn find(&self, id: Option<&str>) -> Option<(Signer, Instant)> {
        let held = self.held()?;
        let signer = match id {
            Some(id) => held.signers.get(id),
            None => held.signers.values().next().filter(|_| held.signers.len() == 1),
        };
        Some((signer?.clone(), held.at))
    }

    fn held(&self) -> Option<Held> {
        // Nothing panics while it holds this lock.
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches, unless that was tried a moment ago. What cannot be had leaves what there is.
    async fn fetch(&self, mut begun: tokio::sync::MutexGuard<'_, Option<Instant>>) {
        if begun.is_some_and(|begun| begun.elapsed() < self.pause) {
            return;
        }
        *begun = Some(Instant::now());
        match self.get().await {
            Ok(signers) => {
                tracing::info!(url = %self.url, keys = signers.len(), "keys of the tokens' issuer fetched");
                let held = Held { signers: Arc::new(signers), at: Instant::now() };
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(url = %self.url, error, "the keys of the tokens' issuer cannot be had");
            }
        }
    }

    async fn get(&self) -> Result<HashMap<String, Signer>, Unfetched> {
        let mut answer = self.http.get(self.url.clone()).send().await?.error_for_status()?;
        let mut document = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            if document.len() + piece.len() > LONGEST {
                return Err(Unfetched::TooLong);
            }
            document.extend_from_slice(&piece);
        }
        Ok(signers(&document)?)
    }
}

/// The keys of a document by id. One that cannot be used is passed over: issuers have them for others.
fn signers(document: &[u8]) -> Result<HashMap<String, Signer>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Document {
        keys: Vec<serde_json::Value>,
    }

    let Document { keys } = serde_json::from_slice(document)?;
    let usable = keys.into_iter().filter_map(|key| {
        let jwk: Jwk = serde_json::from_value(key).ok()?;
        let signer = Signer::of(&jwk)?;
        Some((jwk.common.key_id.unwrap_or_default(), signer))
    });
    Ok(usable.take(MOST_KEYS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_anybody_could_sign_with_are_passed_over() {
        let document = r#"{"keys": [
            {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"},
            {"kty": "EC", "kid": "other-use", "use": "enc", "crv": "P-256", "x": "AA", "y": "AA"},
            {"kty": "NEW", "kid": "unknown"},
            {"kty": "RSA", "kid": "good", "n": "AQAB", "e": "AQAB", "alg": "RS256"},
            "no key"
        ]}"#;
        let signers = signers(document.as_bytes()).expect("a document");
        assert_eq!(signers.keys().collect::<Vec<_>>(), ["good"]);
        let good = &signers["good"];
        assert!(good.takes(Algorithm::RS256));
        for other in [Algorithm::PS256, Algorithm::ES256, Algorithm::HS256, Algorithm::EdDSA] {
            assert!(!good.takes(other), "{other:?}");
        }
    }
}
