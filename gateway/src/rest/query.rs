//! Queries of lists, and the list that answers them.

use axum::http::Uri;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::error::Error;

/// Rows that the planner gives at once, at most.
const PAGE: i64 = 1000;

/// What is asked for in the query of a list.
pub(super) struct Query {
    /// Rows at most.
    pub(super) limit: i64,
    /// The id that the list begins behind.
    pub(super) after: String,
    pub(super) oldest_first: bool,
    pub(super) purpose: Option<String>,
}

// === impl Query ===

impl Query {
    /// The query of `uri`, of the parameters `known`; `limit` is at most `most`, and `default` where it is not
    /// given.
    pub(super) fn of(uri: &Uri, known: &[&str], default: i64, most: i64) -> Result<Self, Error> {
        let mut query = Self { limit: default, after: String::new(), oldest_first: false, purpose: None };
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                return Err(Error::unknown(&name));
            }
            if seen.contains(&name) {
                return Err(Error::invalid(&name, format!("{name} may be given once")));
            }
            match &*name {
                "limit" => {
                    let wrong = || Error::invalid("limit", format!("limit must be 1 to {most}"));
                    let limit = value.parse().ok().filter(|limit| (1..=most).contains(limit));
                    query.limit = limit.ok_or_else(wrong)?;
                }
                "after" => query.after = value.into_owned(),
                "order" => query.oldest_first = order(&value)?,
                _ => query.purpose = Some(value.into_owned()),
            }
            seen.push(name);
        }
        Ok(query)
    }

    /// The rows that it asks for, none yet.
    pub(super) fn rows<T>(&self) -> Rows<T> {
        Rows { limit: self.limit, next: Some(self.after.clone()), rows: Vec::new() }
    }
}

fn order(word: &str) -> Result<bool, Error> {
    match word {
        "asc" => Ok(true),
        "desc" => Ok(false),
        _ => Err(Error::invalid("order", "order must be asc or desc")),
    }
}

/// Rows of a list, page by page.
pub(super) struct Rows<T> {
    limit: i64,
    /// What the next page begins behind; none at the end.
    next: Option<String>,
    rows: Vec<T>,
}

// === impl Rows ===

impl<T> Rows<T> {
    /// Size and token of the next page, until there is one row more than the limit, which is not shown, or no more.
    pub(super) fn wanted(&self) -> Option<(i32, String)> {
        let missing = self.limit + 1 - self.count();
        let size = i32::try_from(missing.min(PAGE)).ok().filter(|size| *size > 0)?;
        self.next.clone().map(|token| (size, token))
    }

    /// A page, and the token of the one behind it.
    pub(super) fn add(&mut self, page: Vec<T>, next: String) {
        self.rows.extend(page);
        self.next = Some(next).filter(|next| !next.is_empty());
    }

    /// OpenAI's list of them.
    pub(super) fn list(&self, object: impl Fn(&T) -> Value) -> Value {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let data: Vec<Value> = self.rows.iter().take(limit).map(object).collect();
        let id = |row: Option<&Value>| row.map_or(Value::Null, |row| row["id"].clone());
        json!({
            "object": "list",
            "first_id": id(data.first()),
            "last_id": id(data.last()),
            "has_more": self.count() > self.limit,
            "data": data,
        })
    }

    fn count(&self) -> i64 {
        i64::try_from(self.rows.len()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_knows_whether_there_is_more() {
        let query = Query { limit: 1500, after: "a".into(), oldest_first: false, purpose: None };
        let mut rows = query.rows::<i64>();
        assert_eq!(rows.wanted(), Some((1000, "a".into())));
        rows.add((0..1000).collect(), "b".into());
        assert_eq!(rows.wanted(), Some((501, "b".into())));
        rows.add((1000..1501).collect(), "c".into());
        assert_eq!(rows.wanted(), None);
        let list = rows.list(|number| json!({ "id": number }));
        assert_eq!(
            (&list["has_more"], &list["first_id"], &list["last_id"]),
            (&json!(true), &json!(0), &json!(1499))
        );

        let mut few = query.rows::<i64>();
        few.add(Vec::new(), String::new());
        assert_eq!(few.wanted(), None);
        let list = few.list(|number| json!({ "id": number }));
        assert_eq!((&list["has_more"], &list["first_id"]), (&json!(false), &Value::Null));
    }

    #[test]
    fn queries_are_read_or_refused() {
        let query = |text: &str| {
            let uri = format!("/v1/files?{text}").parse().expect("a path");
            Query::of(&uri, &["after", "limit", "order"], 20, 100).map(|query| (query.limit, query.after))
        };
        assert_eq!(query("").ok(), Some((20, String::new())));
        assert_eq!(query("limit=100&after=a%20b&order=asc").ok(), Some((100, "a b".into())));
        for bad in [
            "limit=0",
            "limit=101",
            "limit=x",
            "limit=",
            "order=up",
            "limit=1&limit=2",
            "page=2",
            "purpose=batch",
        ] {
            assert!(query(bad).is_err(), "{bad}");
        }
    }
}
