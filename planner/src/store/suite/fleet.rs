//! Executors and profiles.

use caravan_proto::name::ProfileId;

use super::*;

pub(in crate::store) async fn executors_are_remembered(db: &impl Backend) {
    let store = db.open().await;
    let seen = |id, host: &str, last_seen| Executor {
        id,
        detail: v1::Executor { host: host.into(), ..Default::default() },
        last_seen,
    };
    let (one, two) = (ExecutorId::now(), ExecutorId::now());
    store.put_executor(&seen(one, "a", 10)).await.unwrap();
    store.put_executor(&seen(two, "b", 20)).await.unwrap();
    store.put_executor(&seen(one, "c", 30)).await.unwrap();
    store.put_executor(&seen(one, "late", 25)).await.unwrap();
    assert_eq!(store.executors(0).await.unwrap(), [seen(one, "c", 30), seen(two, "b", 20)]);
    assert_eq!(store.executors(30).await.unwrap(), [seen(one, "c", 30)]);
    assert_eq!(store.executors(31).await.unwrap(), []);
}

pub(in crate::store) async fn the_newest_profile_stays(db: &impl Backend) {
    let store = db.open().await;
    let profile = |model: &str, gpu: &str, slots, measured| Profile {
        id: ProfileId::now(),
        detail: v1::Profile { model: model.into(), gpu: gpu.into(), slots, ..Default::default() },
        measured,
    };
    let (old, new) = (profile("m", "h", 1, 10), profile("m", "h", 2, 20));
    let (other, first) = (profile("m", "i", 3, 15), profile("a", "h", 4, 1));
    for (put, stands) in [(&new, &new), (&old, &new), (&other, &other), (&first, &first)] {
        assert_eq!(store.put_profile(put).await.unwrap(), *stands);
    }
    assert_eq!(store.profiles().await.unwrap(), [first.clone(), new.clone(), other.clone()]);
    let same = Profile { id: ProfileId::now(), ..new.clone() };
    assert_eq!(store.put_profile(&same).await.unwrap(), new, "told again, it keeps its name");
    let newest = profile("m", "h", 5, 30);
    store.put_profile(&newest).await.unwrap();
    assert_eq!(store.profiles().await.unwrap(), [first, newest, other]);
}

pub(in crate::store) async fn a_profile_is_of_one_engine_and_gpu(db: &impl Backend) {
    let store = db.open().await;
    let base = v1::Profile { model: "m".into(), ..Default::default() };
    let all = [
        base.clone(),
        v1::Profile { model_digest: "d".into(), ..base.clone() },
        v1::Profile { engine_kind: 1, ..base.clone() },
        v1::Profile { engine_version: "1".into(), ..base.clone() },
        v1::Profile { gpu: "g".into(), ..base.clone() },
        v1::Profile { driver: "570".into(), ..base.clone() },
        v1::Profile { kv_type: "q8_0".into(), ..base.clone() },
        v1::Profile { swa_full: true, ..base },
    ];
    for (measured, detail) in (1..).zip(all.clone()) {
        let profile = Profile { id: ProfileId::now(), detail, measured };
        assert_eq!(store.put_profile(&profile).await.unwrap(), profile);
    }
    let kept: Vec<_> = store.profiles().await.unwrap().into_iter().map(|profile| profile.detail).collect();
    assert!(kept.iter().eq(all.iter().rev()), "{kept:?}");
}

pub(in crate::store) async fn what_a_file_became_is_remembered(db: &impl Backend) {
    let store = db.open().await;
    for (file, digest) in [("f", "2"), ("f", "1"), ("g", "3"), ("f", "2")] {
        store.put_import(file, digest).await.unwrap();
    }
    assert_eq!(store.imports("f", 100).await.unwrap(), ["1", "2"]);
    assert_eq!(store.imports("f", 1).await.unwrap(), ["1"]);
    assert_eq!(store.imports("h", 100).await.unwrap(), [""; 0]);
}

pub(in crate::store) async fn the_latest_answers_weigh_most(db: &impl Backend) {
    let store = db.open().await;
    assert_eq!(store.answers("m", true).await.unwrap(), None);
    for (model, stated, allowed, given) in
        [("m", true, 1_000, 100), ("n", true, 10, 10), ("m", false, 7, 8), ("m", true, 500, 500)]
    {
        store.learn_answers(model, stated, Answers { allowed, given }).await.unwrap();
    }
    assert_eq!(store.answers("m", true).await.unwrap(), Some(Answers { allowed: 1_000, given: 550 }));
    assert_eq!(store.answers("m", false).await.unwrap(), Some(Answers { allowed: 7, given: 8 }));
}
