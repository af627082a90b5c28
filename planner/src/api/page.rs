use caravan_proto::{
    error::Reason,
    name::{Id, Resource},
};
use tonic::Status;

/// Rows of a page if the client does not say.
const DEFAULT: i32 = 50;
/// Rows of a page at most.
const MAX: i32 = 1000;

/// Checks a page size: 0 is the default.
pub(super) fn size(given: i32) -> Result<i64, Status> {
    match given {
        0 => Ok(i64::from(DEFAULT)),
        1..=MAX => Ok(i64::from(given)),
        _ => Err(Reason::InvalidArgument.field("page_size", format!("page_size must be 0 to {MAX}"))),
    }
}

/// A page token is the id of the last row of the page before.
pub(super) fn token<R: Resource>(given: &str) -> Result<Option<Id<R>>, Status> {
    if given.is_empty() {
        return Ok(None);
    }
    let wrong = |_| Reason::InvalidArgument.field("page_token", "page_token must come from the page before");
    given.parse().map(Some).map_err(wrong)
}

/// The token of the next page: empty if this one was not full.
pub(super) fn next<R: Resource>(rows: usize, limit: i64, last: Option<Id<R>>) -> String {
    let full = i64::try_from(rows).is_ok_and(|rows| rows == limit);
    last.filter(|_| full).map(|id| id.to_string()).unwrap_or_default()
}
