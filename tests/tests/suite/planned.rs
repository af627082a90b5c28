//! What a plan says, against what comes.

use caravan_proto::v1::{Basis, Batch, CreateBatchRequest};
use caravan_simulated_engine::{Options, SimulatedEngine, text_of};
use caravan_tests::{Api, Input, MODEL, Up, until};

/// The batch as it would be.
async fn preview(api: &Api, file: &str) -> Result<Batch, tonic::Status> {
    let batch = Some(Batch { input_file: file.to_owned(), ..Batch::default() });
    let request = CreateBatchRequest { batch, validate_only: true, ..Default::default() };
    api.batches().create_batch(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_plan_counts_the_tokens_that_the_engine_counts() -> anyhow::Result<()> {
    let options = Options { template_tokens: 7, tokens_per_word: 3, ..Options::default() };
    let engine = SimulatedEngine::start(options)?;
    let up = Up::start(&[&engine.url()], 4, "").await?;
    let api = up.api()?;
    api.serves(MODEL).await?;
    let mut input = Input::new();
    for index in 0..200 {
        let system = text_of(&format!("s{}", index % 3), 50);
        input = input.chat(&format!("r{index}"), &system, &text_of("q", 1 + index % 40));
    }
    let ended = api.ended(&api.create(&input, Batch::default()).await?.name).await?;
    assert_eq!(api.audit(&input, &ended).await?.answered, 200);
    let counted = engine.stats().prompt_tokens;

    // What a template adds is learned from a model that is loaded: by a batch, never for a plan.
    let file = api.upload(input.bytes()).await?.name;
    until(&format!("a plan counts {counted} tokens"), async || {
        let plan = preview(&api, &file).await.map_err(|status| status.to_string())?.plan.unwrap_or_default();
        let agrees = plan.prompt_tokens_without == counted as i64 && plan.token_basis() == Basis::Measured;
        if agrees { Ok(()) } else { Err(format!("{plan:?}")) }
    })
    .await?;
    assert_eq!(engine.stats().prompt_tokens, counted, "a preview runs nothing");
    Ok(())
}

#[tokio::test]
async fn a_date_before_a_shared_prompt_is_reported() -> anyhow::Result<()> {
    let engine = SimulatedEngine::start(Options::default())?;
    let up = Up::start(&[&engine.url()], 4, "").await?;
    let api = up.api()?;
    let shared = text_of("rule", 300);
    let mut input = Input::new();
    for index in 0..300 {
        let minute = format!("2026-11-24T{:02}:{:02}:00Z", index / 60, index % 60);
        let system = format!("The time is {minute}. {shared}");
        input = input.chat(&format!("r{index}"), &system, &format!("What is {index}?"));
    }
    let file = api.upload(input.bytes()).await?.name;
    let plan = preview(&api, &file).await?.plan.unwrap_or_default();
    let [found] = &plan.volatile_prefixes[..] else { panic!("{:?}", plan.volatile_prefixes) };
    assert_eq!((found.field.as_str(), found.kind.as_str()), ("body.messages[0].content", "time"));
    assert_eq!(found.requests, 300);
    // Where the hours and minutes begin to differ, behind "The time is 2026-11-24T0".
    assert!((12..30).contains(&found.offset), "{found:?}");
    // A text of `n` words that each read "rule-123" has some 9 bytes a word; all but one variant lose it.
    assert!(found.tokens > 299 * 300, "{found:?}");
    assert_eq!(engine.stats().requests, 0, "a preview runs nothing");
    Ok(())
}
