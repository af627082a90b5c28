use std::path::PathBuf;

use caravan_service::{
    config::{self, Section},
    identity, serve, shutdown, telemetry, tls,
};
use serde::{Deserialize, Serialize};

use crate::{
    dispatch, garbage,
    objects::{self, ObjectUrl},
    prepare, quotas, results,
    store::{StoreUrl, postgres},
    vocabularies, webhooks,
};

/// Configuration of the planner.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where gRPC is served, `HOST:PORT`. Default 127.0.0.1:4082.
    pub listen: String,
    /// Directory for everything that `store_url` and `object_url` do not place elsewhere. Default `caravan-data`.
    pub data_dir: PathBuf,
    /// Database, `sqlite:PATH` or `postgres://USER@HOST/DATABASE`. Default: `caravan.db` in `data_dir`.
    /// A password is better given as `PGPASSWORD` in the environment, or in `~/.pgpass`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_url: Option<StoreUrl>,
    /// Object store, `file:PATH` or `s3://BUCKET/PREFIX`. Default: `objects` in `data_dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_url: Option<ObjectUrl>,
    /// How a PostgreSQL is used.
    pub store: postgres::Options,
    /// How a bucket is used.
    pub objects: objects::Options,
    /// Bytes of an uploaded file at most. Default 64 GiB.
    pub max_file_bytes: i64,
    /// Seconds that calls may take to end when the planner stops. Default 8.
    pub drain_seconds: u64,
    /// Intake and planning.
    pub prepare: prepare::Options,
    /// Vocabularies of models.
    pub vocabularies: vocabularies::Options,
    /// Leases.
    pub lease: dispatch::Options,
    /// Commits.
    pub commit: results::Options,
    /// What is removed by itself.
    pub garbage: garbage::Options,
    /// Who may call.
    pub identity: identity::Options,
    /// What each tenant may have under way.
    pub quotas: quotas::Options,
    /// Where batches have their end told.
    pub webhooks: webhooks::Options,
    /// TLS of the port.
    pub tls: tls::Options,
    /// Bounds of the port.
    pub serve: serve::Options,
    /// Logs, traces, metrics.
    pub telemetry: telemetry::Options,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:4082".into(),
            data_dir: "caravan-data".into(),
            store_url: None,
            object_url: None,
            store: postgres::Options::default(),
            objects: objects::Options::default(),
            max_file_bytes: 64 << 30,
            drain_seconds: shutdown::DEFAULT_DRAIN.as_secs(),
            prepare: prepare::Options::default(),
            vocabularies: vocabularies::Options::default(),
            lease: dispatch::Options::default(),
            commit: results::Options::default(),
            garbage: garbage::Options::default(),
            identity: identity::Options::default(),
            quotas: quotas::Options::default(),
            webhooks: webhooks::Options::default(),
            tls: tls::Options::default(),
            serve: serve::Options::default(),
            telemetry: telemetry::Options::default(),
        }
    }
}

impl Options {
    /// What can be found wrong without a network or a file; these options stand `at` a place of the configuration.
    ///
    /// # Errors
    /// If a value is out of its range, or some do not go together.
    pub fn check(&self, at: Section) -> Result<(), config::Error> {
        self.serve.check(&at.key("serve"))?;
        self.tls.check(&at.key("tls"))?;
        self.telemetry.check(&at.key("telemetry"))?;
        let identity = at.key("identity");
        self.identity.check(&identity)?;
        self.identity.check_listen(&identity, &at.key("listen"), &self.listen)
    }

    /// The database.
    pub(crate) fn database(&self) -> StoreUrl {
        self.store_url.clone().unwrap_or_else(|| StoreUrl::sqlite(self.data_dir.join("caravan.db")))
    }

    /// The object store.
    pub(crate) fn objects(&self) -> ObjectUrl {
        self.object_url.clone().unwrap_or_else(|| ObjectUrl::Directory(self.data_dir.join("objects")))
    }
}
