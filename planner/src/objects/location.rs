//! Where the objects are, as the configuration says it.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

/// The object store: `file:PATH` or `s3://BUCKET/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum ObjectUrl {
    /// A directory, which one planner, or several on one host, may use.
    Directory(PathBuf),
    /// A bucket of S3, or of a server that speaks its protocol.
    Bucket {
        /// Its name.
        bucket: String,
        /// What every name begins with; may be empty.
        prefix: String,
    },
}

/// A URL that names no object store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`object_url` must be of the form file:PATH or s3://BUCKET/PREFIX{0}")]
pub struct WrongUrl(&'static str);

impl FromStr for ObjectUrl {
    type Err = WrongUrl;

    fn from_str(text: &str) -> Result<Self, WrongUrl> {
        if let Some(path) = text.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(WrongUrl("")) } else { Ok(Self::Directory(path.into())) };
        }
        // What is wrong is not repeated: it may hold a password.
        let rest = text.strip_prefix("s3://").ok_or(WrongUrl(""))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains(['@', ':']) {
            return Err(WrongUrl(
                ": credentials belong into [objects], or into AWS_ACCESS_KEY_ID and \
                                 AWS_SECRET_ACCESS_KEY",
            ));
        }
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if bucket.is_empty() || !bucket.bytes().all(good) {
            return Err(WrongUrl(" (the bucket is no name of one)"));
        }
        let prefix = prefix.trim_matches('/').to_owned();
        if prefix.contains(['?', '#', '*']) || prefix.contains("//") {
            return Err(WrongUrl(" (the prefix holds what no name may)"));
        }
        Ok(Self::Bucket { bucket: bucket.to_owned(), prefix })
    }
}

impl TryFrom<String> for ObjectUrl {
    type Error = WrongUrl;

    fn try_from(text: String) -> Result<Self, WrongUrl> {
        text.parse()
    }
}

impl From<ObjectUrl> for String {
    fn from(url: ObjectUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for ObjectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "file:{}", path.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_an_object_store() {
        for (text, shown) in [
            ("file:/a/b", "file:/a/b"),
            ("file:///a/b", "file:/a/b"),
            ("file:objects", "file:objects"),
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ] {
            assert_eq!(text.parse::<ObjectUrl>().map(String::from).as_deref(), Ok(shown));
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_a_password() {
        for text in
            ["", "file:", "objects", "gs://b/p", "s3://", "s3://key:s3cret@bucket/p", "s3://b/a?b=s3cret"]
        {
            let wrong = text.parse::<ObjectUrl>().unwrap_err().to_string();
            assert!(wrong.contains("must be of the form") && !wrong.contains("s3cret"), "{wrong}");
        }
    }
}
