use std::io;

use caravan_test_postgres::Database;

/// Where the planner of a test keeps its rows: in a database of its own on a PostgreSQL if
/// `CARAVAN_TEST_STORE_URL` begins with `postgres`, else in its data directory.
#[derive(Debug)]
pub struct Rows(Option<Database>);

// === impl Rows ===

impl Rows {
    /// An empty place.
    ///
    /// # Errors
    /// If there is no such server.
    pub(crate) fn fresh() -> io::Result<Self> {
        let elsewhere = std::env::var("CARAVAN_TEST_STORE_URL").is_ok_and(|url| url.starts_with("postgres"));
        elsewhere.then(Database::create).transpose().map(Self)
    }

    /// The data directory, whatever is said elsewhere.
    #[must_use]
    pub fn in_data_dir() -> Self {
        Self(None)
    }

    /// An empty place that several planners can share.
    ///
    /// # Errors
    /// If there is no PostgreSQL.
    pub fn in_postgres() -> io::Result<Self> {
        Database::create().map(|database| Self(Some(database)))
    }

    /// The database, if it is one on a server.
    #[must_use]
    pub fn database(&self) -> Option<&Database> {
        self.0.as_ref()
    }

    /// `store_url` for the planner; none for its default.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        self.0.as_ref().map(Database::url)
    }
}
