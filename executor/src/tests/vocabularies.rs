//! Vocabularies on demand.

use caravan_proto::v1::{Vocabulary, WantVocabulary, connect_response};

use super::{
    engine::{Event, failure},
    *,
};
use crate::engine::{Class, Description, Loaded, Model, ReloadSet};

fn model(name: &str, key: &str, loaded: Option<Loaded>) -> Model {
    Model { name: name.into(), vocabulary: key.into(), chat: true, loaded, ..Model::default() }
}

/// A rig whose engine has these models.
async fn rig(models: Vec<Model>) -> (Rig, Peer) {
    let engine = Scripted::default();
    engine.set_description(Ok(Description { models, ..Description::default() }));
    let (rig, mut peer) = Rig::with(1, engine, |_| {}).await;
    peer.wait("the engine", |p| p.heartbeats.last().is_some_and(|b| !b.engines[0].models.is_empty())).await;
    (rig, peer)
}

async fn ask(peer: &mut Peer, key: &str) -> Vocabulary {
    let before = peer.vocabularies.len();
    let want = WantVocabulary { vocabulary: key.into() };
    peer.send(connect_response::Message::WantVocabulary(want)).await;
    peer.wait("a vocabulary", |p| p.vocabularies.len() > before).await;
    peer.vocabularies.last().unwrap().clone()
}

fn renders(rig: &Rig) -> Vec<ReloadSet> {
    let set = |event| if let Event::Render { set } = event { Some(set) } else { None };
    rig.engine.events().into_iter().filter_map(set).collect()
}

#[tokio::test]
async fn a_vocabulary_comes_with_what_the_template_makes_of_chats() {
    let loaded = Some(Loaded { context: 2_048, ..Loaded::default() });
    let (rig, mut peer) = rig(vec![model("m", "k", loaded)]).await;
    assert_eq!(peer.heartbeats.last().unwrap().engines[0].models[0].vocabulary, "k");
    let answer = ask(&mut peer, "k").await;
    assert_eq!((answer.vocabulary.as_str(), answer.unavailable.as_str()), ("k", ""));
    assert_eq!(answer.definition, b"definition of m");
    let roles =
        |at: usize| answer.renderings[at].messages.iter().map(|m| m.role.as_str()).collect::<Vec<_>>();
    assert_eq!((roles(0), roles(1)), (vec!["user"], vec!["system", "user"]));
    assert_eq!(roles(2), ["user", "assistant", "user"]);
    assert_eq!(answer.renderings[0].prompt, "Name a colour.");
    assert_eq!(renders(&rig)[0].context, 2_048, "as it is loaded");
}

#[tokio::test]
async fn it_is_rendered_with_the_set_that_is_active() {
    let (rig, mut peer) = rig(vec![model("m", "k", None), model("other", "o", None)]).await;
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["one"])).await;
    peer.wait_results(1).await;
    assert_eq!(ask(&mut peer, "k").await.renderings.len(), 3);
    assert_eq!(renders(&rig), [ReloadSet { context: 1_000, ..ReloadSet::default() }; 3]);
    // The other one would have to be loaded in its place.
    let other = ask(&mut peer, "o").await;
    assert_eq!((other.definition.as_slice(), other.renderings.len()), (b"definition of other".as_slice(), 0));
    assert_eq!((renders(&rig).len(), rig.engine.loads().len()), (3, 1));
}

#[tokio::test]
async fn nobodys_model_is_evicted_for_a_template() {
    let loaded = Some(Loaded { context: 512, ..Loaded::default() });
    let (rig, mut peer) = rig(vec![model("m", "k", None), model("theirs", "t", loaded)]).await;
    assert!(ask(&mut peer, "k").await.renderings.is_empty());
    assert!(rig.engine.loads().is_empty());
    assert_eq!(ask(&mut peer, "t").await.renderings.len(), 3);
    assert_eq!(renders(&rig)[0].context, 512, "as they have it");
}

#[tokio::test]
async fn nothing_is_loaded_for_a_template() {
    let (rig, mut peer) = rig(vec![model("m", "k", None)]).await;
    let answer = ask(&mut peer, "k").await;
    assert_eq!((answer.definition.as_slice(), answer.renderings.len()), (b"definition of m".as_slice(), 0));
    assert!(rig.engine.loads().is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_what_is_gone_is_not_answered() {
    let (rig, mut peer) = rig(vec![model("m", "k", None)]).await;
    rig.engine.set_vocabulary(Err(failure(Class::Model)));
    let want = WantVocabulary { vocabulary: "gone".into() };
    peer.send(connect_response::Message::WantVocabulary(want)).await;
    let answer = ask(&mut peer, "k").await;
    assert_eq!((answer.vocabulary.as_str(), answer.unavailable.as_str()), ("k", "as scripted"));
    rig.engine.set_vocabulary(Ok(vec![0; (20 << 20) + 1]));
    let answer = ask(&mut peer, "k").await;
    assert!(
        answer.definition.is_empty() && answer.unavailable.contains("20971520"),
        "{}",
        answer.unavailable
    );
    assert_eq!(peer.vocabularies.len(), 2);
}

#[tokio::test]
async fn one_of_the_size_limit_arrives_while_requests_run() {
    let (rig, mut peer) = rig(vec![model("m", "k", None)]).await;
    rig.engine.set_vocabulary(Ok(vec![7; 20 << 20]));
    peer.wait_credits(1).await;
    peer.lease(lease("a", &["one", "two"])).await;
    let answer = ask(&mut peer, "k").await;
    assert_eq!(answer.definition.len(), 20 << 20);
    peer.wait_results(2).await;
}
