//! Engines that hang, that go on for ever, that die.

use super::{
    host::{answered, run},
    *,
};

#[tokio::test]
async fn pain_19_a_request_that_kills_the_runner_is_quarantined_and_the_others_are_answered() {
    let poison = || Rule::always(Fault::Crash).containing("POISON");
    let naive = Naive::new(&Sim::default());
    naive.engine.faults().add(poison());
    for _ in 0..5 {
        assert_eq!(naive.ask("POISON").await.0, 500, "a retry kills it again");
    }
    assert_eq!(naive.engine.stats().crashes, 5);

    let (host, mut peer) = Host::new(Sim::default()).await;
    host.engine().faults().add(poison());
    let questions: Vec<String> =
        (0..6).map(|n| if n == 2 { "POISON".into() } else { format!("fine {n}") }).collect();
    let chunks = [Chunk::chats("Be brief.", &questions), Chunk::many("own", 20).lane(1)];
    run(&mut peer, &chunks).await;
    let failed: Vec<_> = peer.results.iter().filter_map(|result| outcome(result).err()).collect();
    assert_eq!((failed, answered(&peer)), (vec!["request_kills_engine".to_owned()], 25));
    let crashes = host.engine().stats().crashes;
    assert!(crashes <= 3, "{crashes}: once in company, twice alone");
}

#[tokio::test]
async fn pain_17_an_answer_without_end_has_one_and_a_request_without_answer_too() {
    let endless = || Rule::always(Fault::Endless);
    let naive = Naive::new(&Sim::default());
    naive.engine.faults().add(endless());
    let asked = json!([{"role": "user", "content": "Count."}]);
    let (_, answer) = naive.chat(asked.clone(), json!({"num_ctx": 512})).await;
    assert_eq!(answer["eval_count"], 5_120, "ten contexts");
    let (_, answer) = naive.chat(asked.clone(), json!({"num_ctx": 512, "num_predict": 0})).await;
    assert_eq!(answer["eval_count"], 5_120, "0 is no limit");

    let (host, mut peer) = Host::new(Sim::default()).await;
    host.engine().faults().add(endless());
    let chunk = Chunk { context: 512, shared: json!({}), ..Chunk::chat(asked) };
    run(&mut peer, &[chunk]).await;
    let tokens = host.engine().stats().max_context;
    assert!(outcome(&peer.results[0]).is_ok() && tokens <= 512, "{tokens} tokens: the context is its end");
}
