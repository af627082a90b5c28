//! The laws on PostgreSQL, and what only PostgreSQL can be asked.

use caravan_test_postgres::Database as TestDatabase;

use super::*;
use crate::store::suite::{self, Backend};

suite::laws!(Fresh);

/// A database of its own on the server of the tests.
struct Fresh(TestDatabase);

impl Fresh {
    fn url(&self) -> PgConnectOptions {
        self.0.url().parse().unwrap()
    }
}

impl Backend for Fresh {
    type Store = Postgres;

    async fn fresh() -> Self {
        Self(TestDatabase::create().unwrap())
    }

    async fn open(&self) -> Postgres {
        let options = Options { connections: 8, exclusive_connections: 2, ..Options::default() };
        Postgres::open(&self.url(), options).await.unwrap()
    }
}
