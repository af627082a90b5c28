//! `caravan-executor calibrate`

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use caravan_executor::{
    Options,
    calibrate::{self, Logged},
};
use caravan_proto::json::to_value;
use caravan_service::Shutdown;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which engine of the configuration, e.g. `ollama-0`; left out, the only one
    #[arg(long, value_name = "ID")]
    engine_id: Option<String>,
    /// The model; left out, the only one that the engine has
    #[arg(long, default_value = "", hide_default_value = true)]
    model: String,
    /// Draw speed against slots, and memory against slots × context, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print the profile as JSON
    #[arg(long)]
    json: bool,
}

/// The table or the profile goes to stdout; progress to the log. Ends early by a signal: what was measured is
/// kept where `calibration.state_dir` names a directory.
pub(crate) async fn run(args: Args, options: &Options) -> anyhow::Result<()> {
    // A managed engine is stopped with it, whichever signal it is.
    let stop = Shutdown::on_signals(Duration::ZERO)?;
    let calibrating = options.calibrate(args.engine_id.as_deref(), &args.model, &Logged);
    let profile = tokio::select! {
        profile = calibrating => profile?,
        () = stop.cancelled() => anyhow::bail!("interrupted"),
    };
    if let Some(path) = &args.plot {
        fs::write(path, calibrate::svg(&profile))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if args.json {
        println!("{}", to_value(&profile));
    } else {
        println!("{}", calibrate::text(&profile));
    }
    Ok(())
}
