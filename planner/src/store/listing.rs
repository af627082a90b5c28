use caravan_proto::v1::file::Purpose;

use super::FileId;

/// Which files a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileListing {
    /// Only those behind this one, in the order asked for.
    pub after: Option<FileId>,
    /// The oldest first, else the newest.
    pub oldest_first: bool,
    /// Only those for this.
    pub purpose: Option<Purpose>,
    /// Only those that can be read, or only those that cannot yet.
    pub ready: Option<bool>,
    /// At most so many.
    pub limit: i64,
}
