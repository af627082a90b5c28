//! From an executor's answer to a tokenizer.

use caravan_proto::{name::ExecutorId, v1::connect_response::Message};
use caravan_tokenize::Definition;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::dispatch::Outgoing;

/// A word is a token.
const WORDS: &str = r#"{
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
    "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"}
}"#;

type Sent = mpsc::Receiver<Result<v1::ConnectResponse, tonic::Status>>;

fn engine(models: &[(&str, &str)]) -> v1::Engine {
    let models = models.iter().map(|(name, key)| v1::Model {
        name: (*name).into(),
        vocabulary: (*key).into(),
        chat: true,
        ..Default::default()
    });
    let state = v1::engine::State::Ready.into();
    v1::Engine { id: "ollama-0".into(), state, models: models.collect(), ..Default::default() }
}

/// Vocabularies with one executor that has `models`, and what is sent to it.
fn rig(directory: &tempfile::TempDir, models: &[(&str, &str)], wait_ms: u64) -> (Vocabularies, Sent) {
    let (sender, sent) = mpsc::channel(8);
    let fleet = Fleet::default();
    let detail = v1::Executor { engines: vec![engine(models)], ..Default::default() };
    fleet.join(ExecutorId::now(), Outgoing::new(sender, CancellationToken::new()), detail);
    let objects = Objects::local(directory.path()).unwrap();
    (Vocabularies::new(Options { wait_ms }, objects, fleet), sent)
}

async fn wanted(sent: &mut Sent) -> String {
    match sent.recv().await.unwrap().unwrap().message {
        Some(Message::WantVocabulary(want)) => want.vocabulary,
        other => panic!("{other:?}"),
    }
}

fn words(key: &str) -> v1::Vocabulary {
    let definition = Definition::TokenizerJson(WORDS.into()).encode().unwrap();
    v1::Vocabulary { vocabulary: key.into(), definition, ..Default::default() }
}

fn rendered(key: &str) -> v1::Vocabulary {
    let rendering = |roles: &[&str], prompt: &str| {
        let message = |role: &&str| v1::RenderedMessage { role: (*role).into(), content: "a b".into() };
        v1::Rendering { messages: roles.iter().map(message).collect(), prompt: prompt.into() }
    };
    let renderings = vec![
        rendering(&["user"], "U a b A"),
        rendering(&["user", "assistant", "user"], "U a b A a b U a b A"),
    ];
    v1::Vocabulary { renderings, ..words(key) }
}

#[tokio::test]
async fn a_vocabulary_is_asked_for_once_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let models = [("m:latest", "k")];
    let (vocabularies, mut sent) = rig(&directory, &models, 20_000);
    let engines = [engine(&models)];
    let (known, ()) = tokio::join!(vocabularies.of(&engines, "m"), async {
        assert_eq!(wanted(&mut sent).await, "k");
        vocabularies.arrived(rendered("other")).await;
        vocabularies.arrived(rendered("k")).await;
    });
    let known = known.unwrap();
    assert_eq!((known.tokenizer.count("one two  three"), known.key.as_str()), (3, "k"));
    let template = v1::TemplateTokens { conversation: 2, system: 0, exchange: 2 };
    assert_eq!(known.template, Some(template));

    let (another, mut unasked) = rig(&directory, &models, 20_000);
    assert_eq!(another.of(&engines, "m").await.unwrap().template, Some(template));
    assert!(vocabularies.of(&engines, "m").await.is_ok());
    assert!(sent.try_recv().is_err() && unasked.try_recv().is_err(), "nobody was asked again");
}

#[tokio::test]
async fn a_template_that_comes_later_replaces_none_and_is_not_lost_again() {
    let directory = tempfile::tempdir().unwrap();
    let (vocabularies, mut sent) = rig(&directory, &[("m", "k")], 20_000);
    let engines = [engine(&[("m", "k")])];
    vocabularies.arrived(words("k")).await;
    assert_eq!(vocabularies.of(&engines, "m").await.unwrap().template, None);
    assert_eq!(wanted(&mut sent).await, "k", "asked for the template");
    assert_eq!(vocabularies.of(&engines, "m").await.unwrap().template, None);
    assert!(sent.try_recv().is_err(), "only once");
    vocabularies.arrived(rendered("k")).await;
    vocabularies.arrived(words("k")).await;
    let unavailable = "the engine is down".to_owned();
    vocabularies.arrived(v1::Vocabulary { unavailable, definition: Vec::new(), ..words("k") }).await;
    assert!(vocabularies.of(&engines, "m").await.unwrap().template.is_some());
}

#[tokio::test]
async fn what_cannot_be_had_is_remembered_with_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let models = [("gone", "a"), ("strange", "b"), ("silent", "")];
    let (vocabularies, mut sent) = rig(&directory, &models, 20_000);
    let engines = [engine(&models)];
    let why = |key: &str, definition: &[u8], unavailable: &str| v1::Vocabulary {
        vocabulary: key.into(),
        definition: definition.into(),
        unavailable: unavailable.into(),
        ..Default::default()
    };
    for (model, answer, reason) in [
        ("gone", why("a", b"", "no such file"), "no such file"),
        ("strange", why("b", b"?", ""), "not a tokenizer's definition"),
    ] {
        let (first, ()) = tokio::join!(vocabularies.of(&engines, model), async {
            wanted(&mut sent).await;
            vocabularies.arrived(answer).await;
        });
        let first = first.unwrap_err();
        assert!(first.to_string().contains(reason), "{first}");
        assert_eq!(vocabularies.of(&engines, model).await.unwrap_err(), first);
        assert!(sent.try_recv().is_err(), "nobody waits for it again");
    }
    assert_eq!(vocabularies.of(&engines, "silent").await.unwrap_err(), Unknown::NotTold);
    assert_eq!(vocabularies.of(&engines, "none").await.unwrap_err(), Unknown::NotTold);
    let elsewhere = [engine(&[("m", "x")])];
    assert_eq!(vocabularies.of(&elsewhere, "m").await.unwrap_err(), Unknown::NotConnected);
}

#[tokio::test]
async fn waiting_is_bounded_and_the_first_that_can_be_had_serves() {
    let directory = tempfile::tempdir().unwrap();
    let (vocabularies, mut sent) = rig(&directory, &[("m", "k")], 1);
    let engines = [engine(&[("m", "k")])];
    let late = Unknown::Late(Duration::from_millis(1));
    assert_eq!(vocabularies.of(&engines, "m").await.unwrap_err(), late);
    assert_eq!(wanted(&mut sent).await, "k");
    vocabularies.arrived(rendered("second")).await;
    let both = [engine(&[("m", "k")]), engine(&[("m", "second")])];
    assert_eq!(vocabularies.of(&both, "m").await.unwrap().key, "second");
}

#[tokio::test]
async fn a_damaged_object_is_asked_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let (vocabularies, mut sent) = rig(&directory, &[("m", "k")], 20_000);
    let mut bytes = kept::encode(&rendered("k")).to_vec();
    bytes[40] ^= 1;
    vocabularies.inner.objects.put_vocabulary(&kept::name("k"), bytes.into()).await.unwrap();
    let engines = [engine(&[("m", "k")])];
    let (known, ()) = tokio::join!(vocabularies.of(&engines, "m"), async {
        wanted(&mut sent).await;
        vocabularies.arrived(rendered("k")).await;
    });
    assert!(known.unwrap().template.is_some());
}

#[tokio::test]
async fn two_tokenizers_are_held_the_last_used() {
    let directory = tempfile::tempdir().unwrap();
    let (vocabularies, _sent) = rig(&directory, &[], 20_000);
    for key in ["a", "b", "c"] {
        vocabularies.arrived(rendered(key)).await;
    }
    for key in ["a", "b", "a", "c"] {
        vocabularies.of(&[engine(&[("m", key)])], "m").await.unwrap();
    }
    let held = ["a", "b", "c"].map(|key| vocabularies.memory().built(key).is_some());
    assert_eq!(held, [true, false, true]);
}
