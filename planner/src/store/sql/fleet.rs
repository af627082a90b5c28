//! Executors, profiles and what was learned of models.

use caravan_proto::v1;
use prost::Message as _;
use sqlx::query::Query;

use super::{
    super::{Arguments, Database, Db, Row},
    cells::{Cells, key},
};
use crate::store::{Answers, Error, Executor, Micros, Profile};

pub(super) async fn put_executor(store: &Database, executor: &Executor) -> Result<(), Error> {
    const PUT: &str = "
        INSERT INTO executors (id, detail, last_seen) VALUES ($1, $2, $3)
        ON CONFLICT (id) DO UPDATE SET detail = excluded.detail, last_seen = excluded.last_seen
        WHERE excluded.last_seen >= executors.last_seen";

    sqlx::query(PUT)
        .bind(key(executor.id))
        .bind(executor.detail.encode_to_vec())
        .bind(executor.last_seen)
        .execute(&store.write)
        .await?;
    Ok(())
}

pub(super) async fn executors(store: &Database, since: Micros) -> Result<Vec<Executor>, Error> {
    const SINCE: &str = "SELECT id, detail, last_seen FROM executors WHERE last_seen >= $1 ORDER BY id";

    let executor = |row: &Row| {
        let cells = Cells::of("executors", row);
        Ok(Executor {
            id: cells.id("id")?,
            detail: cells.message("detail")?,
            last_seen: cells.get("last_seen")?,
        })
    };
    sqlx::query(SINCE).bind(since).fetch_all(&store.read).await?.iter().map(executor).collect()
}

pub(super) async fn put_profile(store: &Database, profile: &Profile) -> Result<Profile, Error> {
    const PUT: &str = "
        INSERT INTO profiles
            (model, digest, engine_kind, engine_version, gpu, driver, kv_type, swa_full, id, detail, measured)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (model, digest, engine_kind, engine_version, gpu, driver, kv_type, swa_full)
        DO UPDATE SET id = excluded.id, detail = excluded.detail, measured = excluded.measured
        WHERE excluded.measured > profiles.measured";
    const STANDS: &str = "
        SELECT id, detail, measured FROM profiles
        WHERE model = $1 AND digest = $2 AND engine_kind = $3 AND engine_version = $4 AND gpu = $5
          AND driver = $6 AND kv_type = $7 AND swa_full = $8";

    let mut tx = store.begin().await?;
    keyed(PUT, &profile.detail)
        .bind(key(profile.id))
        .bind(profile.detail.encode_to_vec())
        .bind(profile.measured)
        .execute(&mut *tx)
        .await?;
    let stands = keyed(STANDS, &profile.detail).fetch_one(&mut *tx).await?;
    tx.commit().await?;
    profile_of(&stands)
}

/// A statement whose first binds are what a profile holds for.
fn keyed<'q>(statement: &'static str, profile: &'q v1::Profile) -> Query<'q, Db, Arguments> {
    sqlx::query(statement)
        .bind(&profile.model)
        .bind(&profile.model_digest)
        .bind(profile.engine_kind)
        .bind(&profile.engine_version)
        .bind(&profile.gpu)
        .bind(&profile.driver)
        .bind(&profile.kv_type)
        .bind(i32::from(profile.swa_full))
}

pub(super) async fn profiles(store: &Database) -> Result<Vec<Profile>, Error> {
    const ALL: &str = "SELECT id, detail, measured FROM profiles ORDER BY model, measured DESC";

    sqlx::query(ALL).fetch_all(&store.read).await?.iter().map(profile_of).collect()
}

fn profile_of(row: &Row) -> Result<Profile, Error> {
    let cells = Cells::of("profiles", row);
    Ok(Profile { id: cells.id("id")?, detail: cells.message("detail")?, measured: cells.get("measured")? })
}

pub(super) async fn put_import(store: &Database, sha256: &str, digest: &str) -> Result<(), Error> {
    const PUT: &str = "INSERT INTO imports (sha256, digest) VALUES ($1, $2) ON CONFLICT DO NOTHING";

    sqlx::query(PUT).bind(sha256).bind(digest).execute(&store.write).await?;
    Ok(())
}

pub(super) async fn imports(store: &Database, sha256: &str, limit: i64) -> Result<Vec<String>, Error> {
    const OF: &str = "SELECT digest FROM imports WHERE sha256 = $1 ORDER BY digest LIMIT $2";

    Ok(sqlx::query_scalar(OF).bind(sha256).bind(limit).fetch_all(&store.read).await?)
}

pub(super) async fn learn_answers(
    store: &Database,
    model: &str,
    stated: bool,
    answers: Answers,
) -> Result<(), Error> {
    const LEARN: &str = "
        INSERT INTO answers (model, stated, allowed, given) VALUES ($1, $2, $3, $4)
        ON CONFLICT (model, stated) DO UPDATE SET
            allowed = answers.allowed / 2 + excluded.allowed, given = answers.given / 2 + excluded.given";

    let learn =
        sqlx::query(LEARN).bind(model).bind(i32::from(stated)).bind(answers.allowed).bind(answers.given);
    learn.execute(&store.write).await?;
    Ok(())
}

pub(super) async fn answers(store: &Database, model: &str, stated: bool) -> Result<Option<Answers>, Error> {
    const OF: &str = "SELECT allowed, given FROM answers WHERE model = $1 AND stated = $2";

    let row = sqlx::query(OF).bind(model).bind(i32::from(stated)).fetch_optional(&store.read).await?;
    let answers = |row: Row| {
        let cells = Cells::of("answers", &row);
        Ok(Answers { allowed: cells.get("allowed")?, given: cells.get("given")? })
    };
    row.map(answers).transpose()
}
