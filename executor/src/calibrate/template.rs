//! What the chat template adds, by regression on what the engine counts.

use std::time::Duration;

use caravan_proto::v1::TemplateTokens;
use caravan_tokenize::{Definition, build};

use super::{
    Error, Phase,
    ask::{Answered, Question},
    attempt::{Attempt, attempt},
    fit::{Row, any_sign},
    measurement::{Chat, Measurement, Template},
    run::{Run, sentence},
};
use crate::engine::{Class, Failure, Turn};

/// Words that are one token each in most vocabularies.
const SHORT: &str = "one two three four five six seven eight";
const LONG: &str = "one two three four five six seven eight one two three four five six seven eight \
                    one two three four five six seven eight one two three four five six seven eight";

const fn turn(role: &'static str, content: &'static str) -> Turn {
    Turn { role, content }
}

const ASK: Turn = turn("user", SHORT);
const ANSWER: Turn = turn("assistant", SHORT);
const SYSTEM: Turn = turn("system", SHORT);

/// One, two and three exchanges, with and without a system message, and texts of two lengths: these tell
/// apart what a word takes and what the template does.
const CHATS: [&[Turn]; 7] = [
    &[ASK],
    &[turn("user", LONG)],
    &[SYSTEM, ASK],
    &[turn("system", LONG), ASK],
    &[ASK, ANSWER, ASK],
    &[ASK, ANSWER, ASK, ANSWER, ASK],
    &[SYSTEM, ASK, ANSWER, ASK],
];

/// A rendering is compared only if it comes at once: it is a check, not a measurement.
const RENDER_WITHIN: Duration = Duration::from_secs(10);

/// Counts the conversations.
pub(super) async fn measure(run: &mut Run<'_>) -> Result<(), Error> {
    const WHAT: &str = "the template's tokens";
    if run.log.template().is_some() {
        return Ok(());
    }
    let end = run.budget.end(Phase::Template);
    if !run.ready(Phase::Template, end, WHAT).await? {
        return Ok(());
    }
    let mut chats = Vec::new();
    for turns in CHATS {
        run.show(Phase::Template, WHAT);
        match attempt(Phase::Template, end, count(run, turns)).await? {
            Attempt::Done(Answered { prompt: Some(tokens), .. }) => chats.push(chat(turns, tokens)),
            Attempt::Done(_) => {
                run.note("The engine does not count prompts: the template's tokens are not known.");
                return Ok(());
            }
            Attempt::Refused(failure) => run.note(format!(
                "The template does not take {}: {}",
                roles(turns),
                sentence(&failure.message)
            )),
            Attempt::Over => {
                run.leave_out(WHAT);
                return Ok(());
            }
        }
    }
    let rendering_differs = match attempt(Phase::Template, end, difference(run, &chats)).await? {
        Attempt::Done(difference) => difference,
        Attempt::Refused(_) | Attempt::Over => None,
    };
    run.keep(Measurement::Template(Template { chats, rendering_differs }))
}

async fn count(run: &Run<'_>, turns: &[Turn]) -> Result<Answered, Failure> {
    let engine = run.engine();
    let chat: Vec<_> = turns.iter().map(|turn| (turn.role, turn.content)).collect();
    run.target(&*engine, run.working()).ask(&Question { chat: &chat, answer: 1, seed: 1 }).await
}

fn chat(turns: &[Turn], tokens: u64) -> Chat {
    let words = turns.iter().map(|turn| turn.content.split_whitespace().count() as u64).sum();
    let exchanges = turns.iter().filter(|turn| turn.role == "assistant").count() as u64;
    Chat { words, system: turns.first().is_some_and(|turn| turn.role == "system"), exchanges, tokens }
}

fn roles(turns: &[Turn]) -> String {
    turns.iter().map(|turn| turn.role).collect::<Vec<_>>().join(", ")
}

/// The largest difference between what was counted and the tokens of the engine's own renderings.
async fn difference(run: &Run<'_>, counted: &[Chat]) -> Result<Option<u64>, Failure> {
    let engine = run.engine();
    let model = &run.model.name;
    let (definition, set) = (engine.vocabulary(model), run.working().reload_set());
    // Not to be had of every engine: then nothing is compared.
    let Ok(definition) = definition.await else { return Ok(None) };
    let building = tokio::task::spawn_blocking(move || {
        let definition = Definition::decode(&definition).ok()?;
        Some((definition.begin(), build(&definition).ok()?))
    });
    let Ok(Some((begin, tokenizer))) = building.await else { return Ok(None) };
    let mut largest = None;
    for turns in CHATS {
        let rendered = tokio::time::timeout(RENDER_WITHIN, engine.render(model, set, turns)).await;
        let prompt = match rendered {
            Ok(Ok(Some(prompt))) => prompt,
            Ok(Err(failure)) if failure.class == Class::Request => continue,
            _ => return Ok(largest),
        };
        let begin = begin.as_deref().filter(|begin| !prompt.starts_with(begin));
        let tokens = tokenizer.count(&prompt) + begin.map_or(0, |begin| tokenizer.count(begin));
        let known = counted.iter().find(|chat| self::chat(turns, chat.tokens) == **chat);
        if let Some(known) = known {
            largest = largest.max(Some(known.tokens.abs_diff(tokens)));
        }
    }
    Ok(largest)
}

/// What the template adds, and what a person should know of it.
pub(super) fn conclude(template: &Template) -> (Option<TemplateTokens>, Vec<String>) {
    let mut notes = Vec::new();
    if let Some(difference @ 2..) = template.rendering_differs {
        notes.push(format!(
            "The engine counts up to {difference} tokens more or less than its own rendering has: plans may be \
             off by as many a request."
        ));
    }
    let of = |system: bool, exchanges: u64| {
        let chats =
            template.chats.iter().filter(move |chat| (chat.system, chat.exchanges) == (system, exchanges));
        chats.map(|chat| chat.tokens).collect::<Vec<_>>()
    };
    let (alone, system) = (of(false, 0), of(true, 0));
    let drops_system = !system.is_empty() && system.iter().all(|tokens| alone.first() == Some(tokens));
    if drops_system {
        notes.push("The template ignores system messages: put shared text into the user's message.".into());
    }
    if of(false, 1).first().is_some_and(|tokens| alone.first() == Some(tokens)) {
        notes.push("The template renders the last message only: conversations cannot be run.".into());
        return (None, notes);
    }
    let rows: Vec<Row<4>> =
        template.chats.iter().filter(|chat| !(drops_system && chat.system)).map(row).collect();
    let solved = any_sign(&rows).or_else(|| without_system(&rows));
    let tokens = solved.map(|[conversation, system, exchange, _]| TemplateTokens {
        conversation: conversation.round().max(0.0) as i64,
        // A template may put one of its own where there is none, and is shorter with the user's.
        system: system.round().max(0.0) as i64,
        exchange: exchange.round().max(0.0) as i64,
    });
    (tokens, notes)
}

/// Where no system message is taken.
fn without_system(rows: &[Row<4>]) -> Option<[f64; 4]> {
    let rows: Vec<Row<3>> =
        rows.iter().map(|row| Row { x: [row.x[0], row.x[2], row.x[3]], y: row.y }).collect();
    any_sign(&rows).map(|[conversation, exchange, word]| [conversation, 0.0, exchange, word])
}

fn row(chat: &Chat) -> Row<4> {
    let system = f64::from(u8::from(chat.system));
    Row { x: [1.0, system, chat.exchanges as f64, chat.words as f64], y: chat.tokens as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an engine would count: `word` tokens a word, and what the template adds.
    fn counted(conversation: u64, system: u64, exchange: u64, word: u64) -> Template {
        let chats = CHATS.iter().map(|turns| {
            let plain = chat(turns, 0);
            let tokens = conversation
                + word * plain.words
                + exchange * plain.exchanges
                + if plain.system { system } else { 0 };
            Chat { tokens, ..plain }
        });
        Template { chats: chats.collect(), rendering_differs: None }
    }

    #[test]
    fn the_templates_tokens_come_out_of_the_counts() {
        for word in [1, 2] {
            let (tokens, notes) = conclude(&counted(14, 5, 9, word));
            assert_eq!(tokens, Some(TemplateTokens { conversation: 14, system: 5, exchange: 9 }));
            assert_eq!(notes, [""; 0]);
        }
    }

    #[test]
    fn a_token_that_joins_two_words_moves_nothing() {
        let mut template = counted(14, 5, 9, 1);
        template.chats[1].tokens -= 1;
        let (tokens, _) = conclude(&template);
        assert_eq!(tokens, Some(TemplateTokens { conversation: 14, system: 5, exchange: 9 }));
    }

    #[test]
    fn a_template_that_ignores_system_messages_is_reported() {
        let mut template = counted(4, 0, 9, 1);
        template.chats.iter_mut().filter(|chat| chat.system).for_each(|chat| {
            chat.tokens = 4 + 8 * (1 + 2 * chat.exchanges) + 9 * chat.exchanges;
        });
        let (tokens, notes) = conclude(&template);
        assert_eq!(tokens, Some(TemplateTokens { conversation: 4, system: 0, exchange: 9 }));
        assert!(notes[0].contains("ignores system messages"), "{notes:?}");
    }

    #[test]
    fn a_template_of_the_last_message_alone_is_reported() {
        let mut template = counted(1, 0, 0, 1);
        template.chats.iter_mut().for_each(|chat| chat.tokens = 9);
        template.chats[1].tokens = 33;
        let (tokens, notes) = conclude(&template);
        assert_eq!(tokens, None);
        assert_eq!(notes.len(), 2, "{notes:?}");
    }

    #[test]
    fn a_system_message_in_place_of_the_templates_own_adds_nothing() {
        let mut template = counted(34, 0, 9, 1);
        template.chats.iter_mut().filter(|chat| chat.system).for_each(|chat| chat.tokens -= 20);
        let (tokens, _) = conclude(&template);
        assert_eq!(tokens, Some(TemplateTokens { conversation: 34, system: 0, exchange: 9 }));
    }

    #[test]
    fn a_template_without_system_role_has_the_rest() {
        let mut template = counted(6, 0, 7, 1);
        template.chats.retain(|chat| !chat.system);
        let (tokens, notes) = conclude(&template);
        assert_eq!(tokens, Some(TemplateTokens { conversation: 6, system: 0, exchange: 7 }));
        assert_eq!(notes, [""; 0]);
        template.chats.truncate(1);
        assert_eq!(conclude(&template).0, None);
        assert_eq!(conclude(&Template::default()).0, None);
    }

    #[test]
    fn a_rendering_that_differs_is_reported() {
        let template = Template { rendering_differs: Some(3), ..counted(6, 1, 7, 1) };
        assert!(conclude(&template).1[0].contains("3 tokens"));
    }
}
