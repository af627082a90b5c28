//! One table: a body's fields, and what is wrong with them.

use crate::{chat, errors, line, messages};

#[track_caller]
fn all(cases: &[(String, &[&str])]) {
    for (text, expected) in cases {
        assert_eq!(errors(text), *expected, "{text}");
    }
}

#[test]
fn chat_fields() {
    let schema =
        r#""response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object"}}}"#;
    all(&[
        (chat(r#""max_tokens":0"#), &["invalid_value body.max_tokens"]),
        (chat(r#""max_tokens":5,"max_completion_tokens":6"#), &["invalid_value body.max_tokens"]),
        (chat(r#""max_tokens":5,"max_completion_tokens":5"#), &[]),
        (
            chat(r#""temperature":-0.1,"top_p":1.1"#),
            &["invalid_value body.temperature", "invalid_value body.top_p"],
        ),
        (chat(r#""temperature":0,"top_p":1,"seed":-5"#), &[]),
        (
            chat(r#""presence_penalty":-2,"frequency_penalty":2.01"#),
            &["invalid_value body.frequency_penalty"],
        ),
        (chat(r#""logprobs":true,"top_logprobs":21"#), &["invalid_value body.top_logprobs"]),
        (chat(r#""top_logprobs":2"#), &["invalid_value body.top_logprobs"]),
        (chat(r#""stop":["a","b","c","d","e"]"#), &["invalid_value body.stop"]),
        (chat(r#""stop":["a",1]"#), &["invalid_type body.stop[1]"]),
        (chat(r#""stop":"""#), &["invalid_value body.stop"]),
        (chat(r#""stop":null,"max_tokens":null,"tools":null"#), &[]),
        (chat(r#""stream":false,"user":"u","metadata":{"a":"b"},"store":false"#), &[]),
        (chat(r#""user":1,"metadata":"x""#), &["invalid_type body.user", "invalid_type body.metadata"]),
        (chat(r#""n":1"#), &[]),
        (chat(r#""n":1.5"#), &["invalid_type body.n"]),
        (
            chat(r#""logit_bias":{"50256":-100,"x":0,"1":101}"#),
            &["invalid_value body.logit_bias.x", "invalid_value body.logit_bias.1"],
        ),
        (chat(r#""reasoning_effort":"lots""#), &["invalid_value body.reasoning_effort"]),
        (
            chat(r#""functions":[],"audio":{}"#),
            &["unsupported_parameter body.functions", "unsupported_parameter body.audio"],
        ),
        (chat(r#""a.b":1"#), &[r#"unsupported_parameter body["a.b"]"#]),
        (chat(schema), &[]),
        (chat(r#""response_format":{"type":"json_object"}"#), &[]),
        (chat(r#""response_format":"json_object""#), &["invalid_type body.response_format"]),
        (chat(r#""response_format":{"type":"yaml"}"#), &["invalid_value body.response_format.type"]),
        (
            chat(r#""response_format":{"type":"json_schema"}"#),
            &["missing_required_parameter body.response_format.json_schema"],
        ),
        (
            chat(r#""response_format":{"type":"json_schema","json_schema":{"name":"a b","schema":[]}}"#),
            &[
                "invalid_value body.response_format.json_schema.name",
                "invalid_type body.response_format.json_schema.schema",
            ],
        ),
        (line("/v1/chat/completions", "[]"), &["invalid_type body"]),
        (line("/v1/chat/completions", "null"), &["invalid_type body"]),
        (
            line("/v1/chat/completions", r#"{"model":"","messages":[]}"#),
            &["invalid_value body.model", "invalid_value body.messages"],
        ),
        (
            line("/v1/chat/completions", r#"{"model":"a\u0000b","messages":[]}"#),
            &["invalid_value body.model", "invalid_value body.messages"],
        ),
    ]);
}

#[test]
fn chat_tools() {
    let tool =
        r#"{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}"#;
    all(&[
        (chat(&format!(r#""tools":[{tool}],"tool_choice":"auto""#)), &[]),
        (
            chat(&format!(
                r#""tools":[{tool}],"tool_choice":{{"type":"function","function":{{"name":"f"}}}}"#
            )),
            &[],
        ),
        (
            chat(&format!(
                r#""tools":[{tool}],"tool_choice":{{"type":"function","function":{{"name":"g"}}}}"#
            )),
            &["invalid_value body.tool_choice"],
        ),
        (chat(r#""tool_choice":"maybe""#), &["invalid_value body.tool_choice"]),
        (
            chat(r#""tools":[{"type":"custom","function":{"name":"f"}}]"#),
            &["invalid_value body.tools[0].type"],
        ),
        (chat(r#""tools":[{"type":"function"}]"#), &["missing_required_parameter body.tools[0].function"]),
        (
            chat(r#""tools":[{"type":"function","function":{"name":"a b"}}]"#),
            &["invalid_value body.tools[0].function.name"],
        ),
        (chat(r#""tools":{}"#), &["invalid_type body.tools"]),
        (chat(&format!(r#""tools":[{}]"#, vec![tool; 129].join(","))), &["invalid_value body.tools"]),
    ]);
}

#[test]
fn chat_messages() {
    let call = |arguments: &str| {
        messages(&format!(
            r#"[{{"role":"user","content":"a"}},{{"role":"assistant","content":null,"tool_calls":[{{"id":"1","type":"function","function":{{"name":"f","arguments":{arguments}}}}}]}},{{"role":"tool","tool_call_id":"1","content":"ok"}}]"#
        ))
    };
    let image = |url: &str| {
        messages(&format!(
            r#"[{{"role":"user","content":[{{"type":"text","text":"a"}},{{"type":"image_url","image_url":{{"url":"{url}"}}}}]}}]"#
        ))
    };
    all(&[
        (messages(r#"[{"role":"developer","content":"s"},{"role":"user","content":"a"}]"#), &[]),
        (
            messages(
                r#"[{"role":"system","content":[{"type":"text","text":"s"}]},{"role":"assistant","content":"a"}]"#,
            ),
            &[],
        ),
        (
            messages(r#"[{"role":"function","content":"a","name":"f"}]"#),
            &["invalid_value body.messages[0].role"],
        ),
        (messages(r#"[{"role":"User","content":"a"}]"#), &["invalid_value body.messages[0].role"]),
        (messages(r#"[{"role":1}]"#), &["invalid_type body.messages[0].role"]),
        (messages(r#"[{"content":"a"}]"#), &["missing_required_parameter body.messages[0].role"]),
        (messages(r#"["a"]"#), &["invalid_type body.messages[0]"]),
        (messages(r#"{"role":"user"}"#), &["invalid_type body.messages"]),
        (messages(r#"[{"role":"user","content":1}]"#), &["invalid_type body.messages[0].content"]),
        (
            messages(r#"[{"role":"user","content":null}]"#),
            &["missing_required_parameter body.messages[0].content"],
        ),
        (messages(r#"[{"role":"user","content":[]}]"#), &["invalid_value body.messages[0].content"]),
        (
            messages(r#"[{"role":"user","content":[{"type":"text"}]}]"#),
            &["missing_required_parameter body.messages[0].content[0].text"],
        ),
        (
            messages(r#"[{"role":"user","content":[{"type":"file","file":{}}]}]"#),
            &["unsupported_parameter body.messages[0].content[0].type"],
        ),
        (
            messages(r#"[{"role":"user","content":"a","cache_control":{}}]"#),
            &["unsupported_parameter body.messages[0].cache_control"],
        ),
        (messages(r#"[{"role":"assistant"}]"#), &["missing_required_parameter body.messages[0].content"]),
        (
            messages(r#"[{"role":"tool","content":"a"}]"#),
            &["missing_required_parameter body.messages[0].tool_call_id"],
        ),
        (call(r#""{\"a\":1}""#), &[]),
        (call("{}"), &["invalid_type body.messages[1].tool_calls[0].function.arguments"]),
        (call(r#""[1]""#), &["invalid_value body.messages[1].tool_calls[0].function.arguments"]),
        (call(r#""{\"a\":""#), &["invalid_value body.messages[1].tool_calls[0].function.arguments"]),
        (image("data:image/png;base64,aGk="), &[]),
        (image("https://example.org/a.png"), &["invalid_value body.messages[0].content[1].image_url.url"]),
        (image("data:text/plain;base64,aGk="), &["invalid_value body.messages[0].content[1].image_url.url"]),
        (image("data:image/png;base64,a!k="), &["invalid_value body.messages[0].content[1].image_url.url"]),
        (
            messages(
                r#"[{"role":"system","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}]}]"#,
            ),
            &["invalid_value body.messages[0].content[0].type"],
        ),
    ]);
}

#[test]
fn prompts_and_inputs() {
    let completion = |fields: &str| line("/v1/completions", &format!(r#"{{"model":"m",{fields}}}"#));
    let embedding = |fields: &str| line("/v1/embeddings", &format!(r#"{{"model":"m",{fields}}}"#));
    all(&[
        (completion(r#""prompt":"a","max_tokens":5,"best_of":1,"echo":false"#), &[]),
        (completion(r#""prompt":"""#), &["invalid_value body.prompt"]),
        (completion(r#""prompt":["a"]"#), &[]),
        (completion(r#""prompt":["a","b"]"#), &["unsupported_parameter body.prompt"]),
        (completion(r#""prompt":[[1],[2]]"#), &["unsupported_parameter body.prompt"]),
        (completion(r#""prompt":"a","best_of":2"#), &["unsupported_parameter body.best_of"]),
        (completion(r#""prompt":[1,2,3]"#), &[]),
        (completion(r#""prompt":[1,"a"]"#), &["invalid_type body.prompt[1]"]),
        (embedding(r#""input":["a",1]"#), &["invalid_type body.input[1]"]),
        (embedding(r#""input":[1,[2]]"#), &["invalid_value body.input"]),
        (completion(r#""prompt":[]"#), &["invalid_value body.prompt"]),
        (completion(r#""prompt":"a","logprobs":6"#), &["invalid_value body.logprobs"]),
        (completion(r#""prompt":"a","messages":[]"#), &["unsupported_parameter body.messages"]),
        (completion(r#""max_tokens":5"#), &["missing_required_parameter body.prompt"]),
        (embedding(r#""input":"a","dimensions":256,"encoding_format":"base64""#), &[]),
        (embedding(r#""input":["a","b"]"#), &[]),
        (embedding(r#""input":[[1,2],[3]]"#), &[]),
        (embedding(r#""input":[[1,-2]]"#), &["invalid_value body.input[0][1]"]),
        (embedding(r#""input":["a",""]"#), &["invalid_value body.input[1]"]),
        (embedding(r#""input":7"#), &["invalid_type body.input"]),
        (
            embedding(r#""input":"a","dimensions":0,"encoding_format":"int8""#),
            &["invalid_value body.dimensions", "invalid_value body.encoding_format"],
        ),
        (
            embedding(&format!(r#""input":[{}]"#, vec![r#""a""#; 2049].join(","))),
            &["invalid_value body.input"],
        ),
    ]);
}

#[test]
fn native_bodies() {
    let chat = |fields: &str| {
        line("/api/chat", &format!(r#"{{"model":"m","messages":[{{"role":"user","content":"a"}}]{fields}}}"#))
    };
    let says = |message: &str| line("/api/chat", &format!(r#"{{"model":"m","messages":[{message}]}}"#));
    let generate = |fields: &str| line("/api/generate", &format!(r#"{{"model":"m",{fields}}}"#));
    let embed = |fields: &str| line("/api/embed", &format!(r#"{{"model":"m",{fields}}}"#));
    all(&[
        (
            chat(
                r#","stream":false,"think":false,"format":"json","options":{"num_predict":5,"seed":1,"temperature":0,"stop":["a"]}"#,
            ),
            &[],
        ),
        (
            chat(
                r#","think":"low","format":{"type":"object"},"options":{"num_predict":-1,"repeat_penalty":1.1,"top_k":40}"#,
            ),
            &[],
        ),
        (chat(r#","options":{"num_predict":0}"#), &["invalid_value body.options.num_predict"]),
        (chat(r#","options":{"num_predict":"5"}"#), &["invalid_type body.options.num_predict"]),
        (chat(r#","options":{"num_predict":5.5}"#), &["invalid_type body.options.num_predict"]),
        (chat(r#","options":{"num_ctx":4096}"#), &["unsupported_parameter body.options.num_ctx"]),
        (
            chat(r#","options":{"num_batch":512,"num_gpu":1}"#),
            &["unsupported_parameter body.options.num_batch", "unsupported_parameter body.options.num_gpu"],
        ),
        (chat(r#","options":{"mirostat":1}"#), &["unsupported_parameter body.options.mirostat"]),
        (chat(r#","options":{"stop":"a"}"#), &["invalid_type body.options.stop"]),
        (chat(r#","options":[]"#), &["invalid_type body.options"]),
        (
            chat(r#","keep_alive":"5m","truncate":false,"shift":true"#),
            &[
                "unsupported_parameter body.keep_alive",
                "unsupported_parameter body.truncate",
                "unsupported_parameter body.shift",
            ],
        ),
        (chat(r#","stream":true"#), &["stream_not_supported body.stream"]),
        (chat(r#","format":"yaml""#), &["invalid_value body.format"]),
        (chat(r#","think":"lots""#), &["invalid_value body.think"]),
        (chat(r#","temperature":0"#), &["unsupported_parameter body.temperature"]),
        (says(r#"{"role":"developer","content":"a"}"#), &["invalid_value body.messages[0].role"]),
        (
            says(r#"{"role":"user","content":[{"type":"text","text":"a"}]}"#),
            &["invalid_type body.messages[0].content"],
        ),
        (says(r#"{"role":"user","content":"a","images":["aGk="]}"#), &[]),
        (
            says(r#"{"role":"user","content":"a","images":["data:image/png;base64,aGk="]}"#),
            &["invalid_value body.messages[0].images[0]"],
        ),
        (says(r#"{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]}"#), &[]),
        (
            says(r#"{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}"#),
            &["invalid_type body.messages[0].tool_calls[0].function.arguments"],
        ),
        (says(r#"{"role":"user"}"#), &["missing_required_parameter body.messages[0].content"]),
        (generate(r#""prompt":"a","system":"s","options":{"seed":1}"#), &[]),
        (generate(r#""prompt":"a","raw":true"#), &[]),
        (generate(r#""prompt":"a","raw":true,"system":"s""#), &["invalid_value body.system"]),
        (
            generate(r#""prompt":"","context":[1]"#),
            &["invalid_value body.prompt", "unsupported_parameter body.context"],
        ),
        (embed(r#""input":["a"],"dimensions":64"#), &[]),
        (embed(r#""input":[1]"#), &["invalid_type body.input[0]"]),
        (embed(r#""input":"a","truncate":true"#), &["unsupported_parameter body.truncate"]),
    ]);
}
