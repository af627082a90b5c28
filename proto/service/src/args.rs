//! The flags that every role has.

use std::path::PathBuf;

/// Flatten it into a role's own flags.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Configuration in TOML; the environment and flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the configuration in force as TOML, and exit
    #[arg(long)]
    pub dump_config: bool,
    /// Write addresses and process id here, as JSON, once the role serves
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}
