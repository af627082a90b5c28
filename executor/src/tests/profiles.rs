//! Profiles that are kept on this host reach the planner, where they hold.

use caravan_proto::{
    json::to_value,
    v1::{Lease, Profile, engine::Kind},
};

use super::{Rig, engine::Scripted, lease};
use crate::engine::Description;

fn profile(version: &str, model: &str) -> Profile {
    Profile {
        model: model.into(),
        engine_kind: Kind::Ollama.into(),
        engine_version: version.into(),
        slots: 2,
        max_context: 4_096,
        ..Default::default()
    }
}

/// As the engine comes to be known, and again to the next planner.
#[tokio::test]
async fn a_planner_gets_the_profiles_that_hold() {
    let directory = tempfile::tempdir().unwrap();
    for (name, profile) in [("a", profile("1", "m")), ("b", profile("2", "m")), ("c", profile("1", "gone"))] {
        std::fs::write(directory.path().join(format!("{name}.json")), to_value(&profile).to_string())
            .unwrap();
    }
    let engine = Scripted::default();
    let description = engine.description();
    engine.set_description(Ok(Description { version: "1".into(), ..description }));
    let path = directory.path().to_owned();
    let (mut rig, mut peer) = Rig::with(2, engine, |options| options.profiles_dir = Some(path)).await;
    let with_greeting = peer.hello.take().unwrap().profiles;
    if with_greeting.is_empty() {
        peer.wait("a profile", |peer| !peer.profiles.is_empty()).await;
        assert_eq!(peer.profiles, [profile("1", "m")]);
    } else {
        assert_eq!(with_greeting, [profile("1", "m")]);
    }
    peer.fresh_heartbeat().await;
    assert!(peer.profiles.len() <= 1, "given once");
    drop(peer);
    let next = rig.planner.welcome().await;
    assert_eq!(next.hello.unwrap().profiles, [profile("1", "m")]);
}

/// Before the first request, and only once.
#[tokio::test]
async fn a_model_is_calibrated_before_its_first_use_where_that_is_allowed() {
    let (rig, mut peer) = Rig::with(2, Scripted::default(), |options| {
        options.calibration.first_use = true;
        options.calibration.budget_seconds = 2;
        options.calibration.max_context = Some(2_048);
    })
    .await;
    peer.wait_credits(2).await;
    peer.lease(Lease { lane: 0, ..lease("a", &["a1"]) }).await;
    peer.lease(Lease { lane: 1, ..lease("b", &["b1"]) }).await;
    peer.wait_results(2).await;
    peer.wait("a profile", |peer| !peer.profiles.is_empty()).await;
    assert_eq!((peer.profiles.len(), peer.profiles[0].model.as_str()), (1, "m"));
    let asked = rig.engine.asked();
    let first = asked.iter().position(|text| text == "a1" || text == "b1").unwrap();
    assert!(first > 0 && asked[first..].iter().all(|text| text == "a1" || text == "b1"), "{asked:?}");
}
