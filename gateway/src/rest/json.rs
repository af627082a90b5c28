//! Bodies in JSON: bounded, and no key twice, because readers differ in which of two counts.

use std::fmt;

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, Request},
    http::header::CONTENT_TYPE,
};
use mime::Mime;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use tokio::time::timeout;

use super::{Rest, coding, error::Error};

/// The defaults of a batch may have 8 MiB; the rest of a body is short, and escapes take room.
const MAX_BYTES: usize = 10 << 20;

/// The object that a request's body holds.
pub(super) struct Object(pub(super) Map<String, Value>);

/// A value in which no object has a key twice.
struct Strict(Value);

impl FromRequest<Rest> for Object {
    type Rejection = Error;

    async fn from_request(request: Request, rest: &Rest) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let kind =
            parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()?.parse::<Mime>().ok());
        if kind.is_none_or(|kind| kind.essence_str() != mime::APPLICATION_JSON.essence_str()) {
            return Err(Error::content_type("application/json"));
        }
        coding::check(&parts.headers)?;
        let bytes = read(body, rest).await?;
        let wrong = |message: String| Error::of("invalid_json", "body", message);
        match serde_json::from_slice(&bytes) {
            Ok(Strict(Value::Object(fields))) => Ok(Self(fields)),
            Ok(_) => Err(wrong("the body must be a JSON object".to_owned())),
            Err(error) => Err(wrong(format!("the body is not JSON as it should be: {error}"))),
        }
    }
}

async fn read(body: Body, rest: &Rest) -> Result<axum::body::Bytes, Error> {
    let late = |_| Error::cut_off("the body did not arrive in time");
    timeout(rest.timeout, to_bytes(body, MAX_BYTES)).await.map_err(late)?.map_err(|error| {
        let error = error.into_inner();
        let too_long = error.is::<http_body_util::LengthLimitError>();
        if too_long { Error::too_large(MAX_BYTES) } else { Error::broken(&*error) }
    })
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((key, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if fields.insert(key, value).is_some() {
                return Err(de::Error::custom("a key stands twice in an object"));
            }
        }
        Ok(fields.into())
    }
}
