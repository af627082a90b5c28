//! What a database of the first version holds, and what must be left of it.

use caravan_proto::{
    Tenant,
    name::{BatchId, ExecutorId, FileId, ProfileId, SegmentId},
    v1,
};
use prost::Message as _;
use sqlx::{AssertSqlSafe, migrate::Migrator};
use uuid::Uuid;

use super::super::{Connection, Database};
use crate::store::{
    Compacted, Error, Executor, FileListing, Migrated, Outputs, Profile, State, Store, suite,
};

/// Brings an empty database to the first version, with a batch and a profile in it.
pub(in crate::store) async fn begin(connection: &mut Connection, migrations: &Migrator) -> BatchId {
    migrations.run_to(1, &mut *connection).await.unwrap();
    let (batch, input) = (BatchId::now(), Uuid::now_v7());
    let profile = v1::Profile { model: "m".into(), ..Default::default() };
    for (statement, bytes) in [
        ("INSERT INTO files (id, filename, purpose, ready, created) VALUES ($2, 'f', 1, 1, 1)", Vec::new()),
        (
            "INSERT INTO batches (id, input, priority, state, chunks, total, created) VALUES ($1, $2, 0, 3, 1, 2, 1)",
            Vec::new(),
        ),
        ("INSERT INTO batch_details (batch, spec) VALUES ($1, $3)", v1::Batch::default().encode_to_vec()),
        (
            "INSERT INTO chunks (batch, number, plan_group, share, share_head, model, kinds, context, size, done)
             VALUES ($1, 0, 0, 0, 1, 'm:latest', 2, 10, 2, $3)",
            vec![0],
        ),
        (
            "INSERT INTO profiles (id, model, digest, engine_kind, engine_version, gpu, detail, measured)
             VALUES ($1, 'm', '', 1, '', '', $3, 7)",
            profile.encode_to_vec(),
        ),
    ] {
        // Each has some of the binds.
        let statement = format!("WITH binds AS (SELECT $1, $2, $3) {statement}");
        let insert = sqlx::query(AssertSqlSafe(statement)).bind(batch.uuid()).bind(input).bind(bytes);
        insert.execute(&mut *connection).await.unwrap();
    }
    batch
}

/// The rows can be read and worked with.
pub(in crate::store) async fn check(store: &Database, batch: BatchId) {
    let found = store.batch(batch).await.unwrap().unwrap();
    assert_eq!((found.state, found.requests.total, found.chunks.total), (State::Queued, 2, 1));
    assert_eq!(store.profiles().await.unwrap()[0].measured, 7);
    let (held, claim) = crate::store::suite::claimed_by_any(store).await.unwrap();
    assert_eq!((claim.batch, claim.model.as_str(), held.epoch), (batch, "m", 1), "as models are named now");
}

/// A version that nobody knows yet, with a column more in every table. Planners that know the last one can work
/// on it.
pub(in crate::store) async fn add_later(connection: &mut Connection) {
    const TABLES: [&str; 13] = [
        "files",
        "batches",
        "batch_details",
        "chunks",
        "leases",
        "segments",
        "executors",
        "profiles",
        "answers",
        "pins",
        "keys",
        "untold",
        "usage",
    ];
    const LATER: &str = "
        INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (999, 'later', TRUE, $1, 0)";

    for table in TABLES {
        let add = format!("ALTER TABLE {table} ADD COLUMN later TEXT NOT NULL DEFAULT ''");
        sqlx::query(AssertSqlSafe(add)).execute(&mut *connection).await.unwrap();
    }
    sqlx::query(LATER).bind(Vec::<u8>::new()).execute(connection).await.unwrap();
}

/// What only a planner of that version can work on.
pub(in crate::store) async fn leave_others_behind(connection: &mut Connection) {
    sqlx::query("UPDATE compatibility SET least_known = 999").execute(connection).await.unwrap();
}

pub(in crate::store) fn assert_newer(outcome: Result<Migrated, Error>) {
    let said = outcome.unwrap_err().to_string();
    assert!(said.contains("schema 999;") && said.contains("upgrade the planner"), "{said}");
}

/// Whatever a planner asks for, from a file to a batch that has ended.
pub(in crate::store) async fn works(store: &impl Store) {
    let (executor, file) = (ExecutorId::now(), suite::input(store).await);
    assert!(store.file(file).await.unwrap().unwrap().ready);
    let tenant = Tenant::default();
    assert!(store.file_of_upload(&tenant, "none").await.unwrap().is_none());
    let first = FileListing { limit: 1, ..FileListing::default() };
    for wanted in [FileListing { after: Some(FileId::now()), ..first }, first] {
        assert_eq!(store.files(&tenant, wanted).await.unwrap().len(), 1);
    }
    let id = suite::queued(store, &[2]).await;
    let (held, claim) = suite::claim(store, executor).await.unwrap();
    assert_eq!((claim.batch, store.leases(Some(id)).await.unwrap().len()), (id, 1));
    assert_eq!(store.heartbeat(executor, &[held], 9_999).await.unwrap(), []);
    assert!(!store.open_batches().await.unwrap().is_empty() && !store.leases(None).await.unwrap().is_empty());
    let segment = suite::segment(&[(0, &[0, 1])]);
    assert!(store.commit(id, &segment, 60).await.unwrap().batch_done);
    assert_eq!(store.segments(id, 0, 9).await.unwrap()[0].id, segment.id);
    assert_eq!(store.segments_at(id, &[0]).await.unwrap().len(), 1);
    assert!(store.uncompacted(9).await.unwrap().iter().any(|(batch, _)| *batch == id));
    let compacted = Compacted { id: SegmentId::now(), bytes: 1, first_line: 1 };
    assert!(store.set_compacted(id, 0, &compacted).await.unwrap());
    assert_eq!(store.chunk(id, 0).await.unwrap().unwrap().compacted, Some(compacted));
    assert_eq!(store.chunks(id, 0, 9).await.unwrap().len(), 1);
    assert!(store.finish(id, &Outputs::default(), 70).await.unwrap());
    let ended = store.batches(&Tenant::default(), &[State::Completed], None, 1).await.unwrap();
    assert_eq!(ended[0].id, id);
    let seen = Executor { id: executor, detail: v1::Executor::default(), last_seen: 7 };
    store.put_executor(&seen).await.unwrap();
    assert!(store.executors(7).await.unwrap().contains(&seen));
    let profile = Profile { id: ProfileId::now(), detail: v1::Profile::default(), measured: 7 };
    store.put_profile(&profile).await.unwrap();
    assert!(!store.profiles().await.unwrap().is_empty());
}
