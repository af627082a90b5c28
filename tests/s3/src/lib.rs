//! An S3 server (SeaweedFS) that lives as long as the tests that started it.
//!
//! With `CARAVAN_TEST_OBJECT_URL` (`s3://BUCKET`, reached as the `AWS_` variables say) that one is taken
//! instead.

mod instance;
mod server;

use std::sync::OnceLock;

pub use instance::{BUCKET, CREDENTIALS, Instance};
use server::Server;

/// Where a bucket for tests is.
#[derive(Debug)]
pub struct Bucket {
    url: String,
    server: Option<Server>,
}

/// The bucket of this process; its server is started by the first who asks.
///
/// # Panics
/// If there is no server on this machine, or it does not start.
#[expect(clippy::panic, reason = "a test without its server cannot go on")]
pub fn bucket() -> &'static Bucket {
    static SERVER: OnceLock<Bucket> = OnceLock::new();
    let given = std::env::var("CARAVAN_TEST_OBJECT_URL").ok().filter(|url| url.starts_with("s3://"));
    SERVER.get_or_init(|| match given {
        Some(url) => Bucket { url, server: None },
        None => match Server::start() {
            Ok(server) => Bucket { url: format!("s3://{BUCKET}"), server: Some(server) },
            Err(why) => panic!("no S3 server for the tests: {why:#}"),
        },
    })
}

impl Bucket {
    /// The URL of the bucket.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of a place in it that nobody else has.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}/{}", self.url.trim_end_matches('/'), uuid::Uuid::now_v7().simple())
    }

    /// URL of the server, if this process started it.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        self.server.as_ref().map(|server| format!("http://{}", server.address))
    }

    /// Name and secret of its credentials, if this process started it.
    #[must_use]
    pub fn credentials(&self) -> Option<(&'static str, &'static str)> {
        self.server.as_ref().map(|_| CREDENTIALS)
    }
}
