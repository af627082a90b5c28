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

    /// Pages of `ask(size, token)` until there is one row more than the limit, or no more.
    pub(super) async fn rows<T>(
        &self,
        ask: impl AsyncFn(i32, String) -> Result<(Vec<T>, String), Error>,
    ) -> Result<Rows<T>, Error> {
        let (mut rows, mut token) = (Vec::new(), self.after.clone());
        loop {
            let missing = self.limit + 1 - i64::try_from(rows.len()).unwrap_or(i64::MAX);
            let size = i32::try_from(missing.min(PAGE)).unwrap_or(i32::MAX);
            let (page, next) = ask(size, token).await?;
            rows.extend(page);
            let enough = i64::try_from(rows.len()).is_ok_and(|rows| rows > self.limit);
            if enough || next.is_empty() {
                rows.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
                return Ok(Rows { rows, has_more: enough });
            }
            token = next;
        }
    }
}

fn order(word: &str) -> Result<bool, Error> {
    match word {
        "asc" => Ok(true),
        "desc" => Ok(false),
        _ => Err(Error::invalid("order", "order must be asc or desc")),
    }
}

/// Rows of a list, and whether there are more behind them.
pub(super) struct Rows<T> {
    rows: Vec<T>,
    has_more: bool,
}

// === impl Rows ===

impl<T> Rows<T> {
    /// OpenAI's list of them.
    pub(super) fn list(&self, object: impl Fn(&T) -> Value) -> Value {
        let data: Vec<Value> = self.rows.iter().map(object).collect();
        let id = |row: Option<&Value>| row.map_or(Value::Null, |row| row["id"].clone());
        json!({
            "object": "list",
            "first_id": id(data.first()),
            "last_id": id(data.last()),
            "has_more": self.has_more,
            "data": data,
        })
    }
}
