//! Inputs that are meant to be awkward: every request of them still ends with exactly one result.

use caravan_proto::v1::{Batch, OnInvalid};
use caravan_simulated_engine::{Options, Running, SimulatedEngine, text_of};
use caravan_tests::{Input, MODEL, Up};

/// Context of a slot.
const CONTEXT: usize = 8_192;

async fn up() -> anyhow::Result<(Running, Up)> {
    let engine = SimulatedEngine::start(Options { max_context: CONTEXT, ..Options::default() })?;
    let up = Up::start(&[&engine.url()], 4, "").await?;
    up.api()?.serves(MODEL).await?;
    Ok((engine, up))
}

fn chats(count: usize, system: impl Fn(usize) -> String, question: impl Fn(usize) -> String) -> Input {
    (0..count)
        .fold(Input::new(), |input, index| input.chat(&format!("r{index}"), &system(index), &question(index)))
}

#[tokio::test]
async fn awkward_prefixes_lose_and_repeat_nothing() -> anyhow::Result<()> {
    let (engine, up) = up().await?;
    let api = up.api()?;
    let shared = text_of("shared", 200);
    let of_two = |index: usize| text_of(&format!("pair{}", index / 2), 200);
    let inputs = [
        ("all different", chats(600, |i| text_of(&format!("s{i}"), 100), |i| text_of(&format!("q{i}"), 20))),
        ("all equal", chats(600, |_| shared.clone(), |_| "the same question".to_owned())),
        ("groups of one", chats(600, |i| text_of(&format!("s{i}"), 200), |_| "q".to_owned())),
        ("groups of two", chats(600, of_two, |i| format!("question {i}"))),
        // Each prompt is the beginning of the next.
        ("nested", chats(200, |i| text_of("s", 2 * i + 1), |_| "q".to_owned())),
        ("one letter", chats(3, |_| "s".to_owned(), |i| "x".repeat((1 << 20) + i))),
    ];
    for (name, input) in inputs {
        engine.reset();
        let ended = api.ended(&api.create(&input, Batch::default()).await?.name).await?;
        let audit = api.audit(&input, &ended).await?;
        assert_eq!((audit.answered, audit.failed.len()), (input.expected().len(), 0), "{name}");
        assert_eq!(engine.stats().answers, input.expected().len() as u64, "{name}: each once");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_that_fits_nowhere_fails_alone_with_its_counts() -> anyhow::Result<()> {
    let (engine, up) = up().await?;
    let api = up.api()?;
    let long = text_of("long", CONTEXT + 1_000);
    let input = Input::chats(50, "s").chat("long", "s", &long).chat("empty", "", "").chat(
        "last",
        "s",
        "the last question",
    );
    let policy = Batch { on_invalid: OnInvalid::RejectLine.into(), ..Batch::default() };
    let ended = api.ended(&api.create(&input, policy).await?.name).await?;
    let audit = api.audit(&input, &ended).await?;
    assert_eq!(audit.answered, 52, "{:?}", audit.failed);
    let failed: Vec<_> = audit.failed.iter().map(|(line, code)| (*line, code.as_str())).collect();
    assert_eq!(failed, [(51, "context_length_exceeded")]);
    let errors = String::from_utf8(api.download(&ended.error_file).await?)?;
    // The prompt is the question and a word of the system's.
    for count in [CONTEXT, CONTEXT + 1_001] {
        assert!(errors.contains(&count.to_string()), "{count} is not in {errors}");
    }
    assert_eq!(engine.stats().answers, 52);
    Ok(())
}
