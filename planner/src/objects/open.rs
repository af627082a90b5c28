//! The way to the object store, which may not be there yet.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use object_store::{
    BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreExt as _, PutMode, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey::Client, S3ConditionalPut},
    local::LocalFileSystem,
    prefix::PrefixStore,
};
use tokio::time::{Instant, sleep};

use super::{Fault, ObjectUrl, Objects, Options, key};

/// Between two attempts to reach a bucket when the planner starts.
const PAUSE: Duration = Duration::from_millis(500);
/// What the client itself repeats of one request: a lost connection, a server that is busy. What takes
/// longer, whoever asked tries again, and says so.
const RETRIES: usize = 4;
const RETRY_TIME: Duration = Duration::from_secs(20);
/// Bytes between two ranges that are read with them rather than asked for apart: what comes in the
/// time that a request takes.
const GAP_S3: u64 = 1 << 20;
const GAP_DIRECTORY: u64 = 64 << 10;

/// Why the object store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory that cannot be made or read.
    #[error("cannot use the directory {path} for objects")]
    Directory {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// The client could not be made of the configuration.
    #[error("`object_url` = `{url}` cannot be used: see [objects] and the AWS_ variables")]
    Client {
        /// The object store.
        url: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// They are of another database.
    #[error(
        "the objects are of the database {owner}, and this one is {database}: give each a place of its own \
         (`object_url`), or restore the database that they are of; if that is lost for good, remove the object \
         `{key}`, and they are taken for garbage"
    )]
    Foreign {
        /// The object that says so.
        key: String,
        /// The database that they are of.
        owner: String,
        /// The one that there is.
        database: String,
    },
    /// Whose they are could not be found out.
    #[error("it cannot be said whose the objects are")]
    Owner(#[source] Box<Fault>),
    /// A small object could not be written, read and removed.
    #[error("`object_url` = `{url}` cannot be used: {advice}")]
    Probe {
        /// The object store.
        url: String,
        /// The way out.
        advice: String,
        /// Why.
        #[source]
        source: Box<Fault>,
    },
}

// === impl Objects ===

impl Objects {
    /// Objects in a local directory, which is created.
    ///
    /// # Errors
    /// If the directory cannot be created or read.
    pub fn local(directory: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Directory { path: directory.display().to_string(), source };
        let io = |source| object_store::Error::Generic { store: "directory", source: Box::new(source) };
        std::fs::create_dir_all(directory).map_err(io).map_err(failed)?;
        // Results are acked once they are here, so they have to survive a power cut.
        let store = LocalFileSystem::new_with_prefix(directory).map_err(failed)?.with_fsync(true);
        Ok(Self::over(Arc::new(store), GAP_DIRECTORY, true))
    }

    /// The objects at `url`, once a small one could be written, read and removed there.
    ///
    /// # Errors
    /// If a directory refuses, or a bucket does for `Options::start_ms`.
    pub async fn open(url: &ObjectUrl, options: &Options) -> Result<Self, OpenError> {
        let (objects, patience) = match url {
            ObjectUrl::Directory(path) => {
                (Self { is_conditional: options.conditional_put, ..Self::local(path)? }, Duration::ZERO)
            }
            ObjectUrl::Bucket { bucket, prefix } => {
                let client = client(bucket, options)
                    .map_err(|source| OpenError::Client { url: url.to_string(), source })?;
                let store = Arc::new(PrefixStore::new(client, prefix.as_str()));
                (Self::over(store, GAP_S3, options.conditional_put), options.start())
            }
        };
        let until = Instant::now() + patience;
        loop {
            match objects.probe().await {
                Ok(()) => return Ok(objects),
                // What is there can be read, and deleted to make room.
                Err(Fault::Full(_)) => return Ok(objects),
                Err(fault) if !is_absent(&fault) || Instant::now() + PAUSE >= until => {
                    return Err(OpenError::Probe {
                        url: url.to_string(),
                        advice: advice(&fault),
                        source: Box::new(fault),
                    });
                }
                Err(fault) => {
                    let error: &dyn std::error::Error = &fault;
                    tracing::warn!(error, %url, "the object store is not there yet");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Writes, reads and removes a small object.
    async fn probe(&self) -> Result<(), Fault> {
        let (key, bytes) = (key::probe(), Bytes::from_static(b"Can this be kept?"));
        self.create(&key, &bytes).await?;
        let kept = self.read_whole(&key).await?;
        let again = self.store.put_opts(&key, Bytes::new().into(), PutMode::Create.into()).await;
        self.store.delete(&key).await.map_err(|error| Fault::of(&key, error))?;
        if kept != bytes {
            return Err(Fault::Damaged { object: key.to_string(), what: "it reads otherwise".to_owned() });
        }
        if self.is_conditional && again.is_ok() {
            let source =
                "it overwrote what it was told to keep: set `objects.conditional_put = false`".into();
            let source = object_store::Error::NotSupported { source };
            return Err(Fault::Failed { object: key.to_string(), source });
        }
        Ok(())
    }

    /// Writes again as much as the last time that it failed, so that it is noticed when that can be done
    /// again, even if nobody else writes.
    pub(crate) async fn retry_writing(&self) {
        let Some(trouble) = self.trouble() else { return };
        let key = key::probe();
        // An error is what there was before.
        if self.create(&key, &vec![0; trouble.bytes].into()).await.is_ok() {
            // What stays is garbage.
            let _removed = self.store.delete(&key).await;
        }
    }
}

/// Whether it may be there in a moment; what it refuses, it will refuse again.
fn is_absent(fault: &Fault) -> bool {
    use object_store::Error::{NotFound, NotSupported};
    matches!(fault, Fault::Failed { source, .. } if !matches!(source, NotFound { .. } | NotSupported { .. }))
}

fn advice(fault: &Fault) -> String {
    match fault {
        Fault::Failed { source: object_store::Error::NotFound { .. }, .. } => {
            "there is no such bucket: create it, or correct the URL".to_owned()
        }
        Fault::Failed { source: object_store::Error::NotSupported { source }, .. } => source.to_string(),
        Fault::Failed { .. } => {
            "it does not answer (tried for `objects.start_ms`): start it, or correct `objects.endpoint`"
                .to_owned()
        }
        Fault::Denied(_) => {
            "it refuses: give these credentials the right to read, write, list and delete".to_owned()
        }
        fault => fault.advice(),
    }
}

fn client(bucket: &str, options: &Options) -> Result<AmazonS3, object_store::Error> {
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() },
        max_retries: RETRIES,
        retry_timeout: RETRY_TIME,
    };
    let condition =
        if options.conditional_put { S3ConditionalPut::ETagMatch } else { S3ConditionalPut::Disabled };
    // The options win over the environment.
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_config(Client(ClientConfigKey::Timeout), format!("{} ms", options.request_ms))
        .with_conditional_put(condition)
        .with_retry(retry);
    if options.allow_http {
        builder = builder.with_allow_http(true);
    }
    if !options.path_style {
        builder = builder.with_virtual_hosted_style_request(true);
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    if let Some(id) = &options.access_key_id {
        builder = builder.with_access_key_id(id);
    }
    if let Some(secret) = &options.secret_access_key {
        builder = builder.with_secret_access_key(secret.reveal());
    }
    if let Some(token) = &options.session_token {
        builder = builder.with_token(token.reveal());
    }
    builder.build()
}
