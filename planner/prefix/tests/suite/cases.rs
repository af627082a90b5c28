//! Batches as people send them.

use caravan_prefix::volatile::{Kind, Limits, Watch};

use crate::support::{Prompt, group, text};

const MIN_GAIN: u64 = 1_024;

#[test]
fn interleaved_prefixes_are_told_apart() {
    let prompts: Vec<Prompt> = (0..64 * 32)
        .map(|request| Prompt::new(&[&text(request * 37 % 64, 2_000), &text(1_000 + request, 300)]))
        .collect();
    let (grouping, of) = group(&prompts, MIN_GAIN);
    assert_eq!(grouping.groups.len(), 64);
    assert!(grouping.groups.iter().all(|group| group.requests == 32));
    assert!(grouping.groups.iter().all(|group| (group.shared.bytes, group.shared.messages) == (2_000, 1)));
    assert!((0..64).all(|request| of[request] == request as u32), "in the order of their first request");
}

#[test]
fn an_instruction_at_the_start_of_one_message_is_found() {
    let instruction = text(1, 6_000);
    let prompts: Vec<Prompt> =
        (0..50).map(|request| Prompt::new(&[&format!("{instruction}{}", text(2 + request, 900))])).collect();
    let (grouping, _) = group(&prompts, MIN_GAIN);
    let [group] = grouping.groups[..] else { panic!("{grouping:?}") };
    assert_eq!((group.requests, group.shared.messages), (50, 0));
    assert!((5_250..=6_000).contains(&group.shared.bytes), "{}", group.shared.bytes);
}

#[test]
fn a_system_prompt_before_different_histories_is_found() {
    let system = text(1, 3_000);
    let prompts: Vec<Prompt> = (0..20)
        .map(|request| {
            let turns: Vec<String> =
                (0..=request % 5).map(|turn| text(10 + request * 9 + turn, 400)).collect();
            let mut messages = vec![system.as_str()];
            messages.extend(turns.iter().map(String::as_str));
            Prompt::new(&messages)
        })
        .collect();
    let (grouping, _) = group(&prompts, MIN_GAIN);
    let [group] = grouping.groups[..] else { panic!("{grouping:?}") };
    assert_eq!((group.requests, group.shared.messages, group.shared.bytes), (20, 1, 3_000));
}

#[test]
fn prefixes_with_a_common_beginning_are_neighbours() {
    let common = text(1, 9_000);
    let systems = [text(2, 3_000), text(3, 3_000)].map(|rest| format!("{common}{rest}"));
    let other = text(4, 12_000);
    let prompts: Vec<Prompt> = (0..300)
        .map(|request| {
            let system = [&systems[0], &other, &systems[1]][request % 3];
            Prompt::new(&[system, &text(10 + request as u32, 200)])
        })
        .collect();
    let (grouping, of) = group(&prompts, MIN_GAIN);
    assert_eq!(grouping.groups.len(), 3);
    assert!(grouping.groups.iter().all(|group| group.shared.bytes == 12_000 && group.requests == 100));
    assert_eq!(of[..3], [0, 2, 1]);
    let outer: Vec<u32> = grouping.groups.iter().filter_map(|group| Some(group.outer?.bytes)).collect();
    assert!(outer[0] > 8_000 && outer[0] <= 9_000 && outer[1] == 0, "{outer:?}");
}

#[test]
fn hairs_are_not_split() {
    let system = text(1, 8_000);
    let prompts: Vec<Prompt> = (0..200)
        .map(|request| Prompt::new(&[&system, &text(request / 2, 400), &text(1_000 + request, 100)]))
        .collect();
    let (grouping, _) = group(&prompts, 0);
    assert_eq!(grouping.groups.len(), 1, "a pair shares 400 bytes more and would evaluate 8,400 again");
    let short: Vec<Prompt> = (0..200)
        .map(|request| Prompt::new(&[&text(request / 2, 400), &text(1_000 + request, 100)]))
        .collect();
    assert_eq!(group(&short, 0).0.groups.len(), 100);
    assert_eq!(group(&short, MIN_GAIN).0.groups.len(), 1);
}

#[test]
fn what_shares_nothing_stays_with_its_root_key() {
    let mut prompts: Vec<Prompt> = (0..10).map(|request| Prompt::new(&[&text(request, 700)])).collect();
    prompts[3].key = "other".into();
    let (grouping, of) = group(&prompts, 0);
    let found: Vec<(u32, u32, u32)> =
        grouping.groups.iter().map(|group| (group.root, group.requests, group.shared.bytes)).collect();
    assert_eq!(found, [(0, 9, 0), (1, 1, 0)]);
    assert!(grouping.groups.iter().all(|group| group.outer.is_none()));
    assert_eq!(of[3], 1);
}

fn watch<'p>(prompts: impl IntoIterator<Item = &'p Prompt>) -> Watch {
    let mut watch = Watch::new(Limits::default());
    for prompt in prompts {
        watch.see(7, prompt.messages.iter().map(String::as_bytes));
    }
    watch
}

#[test]
fn a_date_before_a_long_system_prompt_is_reported() {
    let system = text(1, 10_000);
    let prompts: Vec<Prompt> = (0..60)
        .map(|request| {
            let date = format!("You are helpful. Now: 2026-11-{:02}T08:{request:02}. ", 1 + request % 30);
            Prompt::new(&[&format!("{date}{system}"), &text(100 + request, 300)])
        })
        .collect();
    let findings = watch(&prompts).findings();
    let [finding] = findings[..] else { panic!("{findings:?}") };
    assert_eq!((finding.field().as_str(), finding.kind), ("messages[0].content", Kind::DateTime));
    assert_eq!((finding.requests, finding.variants, finding.root), (60, 60, 7));
    assert!((30..34).contains(&finding.offset), "{finding:?}");
    assert!((59 * 10_000..59 * 10_020).contains(&finding.lost), "{finding:?}");
}

#[test]
fn an_id_in_a_later_message_and_repeated_variants_are_counted_once() {
    let (system, document) = (text(1, 700), text(2, 5_000));
    let prompts: Vec<Prompt> = (0..400u32)
        .map(|request| {
            let id = format!("{:08x}-8b86-d011-b42d-00c04fc964ff", (request % 40).wrapping_mul(0x9E37_79B9));
            Prompt::new(&[&system, &format!("session {id}\n{document}"), &text(100 + request, 60)])
        })
        .collect();
    let findings = watch(&prompts).findings();
    let [finding] = findings[..] else { panic!("{findings:?}") };
    assert_eq!((finding.message, finding.offset, finding.kind), (1, 8, Kind::Id));
    assert_eq!((finding.requests, finding.variants), (400, 40));
}

#[test]
fn two_families_among_many_other_prompts_are_reported() {
    let systems = [text(1, 9_000), text(2, 7_000)];
    let prompts: Vec<Prompt> = (0..2_000u32)
        .map(|request| match request % 4 {
            0 => Prompt::new(&[&format!("Request {request}. {}", systems[0])]),
            1 => Prompt::new(&[&format!("It is {:02}:{:02}. {}", request % 23, request % 59, systems[1])]),
            _ => Prompt::new(&[&text(100 + request, 1_000)]),
        })
        .collect();
    let kinds: Vec<Kind> = watch(&prompts).findings().iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [Kind::Number, Kind::DateTime]);
}

#[test]
fn prompts_that_really_differ_or_begin_alike_are_not_reported() {
    let system = text(1, 10_000);
    let questions: Vec<Prompt> =
        (0..500).map(|request| Prompt::new(&[&format!("Why? {}", text(request, 900))])).collect();
    assert_eq!(watch(&questions).findings(), []);
    let shared: Vec<Prompt> =
        (0..500).map(|request| Prompt::new(&[&system, &format!("What is {request} + 1?")])).collect();
    assert_eq!(watch(&shared).findings(), []);
    let short: Vec<Prompt> = (0..500).map(|request| Prompt::new(&[&format!("{request}. Next.")])).collect();
    assert_eq!(watch(&short).findings(), []);
}
