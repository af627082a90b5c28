//! What validation lets through for a kind of engine, its driver sends or refuses: nothing is
//! dropped without a word.

use caravan_request::{Endpoint, EngineKind, Treatment};
use serde_json::{Value, json};

use super::body::OPTIONS;
use super::replay::call;
use super::{Failure, ollama, openai};

/// A body that each endpoint takes.
fn least(endpoint: Endpoint) -> Value {
    match endpoint {
        Endpoint::ChatCompletions | Endpoint::OllamaChat => {
            json!({ "messages": [{ "role": "user", "content": "hi" }] })
        }
        Endpoint::Completions | Endpoint::OllamaGenerate => json!({ "prompt": "hi" }),
        Endpoint::Embeddings | Endpoint::OllamaEmbed => json!({ "input": "hi" }),
    }
}

/// A value of a field that changes the answer.
fn sample(field: &str) -> Value {
    match field {
        "messages" => json!([{ "role": "user", "content": "other" }]),
        "prompt" | "input" | "suffix" | "system" | "template" => json!("other"),
        "images" => json!(["iVBORw0KGgo="]),
        "tools" => json!([{ "type": "function", "function": { "name": "f" } }]),
        "tool_choice" => json!("required"),
        "parallel_tool_calls" => json!(false),
        "response_format" => json!({ "type": "json_object" }),
        "format" => json!("json"),
        "reasoning_effort" => json!("low"),
        "chat_template_kwargs" | "logit_bias" => json!({ "1": 2 }),
        "options" => json!({ "seed": 3 }),
        "stop" => json!(["END"]),
        "raw" | "think" | "echo" => json!(true),
        "temperature" | "top_p" | "min_p" | "typical_p" | "repeat_penalty" | "frequency_penalty"
        | "presence_penalty" => json!(0.5),
        "num_predict"
        | "max_tokens"
        | "max_completion_tokens"
        | "top_k"
        | "seed"
        | "n"
        | "best_of"
        | "top_logprobs"
        | "dimensions"
        | "repeat_last_n" => json!(3),
        other => panic!("a sample of {other} is wanted"),
    }
}

/// Path and body that the driver of `kind` sends.
fn sent(kind: EngineKind, endpoint: Endpoint, body: &Value) -> Result<(&'static str, Value), Failure> {
    let call = call(endpoint, body);
    match kind {
        EngineKind::Ollama => ollama::request::translate(&call, 2048).map(|sent| (sent.path, sent.body)),
        EngineKind::OpenAi => openai::request::translate(&call, 2048).map(|sent| (sent.path, sent.body)),
    }
}

#[test]
fn no_option_is_dropped() {
    for endpoint in [Endpoint::OllamaChat, Endpoint::OllamaGenerate] {
        for kind in EngineKind::ALL {
            let without = sent(kind, endpoint, &least(endpoint)).unwrap();
            for option in OPTIONS {
                let mut body = least(endpoint);
                body["options"] = json!({ *option: sample(option) });
                assert_ne!(sent(kind, endpoint, &body).unwrap(), without, "{kind:?} {endpoint:?} {option}");
            }
        }
    }
}

#[test]
fn no_field_is_dropped() {
    for endpoint in Endpoint::ALL {
        for kind in EngineKind::ALL {
            let sent = |body: &Value| sent(kind, endpoint, body);
            let without = sent(&least(endpoint)).unwrap();
            for field in caravan_request::fields(endpoint) {
                let name = field.name();
                // The model is the call's; how vectors are written concerns the answer alone.
                if name == "model" || name == "encoding_format" {
                    continue;
                }
                let mut body = least(endpoint);
                match caravan_request::treatment(kind, endpoint, name) {
                    Treatment::Sent => {
                        let is_count = endpoint == Endpoint::Completions && name == "logprobs";
                        body[name] = match name {
                            "logprobs" if is_count => json!(3),
                            "logprobs" => json!(true),
                            _ => sample(name),
                        };
                        assert_ne!(sent(&body).ok().as_ref(), Some(&without), "{kind:?} {endpoint:?} {name}");
                    }
                    Treatment::NotSent => {
                        body[name] = json!(false);
                        assert_eq!(sent(&body).unwrap(), without, "{kind:?} {endpoint:?} {name}");
                    }
                    Treatment::Unsupported => {
                        body[name] = json!(3);
                        let failure = sent(&body).unwrap_err();
                        assert_eq!(failure.code, "unsupported_parameter", "{kind:?} {endpoint:?} {name}");
                    }
                }
            }
        }
    }
}
