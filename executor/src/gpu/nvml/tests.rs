//! The wrapper against a library that answers what a test says.

use caravan_simulated_nvml::{Card, SimulatedNvml};

use super::*;

const GIB: u64 = 1 << 30;

fn process(pid: i64, bytes: Option<u64>) -> GpuProcess {
    GpuProcess { pid, vram_bytes: bytes.map(|bytes| bytes.try_into().unwrap()), engine: String::new() }
}

#[test]
fn everything_is_read_of_each_gpu() {
    let nvml = SimulatedNvml::build().unwrap();
    let small = Card { used: 3 * GIB, total: 24 * GIB, compute: &[(11, GIB), (12, 2 * GIB)] };
    nvml.show(&[small, Card { used: 0, total: 80 * GIB, compute: &[] }]).unwrap();
    let gpus = Nvml::new(nvml.path()).sample().unwrap();
    let bytes = |gib: u64| Some(i64::try_from(gib * GIB).unwrap());
    let first = Gpu {
        index: 0,
        name: "Simulated GPU".into(),
        uuid: "GPU-0".into(),
        vram_used_bytes: bytes(3),
        vram_total_bytes: bytes(24),
        vram_free_bytes: bytes(21),
        utilization_percent: Some(40),
        temperature_celsius: Some(51),
        power_watts: Some(301.5),
        driver: "570.86.15".into(),
        mig: Some(false),
        processes: vec![process(12, Some(2 * GIB)), process(11, Some(GIB))],
        unavailable: String::new(),
    };
    let second = Gpu {
        index: 1,
        uuid: "GPU-1".into(),
        vram_used_bytes: Some(0),
        vram_total_bytes: bytes(80),
        vram_free_bytes: bytes(80),
        processes: Vec::new(),
        ..first.clone()
    };
    assert_eq!(gpus, [first, second]);
}

#[test]
fn what_fails_has_its_reason_and_hides_nothing_else() {
    let nvml = SimulatedNvml::build().unwrap();
    nvml.say("count=2\n0.name=Old GPU\n0.used=5\n0.total=8\n0.power=!4\n0.compute=7:?\n1.handle=!15\n")
        .unwrap();
    let gpus = Nvml::new(nvml.path()).sample().unwrap();
    let (old, lost) = (&gpus[0], &gpus[1]);
    assert_eq!((old.vram_used_bytes, old.vram_free_bytes), (Some(5), Some(3)));
    assert_eq!((old.power_watts, old.temperature_celsius, old.utilization_percent), (None, None, None));
    assert_eq!((old.driver.as_str(), old.mig), ("", Some(false)), "one that cannot be split is not split");
    assert_eq!(old.processes, [process(7, None)]);
    for missing in ["uuid: ", "driver: ", "utilization: ", "temperature: ", "graphics processes: "] {
        assert!(
            old.unavailable.contains(&format!("{missing}the requested operation")),
            "{}",
            old.unavailable
        );
    }
    assert!(old.unavailable.contains("power: the current user does not have permission"));
    assert!(!old.unavailable.contains("memory"), "{}", old.unavailable);
    assert_eq!((lost.index, lost.vram_used_bytes), (1, None));
    assert!(lost.unavailable.contains("fell off the bus"), "{}", lost.unavailable);
}

#[test]
fn a_split_gpu_is_said_to_be_split_and_its_processes_are_counted_once() {
    let nvml = SimulatedNvml::build().unwrap();
    // 5 runs on two instances; 6 computes and draws.
    nvml.say("count=1\n0.mig=1\n0.compute=5:10 5:20 6:40\n0.graphics=6:40 9:1\n").unwrap();
    let gpu = Nvml::new(nvml.path()).sample().unwrap().remove(0);
    assert_eq!(gpu.mig, Some(true));
    assert_eq!(gpu.processes, [process(6, Some(40)), process(5, Some(30)), process(9, Some(1))]);
    assert_eq!((gpu.vram_used_bytes, gpu.vram_total_bytes), (None, None), "never 0");
}

#[test]
fn more_processes_than_the_wrapper_expected_are_read_at_the_next_call() {
    let nvml = SimulatedNvml::build().unwrap();
    let many: Vec<_> = (1..=40).map(|pid| (pid, u64::from(pid))).collect();
    nvml.show(&[Card { used: 1, total: 2, compute: &many }]).unwrap();
    let gpu = Nvml::new(nvml.path()).sample().unwrap().remove(0);
    assert_eq!((gpu.processes.len(), gpu.processes[0].pid), (40, 40));
}

#[test]
fn a_library_that_is_not_there_or_fails_is_a_reason_and_is_looked_for_again() {
    let nvml = SimulatedNvml::build().unwrap();
    nvml.say("init=!9\n").unwrap();
    let mut reader = Nvml::new(nvml.path());
    assert_eq!(reader.sample(), Err("NVIDIA driver is not loaded".into()));
    nvml.show(&[Card::default()]).unwrap();
    assert_eq!(reader.sample().unwrap().len(), 1, "the driver was loaded in between");
    nvml.say("count=!1\n").unwrap();
    assert_eq!(reader.sample(), Err("NVML was not first initialized with `Nvml::init()`".into()));
    nvml.uninstall().unwrap();
    assert_eq!(reader.sample(), Err("libnvidia-ml.so.1 not found".into()));
}

#[test]
fn a_file_that_is_no_library_is_a_reason() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no library").unwrap();
    let why = Nvml::new(file.path()).sample().unwrap_err();
    assert!(why.contains("cannot be loaded"), "{why}");
}
