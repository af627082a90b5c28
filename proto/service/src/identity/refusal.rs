use std::time::Duration;

use caravan_proto::error::Reason;
use tonic::Status;

use super::principal::Unreadable;

/// When a caller should try again who could not be asked for.
const RETRY: Duration = Duration::from_secs(1);

/// Why somebody is not let in. No variant repeats what the caller sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "the call does not say who makes it: send `authorization: Bearer KEY`; `caravan` takes the key from \
         --api-key-file or CARAVAN_API_KEY"
    )]
    NoCredential,
    #[error("the certificate of the connection is none that identity.certificates of the server names")]
    UnknownCertificate,
    #[error("there must be one header authorization: `Bearer` and a key or token")]
    Malformed,
    #[error("no key that is good is this one: it does not exist, was revoked, or has expired")]
    UnknownKey,
    #[error("this server takes API keys only: no issuer of tokens is configured (identity.oidc)")]
    NoIssuer,
    #[error("the token cannot be read, or is not signed as it must be")]
    BadToken,
    #[error("the token is signed with a key that its issuer does not name")]
    UnknownSigner,
    #[error("the token has expired: get a new one")]
    ExpiredToken,
    #[error("the token is not good yet: look at the clocks")]
    EarlyToken,
    #[error("the token is of another issuer")]
    WrongIssuer,
    #[error("the token is for another audience")]
    WrongAudience,
    #[error("the token names no tenant, in the claim that identity.oidc.tenant_claim says")]
    NoTenant,
    #[error(transparent)]
    NamesNobody(#[from] Unreadable),
    #[error("the keys of the token's issuer cannot be had at the moment; try again")]
    IssuerAway,
}

// === impl Refusal ===

impl Refusal {
    /// A stable word for programs.
    fn why(self) -> &'static str {
        match self {
            Self::NoCredential => "NO_CREDENTIAL",
            Self::UnknownCertificate => "UNKNOWN_CERTIFICATE",
            Self::Malformed => "MALFORMED",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::NoIssuer => "NO_ISSUER",
            Self::BadToken => "BAD_TOKEN",
            Self::UnknownSigner => "UNKNOWN_SIGNER",
            Self::ExpiredToken => "EXPIRED_TOKEN",
            Self::EarlyToken => "EARLY_TOKEN",
            Self::WrongIssuer => "WRONG_ISSUER",
            Self::WrongAudience => "WRONG_AUDIENCE",
            Self::NoTenant => "NO_TENANT",
            Self::NamesNobody(_) => "NAMES_NOBODY",
            Self::IssuerAway => "ISSUER_AWAY",
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::IssuerAway => Reason::Unavailable.retry_after(refusal.to_string(), RETRY),
            refusal => {
                Reason::Unauthenticated.metadata(refusal.to_string(), [("why", refusal.why().to_owned())])
            }
        }
    }
}
