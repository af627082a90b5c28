use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

/// How a bucket is reached. What is not set is taken from the standard environment: `AWS_REGION`,
/// `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, web identity,
/// the roles of containers and instances.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// URL of a server that speaks S3's protocol. Default: AWS's of the region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region of the bucket. Default `us-east-1`; other servers than AWS ignore it, mostly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The bucket stands in the path, not in the host's name. Default true: every server can do that.
    pub path_style: bool,
    /// Lets the endpoint be `http://`: names, bytes and signatures can be read on the way. Default false.
    pub allow_http: bool,
    /// Name of the credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// Their secret. Never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
    /// Goes with temporary ones. Never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Secret>,
    /// Has the store refuse to overwrite (`If-None-Match`), in a directory too. Default true; false for
    /// a server that cannot.
    pub conditional_put: bool,
    /// The planner waits so long for a bucket when it starts, in milliseconds. Default 60 s: what a
    /// server takes to restart.
    pub start_ms: u64,
    /// One request to a bucket may take so long, in milliseconds. Default 30 s: a part of 8 MiB at 2 Mbit/s.
    pub request_ms: u64,
}

/// A text that nobody is shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            path_style: true,
            allow_http: false,
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            conditional_put: true,
            start_ms: 60_000,
            request_ms: 30_000,
        }
    }
}

impl Options {
    pub(super) fn start(&self) -> Duration {
        Duration::from_millis(self.start_ms)
    }
}

// === impl Secret ===

impl Secret {
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_to_nobody() {
        let secret = Some(Secret::from("s3cret"));
        let options =
            Options { session_token: secret.clone(), secret_access_key: secret, ..Options::default() };
        let shown = format!("{options:?} {}", serde_json::to_string(&options).unwrap());
        assert!(!shown.contains("s3cret") && shown.contains("***"), "{shown}");
    }
}
