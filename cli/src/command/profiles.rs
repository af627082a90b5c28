//! `caravan profiles`

use std::path::PathBuf;

use caravan_proto::{
    json::{enum_text, to_value},
    model::means,
    profile::difference,
    v1::{CreateProfileRequest, Executor, ListProfilesRequest, Profile},
};
use serde_json::{Map, Value, json};

use super::{Context, LARGEST_PAGE, fleet, plan::read_profile};
use crate::{
    exit::Exit,
    failure::Failure,
    figures::{bytes, count},
    server::Server,
    stdout,
    table::{time, with_heading},
};

/// Engines that a row names.
const NAMED: usize = 3;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only profiles of this model.
    #[arg(long)]
    model: Option<String>,
    /// First keep the profile in this file of JSON, in place of an older one of the same engine, GPU
    /// and model.
    #[arg(long, value_name = "FILE")]
    add: Option<PathBuf>,
}

/// Where a profile's model is now, and whether the profile holds there.
#[derive(Debug, Default)]
struct Validity {
    /// Engines that it holds for.
    engines: Vec<String>,
    /// The others that have its model, with what is different there.
    differing: Vec<(String, String)>,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let profile = args.add.as_deref().map(read_profile).transpose()?;
    let server = Server::connect(&context.server).await?;
    if let Some(profile) = profile {
        create(&server, profile).await?;
    }
    let profiles = list(&server, &args.model.unwrap_or_default()).await?;
    let executors = fleet::list(&server, false).await?;
    let rows: Vec<_> = profiles.iter().map(|profile| (profile, validity(profile, &executors))).collect();
    print(&rows, context.json)?;
    Ok(Exit::Done)
}

/// Gives a profile to the server, which keeps it.
pub(super) async fn create(server: &Server, profile: Profile) -> Result<Profile, Failure> {
    let request = CreateProfileRequest { profile: Some(profile) };
    server.call(request, async |request| server.fleet().create_profile(request).await).await
}

async fn list(server: &Server, model: &str) -> Result<Vec<Profile>, Failure> {
    let mut profiles = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListProfilesRequest { page_size: LARGEST_PAGE, page_token, model: model.to_owned() };
        let page = server.call(request, async |request| server.fleet().list_profiles(request).await).await?;
        profiles.extend(page.profiles);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(profiles);
        }
    }
}

fn validity(profile: &Profile, executors: &[Executor]) -> Validity {
    let mut validity = Validity::default();
    for executor in executors {
        for engine in &executor.engines {
            let model = engine.models.iter().find(|model| means(&profile.model, &model.name));
            let Some(model) = model else { continue };
            let name = format!("{}/{}", executor.host, engine.id);
            match difference(profile, engine, model) {
                None => validity.engines.push(name),
                Some(difference) => validity.differing.push((name, difference.to_string())),
            }
        }
    }
    validity
}

fn print(rows: &[(&Profile, Validity)], json: bool) -> Result<(), Failure> {
    if json {
        let profiles: Vec<Value> = rows.iter().map(|(profile, _)| to_value(*profile)).collect();
        let engines = rows.iter().map(|(profile, found)| (profile.name.clone(), json!(found.engines)));
        let valid_for: Map<String, Value> = engines.collect();
        return stdout::line(json!({"profiles": profiles, "valid_for": valid_for}));
    }
    stdout::line(text(rows))
}

fn text(rows: &[(&Profile, Validity)]) -> String {
    let heading = [
        "MODEL",
        "GPU",
        "ENGINE",
        "SLOTS",
        "CONTEXT",
        "PREFILL/S",
        "DECODE/S",
        "KV A TOKEN",
        "MEASURED",
        "HOLDS FOR",
    ];
    let mut table = with_heading(heading);
    for (profile, validity) in rows {
        table.add_row(row(profile, validity));
    }
    let mut text = table.trim_fmt();
    for (profile, validity) in rows {
        for (engine, difference) in validity.differing.iter().take(NAMED) {
            let model = &profile.model;
            text.push_str(&format!("\nnot for {engine}: {model} was measured {difference}"));
        }
    }
    text
}

fn row(profile: &Profile, validity: &Validity) -> [String; 10] {
    let kind = enum_text(profile.engine_kind().as_str_name(), "Kind");
    let speed = |speed: f64| if speed > 0.0 { format!("{speed:.0}") } else { "-".to_owned() };
    #[expect(clippy::cast_possible_truncation, reason = "whole bytes are shown; the cast saturates")]
    let kv = profile.kv_bytes_per_token.round() as i64;
    [
        profile.model.clone(),
        if profile.gpu.is_empty() { "-".to_owned() } else { profile.gpu.clone() },
        format!("{kind} {}", profile.engine_version).trim_end().to_owned(),
        profile.slots.to_string(),
        count(profile.max_context),
        speed(profile.prefill_tokens_per_second),
        speed(profile.decode_tokens_per_second),
        if kv > 0 { bytes(kv) } else { "-".to_owned() },
        time(profile.measure_time),
        several(&validity.engines),
    ]
}

fn several(engines: &[String]) -> String {
    let named = engines.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match engines.len().checked_sub(NAMED) {
        _ if engines.is_empty() => "no engine now".to_owned(),
        None | Some(0) => named,
        Some(more) => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use caravan_proto::v1::{Engine, Model, engine};

    use super::*;

    fn profile() -> Profile {
        Profile {
            name: "profiles/profile_1".into(),
            model: "gemma3:4b".into(),
            model_digest: "d".into(),
            engine_kind: engine::Kind::Ollama.into(),
            engine_version: "0.33.1".into(),
            gpu: "NVIDIA H100".into(),
            slots: 8,
            max_context: 16_384,
            prefill_tokens_per_second: 2_000.4,
            decode_tokens_per_second: 55.5,
            kv_bytes_per_token: 131_072.0,
            ..Default::default()
        }
    }

    fn engine(id: &str, version: &str, model: &str) -> Engine {
        let model = Model { name: model.into(), digest: "d".into(), ..Default::default() };
        Engine {
            id: id.into(),
            kind: engine::Kind::Ollama.into(),
            version: version.into(),
            gpu: "NVIDIA H100".into(),
            models: vec![model],
            ..Default::default()
        }
    }

    #[test]
    fn a_row_says_where_the_profile_holds() {
        let engines = vec![
            engine("a", "0.33.1", "gemma3:4b"),
            engine("b", "0.34.0", "gemma3:4b"),
            engine("c", "0.33.1", "other"),
        ];
        let executors = [Executor { host: "gpu-1".into(), engines, ..Default::default() }];
        let profile = profile();
        let text = text(&[(&profile, validity(&profile, &executors))]);
        let lines: Vec<_> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines[1..],
            [
                "gemma3:4b NVIDIA H100 ollama 0.33.1 8 16,384 2000 56 128.0 KiB - gpu-1/a",
                "not for gpu-1/b: gemma3:4b was measured with the engine version 0.33.1, which is 0.34.0 now",
            ]
        );
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let profile = Profile { model: "m".into(), slots: 1, max_context: 256, ..Default::default() };
        let text = text(&[(&profile, validity(&profile, &[]))]);
        assert!(text.lines().nth(1).is_some_and(|line| line.contains("no engine now")), "{text}");
        assert_eq!(text.matches(" - ").count(), 5, "{text}");
        let many: Vec<_> = (0..5).map(|n| format!("h/{n}")).collect();
        assert_eq!(several(&many), "h/0, h/1, h/2 and 2 more");
    }
}
