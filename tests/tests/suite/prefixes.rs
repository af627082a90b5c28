//! Shared prompts are read once, however the input mixes them: as the engines count it.

use caravan_proto::v1::{Batch, batch::State};
use caravan_simulated_engine::{Options, Running, SimulatedEngine, text_of};
use caravan_tests::{Api, Input, MODEL, Up};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use serde_json::json;

const ENGINES: usize = 8;
const SLOTS: usize = 4;
/// Requests of every input here.
const REQUESTS: usize = 2_048;
/// Tokens of a shared prompt, and of what a request adds to it.
const PREFIX: usize = 200;
const OWN: usize = 20;

/// Where a request has its prompt.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// In a message of the system.
    System,
    /// Before the question, in the only message.
    OneMessage,
}

/// `REQUESTS` on `prefixes` prompts, equally many on each, in an order drawn by `seed`.
fn mixed(prefixes: usize, form: Form, seed: u64) -> Input {
    let mut order: Vec<usize> = (0..REQUESTS).map(|request| request % prefixes).collect();
    order.shuffle(&mut StdRng::seed_from_u64(seed));
    let prompts: Vec<String> = (0..prefixes).map(|prefix| text_of(&format!("p{prefix}"), PREFIX)).collect();
    order.iter().enumerate().fold(Input::new(), |input, (index, prefix)| {
        let (id, question) = (format!("r{index}"), text_of(&format!("q{index}"), OWN));
        let prompt = &prompts[*prefix];
        match form {
            Form::System => input.chat(&id, prompt, &question),
            Form::OneMessage => {
                let whole = format!("{prompt}\n\n{question}");
                let body = json!({"model": MODEL, "messages": [{"role": "user", "content": whole}]});
                input.request(&id, "/v1/chat/completions", body, Some(&whole))
            }
        }
    })
}

async fn fleet() -> anyhow::Result<(Vec<Running>, Up)> {
    let options = || Options { slots: SLOTS, answer_ms: 40, threads: 1, ..Options::default() };
    let engines = (0..ENGINES).map(|_| SimulatedEngine::start(options())).collect::<Result<Vec<_>, _>>()?;
    let urls: Vec<String> = engines.iter().map(Running::url).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let up = Up::start(&urls, SLOTS, "").await?;
    up.api()?.serves_on(MODEL, ENGINES).await?;
    Ok((engines, up))
}

/// Runs an input, and holds what the engines counted against `floor` tokens.
async fn run(engines: &[Running], api: &Api, input: &Input, floor: usize) -> anyhow::Result<()> {
    engines.iter().for_each(Running::reset);
    let ended = api.ended(&api.create(input, Batch::default()).await?.name).await?;
    assert_eq!(ended.state(), State::Completed);
    assert_eq!(api.audit(input, &ended).await?.answered, REQUESTS);

    let counted: Vec<_> = engines.iter().map(Running::stats).collect();
    let evaluated: u64 = counted.iter().map(|engine| engine.evaluated_tokens).sum();
    let answers: Vec<u64> = counted.iter().map(|engine| engine.answers).collect();
    println!("evaluated {evaluated}, floor {floor}, answers by engine {answers:?}");
    assert!(evaluated as f64 <= 1.05 * floor as f64, "{evaluated} tokens, the floor is {floor}");
    assert_eq!(answers.iter().sum::<u64>(), REQUESTS as u64, "every request once");
    let even = (REQUESTS / ENGINES) as u64;
    assert!(answers.iter().all(|of| (even * 3 / 4..=even * 5 / 4).contains(of)), "{answers:?}");
    assert!(counted.iter().all(|engine| engine.max_in_flight <= SLOTS as u64));
    Ok(())
}

#[tokio::test]
async fn each_of_64_prompts_is_read_once_by_8_engines() -> anyhow::Result<()> {
    const PREFIXES: usize = 64;
    let (engines, up) = fleet().await?;
    let floor = PREFIXES * PREFIX + REQUESTS * OWN;
    for form in [Form::System, Form::OneMessage] {
        // A prompt that an engine has read for the other form does not help: roles differ.
        run(&engines, &up.api()?, &mixed(PREFIXES, form, 64), floor).await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_prompt_is_read_once_a_lane() -> anyhow::Result<()> {
    let (engines, up) = fleet().await?;
    let floor = ENGINES * SLOTS * PREFIX + REQUESTS * OWN;
    run(&engines, &up.api()?, &mixed(1, Form::System, 1), floor).await
}
