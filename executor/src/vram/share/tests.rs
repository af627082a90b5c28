use std::slice::from_ref;

use super::*;

const GIB: u64 = 1 << 30;
/// 60 GiB of 80.
const CEILING: Ceiling = Ceiling::Share(0.75);

fn gpu(index: i32, used: u64, processes: &[(i64, u64)]) -> Gpu {
    let bytes = |gib: u64| i64::try_from(gib * GIB).ok();
    let process =
        |(pid, gib): &(i64, u64)| GpuProcess { pid: *pid, vram_bytes: bytes(*gib), ..Default::default() };
    Gpu {
        index,
        vram_used_bytes: bytes(used),
        vram_total_bytes: bytes(80),
        processes: processes.iter().map(process).collect(),
        ..Default::default()
    }
}

fn tenant(id: &str, pids: &[u32]) -> Tenant {
    let (gpus, used_before) = Default::default();
    Tenant { id: id.into(), gpus, used_before, processes: Some(pids.to_vec()), said: Some(0) }
}

fn shares(gpus: &mut [Gpu], tenants: &[Tenant]) -> Vec<Share> {
    divide(gpus, tenants, CEILING, &HashSet::new())
}

fn level(share: &Share) -> (i32, u64, Cause) {
    let level = share.level.as_ref().expect("a level");
    (level.gpu, level.used / GIB, level.cause)
}

#[test]
fn processes_are_told_apart_and_an_engine_is_where_its_processes_are() {
    let mut gpus = [gpu(0, 30, &[(5, 20), (9, 10)]), gpu(1, 12, &[(7, 12)])];
    let both = shares(&mut gpus, &[tenant("a", &[4, 5]), tenant("b", &[7])]);
    let engines: Vec<_> = gpus.iter().flat_map(|gpu| &gpu.processes).map(|p| p.engine.as_str()).collect();
    assert_eq!(engines, ["a", "", "b"]);
    assert_eq!((both[0].gpus.as_slice(), both[0].bytes), (&[0][..], Some(20 * GIB)));
    assert_eq!((both[1].gpus.as_slice(), both[1].bytes), (&[1][..], Some(12 * GIB)));
    let level = both[0].level.as_ref().unwrap();
    assert_eq!((level.used, level.ceiling, level.total), (30 * GIB, 60 * GIB, 80 * GIB));
    assert_eq!(level.others, "process 9 takes 10.0 GiB");
}

#[test]
fn an_engine_with_nothing_loaded_keeps_its_gpu_or_has_the_only_one() {
    let idle = tenant("a", &[4]);
    assert_eq!(shares(&mut [gpu(0, 1, &[])], from_ref(&idle))[0].gpus, [0]);
    let two = || [gpu(0, 1, &[]), gpu(1, 1, &[])];
    assert_eq!(shares(&mut two(), from_ref(&idle))[0], Share { bytes: None, ..Share::default() });
    let before = Tenant { used_before: vec![1], ..idle.clone() };
    assert_eq!(shares(&mut two(), from_ref(&before))[0].gpus, [1]);
    let configured = Tenant { gpus: vec![0], ..before };
    let share = &shares(&mut two(), &[configured])[0];
    assert_eq!((share.gpus.as_slice(), share.bytes), (&[0][..], Some(0)));
}

#[test]
fn an_engine_is_the_cause_where_it_would_be_too_much_without_the_others() {
    let cases = [
        // Used, its own, another's: cause.
        (70, 65, 0, Cause::Engine),
        (70, 62, 8, Cause::Engine),
        (70, 10, 60, Cause::Other),
        (70, 55, 15, Cause::Other),
        // What nobody is named for is somebody's, but for what the driver has for itself.
        (70, 40, 0, Cause::Other),
        (61, 60, 0, Cause::Engine),
    ];
    for (used, own, another, cause) in cases {
        let mut gpus = [gpu(0, used, &[(5, own), (9, another)])];
        assert_eq!(
            level(&shares(&mut gpus, &[tenant("a", &[5])])[0]),
            (0, used, cause),
            "{used} {own} {another}"
        );
    }
}

#[test]
fn of_two_engines_the_larger_is_the_cause() {
    let mut gpus = [gpu(0, 70, &[(5, 40), (7, 30)])];
    let both = shares(&mut gpus, &[tenant("a", &[5]), tenant("b", &[7])]);
    assert_eq!([level(&both[0]).2, level(&both[1]).2], [Cause::Engine, Cause::Other]);
    assert_eq!(both[1].level.as_ref().unwrap().others, "process 5 of a takes 40.0 GiB");
    // Of two alike it is the first, not both.
    let mut gpus = [gpu(0, 70, &[(5, 35), (7, 35)])];
    let both = shares(&mut gpus, &[tenant("a", &[5]), tenant("b", &[7])]);
    assert_eq!([level(&both[0]).2, level(&both[1]).2], [Cause::Engine, Cause::Other]);
}

#[test]
fn of_several_gpus_the_fullest_counts() {
    let mut gpus = [gpu(0, 50, &[(5, 50)]), gpu(1, 62, &[(5, 62)])];
    let share = &shares(&mut gpus, &[tenant("a", &[5])])[0];
    assert_eq!((share.gpus.as_slice(), share.bytes), (&[0, 1][..], Some(112 * GIB)));
    assert_eq!(level(share), (1, 62, Cause::Engine));
}

#[test]
fn processes_of_another_namespace_are_nobodys_and_the_engines_word_counts() {
    let said = Tenant { said: Some(64 * GIB), ..tenant("a", &[5]) };
    let unseen = HashSet::from([31_007]);
    let mut gpus = [gpu(0, 65, &[(31_007, 65)])];
    let share = divide(&mut gpus, from_ref(&said), CEILING, &unseen).remove(0);
    assert!(share.is_said && share.bytes == Some(64 * GIB));
    assert_eq!(gpus[0].processes, [], "it may be the engine's");
    assert!(gpus[0].unavailable.contains("another namespace"));
    // What it said before its unload is no longer so.
    let mut gpus = [gpu(0, 2, &[])];
    let share = divide(&mut gpus, &[said], CEILING, &unseen).remove(0);
    assert!(!share.is_said && share.bytes == Some(0));
}

#[test]
fn what_cannot_be_known_is_not_guessed() {
    let silent = Tenant { said: None, ..tenant("a", &[5]) };
    let unseen = HashSet::from([31_007]);
    let share = divide(&mut [gpu(0, 70, &[(31_007, 70)])], from_ref(&silent), CEILING, &unseen).remove(0);
    assert_eq!((share.bytes, level(&share).2), (None, Cause::Unknown));
    let anothers = Tenant { processes: None, ..silent };
    let share = shares(&mut [gpu(0, 70, &[])], &[anothers]).remove(0);
    assert_eq!((share.bytes, level(&share).2), (None, Cause::Unknown));
    let mut own = gpu(0, 70, &[(5, 1)]);
    own.processes[0].vram_bytes = None;
    let share = shares(&mut [own], &[tenant("a", &[5])]).remove(0);
    assert_eq!((share.bytes, level(&share).2), (None, Cause::Unknown));
    let unread = Gpu { index: 0, unavailable: "gone".into(), ..Gpu::default() };
    assert_eq!(shares(&mut [unread], &[tenant("a", &[5])])[0].level, None);
}

#[test]
fn a_split_gpu_is_not_watched() {
    let split = Gpu { mig: Some(true), ..gpu(0, 79, &[(5, 79)]) };
    let share = shares(&mut [split], &[tenant("a", &[5])]).remove(0);
    assert_eq!((share.level, share.split), (None, Some(0)));
}
