//! Vocabularies for planners: read when one asks, one at a time, and not kept.

use std::{sync::Arc, time::Duration};

use caravan_proto::v1;
use tokio::{pin, time::timeout};

use crate::{
    engine::{Class, Failure, Model, Turn},
    gate::{Need, Pass},
    ledger::Ledger,
    unit::Unit,
};

/// Bytes of a definition that a planner takes; known ones have 0.3 to 5 MB.
const MAX_DEFINITION: usize = 20 << 20;
/// A definition waits for its renderings no longer: a planner waits ten seconds for both. What
/// takes longer, because the engine is busy, follows in a second message.
const RENDER_WITHIN: Duration = Duration::from_secs(6);

/// After this time others that wait for vocabularies have waited long enough.
const RENDER_AT_LAST: Duration = Duration::from_secs(60);

const SYSTEM: Turn = Turn { role: "system", content: "You are terse." };
const QUESTION: Turn = Turn { role: "user", content: "Name a colour." };
const ANSWER: Turn = Turn { role: "assistant", content: "Blue is a colour." };
/// Conversations from whose renderings the template's own tokens are counted.
const CHATS: [&[Turn]; 3] = [&[QUESTION], &[SYSTEM, QUESTION], &[QUESTION, ANSWER, QUESTION]];

/// Answers what planners ask `ledger` for, as long as it is polled.
pub(crate) async fn serve(units: Vec<Arc<Unit>>, ledger: Arc<Ledger>) {
    loop {
        let key = ledger.wanted_vocabulary().await;
        match find(&units, &key) {
            Some((unit, model)) => answer(unit, &model, &ledger).await,
            None => tracing::debug!(vocabulary = key, "asked for a vocabulary that is not here"),
        }
    }
}

/// An engine that has the vocabulary, best one that is loaded with the model.
fn find<'u>(units: &'u [Arc<Unit>], key: &str) -> Option<(&'u Unit, Model)> {
    let having = units.iter().filter_map(|unit| {
        let health = unit.health.now();
        let model = health.description.models.into_iter().find(|model| model.vocabulary == key)?;
        health.up.then_some((&**unit, model))
    });
    having.max_by_key(|(unit, model)| unit.gate.is_loaded(&model.name))
}

async fn answer(unit: &Unit, model: &Model, ledger: &Ledger) {
    let mut vocabulary = v1::Vocabulary { vocabulary: model.vocabulary.clone(), ..Default::default() };
    match unit.engine.vocabulary(&model.name).await {
        Ok(definition) if definition.len() > MAX_DEFINITION => {
            let size = definition.len();
            vocabulary.unavailable = format!("its definition has {size} bytes; {MAX_DEFINITION} can be sent");
        }
        Ok(definition) => vocabulary.definition = definition,
        Err(failure) => vocabulary.unavailable = failure.message,
    }
    if !vocabulary.unavailable.is_empty() || !model.chat {
        return ledger.give_vocabulary(vocabulary).await;
    }
    let renderings = renderings(unit, model);
    pin!(renderings);
    match timeout(RENDER_WITHIN, &mut renderings).await {
        Ok(renderings) => ledger.give_vocabulary(v1::Vocabulary { renderings, ..vocabulary }).await,
        Err(_) => {
            ledger.give_vocabulary(vocabulary.clone()).await;
            let renderings = timeout(RENDER_AT_LAST, &mut renderings).await.unwrap_or_default();
            if !renderings.is_empty() {
                ledger.give_vocabulary(v1::Vocabulary { renderings, ..vocabulary }).await;
            }
        }
    }
}

/// What the model's template makes of the conversations; nothing if that cannot be had without
/// taking the engine away from somebody.
async fn renderings(unit: &Unit, model: &Model) -> Vec<v1::Rendering> {
    let rendered = async {
        let Some(pass) = enter(unit, &model.name).await? else { return Ok(Vec::new()) };
        let _flight = unit.gate.shared(&pass).await?;
        let mut all = Vec::with_capacity(CHATS.len());
        for chat in CHATS {
            let prompt = match unit.engine.render(&model.name, pass.set, chat).await {
                Ok(Some(prompt)) => prompt,
                Ok(None) => break,
                // Not every template takes every role.
                Err(failure) if failure.class == Class::Request => continue,
                Err(failure) => return Err(failure),
            };
            let messages = chat.iter().map(|turn| v1::RenderedMessage {
                role: turn.role.to_owned(),
                content: turn.content.to_owned(),
            });
            all.push(v1::Rendering { messages: messages.collect(), prompt });
        }
        Ok::<_, Failure>(all)
    };
    rendered.await.unwrap_or_else(|failure| {
        tracing::info!(model = model.name, code = failure.code, "its template is not known");
        Vec::new()
    })
}

/// A way in that loads and evicts nothing: with what is active if that is this model, else only
/// where others have loaded this model and nothing else. A plan is no reason to load.
async fn enter<'u>(unit: &'u Unit, model: &str) -> Result<Option<Pass<'u>>, Failure> {
    if let Some(pass) = unit.gate.visit(model) {
        return Ok(Some(pass));
    }
    if !unit.gate.is_untouched() {
        return Ok(None);
    }
    let models = unit.engine.describe().await?.models;
    let mut loaded = models.iter().filter_map(|known| Some((known, known.loaded?)));
    let context = match (loaded.next(), loaded.next()) {
        (Some((known, loaded)), None) if known.name == model => loaded.context,
        _ => return Ok(None),
    };
    let need = Need { model: model.to_owned(), context, batch: 0, embedding: false };
    unit.gate.enter(need).await.map(Some)
}
