use caravan_proto::{
    error::Reason,
    name::{Id, Resource},
};
use tonic::Status;

/// Rows of a page if the client does not say.
const DEFAULT: i32 = 50;
/// Rows of a page at most.
const MAX: i32 = 1000;

/// Checks a page size: 0 is the default of 50.
///
/// # Errors
/// INVALID_ARGUMENT if it is not 0 to 1000.
pub fn size(given: i32) -> Result<i64, Status> {
    match given {
        0 => Ok(i64::from(DEFAULT)),
        1..=MAX => Ok(i64::from(given)),
        _ => Err(Reason::InvalidArgument.field("page_size", format!("page_size must be 0 to {MAX}"))),
    }
}

/// A page token is the id or the name of a row, as [`next`] writes it of the last one of the page before; none without
/// a token.
///
/// # Errors
/// INVALID_ARGUMENT if it is neither.
pub fn token<R: Resource>(given: &str) -> Result<Option<Id<R>>, Status> {
    if given.is_empty() {
        return Ok(None);
    }
    let wrong = |_| Reason::InvalidArgument.field("page_token", "page_token must come from the page before");
    given.parse().map(Some).map_err(wrong)
}

/// The token of the page behind one of `rows` rows up to `last`: empty if it was not full.
#[must_use]
pub fn next<R: Resource>(rows: usize, limit: i64, last: Option<Id<R>>) -> String {
    let full = i64::try_from(rows).is_ok_and(|rows| rows == limit);
    last.filter(|_| full).map(|id| id.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use caravan_proto::name::FileId;

    use super::*;

    #[test]
    fn a_page_goes_on_behind_the_last_row_of_the_one_before() {
        let id = FileId::now();
        assert_eq!(token(&next(2, 2, Some(id))).unwrap(), Some(id));
        assert_eq!(token(&id.name()).unwrap(), Some(id));
        assert_eq!(token::<caravan_proto::name::File>(&next(1, 2, Some(id))).unwrap(), None);
        for made_up in [id.to_string().to_uppercase(), format!("{id} "), format!("batches/{id}")] {
            assert!(token::<caravan_proto::name::File>(&made_up).is_err(), "{made_up}");
        }
    }
}
