//! The laws on PostgreSQL.

use caravan_test_postgres::server;
use sqlx::AssertSqlSafe;

use super::*;
use crate::store::suite::{self, Backend};

suite::laws!(Fresh);

/// A database of its own on the server of the tests.
struct Fresh(String);

impl Fresh {
    async fn admin(statement: String) {
        let pool = PgPool::connect(&server().url("postgres")).await.unwrap();
        sqlx::query(AssertSqlSafe(statement)).execute(&pool).await.unwrap();
        pool.close().await;
    }
}

impl Backend for Fresh {
    type Store = Postgres;

    async fn fresh() -> Self {
        let name = server().name();
        Self::admin(format!("CREATE DATABASE {name}")).await;
        Self(name)
    }

    async fn open(&self) -> Postgres {
        let options = Options { connections: 4, ..Options::default() };
        Postgres::open(&server().url(&self.0), options).await.unwrap()
    }
}
