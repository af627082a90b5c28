use std::{fmt, str::FromStr};

use caravan_planner::{api::check, results::Cursor};
use caravan_proto::{
    Tenant,
    name::{Batch, BatchId, File, FileId, Id, Key, KeyId, ProfileId, Resource},
    resume::ResumeToken,
    v1::{StreamResultsRequest, stream_results_request::Order},
};

use crate::refused;

/// Any text as a resume token, a cursor, a page token, a name: it is refused as such, or it is the one text for what it
/// means; names, also as page tokens, have two.
pub fn tokens(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    same::<Tenant>(text);
    name::<Batch>(text);
    name::<File>(text);
    name::<Key>(text);
    page_token::<Batch>(text);
    page_token::<File>(text);
    resume_token(text);
    cursor(text);
    ids_differ(text);
}

/// What is read is written as it was.
fn same<T: FromStr + fmt::Display>(text: &str) -> Option<T> {
    let read: T = text.parse().ok()?;
    assert_eq!(read.to_string(), text);
    Some(read)
}

fn name<R: Resource>(text: &str) {
    if let Ok(id) = text.parse::<Id<R>>() {
        assert!(text == id.to_string() || text == id.name(), "{text}");
    }
}

/// No text names things of two kinds.
fn ids_differ(text: &str) {
    let read = [
        text.parse::<BatchId>().is_ok(),
        text.parse::<FileId>().is_ok(),
        text.parse::<KeyId>().is_ok(),
        text.parse::<ProfileId>().is_ok(),
    ];
    assert!(read.into_iter().filter(|is_one| *is_one).count() <= 1, "{text}");
}

fn page_token<R: Resource>(text: &str) {
    match check::page_token::<R>(text) {
        Ok(id) => {
            let next = check::next_page_token(7, 7, id);
            assert!(text == next || id.is_some_and(|id| text == id.name()), "{text}");
            assert_eq!(check::page_token::<R>(&next).unwrap(), id);
        }
        Err(status) => refused(&status),
    }
}

fn resume_token(text: &str) {
    let token = same::<ResumeToken>(text);
    let id = token.map_or_else(|| uuid::Uuid::nil().into(), |token| token.batch);
    for latest in [0, 7, i64::MAX] {
        match check::resume_token(text, id, latest) {
            Ok(None) => assert_eq!(text, ""),
            Ok(Some(revision)) => {
                assert!((0..=latest).contains(&revision) && token.unwrap().revision == revision);
            }
            Err(status) => refused(&status),
        }
    }
}

fn cursor(text: &str) {
    let read = same::<Cursor>(text);
    let id = read.map_or_else(|| uuid::Uuid::nil().into(), Cursor::batch);
    for order in [Order::Unspecified, Order::Committed, Order::Input] {
        let request =
            StreamResultsRequest { cursor: text.to_owned(), order: order.into(), ..Default::default() };
        match check::cursor(id, &request) {
            Ok(place) => {
                assert_eq!(place.batch(), id);
                assert!(text.is_empty() || read == Some(place));
            }
            Err(status) => refused(&status),
        }
    }
}
