//! Configuration: defaults, then the TOML file, then the environment, then flags; the
//! later wins. Reading it never touches the network.
//!
//! Give `T` `#[serde(default, deny_unknown_fields)]`, so that a misspelt key is an error.
//! In the environment a key is upper case behind the role's prefix, a nested one with
//! `__` between (`CARAVAN_GATEWAY_TELEMETRY__FORMAT=json`), a list is `["a", "b"]`.

mod section;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use figment::{
    Figment,
    providers::{Env, Format as _, Serialized, Toml},
    value::{Dict, Value},
};
use serde::{Serialize, de::DeserializeOwned};

pub use self::section::Section;

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file named by `--config` cannot be read.
    #[error("cannot read configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key is unknown, of the wrong type, or out of its range; the text names key and origin.
    #[error("bad configuration: {0}; `--dump-config` without it prints every key with its default")]
    Invalid(String),
}

/// Reads the configuration of a role. `overrides` are its flags: a map or struct of
/// `Option`s, of which the `None`s are left out; `()` for none.
///
/// # Errors
/// If the file cannot be read, or a key is unknown or of the wrong type.
pub fn load<T>(file: Option<&Path>, env_prefix: &str, overrides: impl Serialize) -> Result<T, Error>
where
    T: DeserializeOwned + Serialize + Default,
{
    let mut figment = Figment::from(Serialized::defaults(T::default()));
    if let Some(path) = file {
        // Read once here: figment takes a missing file for an empty one.
        std::fs::metadata(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        figment = figment.merge(Toml::file_exact(path));
    }
    figment = figment.merge(Env::prefixed(env_prefix).split("__"));
    let flags = Value::serialize(overrides).map_err(|error| Error::Invalid(error.to_string()))?;
    if let Some(flags) = flags.into_dict() {
        figment = figment.merge(Serialized::defaults(without_empty(flags)));
    }
    figment.extract().map_err(|error| Error::Invalid(describe(&figment, error)))
}

/// A constraint that serde cannot state, e.g. a range: `key` must be what `wanted` says.
///
/// # Errors
/// Always what it was made for, if `holds` is false.
pub fn check(holds: bool, key: &str, wanted: &str) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Invalid(format!("`{key}` must be {wanted}"))) }
}

/// The whole configuration as TOML, for `--dump-config`.
///
/// # Errors
/// If `config` holds what TOML cannot say.
pub fn dump(config: &impl Serialize) -> Result<String, Error> {
    toml::to_string_pretty(config).map_err(|error| Error::Invalid(error.to_string()))
}

fn without_empty(flags: Dict) -> Dict {
    let kept = flags.into_iter().filter_map(|(key, value)| match value {
        Value::Empty(..) => None,
        Value::Dict(tag, inner) => Some((key, Value::Dict(tag, without_empty(inner)))),
        other => Some((key, other)),
    });
    kept.collect()
}

/// serde reports an unknown key without its origin; look it up.
fn describe(figment: &Figment, mut error: figment::Error) -> String {
    if let figment::error::Kind::UnknownField(field, _) = &error.kind
        && error.path.last() != Some(field)
    {
        let key = [error.path.as_slice(), std::slice::from_ref(field)].concat();
        error.metadata = figment.find_metadata(&key.join(".")).cloned().or(error.metadata);
    }
    error.to_string()
}
