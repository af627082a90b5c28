//! `caravan calibrate`

use std::{
    fs, io,
    num::{NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
    time::Duration,
};

use caravan_executor::{
    Ceiling, EngineOptions, Slots,
    calibrate::{self, Phase, Progress, Subject},
    engine,
};
use caravan_proto::{json::to_value, v1::Profile};
use caravan_service::explain;
use indicatif::ProgressBar;

use super::{Context, profiles};
use crate::{
    exit::Exit, failure::Failure, interrupt, server::Server, span::parse as parse_span, stderr, stdout, up,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The engine, on this host: ollama=URL or openai=URL (llama-server).
    #[arg(long, value_name = "KIND=URL", value_parser = up::parse_engine)]
    engine: EngineOptions,
    /// The model; left out, the only one that the engine has.
    #[arg(long, default_value = "", hide_default_value = true)]
    model: String,
    /// Slots that the engine was started with; left out, as many as it says.
    #[arg(long, value_name = "N")]
    slots: Option<NonZeroU32>,
    /// VRAM of each GPU that may be in use, by whomever: a share like 90% or a size like 70GiB.
    #[arg(long, value_name = "SHARE|SIZE", default_value_t)]
    vram_ceiling: Ceiling,
    /// How long it may take; what there is no time for is left out.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_span)]
    budget: Duration,
    /// The largest context of a slot to consider, in tokens.
    #[arg(long, value_name = "N")]
    max_context: Option<NonZeroU64>,
    /// Keep what was measured in this directory, so that a run that is cut off goes on where it was.
    #[arg(long, value_name = "DIR", default_value_os_t = state_dir())]
    state: PathBuf,
    /// Draw speed against slots, and memory against slots × context, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Write the profile as JSON, for `caravan plan --profile`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Give the profile to the server, which plans with it from then on.
    #[arg(long)]
    store: bool,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    // Before anything is measured: a server that is not there would make it vain.
    let server = if args.store { Some(Server::connect(&context.server).await?) } else { None };
    let slots = args.slots.map_or(args.engine.slots, Slots::Fixed);
    let engine = EngineOptions { slots, ..args.engine };
    let subject = Subject::attached(&engine, engine::Options::default(), &args.model).map_err(failed)?;
    let options = calibrate::Options {
        budget_seconds: args.budget.as_secs(),
        vram_ceiling: args.vram_ceiling,
        max_context: args.max_context.map(NonZeroU64::get),
        state_dir: Some(args.state.clone()),
        ..calibrate::Options::default()
    };
    let bar = Bar::new();
    let measuring = async { calibrate::calibrate(subject, &options, &bar).await.map_err(failed) };
    let kept = || format!("what was measured is kept in {}: run it again to go on", args.state.display());
    let profile = Box::pin(interrupt::guard(measuring, kept)).await?;
    drop(bar);
    if let Some(path) = &args.plot {
        write(path, &calibrate::svg(&profile))?;
    }
    if let Some(path) = &args.out {
        write(path, &format!("{:#}\n", to_value(&profile)))?;
    }
    let profile = match server {
        Some(server) => store(&server, profile).await?,
        None => profile,
    };
    if context.json {
        stdout::line(to_value(&profile))?
    } else {
        stdout::line(calibrate::text(&profile))?
    }
    Ok(Exit::Done)
}

async fn store(server: &Server, profile: Profile) -> Result<Profile, Failure> {
    let stored = profiles::create(server, profile).await?;
    stderr::note(format_args!("kept as {}", stored.name));
    Ok(stored)
}

fn failed(error: calibrate::Error) -> Failure {
    match &error {
        calibrate::Error::Engine(_) | calibrate::Error::NoModel { .. } | calibrate::Error::NotChat(_) => {
            Failure::Usage(explain(&error))
        }
        _ => Failure::Role(explain(&error)),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::write(path, error))
}

/// As the XDG base directory specification has it.
fn state_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("HOME").map(|home| home.join(".local/state"));
    let base = set("XDG_STATE_HOME").filter(|path| path.is_absolute()).or_else(home);
    base.unwrap_or_else(std::env::temp_dir).join("caravan/calibrate")
}

/// A bar on a terminal, else a line for each step.
#[derive(Debug)]
struct Bar(ProgressBar);

/// Steps of the bar.
const STEPS: f64 = 1_000.0;

impl Bar {
    fn new() -> Self {
        let bar = stderr::bar("{bar:30} {percent:>3} % of the time  {wide_msg}");
        bar.set_length(STEPS as u64);
        Self(bar)
    }
}

impl Progress for Bar {
    fn at(&self, phase: Phase, share: f64, what: &str) {
        let text = if what.is_empty() { phase.doing() } else { what };
        self.0.set_position((share * STEPS) as u64);
        self.0.set_message(text.to_owned());
        if !io::IsTerminal::is_terminal(&io::stderr()) {
            stderr::note(format_args!("{:>3.0} %  {text}", share * 100.0));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
