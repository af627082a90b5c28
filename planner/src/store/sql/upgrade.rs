//! What a database of the first version holds, and what must be left of it.

use caravan_proto::{name::BatchId, v1};
use prost::Message as _;
use sqlx::{AssertSqlSafe, migrate::Migrator};
use uuid::Uuid;

use super::super::{Connection, Database};
use crate::store::{Error, Migrated, State, Store as _};

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

/// A version that nobody knows yet.
pub(in crate::store) async fn add_later(connection: &mut Connection) {
    const LATER: &str = "
        INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (999, 'later', TRUE, $1, 0)";

    sqlx::query(LATER).bind(Vec::<u8>::new()).execute(connection).await.unwrap();
}

/// The last version that is known.
pub(in crate::store) fn known(migrations: &Migrator) -> i64 {
    migrations.iter().map(|migration| migration.version).max().unwrap()
}

pub(in crate::store) fn assert_newer(outcome: Result<Migrated, Error>) {
    let said = outcome.unwrap_err().to_string();
    assert!(said.contains("schema 999") && said.contains("upgrade the planner"), "{said}");
}
