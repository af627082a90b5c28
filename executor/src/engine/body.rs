//! Reading a client's body: null is absent, and a wrong type is the request's failure with the
//! path of the field.

use caravan_request::{EngineKind, honours};
use serde_json::{Map, Value};

use super::{Call, Failure};

/// Keys of a native body's `options` that both drivers honour. Those that decide how a model is
/// loaded belong to the reload set, not to a request.
pub(super) const OPTIONS: &[&str] = &[
    "num_predict",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "seed",
    "stop",
    "repeat_last_n",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
];

/// An object of a body and where it stands in it.
#[derive(Debug, Clone)]
pub(super) struct Body<'a> {
    map: &'a Map<String, Value>,
    /// Empty at the top, else with its final dot: `messages[3].`
    path: String,
}

// === impl Body ===

impl<'a> Body<'a> {
    /// The body of `call`, after every field was found to be one that `kind` honours: an engine
    /// ignores what it does not know without a word.
    pub(super) fn of(call: &Call<'a>, kind: EngineKind) -> Result<Self, Failure> {
        let body = Self { map: call.body, path: String::new() };
        body.each(|field| honours(kind, call.endpoint, field))?;
        body.only_value("stream", &Value::Bool(false))?;
        Ok(body)
    }

    /// The `options` of a native body, the keys checked likewise.
    pub(super) fn native_options(&self) -> Result<Option<Self>, Failure> {
        let found = self.object("options")?;
        found.as_ref().map_or(Ok(()), |found| found.only(OPTIONS))?;
        Ok(found)
    }

    /// Every field that is not null is one of these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Failure> {
        self.each(|field| known.contains(&field))
    }

    fn each(&self, is_known: impl Fn(&str) -> bool) -> Result<(), Failure> {
        let mut present = self.map.iter().filter(|(_, value)| !value.is_null());
        match present.find(|(field, _)| !is_known(field)) {
            Some((field, _)) => Err(self.unsupported(field, "this kind of engine does not honour it")),
            None => Ok(()),
        }
    }

    /// `field` is absent or exactly this.
    pub(super) fn only_value(&self, field: &str, value: &Value) -> Result<(), Failure> {
        match self.get(field) {
            Some(other) if other != value => {
                Err(self.unsupported(field, &format!("only {value} can be honoured")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<&'a str>, Failure> {
        self.typed(field, "must be a string", Value::as_str)
    }

    /// An integer of at least 0.
    pub(super) fn count(&self, field: &str) -> Result<Option<u64>, Failure> {
        self.typed(field, "must be an integer of at least 0", Value::as_u64)
    }

    pub(super) fn flag(&self, field: &str) -> Result<Option<bool>, Failure> {
        self.typed(field, "must be a boolean", Value::as_bool)
    }

    pub(super) fn list(&self, field: &str) -> Result<Option<&'a Vec<Value>>, Failure> {
        self.typed(field, "must be a list", Value::as_array)
    }

    pub(super) fn object(&self, field: &str) -> Result<Option<Self>, Failure> {
        let map = self.typed(field, "must be an object", Value::as_object)?;
        Ok(map.map(|map| Self { map, path: format!("{}{field}.", self.path) }))
    }

    /// A list of objects; empty if absent.
    pub(super) fn objects(&self, field: &str) -> Result<Vec<Self>, Failure> {
        let list = self.list(field)?.into_iter().flatten();
        list.enumerate()
            .map(|(index, value)| {
                let at = format!("{field}[{index}]");
                let map = value.as_object().ok_or_else(|| self.invalid(&at, "must be an object"))?;
                Ok(Self { map, path: format!("{}{at}.", self.path) })
            })
            .collect()
    }

    /// Copies `names` as they are, where present.
    pub(super) fn copy(&self, names: &[&str], into: &mut Map<String, Value>) {
        for name in names {
            if let Some(value) = self.get(name) {
                into.insert((*name).to_owned(), value.clone());
            }
        }
    }

    /// `stop` as a list, for it may be one string.
    pub(super) fn copy_stop(&self, into: &mut Map<String, Value>) {
        if let Some(stop) = self.get("stop") {
            let list = if stop.is_string() { Value::Array(vec![stop.clone()]) } else { stop.clone() };
            into.insert("stop".to_owned(), list);
        }
    }

    pub(super) fn unsupported(&self, field: &str, why: &str) -> Failure {
        Failure::unsupported(&format!("{}{field}", self.path), why)
    }

    pub(super) fn invalid(&self, field: &str, why: &str) -> Failure {
        Failure::invalid(&format!("{}{field}", self.path), why)
    }

    fn typed<T>(
        &self,
        field: &str,
        why: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.get(field) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.invalid(field, why))
    }
}

/// The least of `max_tokens` and `max_completion_tokens`, at least 1.
pub(super) fn stated_limit(body: &Body<'_>) -> Result<Option<u64>, Failure> {
    let mut limit = None;
    for field in ["max_tokens", "max_completion_tokens"] {
        match body.count(field)? {
            Some(0) => return Err(body.invalid(field, "must be at least 1")),
            Some(count) => limit = Some(limit.map_or(count, |least: u64| least.min(count))),
            None => {}
        }
    }
    Ok(limit)
}

/// `num_predict` if it is a limit: Ollama reads 0 and less as none.
pub(super) fn stated_num_predict(options: Option<&Body<'_>>) -> Result<Option<u64>, Failure> {
    let Some(options) = options else { return Ok(None) };
    let why = "must be an integer";
    let stated = options.typed("num_predict", why, Value::as_i64)?;
    Ok(stated.and_then(|count| u64::try_from(count).ok()).filter(|&count| count > 0))
}
