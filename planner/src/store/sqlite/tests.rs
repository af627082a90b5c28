//! The laws on SQLite, and what only SQLite can be asked.

use std::{
    cell::Cell,
    path::{Path, PathBuf},
};

use caravan_proto::{Tenant, name::FileId};
use sqlx::{AssertSqlSafe, Row as _};
use tempfile::TempDir;

use super::{statements, *};
use crate::store::{
    NewFile, Store as _, migration,
    suite::{self, Backend},
};

suite::laws!(Database);

/// A database file in a directory of its own.
struct Database(TempDir);

impl Database {
    fn path(&self) -> PathBuf {
        self.0.path().join("caravan.db")
    }
}

impl Backend for Database {
    type Store = Sqlite;

    async fn fresh() -> Self {
        Self(TempDir::new().unwrap())
    }

    async fn open(&self) -> Sqlite {
        Sqlite::open(&self.path()).await.unwrap()
    }
}

/// As on a full disk: the driver knows nothing of it.
#[tokio::test]
async fn a_transaction_that_sqlite_has_ended_by_itself_stops_no_later_one() {
    let database = Database::fresh().await;
    let store = database.open().await;
    for _ in 0..2 {
        let mut transaction = store.begin().await.unwrap();
        sqlx::query("ROLLBACK").execute(&mut *transaction).await.unwrap();
        drop(transaction);
    }
    store.begin().await.unwrap().commit().await.unwrap();
}

async fn plan_of(store: &Sqlite, query: &'static str) -> String {
    let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
    let mut query = sqlx::query(sql);
    for _ in 0..5 {
        query = query.bind("[]");
    }
    let rows = query.fetch_all(&store.read).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail") + "\n").collect()
}

/// Every way to claim goes down an index and sorts nothing but the models of one batch.
#[tokio::test]
async fn claims_search_and_never_scan() {
    let store = Database::fresh().await;
    let store = store.open().await;
    for (query, index) in [
        (statements::NEXT_OF_SHARE, "chunks_warm (batch=? AND plan_group=? AND share=?)"),
        (statements::HEAD_OF_SHARE, "COVERING INDEX chunks_heads (batch=? AND model=?)"),
        (statements::HIGHEST_PRIORITY, "COVERING INDEX chunks_queued (batch=? AND model=?)"),
        (statements::LAST_OF_ANY, "INDEX chunks_queued (batch=? AND model=?)"),
    ] {
        let plan = plan_of(&store, query).await;
        assert!(plan.contains(index), "{plan}");
        for line in plan.lines().filter(|line| line.contains("SCAN") || line.contains("TEMP B-TREE")) {
            let fine = ["batches_claimable", "SCAN w ", "LAST TERM"];
            assert!(fine.iter().any(|fine| line.contains(fine)), "{plan}");
        }
    }
}

/// The files as they stand at a moment, without any closing: what a killed process leaves behind.
#[tokio::test]
async fn a_commit_is_on_disk_when_it_returns() {
    let (db, copy) = (Database::fresh().await, Database::fresh().await);
    let store = db.open().await;
    let file = NewFile {
        id: FileId::now(),
        tenant: Tenant::default(),
        upload_id: Some("up".into()),
        filename: String::new(),
        purpose: caravan_proto::v1::file::Purpose::Batch,
        created: 1,
    };
    store.open_file(&file).await.unwrap();
    for part in 0..100 {
        assert!(store.append_part(file.id, part, 1).await.unwrap());
    }
    for suffix in ["", "-wal"] {
        let name = format!("caravan.db{suffix}");
        std::fs::copy(db.0.path().join(&name), copy.0.path().join(&name)).unwrap();
    }
    let reopened = copy.open().await;
    assert_eq!(reopened.file_of_upload(&Tenant::default(), "up").await.unwrap().unwrap().parts, [1; 100]);
}

#[tokio::test]
async fn durability_is_what_acks_need() {
    let db = Database::fresh().await;
    let store = db.open().await;
    let pragma = async |name: &'static str| -> String {
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT CAST(value AS TEXT) AS value FROM (SELECT {name} AS value FROM pragma_{name})"
        )));
        row.fetch_one(&store.write).await.unwrap().get("value")
    };
    assert_eq!(pragma("journal_mode").await, "wal");
    assert_eq!(pragma("synchronous").await, "2", "full");
    assert_eq!(pragma("foreign_keys").await, "1");
}

#[tokio::test]
async fn segments_with_few_pieces_share_rows() {
    const ROWS: &str = "SELECT COUNT(*) FROM segments WHERE batch = $1";

    let db = Database::fresh().await;
    let store = db.open().await;
    let (id, sent) = suite::results::slow_batch(&store).await;
    let rows: i64 = sqlx::query_scalar(ROWS).bind(sql::cells::key(id)).fetch_one(&store.read).await.unwrap();
    assert_eq!((sent.len(), rows), (4, 2));
}

/// What a database without space for a page more says.
async fn full_disk(path: &Path) -> sqlx::Error {
    let mut connection = Connection::connect_with(&options(path)).await.unwrap();
    sqlx::query("PRAGMA max_page_count = 2").execute(&mut connection).await.unwrap();
    let fill = sqlx::query("CREATE TABLE t AS SELECT randomblob(99999) AS b");
    fill.execute(&mut connection).await.unwrap_err()
}

#[tokio::test]
async fn a_database_is_opened_once_there_is_space() {
    use sqlx::migrate::MigrateError::ExecuteMigration;

    let (db, tries) = (Database::fresh().await, Cell::new(0));
    let path = db.path();
    let open = async || {
        tries.set(tries.get() + 1);
        match tries.get() {
            1 => Err(Error::Database(full_disk(&path).await)),
            2 => Err(Error::Migrate(ExecuteMigration(full_disk(&path).await, 7))),
            tries => Ok(tries),
        }
    };
    assert_eq!(full::until_space(&path, Duration::from_secs(60), open).await.unwrap(), 3);

    let never = async || Err::<(), _>(Error::Database(full_disk(&path).await));
    let outcome = full::until_space(&path, Duration::from_millis(300), never).await;
    assert!(matches!(&outcome, Err(Error::Full { .. })), "{outcome:?}");

    tries.set(0);
    let elsewhere = async || {
        tries.set(tries.get() + 1);
        Sqlite::open(&path.join("no-such-directory")).await
    };
    let outcome = full::until_space(&path, Duration::from_secs(60), elsewhere).await;
    assert!(matches!(outcome, Err(Error::Database(_))));
    assert_eq!(tries.get(), 1, "what is wrong otherwise is not tried again");
}

#[tokio::test]
async fn rows_of_the_first_version_are_kept() {
    let db = Database::fresh().await;
    let mut connection = Connection::connect_with(&options(&db.path())).await.unwrap();
    let batch = sql::upgrade::begin(&mut connection, &MIGRATIONS).await;
    let to = migration::known(&MIGRATIONS);
    for from in [1, to] {
        assert_eq!(Sqlite::migrate(&db.path()).await.unwrap(), Migrated { from: Some(from), to });
    }
    sql::upgrade::check(&db.open().await, batch).await;
}

#[tokio::test]
async fn a_planner_can_go_back_to_the_version_before() {
    let db = Database::fresh().await;
    drop(db.open().await);
    let mut connection = Connection::connect_with(&options(&db.path())).await.unwrap();
    sql::upgrade::add_later(&mut connection).await;
    sql::upgrade::works(&db.open().await).await;
    sql::upgrade::leave_others_behind(&mut connection).await;
    sql::upgrade::assert_newer(Sqlite::migrate(&db.path()).await);
}
