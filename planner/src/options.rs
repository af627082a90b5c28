use std::path::PathBuf;

use caravan_service::{serve, shutdown, telemetry};
use serde::{Deserialize, Serialize};

use crate::{
    dispatch, prepare, results,
    store::{StoreUrl, postgres},
    vocabularies,
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
    /// Object store, `file:PATH`. Default: `objects` in `data_dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_url: Option<String>,
    /// How a PostgreSQL is used.
    pub store: postgres::Options,
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
    /// The gRPC server.
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
            max_file_bytes: 64 << 30,
            drain_seconds: shutdown::DEFAULT_DRAIN.as_secs(),
            prepare: prepare::Options::default(),
            vocabularies: vocabularies::Options::default(),
            lease: dispatch::Options::default(),
            commit: results::Options::default(),
            serve: serve::Options::default(),
            telemetry: telemetry::Options::default(),
        }
    }
}

impl Options {
    /// The database.
    pub(crate) fn database(&self) -> StoreUrl {
        self.store_url.clone().unwrap_or_else(|| StoreUrl::sqlite(self.data_dir.join("caravan.db")))
    }

    /// Directory of the objects.
    ///
    /// # Errors
    /// If `object_url` names a store of a kind that this version does not know.
    pub(crate) fn objects(&self) -> Result<PathBuf, String> {
        path("object_url", "file", self.object_url.as_deref(), self.data_dir.join("objects"))
    }
}

fn path(key: &str, scheme: &str, url: Option<&str>, default: PathBuf) -> Result<PathBuf, String> {
    let Some(url) = url else { return Ok(default) };
    let path = url.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(':'));
    let path = path.map(|path| path.strip_prefix("//").unwrap_or(path)).filter(|path| !path.is_empty());
    path.map(PathBuf::from).ok_or_else(|| format!("`{key}` = `{url}` must be of the form {scheme}:PATH"))
}
