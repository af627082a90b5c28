//! What a line may ask for depends on the kinds of engine there are.

use caravan_request::{
    Endpoint, EngineKind, Kinds, LinePolicy, Treatment, fields, honours, treatment, validate,
};

use crate::{chat, errors_under, line, messages};

fn kinds_of(text: &str, fleet: Kinds) -> Result<Kinds, Vec<String>> {
    let policy = LinePolicy { kinds: fleet, ..LinePolicy::default() };
    match validate(1, text.as_bytes(), &policy) {
        Ok(line) => Ok(line.kinds),
        Err(_) => Err(errors_under(text.as_bytes(), &policy)),
    }
}

#[test]
fn what_only_compatible_engines_honour() {
    let tool = r#""tools":[{"type":"function","function":{"name":"f"}}]"#;
    let cases = [
        (chat(r#""n":2"#), "body.n"),
        (chat(r#""logit_bias":{"1":1}"#), "body.logit_bias"),
        (chat(r#""parallel_tool_calls":false"#), "body.parallel_tool_calls"),
        (chat(&format!(r#"{tool},"tool_choice":"required""#)), "body.tool_choice"),
        (chat(&tool.replace(r#""f""#, r#""f","strict":true"#)), "body.tools[0].function.strict"),
        (chat(r#""repeat_last_n":40"#), "body.repeat_last_n"),
        (chat(r#""repeat_penalty":1.1"#), "body.repeat_penalty"),
        (chat(r#""reasoning_effort":"minimal""#), "body.reasoning_effort"),
        (messages(r#"[{"role":"user","name":"u","content":"a"}]"#), "body.messages[0].name"),
        (line("/v1/completions", r#"{"model":"m","prompt":[1]}"#), "body.prompt"),
        (line("/v1/embeddings", r#"{"model":"m","input":[1]}"#), "body.input"),
    ];
    for (text, param) in cases {
        assert_eq!(kinds_of(&text, Kinds::ALL), Ok(Kinds::OPEN_AI), "{text}");
        assert_eq!(kinds_of(&text, Kinds::OPEN_AI), Ok(Kinds::OPEN_AI), "{text}");
        let expected = format!("unsupported_parameter {param}");
        assert_eq!(kinds_of(&text, Kinds::OLLAMA), Err(vec![expected]), "{text}");
    }
}

#[test]
fn what_every_kind_honours() {
    let text = chat(
        r#""max_completion_tokens":5,"temperature":0,"top_p":1,"seed":1,"stop":"a","frequency_penalty":0,"presence_penalty":0,"logprobs":true,"top_logprobs":1,"reasoning_effort":"low","n":1,"tool_choice":"none","parallel_tool_calls":true,"top_k":40,"min_p":0.1,"user":"u""#,
    );
    for fleet in [Kinds::ALL, Kinds::OLLAMA, Kinds::OPEN_AI] {
        assert_eq!(kinds_of(&text, fleet), Ok(fleet));
    }
}

#[test]
fn native_lines_run_on_every_kind_as_far_as_it_goes() {
    let generate = |fields: &str| line("/api/generate", &format!(r#"{{"model":"m","prompt":"a"{fields}}}"#));
    assert_eq!(kinds_of(&generate(r#","raw":true,"think":false"#), Kinds::ALL), Ok(Kinds::ALL));
    assert_eq!(kinds_of(&generate(r#","images":["/9j/4AAQ"]"#), Kinds::ALL), Ok(Kinds::ALL));
    let cases = [
        (r#","suffix":"b""#, "body.suffix"),
        (r#","template":"t""#, "body.template"),
        (r#","raw":true,"format":"json""#, "body.format"),
        (r#","images":["aGk="]"#, "body.images[0]"),
    ];
    for (fields, param) in cases {
        let text = generate(fields);
        assert_eq!(kinds_of(&text, Kinds::ALL), Ok(Kinds::OLLAMA), "{text}");
        let expected = format!("unsupported_parameter {param}");
        assert_eq!(kinds_of(&text, Kinds::OPEN_AI), Err(vec![expected]), "{text}");
    }
}

#[test]
fn fields_that_no_single_engine_honours_together() {
    let text = line("/v1/completions", r#"{"model":"m","prompt":"a","suffix":"b","n":2}"#);
    assert_eq!(kinds_of(&text, Kinds::ALL), Err(vec!["unsupported_parameter body.n".to_owned()]));
}

#[test]
fn the_table_says_what_becomes_of_a_field() {
    let chat = Endpoint::ChatCompletions;
    assert_eq!(treatment(EngineKind::Ollama, chat, "seed"), Treatment::Sent);
    assert_eq!(treatment(EngineKind::Ollama, chat, "user"), Treatment::NotSent);
    assert_eq!(treatment(EngineKind::Ollama, chat, "logit_bias"), Treatment::Unsupported);
    assert_eq!(treatment(EngineKind::OpenAi, chat, "logit_bias"), Treatment::Sent);
    assert_eq!(treatment(EngineKind::OpenAi, chat, "audio"), Treatment::Unsupported);
    assert!(honours(EngineKind::Ollama, chat, "store") && !honours(EngineKind::Ollama, chat, "nope"));
    assert!(honours(EngineKind::OpenAi, Endpoint::OllamaChat, "think"));
    for endpoint in Endpoint::ALL {
        assert_eq!(Endpoint::parse(endpoint.as_str()), Some(endpoint));
        let names: std::collections::HashSet<_> = fields(endpoint).iter().map(|field| field.name()).collect();
        assert_eq!(names.len(), fields(endpoint).len(), "{endpoint} names a field twice");
    }
}
