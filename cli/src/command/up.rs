//! `caravan up`

use std::{env, path::PathBuf, time::Duration};

use caravan_executor::{EngineOptions, Slots};
use caravan_service::{Shutdown, config, ready, telemetry};
use serde::Serialize;
use serde_json::json;

use super::Context;
use crate::{
    exit::Exit,
    failure::Failure,
    stderr, stdout,
    up::{Options, Roles, misconfigured, ollama, parse_engine},
};

/// Environment variables of the configuration begin so.
const ENV_PREFIX: &str = "CARAVAN_UP_";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where all state is kept; one process at a time.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// An engine of this host, ollama=URL or openai=URL, or ollama=managed for one that is started
    /// and stopped here; may be given again. Without any: the Ollama at `OLLAMA_HOST` or <http://127.0.0.1:11434>.
    #[arg(long, value_name = "KIND=URL", value_parser = parse_engine)]
    engine: Vec<EngineOptions>,
    /// Requests that each engine runs in parallel: a number, or auto to ask it.
    #[arg(long, value_name = "N|auto")]
    slots: Option<Slots>,
    /// Address of the gRPC server; port 0 for any free one [default: 127.0.0.1:4081].
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Address of the HTTP server; port 0 for any free one [default: 127.0.0.1:4080].
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Write addresses and process id here, as JSON, once all roles serve.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Configuration in TOML; the environment and flags win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the configuration in force as TOML, and exit.
    #[arg(long)]
    dump_config: bool,
}

/// What flags say of the configuration.
#[derive(Serialize)]
struct Flags<'a> {
    data_dir: Option<&'a PathBuf>,
    listen: Option<&'a String>,
    http_listen: Option<&'a String>,
    engines: Option<&'a [EngineOptions]>,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let options = options(&args)?;
    options.check().map_err(misconfigured)?;
    if args.dump_config {
        stdout::text(&config::dump(&options).map_err(misconfigured)?)?;
        return Ok(Exit::Done);
    }
    let _telemetry = telemetry::init("up", &options.telemetry).map_err(misconfigured)?;
    let shutdown = Shutdown::on_signals(Duration::from_secs(options.drain_seconds)).map_err(misconfigured)?;
    let told = format!("data {}, {}", options.data_dir.display(), engines(&options.engines));
    let roles = Box::pin(Roles::build(options)).await?;
    let addresses = roles.addresses().clone();
    let [grpc, http] = [&addresses.grpc, &addresses.http].map(|url| url.as_deref().unwrap_or("-"));
    stderr::note(format_args!("caravan is up: gRPC {grpc}, HTTP {http}, {told}"));
    if let Some(file) = &args.ready_file {
        // The ports are bound: who comes before the first accept waits in the kernel's queue.
        ready::write(file, &addresses).map_err(misconfigured)?;
    }
    if context.json {
        stdout::line(json!(addresses))?;
    }
    Box::pin(roles.run(shutdown)).await?;
    Ok(Exit::Done)
}

/// Defaults, file, environment and flags; then the engines that nobody named.
fn options(args: &Args) -> Result<Options, Failure> {
    let flags = Flags {
        data_dir: args.data_dir.as_ref(),
        listen: args.listen.as_ref(),
        http_listen: args.http.as_ref(),
        engines: (!args.engine.is_empty()).then_some(&args.engine),
    };
    let mut options: Options =
        config::load(args.config.as_deref(), ENV_PREFIX, flags).map_err(misconfigured)?;
    if options.engines.is_empty() {
        let host = env::var("OLLAMA_HOST").ok();
        options.engines.push(ollama(host.as_deref()).map_err(Failure::Configuration)?);
    }
    if let Some(slots) = args.slots {
        options.engines.iter_mut().for_each(|engine| engine.slots = slots);
    }
    Ok(options)
}

fn engines(engines: &[EngineOptions]) -> String {
    let urls: Vec<_> = engines
        .iter()
        .map(|engine| engine.url.as_ref().map_or("started by the executor", |url| url.as_str()))
        .collect();
    format!("{} {}", if urls.len() == 1 { "engine" } else { "engines" }, urls.join(", "))
}
