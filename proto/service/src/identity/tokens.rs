//! Tokens (JWT) of an OpenID Connect issuer.

use std::time::Duration;

use caravan_proto::{Tenant, access::Roles};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::{Principal, jwks::Jwks, refusal::Refusal};
use crate::{config, loopback::is_here};

/// Whose tokens are taken, and what is read of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// `iss` of the tokens, letter by letter.
    pub issuer: String,
    /// One of these has to be in `aud`.
    pub audience: Vec<String>,
    /// Where the issuer's keys are, by https; by http on loopback only.
    pub jwks_url: Url,
    /// The claim that names the tenant; a JSON pointer where it begins with `/`. Default `tenant`.
    #[serde(default = "default::tenant_claim")]
    pub tenant_claim: String,
    /// The claim that names the roles, a list or words in one text; a JSON pointer where it begins with `/`.
    /// Default `roles`. Words that are no roles are left out, and roles of services too.
    #[serde(default = "default::roles_claim")]
    pub roles_claim: String,
    /// What tokens may be signed with. Default: every algorithm with a public key that is known here.
    #[serde(default = "default::algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// By how much clocks may differ, in seconds. Default 30.
    #[serde(default = "default::leeway")]
    pub leeway_seconds: u64,
    /// The issuer's keys are fetched again when they are so old. Default 600.
    #[serde(default = "default::age")]
    pub refresh_seconds: u64,
    /// But no more often than this, also when a token names a key that is not there. Default 30.
    #[serde(default = "default::pause")]
    pub refresh_pause_seconds: u64,
}

mod default {
    use jsonwebtoken::Algorithm;

    pub(super) fn tenant_claim() -> String {
        "tenant".to_owned()
    }

    pub(super) fn roles_claim() -> String {
        "roles".to_owned()
    }

    pub(super) fn algorithms() -> Vec<Algorithm> {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        vec![RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA]
    }

    pub(super) fn leeway() -> u64 {
        30
    }

    pub(super) fn age() -> u64 {
        600
    }

    pub(super) fn pause() -> u64 {
        30
    }
}

/// Knows tokens of one issuer.
pub(super) struct Tokens {
    options: Oidc,
    jwks: Jwks,
}

// === impl Oidc ===

impl Oidc {
    /// Whether it can be met and holds what it promises.
    pub(super) fn check(&self, section: &str) -> Result<(), config::Error> {
        let is_said = !self.issuer.is_empty() && !self.audience.is_empty();
        config::check(is_said, section, "given with issuer and audience")?;
        let is_public = |algorithm: &Algorithm| default::algorithms().contains(algorithm);
        let are_public = !self.algorithms.is_empty() && self.algorithms.iter().all(is_public);
        config::check(
            are_public,
            &format!("{section}.algorithms"),
            "algorithms with a public key, e.g. [\"RS256\"]",
        )?;
        let is_safe =
            self.jwks_url.scheme() == "https" || self.jwks_url.scheme() == "http" && is_here(&self.jwks_url);
        config::check(is_safe, &format!("{section}.jwks_url"), "an https URL (http on loopback only)")
    }
}

// === impl Tokens ===

impl Tokens {
    pub(super) fn new(options: &Oidc) -> Result<Self, config::Error> {
        let age = Duration::from_secs(options.refresh_seconds);
        let pause = Duration::from_secs(options.refresh_pause_seconds);
        let jwks = Jwks::new(options.jwks_url.clone(), age, pause)
            .map_err(|error| config::Error::Invalid(format!("`identity.oidc` cannot be met: {error}")))?;
        Ok(Self { options: options.clone(), jwks })
    }

    /// Whom a token stands for.
    pub(super) async fn principal(&self, token: &str) -> Result<Principal, Refusal> {
        let header = decode_header(token).map_err(|_| Refusal::BadToken)?;
        // `crit` names what must be understood, and nothing beyond the standard is.
        if header.crit.is_some() || !self.options.algorithms.contains(&header.alg) {
            return Err(Refusal::BadToken);
        }
        let signer = self.jwks.signer(header.kid.as_deref()).await?;
        if !signer.takes(header.alg) {
            return Err(Refusal::BadToken);
        }
        let claims = decode::<Map<String, Value>>(token, &signer.key, &self.validation(header.alg));
        self.named(claims.map_err(|error| refusal(error.kind()))?.claims)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(std::slice::from_ref(&self.options.issuer));
        validation.set_audience(&self.options.audience);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = self.options.leeway_seconds;
        validation
    }

    fn named(&self, claims: Map<String, Value>) -> Result<Principal, Refusal> {
        let claims = Value::Object(claims);
        let tenant = claim(&claims, &self.options.tenant_claim).and_then(Value::as_str);
        let tenant: Tenant = tenant.and_then(|name| name.parse().ok()).ok_or(Refusal::NoTenant)?;
        let roles = claim(&claims, &self.options.roles_claim).map(roles).unwrap_or_default();
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        Ok(Principal::new(tenant, subject, roles))
    }
}

fn claim<'c>(claims: &'c Value, name: &str) -> Option<&'c Value> {
    if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) }
}

/// The roles of clients among those of a list or a text.
fn roles(claim: &Value) -> Roles {
    let words: Vec<&str> = match claim {
        Value::String(text) => text.split([' ', ',']).collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let known = words.into_iter().filter_map(|word| caravan_proto::access::role(word).ok());
    known.collect::<Roles>().within(Roles::PUBLIC)
}

fn refusal(kind: &ErrorKind) -> Refusal {
    match kind {
        ErrorKind::ExpiredSignature => Refusal::ExpiredToken,
        ErrorKind::ImmatureSignature => Refusal::EarlyToken,
        ErrorKind::InvalidIssuer => Refusal::WrongIssuer,
        ErrorKind::InvalidAudience => Refusal::WrongAudience,
        _ => Refusal::BadToken,
    }
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
