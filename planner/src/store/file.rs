//! Files as rows.

use caravan_proto::{Tenant, name::FileId, v1};

use super::Micros;

/// A file to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Its id.
    pub id: FileId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The client's key for resuming, the tenant's own; none for files that the planner writes.
    pub upload_id: Option<String>,
    /// A label.
    pub filename: String,
    /// What it is for.
    pub purpose: v1::file::Purpose,
    /// When it was opened.
    pub created: Micros,
}

/// A file: the concatenation of its parts, objects that never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its id.
    pub id: FileId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The client's key for resuming.
    pub upload_id: Option<String>,
    /// A label.
    pub filename: String,
    /// What it is for.
    pub purpose: v1::file::Purpose,
    /// Complete and immutable.
    pub ready: bool,
    /// Bytes of all parts.
    pub size: i64,
    /// Bytes of each part, in order.
    pub parts: Vec<i64>,
    /// Of the whole, hexadecimal; empty until ready.
    pub sha256: String,
    /// When it was opened.
    pub created: Micros,
}

/// What became of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileDeletion {
    /// The row is gone; this is what it said.
    Deleted(File),
    /// There was none.
    NotFound,
    /// A batch that has not ended reads it.
    InUse,
}
