//! OpenAI's chat in Ollama's words.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::request::{Parts, sampling};
use crate::engine::body::{self, Body};
use crate::engine::{Failure, image};

/// Everything of a body for `/v1/chat/completions` but the part that is the same for all.
pub(super) fn translate(body: &Body<'_>) -> Result<Parts, Failure> {
    body.only_value("n", &json!(1))?;
    body.only_value("parallel_tool_calls", &json!(true))?;
    let mut parts = Parts { limit: body::stated_limit(body)?, ..Parts::default() };
    let fields = &mut parts.fields;
    fields.insert("messages".to_owned(), messages(body)?);
    insert(fields, "tools", tools(body)?);
    insert(fields, "format", format(body)?);
    insert(fields, "think", think(body)?);
    body.copy(&["logprobs", "top_logprobs"], fields);
    sampling(body, &mut parts.options);
    Ok(parts)
}

fn insert(fields: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    if let Some(value) = value {
        fields.insert(field.to_owned(), value);
    }
}

fn messages(body: &Body<'_>) -> Result<Value, Failure> {
    let mut tools = HashMap::new();
    body.objects("messages")?.iter().map(|one| message(one, &mut tools)).collect()
}

/// One message. `tools` are the names of the functions called so far, by id of the call: OpenAI's
/// answer of a tool names only the id, Ollama's templates want the name.
fn message<'a>(from: &Body<'a>, tools: &mut HashMap<&'a str, &'a str>) -> Result<Value, Failure> {
    let role = match from.text("role")? {
        Some("developer") => "system",
        Some(role @ ("system" | "user" | "assistant" | "tool")) => role,
        _ => return Err(from.invalid("role", "must be system, developer, user, assistant or tool")),
    };
    let known: &[&str] = match role {
        "assistant" => &["role", "content", "reasoning_content", "tool_calls"],
        "tool" => &["role", "content", "tool_call_id", "name"],
        _ => &["role", "content"],
    };
    from.only(known)?;
    let (text, images) = content(from)?;
    let mut to = Map::new();
    to.insert("role".to_owned(), json!(role));
    to.insert("content".to_owned(), json!(text));
    if !images.is_empty() {
        to.insert("images".to_owned(), json!(images));
    }
    if let Some(thinking) = from.text("reasoning_content")? {
        to.insert("thinking".to_owned(), json!(thinking));
    }
    let calls = from.objects("tool_calls")?;
    if !calls.is_empty() {
        let calls = calls.iter().map(|call| tool_call(call, tools)).collect::<Result<_, _>>()?;
        to.insert("tool_calls".to_owned(), calls);
    }
    if let Some(id) = from.text("tool_call_id")? {
        to.insert("tool_call_id".to_owned(), json!(id));
        if let Some(name) = from.text("name")?.or_else(|| tools.get(id).copied()) {
            to.insert("tool_name".to_owned(), json!(name));
        }
    }
    Ok(Value::Object(to))
}

/// The text of a message, its parts on lines of their own, and its images as base64.
fn content<'a>(message: &Body<'a>) -> Result<(String, Vec<&'a str>), Failure> {
    match message.get("content") {
        None => return Ok((String::new(), Vec::new())),
        Some(Value::String(text)) => return Ok((text.clone(), Vec::new())),
        Some(_) => {}
    }
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for part in message.objects("content")? {
        match part.text("type")? {
            Some("text") => texts.push(part.text("text")?.unwrap_or_default()),
            Some("image_url") => images.push(image_of(&part)?),
            _ => return Err(part.unsupported("type", "only text and image_url can be honoured")),
        }
    }
    Ok((texts.join("\n"), images))
}

fn image_of<'a>(part: &Body<'a>) -> Result<&'a str, Failure> {
    let Some(found) = part.object("image_url")? else {
        return Err(part.invalid("image_url", "must be an object"));
    };
    found.only_value("detail", &json!("auto"))?;
    let url = found.text("url")?.unwrap_or_default();
    image::from_data_uri(url)
        .ok_or_else(|| found.unsupported("url", "only a data URI of an image in base64 can be honoured"))
}

fn tool_call<'a>(call: &Body<'a>, tools: &mut HashMap<&'a str, &'a str>) -> Result<Value, Failure> {
    call.only_value("type", &json!("function"))?;
    let Some(function) = call.object("function")? else {
        return Err(call.invalid("function", "must be an object"));
    };
    let name = function.text("name")?.unwrap_or_default();
    let written = function.text("arguments")?.filter(|text| !text.trim().is_empty()).unwrap_or("{}");
    let arguments: Map<String, Value> = serde_json::from_str(written)
        .map_err(|_| function.invalid("arguments", "must be a JSON object in a string"))?;
    let mut to = json!({ "function": { "name": name, "arguments": arguments } });
    if let Some(id) = call.text("id")? {
        tools.insert(id, name);
        to["id"] = json!(id);
    }
    Ok(to)
}

/// The tools, unless `tool_choice` says that none may be called. Ollama cannot force a call.
fn tools(body: &Body<'_>) -> Result<Option<Value>, Failure> {
    match body.get("tool_choice") {
        Some(Value::String(choice)) if choice == "none" => return Ok(None),
        Some(choice) if choice != "auto" => {
            return Err(body.unsupported("tool_choice", "only auto and none can be honoured"));
        }
        _ => {}
    }
    for tool in body.objects("tools")? {
        tool.only_value("type", &json!("function"))?;
        if let Some(function) = tool.object("function")? {
            function.only_value("strict", &json!(false))?;
        }
    }
    Ok(body.get("tools").cloned())
}

fn format(body: &Body<'_>) -> Result<Option<Value>, Failure> {
    let Some(wanted) = body.object("response_format")? else { return Ok(None) };
    match wanted.text("type")? {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(json!("json"))),
        Some("json_schema") => {
            let described = wanted.object("json_schema")?;
            let schema = described.as_ref().and_then(|described| described.get("schema")).cloned();
            schema.map(Some).ok_or_else(|| wanted.invalid("json_schema.schema", "must be a JSON schema"))
        }
        _ => Err(wanted.unsupported("type", "only text, json_object and json_schema can be honoured")),
    }
}

fn think(body: &Body<'_>) -> Result<Option<Value>, Failure> {
    match body.text("reasoning_effort")? {
        None => Ok(None),
        Some("none") => Ok(Some(json!(false))),
        Some(effort @ ("low" | "medium" | "high")) => Ok(Some(json!(effort))),
        Some(_) => {
            Err(body.unsupported("reasoning_effort", "only none, low, medium and high can be honoured"))
        }
    }
}
