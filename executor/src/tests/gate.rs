//! The gate when those who wait go away.

use futures::{FutureExt as _, future::poll_immediate};

use super::{
    engine::{Event, failure},
    *,
};
use crate::{
    engine::{Class, ReloadSet},
    gate::{Flight, Gate, Need},
};

fn need(model: &str, context: u64) -> Need {
    Need { model: model.into(), context, batch: 0, embedding: false }
}

fn gate() -> (Arc<Scripted>, Gate) {
    let engine = Arc::new(Scripted::default());
    (Arc::clone(&engine), Gate::new(engine, Duration::from_secs(600), Duration::from_secs(60)))
}

#[tokio::test]
async fn a_waiting_set_is_not_overtaken_and_leaving_frees_its_place() {
    let (engine, gate) = gate();
    let inside = gate.enter(need("m", 100)).await.unwrap();
    let mut larger = Box::pin(gate.enter(need("m", 200)));
    assert!(poll_immediate(larger.as_mut()).await.is_none(), "one is inside");
    let mut fits = Box::pin(gate.enter(need("m", 50)));
    assert!(poll_immediate(fits.as_mut()).await.is_none(), "the larger set was first");
    drop(larger);
    let second = fits.now_or_never().expect("nobody is before it").unwrap();
    assert_eq!((second.set.context, engine.loads().len()), (100, 1));
    drop((inside, second));
    assert_eq!(gate.enter(need("m", 200)).await.unwrap().set.context, 200);
}

#[tokio::test]
async fn chats_and_embeddings_of_one_model_take_turns() {
    let (engine, gate) = gate();
    let embedding = || Need { embedding: true, ..need("m", 100) };
    let chat = gate.enter(need("m", 100)).await.unwrap();
    let mut embeds = [Box::pin(gate.enter(embedding())), Box::pin(gate.enter(embedding()))];
    for embed in &mut embeds {
        assert!(poll_immediate(embed.as_mut()).await.is_none(), "a chat is inside");
    }
    drop(chat);
    for embed in embeds {
        assert!(embed.now_or_never().expect("nobody else is inside").unwrap().set.embedding);
    }
    assert_eq!(engine.loads().len(), 2, "once for the chat, once for all that embed");
}

#[tokio::test]
async fn a_set_with_a_larger_batch_suits_and_one_load_suits_all_that_wait() {
    let batch = |batch, context| Need { batch, ..need("m", context) };
    let (engine, gate) = gate();
    let inside = gate.enter(batch(1_024, 100)).await.unwrap();
    let smaller = gate.enter(batch(512, 100)).now_or_never().expect("it fits").unwrap();
    let any = gate.enter(batch(0, 100)).now_or_never().expect("it fits").unwrap();
    assert_eq!((smaller.set.batch, any.set.batch), (1_024, 1_024));
    let mut wide = Box::pin(gate.enter(batch(2_048, 50)));
    let mut long = Box::pin(gate.enter(batch(512, 200)));
    for waiting in [&mut wide, &mut long] {
        assert!(poll_immediate(waiting.as_mut()).await.is_none(), "others are inside");
    }
    drop((inside, smaller, any));
    let (wide, long) = (wide.await.unwrap(), long.await.unwrap());
    assert_eq!(wide.set, ReloadSet { context: 200, batch: 2_048, embedding: false });
    assert_eq!((long.set, engine.loads().len()), (wide.set, 2));
}

#[tokio::test]
async fn a_batch_that_is_named_does_not_take_what_the_engine_chose() {
    let (engine, gate) = gate();
    drop(gate.enter(need("m", 100)).await.unwrap());
    let pass = gate.enter(Need { batch: 512, ..need("m", 50) }).await.unwrap();
    assert_eq!((pass.set.context, pass.set.batch, engine.loads().len()), (50, 512, 2));
}

#[tokio::test]
async fn a_visit_changes_nothing() {
    let (engine, gate) = gate();
    assert!(gate.visit("m").is_none() && gate.is_untouched());
    let inside = gate.enter(need("m", 100)).await.unwrap();
    let visit = gate.visit("m:latest").unwrap();
    assert_eq!(visit.set, inside.set);
    assert!(gate.visit("other").is_none() && gate.is_loaded("m") && !gate.is_untouched());
    drop(inside);
    let mut other = Box::pin(gate.enter(need("other", 0)));
    assert!(poll_immediate(other.as_mut()).await.is_none(), "a visitor is inside");
    drop(visit);
    drop(other.await.unwrap());
    gate.mark_stale();
    assert!(gate.visit("other").is_none() && gate.is_untouched(), "it is gone");
    assert_eq!(engine.loads().len(), 2);
}

#[tokio::test]
async fn a_request_alone_waits_for_those_in_flight_and_keeps_others_out() {
    let (_engine, gate) = gate();
    let pass = gate.enter(need("m", 0)).await.unwrap();
    let flight = gate.shared(&pass).await.unwrap();
    let mut alone = Box::pin(gate.alone(&pass));
    assert!(poll_immediate(alone.as_mut()).await.is_none());
    drop(flight);
    let alone = alone.await.unwrap();
    assert!(matches!(alone, Flight::Alone(_)));
    let mut other = Box::pin(gate.shared(&pass));
    assert!(poll_immediate(other.as_mut()).await.is_none());
    drop(alone);
    assert!(other.now_or_never().is_some());
}

#[tokio::test]
async fn after_the_engine_was_away_it_is_loaded_once_more_before_the_next_request() {
    let (engine, gate) = gate();
    let pass = gate.enter(need("m", 100)).await.unwrap();
    gate.mark_stale();
    engine.set_load_failure(Some(failure(Class::Retry)));
    let why = gate.shared(&pass).await.unwrap_err();
    assert_eq!(why.class, Class::Bystander, "no request is to blame");
    engine.set_load_failure(None);
    let flights = (gate.shared(&pass).await.unwrap(), gate.shared(&pass).await.unwrap());
    drop(flights);
    let loads = engine
        .events()
        .into_iter()
        .filter(|e| matches!(e, Event::Load { set: ReloadSet { context: 100, .. }, .. }));
    assert_eq!(loads.count(), 3);
}

#[tokio::test]
async fn a_refused_model_fails_at_once_and_another_loads() {
    let (engine, gate) = gate();
    engine.set_load_failure(Some(failure(Class::Request)));
    assert_eq!(gate.enter(need("m", 0)).await.unwrap_err().class, Class::Model);
    assert_eq!(gate.enter(need("m:latest", 0)).await.unwrap_err().class, Class::Model);
    assert_eq!(engine.loads().len(), 1);
    engine.set_load_failure(None);
    assert_eq!(gate.enter(need("other", 0)).await.unwrap().model, "other");
    assert_eq!(gate.refused().len(), 1);
}
