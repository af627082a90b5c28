//! Engines that hang, that go on for ever, that die.

use caravan_proto::v1::engine::State;

use super::{
    host::{answered, doubtful, run},
    *,
};

/// Answers before the engine gets stuck.
const BEFORE: usize = 3;

/// Runs some chats, and waits until the lane asks for more.
async fn begin(peer: &mut Peer) {
    run(peer, &[Chunk::many("before", BEFORE)]).await;
    peer.wait_credits(2).await;
}

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
async fn pain_17_an_answer_without_end_ends_with_its_context() {
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

#[tokio::test]
async fn pain_17_a_runner_that_hangs_is_found_and_the_requests_are_answered() {
    let sim = Sim { slots: 1, ..Sim::default() };
    let naive = Naive::new(&sim);
    naive.ask("load it").await;
    naive.engine.freeze();
    assert!(naive.hangs_while_green().await && naive.loaded().await["name"] == "simulated:latest");

    let (host, mut peer) = Host::with(vec![sim], doubtful).await;
    begin(&mut peer).await;
    host.engine().freeze();
    peer.lease(Chunk::many("own", 3).lease("stuck")).await;
    peer.wait_results(BEFORE + 3).await;
    let stats = host.engine().stats();
    assert_eq!((answered(&peer), stats.loads), (BEFORE + 3, 2), "another runner took its place");
}

#[tokio::test]
async fn pain_11_a_deadlock_behind_a_green_api_is_found_and_waited_for() {
    let sim = Sim { slots: 1, ..Sim::default() };
    let naive = Naive::new(&sim);
    naive.ask("load it").await;
    naive.engine.deadlock();
    assert!(naive.hangs_while_green().await, "no health check shows it");

    let (host, mut peer) = Host::with(vec![sim], doubtful).await;
    begin(&mut peer).await;
    host.engine().deadlock();
    peer.lease(Chunk::many("own", 3).lease("stuck")).await;
    peer.wait("it is down, and why", |peer| {
        let engine = peer.heartbeats.last().map(|beat| beat.engines[0].clone()).unwrap_or_default();
        engine.state() == State::Down && engine.message.contains("answers about itself")
    })
    .await;
    host.engine().release();
    peer.wait_results(BEFORE + 3).await;
    assert_eq!(answered(&peer), BEFORE + 3, "no request is blamed");
}

#[tokio::test]
async fn pain_11_a_managed_engine_that_is_deadlocked_is_started_anew() {
    let naive = Process::spawn("").await;
    naive.client().ask("load it").await;
    naive.client().simulate("deadlock").await;
    assert!(naive.client().hangs_while_green().await);

    let home = Home::new();
    let (_host, mut peer) = Host::managing(1, home.managed("", json!({})), doubtful).await;
    begin(&mut peer).await;
    let first = home.process().await;
    first.client().simulate("deadlock").await;
    peer.lease(Chunk::many("own", 3).lease("stuck")).await;
    peer.wait_results(BEFORE + 3).await;
    assert_eq!(answered(&peer), BEFORE + 3);
    assert_ne!(home.process().await.pid, first.pid, "another process took its place");
}
