//! Files and uploads.

use caravan_proto::name::FileId;
use prost::Message as _;
use uuid::Uuid;

use super::{
    super::{Connection, Database, Hold, Row, hold},
    Reader,
    cells::{Cells, key},
    messages::Numbers,
};
use crate::store::{Error, File, FileDeletion, FileListing, NewFile};

/// Files with what is read of them.
macro_rules! files {
    ($which:literal) => {
        concat!(
            "SELECT id, upload_id, filename, purpose, ready, size, parts, sha256, created FROM files ",
            $which
        )
    };
}

const BY_ID: &str = files!("WHERE id = $1");
const BY_UPLOAD: &str = files!("WHERE upload_id = $1");

pub(super) async fn open(store: &Database, file: &NewFile) -> Result<File, Error> {
    let mut tx = store.begin().await?;
    insert(&mut tx, file).await?;
    let opened = match &file.upload_id {
        Some(upload_id) => by_upload(&mut *tx, upload_id).await?,
        None => by_id(&mut *tx, file.id).await?,
    };
    tx.commit().await?;
    opened.ok_or(Error::Database(sqlx::Error::RowNotFound))
}

/// Adds an open file, unless its `upload_id` opened one before.
pub(super) async fn insert(tx: &mut Connection, file: &NewFile) -> Result<(), Error> {
    const INSERT: &str = "
        INSERT INTO files (id, upload_id, filename, purpose, created) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (upload_id) DO NOTHING";

    sqlx::query(INSERT)
        .bind(key(file.id))
        .bind(&file.upload_id)
        .bind(&file.filename)
        .bind(file.purpose as i32)
        .bind(file.created)
        .execute(tx)
        .await?;
    Ok(())
}

pub(super) async fn append_part(store: &Database, id: FileId, part: i64, bytes: i64) -> Result<bool, Error> {
    const APPEND: &str = "UPDATE files SET parts = $2, size = size + $3 WHERE id = $1";

    let mut tx = store.begin().await?;
    hold(&mut tx, Hold::File(id)).await?;
    let Some(mut file) = by_id(&mut *tx, id).await? else { return Ok(false) };
    if file.ready || i64::try_from(file.parts.len()) != Ok(part) {
        return Ok(false);
    }
    file.parts.push(bytes);
    let parts = Numbers { values: file.parts }.encode_to_vec();
    sqlx::query(APPEND).bind(key(id)).bind(parts).bind(bytes).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn close(store: &Database, id: FileId, sha256: &str) -> Result<bool, Error> {
    const CLOSE: &str = "UPDATE files SET ready = 1, sha256 = $2 WHERE id = $1 AND ready = 0";

    let done = sqlx::query(CLOSE).bind(key(id)).bind(sha256).execute(&store.write).await?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn by_id(db: impl Reader<'_>, id: FileId) -> Result<Option<File>, Error> {
    sqlx::query(BY_ID).bind(key(id)).fetch_optional(db).await?.as_ref().map(file).transpose()
}

pub(super) async fn by_upload(db: impl Reader<'_>, upload_id: &str) -> Result<Option<File>, Error> {
    sqlx::query(BY_UPLOAD).bind(upload_id).fetch_optional(db).await?.as_ref().map(file).transpose()
}

pub(super) async fn list(store: &Database, wanted: FileListing) -> Result<Vec<File>, Error> {
    const NEWER: &str =
        files!("WHERE id > $1 AND ($2 = 0 OR purpose = $2) AND ($3 = -1 OR ready = $3) ORDER BY id LIMIT $4");
    const OLDER: &str = files!(
        "WHERE id < $1 AND ($2 = 0 OR purpose = $2) AND ($3 = -1 OR ready = $3) ORDER BY id DESC LIMIT $4"
    );

    // Ids sort by the time they were made; none is the first or the last of all.
    let (statement, first) = if wanted.oldest_first { (NEWER, Uuid::nil()) } else { (OLDER, Uuid::max()) };
    sqlx::query(statement)
        .bind(wanted.after.map_or(first, key))
        .bind(wanted.purpose.map_or(0, i32::from))
        .bind(wanted.ready.map_or(-1, i32::from))
        .bind(wanted.limit)
        .fetch_all(&store.read)
        .await?
        .iter()
        .map(file)
        .collect()
}

pub(super) async fn delete(store: &Database, id: FileId) -> Result<FileDeletion, Error> {
    const IN_USE: &str = "SELECT EXISTS (SELECT 1 FROM batches WHERE input = $1 AND ended IS NULL)";

    let mut tx = store.begin().await?;
    hold(&mut tx, Hold::File(id)).await?;
    let Some(file) = by_id(&mut *tx, id).await? else { return Ok(FileDeletion::NotFound) };
    if sqlx::query_scalar(IN_USE).bind(key(id)).fetch_one(&mut *tx).await? {
        return Ok(FileDeletion::InUse);
    }
    remove(&mut tx, id).await?;
    tx.commit().await?;
    Ok(FileDeletion::Deleted(file))
}

pub(super) async fn remove(tx: &mut Connection, id: FileId) -> Result<(), Error> {
    const DELETE: &str = "DELETE FROM files WHERE id = $1";

    sqlx::query(DELETE).bind(key(id)).execute(tx).await?;
    Ok(())
}

fn file(row: &Row) -> Result<File, Error> {
    let cells = Cells::of("files", row);
    Ok(File {
        id: cells.id("id")?,
        upload_id: cells.get("upload_id")?,
        filename: cells.get("filename")?,
        purpose: cells.word("purpose")?,
        ready: cells.flag("ready")?,
        size: cells.get("size")?,
        parts: cells.message::<Numbers>("parts")?.values,
        sha256: cells.get("sha256")?,
        created: cells.get("created")?,
    })
}
