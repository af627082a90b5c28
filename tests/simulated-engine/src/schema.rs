//! Structured answers: a minimal instance of a JSON schema, the same for the same question.

use serde_json::{Map, Value, json};

use crate::answer::answer_for;
use crate::tokens::{hash, mix};

/// Deepest nesting that is filled in.
const DEPTH: usize = 32;

/// An instance of `schema` for `question`.
///
/// Knows `const`, `enum` (chosen by the question), `anyOf`/`oneOf` (likewise), `allOf` (its first), local
/// `$ref`, and the types with `required`, `properties`, `items`, `minItems`, `minLength`, `maxLength`, `minimum`.
/// Every property that `properties` names is filled in.
///
/// # Errors
/// The subschema that cannot be understood.
pub(crate) fn instance(schema: &Value, question: &str) -> Result<Value, Value> {
    Instance { root: schema, question, seed: hash(question.as_bytes()) }.of(schema, 0)
}

struct Instance<'a> {
    root: &'a Value,
    question: &'a str,
    seed: u64,
}

// === impl Instance ===

impl Instance<'_> {
    fn of(&self, schema: &Value, depth: usize) -> Result<Value, Value> {
        if depth > DEPTH {
            return Err(schema.clone());
        }
        let Value::Object(fields) = schema else {
            return if schema == &json!(true) { Ok(json!({})) } else { Err(schema.clone()) };
        };
        if let Some(value) = fields.get("const") {
            return Ok(value.clone());
        }
        if let Some(values) = fields.get("enum").and_then(Value::as_array) {
            return self.choose(values, depth).cloned().ok_or_else(|| schema.clone());
        }
        if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
            let found = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return self.of(found.ok_or_else(|| schema.clone())?, depth + 1);
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(choices) = fields.get(key).and_then(Value::as_array) {
                return self.of(self.choose(choices, depth).ok_or_else(|| schema.clone())?, depth + 1);
            }
        }
        if let Some(first) = fields.get("allOf").and_then(Value::as_array).and_then(|all| all.first()) {
            return self.of(first, depth + 1);
        }
        self.typed(schema, fields, depth)
    }

    fn typed(&self, schema: &Value, fields: &Map<String, Value>, depth: usize) -> Result<Value, Value> {
        let kind = match fields.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str).unwrap_or_default(),
            None => "object",
            Some(_) => "",
        };
        let number = |key: &str| fields.get(key).and_then(Value::as_i64);
        match kind {
            "object" => self.object(fields, depth),
            "array" => {
                let count = number("minItems").unwrap_or(1).clamp(0, 1_000);
                let items = fields.get("items").cloned().unwrap_or(json!({"type": "string"}));
                (0..count)
                    .map(|_| self.of(&items, depth + 1))
                    .collect::<Result<Vec<_>, _>>()
                    .map(Value::Array)
            }
            "string" => Ok(json!(self.string(number("minLength"), number("maxLength")))),
            "integer" | "number" => Ok(json!(number("minimum").unwrap_or(0))),
            "boolean" => Ok(json!(self.pick(depth, 2) == 1)),
            "null" => Ok(Value::Null),
            _ => Err(schema.clone()),
        }
    }

    fn object(&self, fields: &Map<String, Value>, depth: usize) -> Result<Value, Value> {
        let mut object = Map::new();
        if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                object.insert(name.clone(), self.of(property, depth + 1)?);
            }
        }
        let required = fields.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            object.entry(name).or_insert_with(|| json!(answer_for(self.question)));
        }
        Ok(Value::Object(object))
    }

    fn string(&self, shortest: Option<i64>, longest: Option<i64>) -> String {
        let mut text = answer_for(self.question);
        while text.len() < usize::try_from(shortest.unwrap_or(0)).unwrap_or(0).min(1 << 16) {
            text.push('.');
        }
        if let Some(longest) = longest.and_then(|longest| usize::try_from(longest).ok()) {
            text.truncate(longest);
        }
        text
    }

    fn choose<'v>(&self, values: &'v [Value], depth: usize) -> Option<&'v Value> {
        values.get(self.pick(depth, values.len()))
    }

    /// A number below `bound`, by the question.
    fn pick(&self, depth: usize, bound: usize) -> usize {
        (mix(self.seed, depth as u64) % (bound.max(1) as u64)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_every_type() {
        let schema = json!({"type": "object", "required": ["label", "extra"], "properties": {
            "label": {"enum": ["a", "b", "c"]}, "text": {"type": "string", "maxLength": 9},
            "n": {"type": "integer", "minimum": 3}, "ok": {"type": "boolean"},
            "list": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/x"}}, "none": {"type": ["null"]}},
            "$defs": {"x": {"const": 7}}});
        let one = instance(&schema, "q").unwrap();
        assert_eq!(one, instance(&schema, "q").unwrap());
        assert!(["a", "b", "c"].contains(&one["label"].as_str().unwrap()));
        assert_eq!(one["text"].as_str().unwrap().len(), 9);
        assert_eq!((&one["n"], &one["list"], &one["none"]), (&json!(3), &json!([7, 7]), &Value::Null));
        assert!(one["ok"].is_boolean() && one["extra"].is_string());
    }

    #[test]
    fn choices_depend_on_the_question() {
        let schema = json!({"enum": ["a", "b", "c", "d"]});
        let chosen: std::collections::BTreeSet<String> =
            (0..100).map(|n| instance(&schema, &n.to_string()).unwrap().to_string()).collect();
        assert_eq!(chosen.len(), 4);
    }

    #[test]
    fn names_what_it_does_not_understand() {
        let schema = json!({"type": "object", "properties": {"c": {"type": "nonsense"}}});
        assert_eq!(instance(&schema, "q"), Err(json!({"type": "nonsense"})));
        assert!(instance(&json!({"$ref": "#"}), "q").is_err());
    }
}
