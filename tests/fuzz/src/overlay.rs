use serde_json::{Map, Value};

/// A line's body over the defaults of its batch, as README.md has it: its fields win, its messages follow, its options
/// are laid over the default ones.
pub(crate) fn overlay(defaults: &Map<String, Value>, own: &Map<String, Value>) -> Map<String, Value> {
    let mut whole = defaults.clone();
    for (key, value) in own {
        let joined = match (key.as_str(), whole.get(key), value) {
            ("messages", Some(Value::Array(first)), Value::Array(last)) => {
                Value::Array(first.iter().chain(last).cloned().collect())
            }
            ("options", Some(Value::Object(under)), Value::Object(over)) => {
                let fields = under.iter().chain(over).map(|(key, value)| (key.clone(), value.clone()));
                Value::Object(fields.collect())
            }
            _ => value.clone(),
        };
        whole.insert(key.clone(), joined);
    }
    whole
}
