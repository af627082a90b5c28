//! The laws on PostgreSQL, and what only PostgreSQL can be asked.

use caravan_test_postgres::Database as TestDatabase;

use super::*;
use crate::store::{
    migration,
    suite::{self, Backend, concurrent::is_free},
};

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

#[tokio::test]
async fn segments_with_few_pieces_share_rows() {
    const ROWS: &str = "SELECT COUNT(*) FROM segments WHERE batch = $1";

    let db = Fresh::fresh().await;
    let store = db.open().await;
    let (id, sent) = suite::results::slow_batch(&store).await;
    let rows: i64 = sqlx::query_scalar(ROWS).bind(sql::cells::key(id)).fetch_one(&store.read).await.unwrap();
    assert_eq!((sent.len(), rows), (4, 2));
}

#[tokio::test]
async fn rows_of_the_first_version_are_kept() {
    let db = Fresh::fresh().await;
    let mut connection = Connection::connect_with(&db.url()).await.unwrap();
    let batch = sql::upgrade::begin(&mut connection, &MIGRATIONS).await;
    let (to, options) = (migration::known(&MIGRATIONS), Options::default());
    for from in [1, to] {
        let migrated = Postgres::migrate(&db.url(), options).await.unwrap();
        assert_eq!(migrated, Migrated { from: Some(from), to });
    }
    sql::upgrade::check(&db.open().await, batch).await;
}

#[tokio::test]
async fn a_planner_works_on_beside_one_of_the_next_version() {
    let db = Fresh::fresh().await;
    let store = db.open().await;
    sql::upgrade::works(&store).await;
    let mut connection = Connection::connect_with(&db.url()).await.unwrap();
    sql::upgrade::add_later(&mut connection).await;
    // A view has the columns that there were when it was made.
    for replace in [
        "CREATE VIEW later AS SELECT '' AS later, w.* FROM whole_batches w",
        "ALTER VIEW whole_batches RENAME TO before",
        "ALTER VIEW later RENAME TO whole_batches",
    ] {
        sqlx::query(replace).execute(&mut connection).await.unwrap();
    }
    sql::upgrade::works(&store).await;
    sql::upgrade::works(&db.open().await).await;
    sql::upgrade::leave_others_behind(&mut connection).await;
    sql::upgrade::assert_newer(Postgres::migrate(&db.url(), Options::default()).await);
}

#[tokio::test]
async fn planners_that_start_together_migrate_once() {
    let db = Fresh::fresh().await;
    let url = db.url();
    let all = (0..4).map(|_| Postgres::migrate(&url, Options::default()));
    let to = migration::known(&MIGRATIONS);
    for migrated in futures::future::join_all(all).await {
        assert_eq!(migrated.unwrap().to, to);
    }
}

#[tokio::test]
async fn another_replica_takes_over_what_was_exclusive() {
    let db = Fresh::fresh().await;
    let (one, two) = (db.open().await, db.open().await);
    let what = Exclusive::Upkeep("test");
    let held = one.exclusive(what).await.unwrap().expect("nobody has it");
    assert!(two.exclusive(what).await.unwrap().is_none(), "another replica has it");
    drop(held);
    is_free(&two, what).await;
    let all: Vec<_> = [Exclusive::Upkeep("a"), Exclusive::Upkeep("b")].map(|what| one.exclusive(what)).into();
    let all = futures::future::try_join_all(all).await.unwrap();
    assert!(all.iter().all(Option::is_some));
    assert!(one.exclusive(what).await.unwrap().is_none(), "as many at a time as there are connections for");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_waited_for_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("postgres://caravan:s3cret@localhost/caravan?host={}", directory.path().display());
    let options = Options { start_ms: 300, ..Options::default() };
    let begun = std::time::Instant::now();
    let said = Postgres::open(&url.parse().unwrap(), options).await.unwrap_err().to_string();
    assert!(begun.elapsed().as_millis() >= 100, "it may start in the meantime");
    assert!(said.contains(directory.path().to_str().unwrap()) && said.contains("store.start_ms"), "{said}");
    assert!(!said.contains("s3cret"));
}

#[tokio::test]
async fn what_the_database_refuses_is_not_tried_again() {
    let db = Fresh::fresh().await;
    let begun = std::time::Instant::now();
    let outcome = Postgres::open(&db.url().database("nowhere"), Options::default()).await;
    assert!(matches!(outcome, Err(Error::Database(_))), "{outcome:?}");
    assert!(begun.elapsed().as_secs() < 30);
}
