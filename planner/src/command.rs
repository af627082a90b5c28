//! What the program does beside serving.

use anyhow::Context as _;
use caravan_planner::{Options, store::Migrated};
use caravan_proto::{access, v1};
use caravan_service::telemetry;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring the database up to date, and exit; what a planner does by itself when it starts
    Migrate,
    /// Make API keys where there is no key yet that could ask for one
    #[command(subcommand)]
    Keys(Keys),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key and print it, this once. With a database in a file, no planner may run on it meanwhile
    Create {
        /// Whose files and batches it is for
        #[arg(long, default_value = "default")]
        tenant: String,
        /// What it may be used for; may be given several times
        #[arg(long = "role", required = true, value_parser = access::role, value_name = "ROLE")]
        roles: Vec<v1::Role>,
        /// What people call it
        #[arg(long)]
        name: String,
    },
}

// === impl Command ===

impl Command {
    pub(crate) async fn run(self, options: Options) -> anyhow::Result<()> {
        let _telemetry = telemetry::init("planner", &options.telemetry)?;
        match self {
            Self::Migrate => migrate(options).await,
            Self::Keys(Keys::Create { tenant, roles, name }) => {
                let roles = roles.into_iter().map(Into::into).collect();
                create(options, v1::Key { tenant, roles, display_name: name, ..v1::Key::default() }).await
            }
        }
    }
}

async fn migrate(options: Options) -> anyhow::Result<()> {
    let Migrated { from, to } = options.migrate().await?;
    match from {
        None => println!("the database was empty and is at version {to} now"),
        Some(from) if from == to => println!("the database is at version {to} already"),
        Some(from) => println!("the database was at version {from} and is at version {to} now"),
    }
    Ok(())
}

/// The key alone on stdout, for scripts.
async fn create(options: Options, wanted: v1::Key) -> anyhow::Result<()> {
    let (key, text) = options.create_key(wanted).await.context("no key was made")?;
    eprintln!("{} of tenant {}: keep it, it is shown this once", key.name, key.tenant);
    println!("{text}");
    Ok(())
}
