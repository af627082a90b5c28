//! Prompts that are cut, answers that are none, counts that say little, answers that are never the same.

use caravan_proto::v1::{Basis, engine::State};

use super::{host::run, *};

/// Far more than a context of 1,024 tokens.
const LONG: usize = 2_000;

fn small() -> Value {
    json!({"num_ctx": 1_024})
}

/// A chat that has gone on for longer than its context.
fn long_history() -> Value {
    json!([
        {"role": "system", "content": "Answer as the contract says."},
        {"role": "user", "content": text_of("contract", 900)},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": text_of("question", 300)},
    ])
}

fn in_small_context(messages: Value) -> Chunk {
    Chunk { context: 1_024, prompt_tokens: 1_200, ..Chunk::chat(messages) }
}

#[tokio::test]
async fn pain_02_a_history_cut_without_a_word_is_refused() {
    let naive = Naive::new(&Sim::default());
    let (status, answer) = naive.chat(long_history(), small()).await;
    assert_eq!((status, &answer["done"]), (200, &json!(true)));
    assert_eq!(answer["prompt_eval_count"], 306, "the contract was dropped");

    let (host, mut peer) = Host::new(Sim::default()).await;
    run(&mut peer, &[in_small_context(long_history())]).await;
    assert_eq!(outcome(&peer.results[0]), Err("context_length_exceeded".into()));
    assert_eq!(host.engine().stats().evaluated_tokens, 0, "nothing was evaluated");
}

/// A release that cuts whatever it is told.
fn old() -> Sim {
    Sim { release: Some("0.12.5".into()), ..Sim::default() }
}

async fn cuts(naive: &Naive) -> bool {
    let question = json!([{"role": "user", "content": text_of("word", LONG)}]);
    let body = json!({"model": "simulated", "stream": false, "truncate": false, "messages": question,
        "options": small()});
    let (status, answer) = naive.post("/api/chat", &body).await;
    status == 200 && answer["prompt_eval_count"].as_u64().unwrap() < 1_024
}

#[tokio::test]
async fn pain_03_a_release_that_cuts_prompts_gets_no_work() {
    assert!(cuts(&Naive::new(&old())).await, "though it was told not to");

    let (host, mut peer) = Host::new(old()).await;
    peer.wait("it is unfit", |peer| {
        let engine = peer.heartbeats.last().map(|beat| beat.engines[0].clone()).unwrap_or_default();
        engine.state() == State::Unfit && engine.message.contains("0.12.6 or newer")
    })
    .await;
    assert!(peer.credits.is_empty() && host.engine().stats().requests == 0);
}

#[tokio::test]
async fn pain_03_a_build_that_does_not_say_what_it_is_has_to_refuse_first() {
    let unknown = |release: Option<&str>| Sim {
        release: release.map(str::to_owned),
        reports: Some("0.0.0".into()),
        ..Sim::default()
    };
    let cutting = unknown(Some("0.12.5"));
    assert!(cuts(&Naive::new(&cutting)).await);
    let (_host, mut peer) = Host::new(cutting).await;
    peer.wait_credits(1).await;
    peer.lease(Chunk::many("own", 2).lease("a")).await;
    peer.wait("it goes back", |peer| peer.handed_back() == [("a", "model_unusable")]).await;
    let message = peer.fresh_heartbeat().await.engines[0].message.clone();
    assert!(message.contains("cuts prompts that are too long"), "{message}");

    let (_host, mut peer) = Host::new(unknown(None)).await;
    run(&mut peer, &[Chunk::many("own", 2)]).await;
    assert!(peer.results.iter().all(|result| outcome(result).is_ok()), "one that refuses gets work");
}

#[tokio::test]
async fn pain_04_overflow_is_an_error_whichever_way_the_template_takes() {
    let sim = Sim { native_models: vec!["native".into()], ..Sim::default() };
    let question = || json!([{"role": "user", "content": text_of("word", LONG)}]);
    let naive = Naive::new(&sim);
    let mut statuses = Vec::new();
    for model in ["simulated", "native"] {
        let body = json!({"model": model, "stream": false, "messages": question(), "options": small()});
        statuses.push(naive.post("/api/chat", &body).await.0);
    }
    assert_eq!(statuses, [200, 400], "the same request to two models");

    let (_host, mut peer) = Host::new(sim).await;
    let native = Chunk { model: "native", ..in_small_context(question()).lane(1) };
    run(&mut peer, &[in_small_context(question()), native]).await;
    for result in &peer.results {
        assert_eq!(outcome(result), Err("context_length_exceeded".into()));
    }
}

#[tokio::test]
async fn pain_15_an_answer_broken_off_is_never_a_success() {
    let repeats = || Rule::always(Fault::Repeat).containing("blue");
    let naive = Naive::new(&Sim::default());
    naive.engine.faults().add(repeats());
    let (status, answer) = naive.ask("blue?").await;
    assert_eq!((status, &answer["done"]), (200, &json!(false)));
    assert!(answer["message"]["content"].as_str().unwrap().ends_with("blue blue"));

    let (host, mut peer) = Host::with(vec![Sim::default()], |options| options.limits.tries = 2).await;
    host.engine().faults().add(repeats());
    let questions = ["a blue one?", "a red one?"].map(String::from);
    run(&mut peer, &[Chunk::chats("Be brief.", &questions)]).await;
    assert_eq!(outcome(&peer.results[0]), Err("engine_aborted".into()));
    assert!(outcome(&peer.results[1]).is_ok());
    assert_eq!(host.engine().stats().faults, 2, "it was tried again, so often");
}

#[tokio::test]
async fn pain_22_what_came_from_the_cache_is_told_where_the_engine_tells_and_never_made_up() {
    let system = text_of("rule", 200);
    let messages = |question: &str| json!([{"role": "system", "content": system}, {"role": "user", "content": question}]);
    for (release, counted, told) in [("0.33.0", 202, None), ("0.33.3", 202, Some(201)), ("0.30.0", 1, None)] {
        let sim = Sim { release: Some(release.into()), slots: 1, ..Sim::default() };
        let naive = Naive::new(&sim);
        naive.chat(messages("question one"), json!({})).await;
        let (_, answer) = naive.chat(messages("question two"), json!({})).await;
        assert_eq!(answer["prompt_eval_count"], json!(counted), "{release}: with no word of the cache");
        assert_eq!(answer["prompt_eval_cached_count"].as_u64(), told, "{release}");

        let (_host, mut peer) = Host::new(sim).await;
        let questions = ["question one", "question two"].map(String::from);
        run(&mut peer, &[Chunk { prompt_tokens: 202, ..Chunk::chats(&system, &questions) }]).await;
        let second = &peer.results[1];
        assert!(outcome(second).is_ok(), "{release}: few tokens are no proof of a cut prompt");
        let usage = second.usage.unwrap();
        let basis = if told.is_some() { Basis::Measured } else { Basis::Estimated };
        assert_eq!((usage.prompt_tokens, usage.cache_basis()), (202, basis), "{release}");
    }
}

#[tokio::test]
async fn pain_23_an_answer_is_asked_for_once_and_kept_to_the_byte() {
    let sim = Sim { nondeterministic: true, slots: 1, ..Sim::default() };
    let naive = Naive::new(&sim);
    let greedy = || json!({"temperature": 0, "seed": 1});
    let messages =
        || json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]);
    let first = naive.chat(messages(), greedy()).await.1["message"]["content"].clone();
    let again = naive.chat(messages(), greedy()).await.1["message"]["content"].clone();
    assert_ne!(first, again, "the same seed, another answer");

    let (mut host, mut peer) = Host::new(sim).await;
    let chunk = Chunk::many("seeded", 3);
    run(&mut peer, std::slice::from_ref(&chunk)).await;
    let before: Vec<_> = peer.results.iter().map(outcome).collect();
    let asked = host.engine().stats().requests;
    // Unacked results are told once more; they are not asked for once more.
    drop(peer);
    let mut peer = host.planner.welcome().await;
    peer.wait_results(3).await;
    assert_eq!(peer.results.iter().map(outcome).collect::<Vec<_>>(), before);
    assert_eq!(host.engine().stats().requests, asked);
}
