//! The original system's numbers, counted by the engine.

use caravan_simulated_engine::{Options, Running, SimulatedEngine, SystemPrompt, count_tokens, text_of};
use caravan_tests::{Input, Up};
use serde_json::Value;

/// `requests` of 600 tokens each on a system prompt of 2,400.
fn input(requests: usize, tokens_per_word: usize) -> Input {
    let system = text_of("s", 2_400 / tokens_per_word);
    let mut input = Input::new();
    for index in 0..requests {
        let question = text_of(&format!("q{index}"), 600 / tokens_per_word);
        assert_eq!(count_tokens(&question) * tokens_per_word, 600);
        input = input.chat(&format!("r{index}"), &system, &question);
    }
    input
}

fn engine(slots: usize, answer_ms: u64, tokens_per_word: usize) -> anyhow::Result<Running> {
    let options = Options {
        slots,
        answer_ms,
        context: 131_072,
        answer_tokens: 300,
        tokens_per_word,
        ..Options::default()
    };
    Ok(SimulatedEngine::start(options)?)
}

/// What the one system prompt cost.
fn system(engine: &Running) -> SystemPrompt {
    let counted = engine.stats();
    assert_eq!(counted.system_prompts.len(), 1);
    counted.system_prompts.into_values().next().unwrap_or_default()
}

#[tokio::test]
async fn five_thousand_requests_are_57_conversations_of_at_most_88() -> anyhow::Result<()> {
    // Words of 100 tokens: the counts are those of the original, at a hundredth of its bytes.
    let (engine, input) = (engine(8, 0, 100)?, input(5_000, 100));
    let up = Up::start(&[&engine.url()], 8, "").await?;
    let policy = [
        "--strategy=conversation",
        "--max-context=128000",
        "--system-tokens=2400",
        "--exchange-tokens=900",
        "--user-tokens=600",
    ];
    let done = up.caravan().submit(&input, &policy).await?;
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(done.audit(&input)?.answered, 5_000);
    let (batch, plan) = (done.batch(), &done.batch()["plan"]);
    assert_eq!(batch["chunks"], serde_json::json!({"total": 57, "done": 57, "running": 0}));
    assert_eq!((&plan["largest_chunk"], &plan["largest_context"]), (&Value::from(88), &Value::from(81_600)));
    assert_eq!(plan["prompt_tokens_without"], 15_000_000);
    assert_eq!(plan["prompt_tokens_with"], 3_136_800);
    assert_eq!(plan["prefix_evaluations"], 57);

    let counted = engine.stats();
    assert_eq!((counted.requests, counted.answers), (5_000, 5_000), "every request once");
    assert_eq!(counted.max_context, 81_600, "a full conversation, and never more");
    let system = system(&engine);
    assert_eq!((system.tokens, system.requests), (2_400, 5_000));
    assert!((1..=57).contains(&system.evaluated_in_full), "{system:?}");
    Ok(())
}

#[tokio::test]
async fn independent_requests_evaluate_their_prefix_once_a_slot() -> anyhow::Result<()> {
    const SLOTS: usize = 4;
    let (engine, input) = (engine(SLOTS, 5, 1)?, input(800, 1));
    let up = Up::start(&[&engine.url()], SLOTS, "").await?;
    up.api()?.serves("simulated").await?;
    let done = up.caravan().submit(&input, &["--max-chunk-requests", "40"]).await?;
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(done.audit(&input)?.answered, 800);
    assert!(done.batch()["chunks"]["total"].as_u64() >= Some(20), "{}", done.batch());
    let (counted, system) = (engine.stats(), system(&engine));
    assert_eq!((counted.requests, system.requests), (800, 800));
    // A lane that begins late finds a warm slot idle.
    assert!((1..=SLOTS as u64).contains(&system.evaluated_in_full), "{system:?}");
    assert_eq!(counted.evaluated_tokens, system.evaluated_in_full * 2_400 + 800 * 600);
    assert_eq!(done.batch()["usage"]["prompt_tokens"], 800 * 3_000);
    Ok(())
}
