//! Every recorded exchange of a real Ollama, read by the code that reads live answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use caravan_request::Endpoint;
use serde_json::{Map, Value, json};

use super::{response, wire};
use crate::engine::answer::Stamp;
use crate::engine::connection::Reply;
use crate::engine::{Call, Failure, ReloadSet, Response, openai};

/// Case and outcome, one a line.
const OUTCOMES: &str = include_str!("recordings.txt");

/// The recordings beside the workspace's tests: version/case and its JSON.
pub(super) fn all() -> BTreeMap<String, Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/ollama");
    let mut cases = BTreeMap::new();
    for version in ["v0.12.6", "v0.33", "v0.33-h200"] {
        for entry in fs::read_dir(root.join(version)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{version}/{}", path.file_stem().unwrap().display());
            cases.insert(name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap());
        }
    }
    cases
}

#[test]
fn every_recording_has_its_outcome() {
    let expected: BTreeMap<_, _> = OUTCOMES.lines().filter_map(|line| line.split_once(": ")).collect();
    let cases = all();
    let names: BTreeSet<_> = cases.keys().map(String::as_str).collect();
    assert_eq!(names, expected.keys().copied().collect(), "recordings and outcomes");
    let wrong: Vec<_> = cases
        .iter()
        .map(|(name, case)| (name, outcome(case)))
        .filter(|(name, found)| expected[name.as_str()] != found)
        .map(|(name, found)| format!("{name}: {found}"))
        .collect();
    assert!(wrong.is_empty(), "other than listed:\n{}", wrong.join("\n"));
}

fn outcome(case: &Value) -> String {
    let chat = json!({ "method": "POST", "path": "/api/chat", "json": case["request"] });
    let request = if case["request"]["path"].is_string() { &case["request"] } else { &chat };
    match &case["response"] {
        // Several requests at once: each outcome and how often.
        Value::Array(responses) => {
            let mut counts = BTreeMap::new();
            for response in responses {
                *counts.entry(one(request, response)).or_insert(0) += 1;
            }
            let counts = counts.iter().map(|(outcome, count)| format!("{count} x {outcome}"));
            counts.collect::<Vec<_>>().join(", ")
        }
        // The runner hangs: what its server says meanwhile.
        response if response["ps"].is_object() => {
            let get = |path: &str| json!({ "method": "GET", "path": path });
            let ps = one(&get("/api/ps"), &response["ps"]);
            format!("{ps}, {}", one(&get("/api/version"), &response["version"]))
        }
        response => one(request, response),
    }
}

fn one(request: &Value, response: &Value) -> String {
    let status = u16::try_from(response["status"].as_u64().unwrap()).unwrap();
    // Of one long stream the middle was left out when it was recorded.
    let body = response["body"].as_str().unwrap().replace("(lines left out here)\n", "");
    let reply = Reply { status, body: body.into_bytes() };
    let nothing = Map::new();
    let model = request["json"]["model"].as_str().unwrap_or_default();
    let body = request["json"].as_object().unwrap_or(&nothing);
    let set = ReloadSet { context: 2048, ..ReloadSet::default() };
    let call = |endpoint| Call::new(endpoint, model, body, set);
    match request["path"].as_str().unwrap() {
        _ if request["method"] == "GET" => about(request["path"].as_str().unwrap(), &reply),
        "/api/show" => about("/api/show", &reply),
        path => match Endpoint::parse(path).unwrap() {
            endpoint @ (Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Embeddings) => {
                answered(openai::response::read(&call(endpoint), &reply, Stamp::now()))
            }
            endpoint => answered(response::read(&call(endpoint), &reply, true, Stamp::now())),
        },
    }
}

fn answered(outcome: Result<Response, Failure>) -> String {
    match outcome {
        Ok(answer) => {
            assert_eq!(answer.status, 200);
            let count = |count: Option<u64>| count.map_or("?".to_owned(), |count| count.to_string());
            let reason = if answer.length_limited { "length" } else { "stop" };
            format!("{reason} {} + {}", count(answer.prompt_tokens), count(answer.completion_tokens))
        }
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &Failure) -> String {
    assert!(!failure.message.is_empty() && failure.status != Some(200));
    format!("{:?} {}", failure.class, failure.code)
}

fn about(path: &str, reply: &Reply) -> String {
    let said = match path {
        "/api/version" => reply.read::<wire::Version>().map(|version| format!("version {}", version.version)),
        "/api/show" => reply.read::<wire::Show>().map(|show| format!("{:?}", show.traits())),
        "/api/ps" => reply.read::<wire::Ps>().map(|ps| {
            let loaded = ps.models.iter().map(|model| format!("{} {:?}", model.name, model.loaded()));
            format!("[{}]", loaded.collect::<Vec<_>>().join(", "))
        }),
        "/api/tags" => reply.read::<wire::Tags>().map(|tags| {
            assert!(tags.models.iter().all(|tag| tag.digest.len() == 64));
            tags.models.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>().join(" ")
        }),
        _ => reply.read::<Map<String, Value>>().map(|body| format!("{} fields", body.len())),
    };
    said.unwrap_or_else(|failure| failed(&failure))
}
