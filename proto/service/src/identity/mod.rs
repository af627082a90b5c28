//! Who calls, and whether they may: every call of a server is asked for both, before anything is done for it.
//!
//! Callers show an API key or a token (`authorization: Bearer …`), or the certificate of their connection. A
//! gateway finds out who calls and names them to the planner; the planner believes a caller with role
//! `gateway`. Where nobody is asked ([`Mode::Off`]), everybody is the default tenant with every role, and the
//! planner believes whoever names somebody: that is for loopback.

mod authenticator;
mod certificates;
mod guard;
mod jwks;
mod key;
mod options;
mod principal;
mod refusal;
mod remembered;
mod standing;
mod tokens;

pub use certificates::CertificateHolder;
pub use guard::Guard;
pub(crate) use guard::{NO_METHOD, is_open};
pub use key::{FreshKey, KeyHash, MARK, NoRandomness, hash};
pub use options::{Mode, Options};
pub use principal::{Principal, Unreadable};
pub use remembered::Keys;
pub use standing::{Gone, Standing};
pub use tokens::Oidc;
