//! Calibrations of a simulated engine: what it was told to be has to come out.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use caravan_proto::v1::{Basis, Gpu, GpuProcess, Profile, memory_fit::Source};
use caravan_simulated_engine::{Fault, Options as Simulation, Rule, Running, SimulatedEngine};

use super::{Error, Logged, Options, Subject, calibrate, host::Host, stage::Attached};
use crate::{
    engine::{self, ollama::Ollama},
    gpu::Sample,
    options::{Ceiling, Slots},
};

/// A token of the simulated model: layers × heads × (key + value) × f16.
const TOKEN: f64 = 131_072.0;

/// A host whose GPU, if it has one, holds what the engine says that it takes.
#[derive(Debug, Default)]
struct Simulated {
    /// Bytes of VRAM and bytes that others take of it.
    gpu: Option<(i64, i64)>,
    url: String,
}

#[async_trait]
impl Host for Simulated {
    async fn gpus(&self) -> Sample {
        let Some((total, others)) = self.gpu else { return Err("no GPU".to_owned()) };
        let ps: serde_json::Value =
            reqwest::get(format!("{}/api/ps", self.url)).await.unwrap().json().await.unwrap();
        let own = ps["models"][0]["size_vram"].as_i64().unwrap_or(0);
        let process = GpuProcess { pid: 7, vram_bytes: Some(own), ..Default::default() };
        Ok(vec![Gpu {
            name: "Simulated".into(),
            driver: "1.0".into(),
            vram_used_bytes: Some(own + others),
            vram_total_bytes: Some(total),
            processes: if own > 0 { vec![process] } else { Vec::new() },
            ..Default::default()
        }])
    }

    fn engine_pids(&self) -> Vec<u32> {
        vec![7]
    }

    fn resident(&self, _: &[u32]) -> Option<u64> {
        None
    }

    fn available(&self) -> Option<u64> {
        Some(1 << 40)
    }
}

fn simulation() -> Simulation {
    Simulation {
        slots: 2,
        prefill: 20_000.0,
        decode: 2_000.0,
        answer_tokens: 10_000,
        template_tokens: 3,
        report_cached: true,
        max_context: 32_768,
        ..Simulation::default()
    }
}

fn subject(engine: &Running, slots: u32, gpu: Option<(i64, i64)>) -> Subject {
    let driver = Ollama::new(&engine.url().parse().unwrap(), engine::Options::default()).unwrap();
    Subject {
        stage: Box::new(Attached::new(Arc::new(driver), slots.to_string().parse().unwrap_or(Slots::Auto))),
        model: "simulated".into(),
        host: Box::new(Simulated { gpu, url: engine.url() }),
        host_name: "test-host".into(),
    }
}

async fn calibrated(simulation: Simulation, options: &Options) -> Profile {
    let slots = u32::try_from(simulation.slots).unwrap();
    let engine = SimulatedEngine::start(simulation).unwrap();
    calibrate(subject(&engine, slots, None), options, &Logged).await.unwrap()
}

fn within(seconds: u64) -> Options {
    Options { budget_seconds: seconds, ..Options::default() }
}

fn near(found: f64, wanted: f64, share: f64) -> bool {
    (found / wanted - 1.0).abs() <= share
}

#[tokio::test]
async fn what_the_engine_was_told_to_be_comes_out() {
    let profile = calibrated(simulation(), &within(30)).await;
    assert_eq!((profile.slots, profile.max_context, profile.model_context), (2, 32_768, 32_768));
    assert_eq!((profile.host.as_str(), profile.schema), ("test-host", 1));
    assert!(!profile.model_digest.is_empty() && !profile.engine_version.is_empty());
    assert_eq!(profile.left_out, [""; 0]);

    let memory = profile.memory.as_ref().unwrap();
    assert_eq!(memory.source(), Source::SizeVram);
    assert!(near(memory.token_bytes, TOKEN, 0.001) && memory.formula_token_bytes == TOKEN, "{memory:?}");
    assert!(near(memory.fixed_bytes, 8_205_474_201.0, 0.001), "{memory:?}");

    let speeds: Vec<_> = profile.speeds.iter().map(|point| point.slots).collect();
    assert_eq!(speeds, [1, 2]);
    assert!(profile.speeds[1].knee, "its slots do not slow each other down");
    assert!(near(profile.decode_tokens_per_second, 2_000.0, 0.1), "{:?}", profile.speeds);
    assert!(near(profile.prefill_tokens_per_second, 20_000.0, 0.2), "{:?}", profile.speeds);
    assert!(profile.request_seconds < 0.05, "{:?}", profile.speeds);

    assert!(
        profile.reuse.len() >= 5 && profile.reuse.iter().all(|point| point.reused),
        "{:?}",
        profile.reuse
    );
    assert!(profile.reuse.iter().all(|point| point.basis() == Basis::Measured));
    let template = profile.template.unwrap();
    assert_eq!((template.conversation, template.system, template.exchange), (3, 3, 6));
}

#[tokio::test]
async fn without_a_count_of_the_cache_reuse_is_estimated_from_time() {
    let silent = Simulation { report_cached: false, prefill: 5_000.0, ..simulation() };
    let profile = calibrated(silent, &within(30)).await;
    let points = &profile.reuse;
    assert!(points.iter().all(|point| point.basis() == Basis::Estimated), "{points:?}");
    assert!(points.iter().filter(|point| point.prefix_tokens >= 512).all(|point| point.reused), "{points:?}");
    // Of the order of what it is: so fast an engine is not measured well on a busy machine.
    assert!(near(profile.prefill_tokens_per_second, 5_000.0, 0.6), "{:?}", profile.speeds);
}

#[tokio::test]
async fn the_ceiling_holds_whatever_the_model_could() {
    let gib = |gib: i64| gib << 30;
    let engine = SimulatedEngine::start(simulation()).unwrap();
    let options = Options { vram_ceiling: Ceiling::Share(0.5), ..within(20) };
    let profile = calibrate(subject(&engine, 2, Some((gib(40), gib(5)))), &options, &Logged).await.unwrap();
    let memory = profile.memory.as_ref().unwrap();
    assert_eq!(
        (memory.source(), profile.gpu.as_str(), profile.driver.as_str()),
        (Source::Nvml, "Simulated", "1.0")
    );
    assert_eq!(profile.vram_ceiling_bytes, gib(20));
    // 20 GiB, of which others have 5, the weights 7.64 and 0.5 stay free.
    let takes = 8_205_474_201.0 + 2.0 * profile.max_context as f64 * TOKEN;
    let room = (gib(15) - (512 << 20)) as f64;
    assert!(takes <= room, "{}", profile.max_context);
    assert!(takes + 2.0 * 512.0 * TOKEN > room, "as large as may be: {}", profile.max_context);
}

#[tokio::test]
async fn a_ceiling_in_bytes_holds_where_the_gpu_cannot_be_read() {
    let options = Options { vram_ceiling: Ceiling::Bytes(12 << 30), ..within(20) };
    let profile = calibrated(simulation(), &options).await;
    let takes = 8_205_474_201.0 + 2.0 * profile.max_context as f64 * TOKEN;
    assert!(profile.max_context >= 8_192 && takes < (11_u64 << 30) as f64, "{}", profile.max_context);
}

#[tokio::test]
async fn a_part_on_the_cpu_is_refused() {
    let tight = Simulation { vram: Some(11 << 30), ..simulation() };
    let profile = calibrated(tight, &within(20)).await;
    let memory = profile.memory.as_ref().unwrap();
    assert!(memory.points.iter().any(|point| point.refused.contains("on the CPU")), "{memory:?}");
    let takes = 8_205_474_201.0 + 2.0 * profile.max_context as f64 * TOKEN;
    assert!(profile.max_context >= 4_096 && takes <= (11_u64 << 30) as f64, "{}", profile.max_context);
}

#[tokio::test]
async fn what_there_is_no_time_for_is_left_out_and_measured_the_next_time() {
    let directory = tempfile::tempdir().unwrap();
    let slow = Simulation { prefill: 8_000.0, decode: 1_000.0, max_context: 4_096, ..simulation() };
    let engine = SimulatedEngine::start(slow).unwrap();
    let state_dir = Some(directory.path().to_owned());
    let run = async |seconds| {
        let options = Options { state_dir: state_dir.clone(), ..within(seconds) };
        let began = std::time::Instant::now();
        let profile = calibrate(subject(&engine, 2, None), &options, &Logged).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(seconds + 5), "{:?}", began.elapsed());
        profile
    };
    let first = run(2).await;
    assert!(!first.left_out.is_empty());
    let second = run(30).await;
    assert_eq!(second.left_out, [""; 0]);
    assert!(second.speeds.iter().all(|point| point.requests > 0) && second.speeds.len() == 2);
    let shortest = |profile: &Profile| {
        let points = &profile.memory.as_ref().unwrap().points;
        points.iter().filter(|point| point.context == 2_048).count()
    };
    assert_eq!((shortest(&first), shortest(&second)), (1, 1), "measured once");
    assert!(second.duration.unwrap().seconds > first.duration.unwrap().seconds, "both runs' time");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left to do");
}

#[tokio::test]
async fn an_engine_that_dies_is_an_error_and_what_was_measured_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let engine = SimulatedEngine::start(simulation()).unwrap();
    let options = Options { state_dir: Some(directory.path().to_owned()), ..within(30) };
    engine.faults().add(Rule::always(Fault::Exit).nth(20));
    let error = calibrate(subject(&engine, 2, None), &options, &Logged).await.unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_frozen_engine_ends_with_the_budget() {
    let engine = SimulatedEngine::start(simulation()).unwrap();
    engine.faults().add(Rule::always(Fault::Hang));
    let began = std::time::Instant::now();
    let profile = calibrate(subject(&engine, 2, None), &within(3), &Logged).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(profile.speeds.is_empty() && profile.memory.is_some());
    assert!(
        profile.left_out.iter().any(|what| what.contains("speed with 2 lanes")),
        "{:?}",
        profile.left_out
    );
}

#[tokio::test]
async fn what_cannot_be_calibrated_says_why() {
    let simulation = Simulation { embedding_models: vec!["embed".into()], ..simulation() };
    let engine = SimulatedEngine::start(simulation).unwrap();
    let of = |model: &str| Subject { model: model.into(), ..subject(&engine, 2, None) };
    let why = async |model: &str| calibrate(of(model), &within(3), &Logged).await.unwrap_err().to_string();
    assert!(
        why("none").await.contains("has no model none; it has simulated:latest"),
        "{}",
        why("none").await
    );
    assert!(why("embed").await.contains("answers no chats"));
    engine.stop();
    assert!(why("simulated").await.contains("does not answer"));
}
