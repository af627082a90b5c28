use std::{fmt::Write as _, fs, path::Path, sync::Arc};

use caravan_proto::{
    Tenant,
    name::{ExecutorId, FileId, ProfileId},
};

use super::*;
use crate::{
    clock,
    dispatch::{self, Fleet},
    files::Writer,
    objects::Objects,
    prepare::Preparer,
    store::{Executor, NewFile, Profile, Sqlite, Store},
    vocabularies::{self, Vocabularies},
};

/// A word is a token.
const WORDS: &str = r#"{
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
    "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"}
}"#;

fn definition() -> Definition {
    Definition::TokenizerJson(WORDS.into())
}

fn offline() -> Offline {
    let profile = v1::Profile {
        model: "m:latest".into(),
        engine_kind: engine::Kind::Ollama.into(),
        slots: 4,
        max_context: 8_192,
        prefill_tokens_per_second: 900.0,
        decode_tokens_per_second: 30.0,
        template: Some(v1::TemplateTokens { conversation: 5, system: 3, exchange: 8 }),
        ..Default::default()
    };
    Offline { profile, definition: Some(definition()), sliding_window: 512, ..Default::default() }
}

/// 40 requests under one prompt of 600 words, and one too long for the context.
fn input() -> String {
    let system = "word ".repeat(600);
    let mut lines = String::new();
    for number in 0..41 {
        let question = "why ".repeat(if number == 40 { 9_000 } else { 5 + number });
        let _ = writeln!(
            lines,
            r#"{{"custom_id":"r{number}","method":"POST","url":"/api/chat","body":{{"model":"m","messages":[{{"role":"system","content":"{system}"}},{{"role":"user","content":"{question}"}}],"options":{{"num_predict":16}}}}}}"#
        );
    }
    lines
}

fn spec() -> v1::Batch {
    v1::Batch { on_invalid: v1::OnInvalid::RejectLine.into(), ..Default::default() }
}

fn file(directory: &Path, text: &str) -> File {
    let path = directory.join("input.jsonl");
    fs::write(&path, text).unwrap();
    File::open(path).unwrap()
}

/// The preview of a planner whose only engine is as the profile says.
async fn online(directory: &Path, offline: &Offline, spec: v1::Batch, text: &str) -> v1::Batch {
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&directory.join("rows.db")).await.unwrap());
    let objects = Objects::local(&directory.join("objects")).unwrap();
    let mut engine = offline.capacity().engines()[0].clone();
    engine.models[0].vocabulary = "words".into();
    let state = v1::executor::State::Online.into();
    let detail = v1::Executor { state, engines: vec![engine], ..Default::default() };
    store.put_executor(&Executor { id: ExecutorId::now(), detail, last_seen: clock::now() }).await.unwrap();
    let profile = Profile { id: ProfileId::now(), detail: offline.profile.clone(), measured: 1 };
    store.put_profile(&profile).await.unwrap();

    let purpose = v1::file::Purpose::Batch;
    let new = NewFile {
        id: FileId::now(),
        tenant: Tenant::default(),
        upload_id: None,
        filename: String::new(),
        purpose,
        created: 1,
    };
    let opened = store.open_file(&new).await.unwrap();
    let mut writer = Writer::open(Arc::clone(&store), objects.clone(), opened).await.unwrap();
    writer.write(text.as_bytes()).await.unwrap();
    let file = writer.close().await.unwrap();

    let vocabularies = Vocabularies::new(vocabularies::Options::default(), objects.clone(), Fleet::default());
    let definition = definition().encode().unwrap();
    let vocabulary = v1::Vocabulary { vocabulary: "words".into(), definition, ..Default::default() };
    vocabularies.arrived(vocabulary).await;
    let lease = dispatch::Options::default();
    let preparer = Preparer::new(Options::default(), lease, store, objects, vocabularies);
    preparer.preview(&spec, &file).await.unwrap()
}

#[tokio::test]
async fn a_file_is_planned_as_on_a_server_with_such_an_engine() {
    let directory = tempfile::tempdir().unwrap();
    let text = input();
    let mut alone = offline().plan(spec(), file(directory.path(), &text)).await.unwrap();
    let mut served = online(directory.path(), &offline(), spec::check_fields(spec()).unwrap(), &text).await;
    for batch in [&mut alone, &mut served] {
        let plan = batch.plan.as_mut().unwrap();
        assert_eq!((plan.engine_count, plan.engines.len()), (1, 1));
        // Whose the engine is, only a fleet knows.
        plan.engines[0].executor.clear();
    }
    assert_eq!(alone, served);
    let plan = alone.plan.unwrap();
    assert_eq!((plan.requests, plan.rejected_lines, plan.group_count, plan.lanes), (40, 1, 1, 4));
    assert_eq!((plan.token_basis(), plan.origin()), (v1::Basis::Measured, v1::plan::Origin::Profile));
    assert!(plan.estimated_duration.is_some() && plan.savings > 0.5, "{plan:?}");
    assert_eq!(alone.line_errors[0].code, "context_length_exceeded");
}

#[tokio::test]
async fn what_is_assumed_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let lines = input().replacen(r#""model":"m""#, r#""model":"other""#, 1);
    let without = Offline { definition: None, lanes: NonZeroU32::new(12), ..offline() };
    let batch = without.plan(spec(), file(directory.path(), &lines)).await.unwrap();
    let plan = batch.plan.unwrap();
    assert_eq!((plan.token_basis(), plan.lanes), (v1::Basis::Estimated, 12));
    for told in [
        "The tokens of model m are estimated: no tokenizer is given.",
        "The profile is of the model m:latest: lanes and context are assumed for other.",
    ] {
        assert!(plan.warnings.iter().any(|warning| warning == told), "{:?}", plan.warnings);
    }
}

#[tokio::test]
async fn what_cannot_be_planned_is_refused_with_its_field() {
    let directory = tempfile::tempdir().unwrap();
    let wrong = |change: fn(&mut v1::Profile)| {
        let mut offline = offline();
        change(&mut offline.profile);
        offline
    };
    for (offline, told) in [
        (wrong(|profile| profile.model.clear()), "model of the profile"),
        (wrong(|profile| profile.slots = 0), "slots of the profile"),
        (wrong(|profile| profile.max_context = -1), "max_context of the profile"),
        (wrong(|profile| profile.decode_tokens_per_second = f64::NAN), "decode_tokens_per_second of"),
        (Offline { definition: Some(Definition::TokenizerJson("{}".into())), ..offline() }, "the tokenizer"),
    ] {
        let error = offline.plan(spec(), file(directory.path(), &input())).await.unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
    let far = v1::Batch { priority: 500, ..spec() };
    let error = offline().plan(far, file(directory.path(), &input())).await.unwrap_err();
    assert!(error.to_string().contains("priority must be"), "{error}");

    let strict = offline().plan(v1::Batch::default(), file(directory.path(), "{}\n")).await.unwrap();
    assert_eq!((strict.state(), strict.plan), (v1::batch::State::Failed, None));
    assert_eq!(strict.state_message, "invalid lines: 1 of 1");
}
