use std::{path::Path, process::Stdio};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use crate::{
    Api, Fleet, Rows, binary,
    fleet::{Configs, places},
};

/// A fleet in which everybody has to say who they are. What servers know of a key they remember for a second.
#[derive(Debug)]
pub struct Guarded {
    /// The planner, the gateway, and executors with their key.
    pub fleet: Fleet,
    /// Keys of the default tenant.
    pub keys: Keys,
}

/// Keys that were made before the planner first ran.
#[derive(Debug)]
pub struct Keys {
    /// Of who runs the installation.
    pub admin: String,
    /// Of the gateway.
    pub gateway: String,
    /// Of executors.
    pub executor: String,
}

// === impl Guarded ===

impl Guarded {
    /// A planner and a gateway that know each other. `oidc` is TOML of the gateway behind `[identity]`.
    ///
    /// # Errors
    /// If they do not come up.
    pub async fn start(oidc: &str) -> anyhow::Result<Self> {
        let (directory, rows) = (tempfile::tempdir()?, Rows::fresh()?);
        let identity = "[identity]\nmode = 'required'\nkey_cache_seconds = 1\n";
        let planner = places(&rows) + identity;
        let file = directory.path().join("keys.toml");
        let data = directory.path().join("data");
        std::fs::write(&file, format!("data_dir = '{}'\n{planner}", data.display()))?;
        let keys = Keys {
            admin: first_key(&file, "admin").await?,
            gateway: first_key(&file, "gateway").await?,
            executor: first_key(&file, "executor").await?,
        };
        let client = |name: &str, key: &str| -> anyhow::Result<String> {
            let file = directory.path().join(format!("{name}.key"));
            std::fs::write(&file, format!("{key}\n"))?;
            Ok(format!("[client]\ntoken_file = '{}'\ntoken_reload_seconds = 1\n", file.display()))
        };
        let gateway = client("gateway", &keys.gateway)? + identity + oidc;
        let executor = client("executor", &keys.executor)?;
        let configs = Configs { planner, gateway, executor };
        let fleet = Fleet::in_directory(directory, &["planner"], &["gateway"], rows, configs).await?;
        Ok(Self { fleet, keys })
    }

    /// Gives `gateway` or `executor` another key in place of theirs.
    ///
    /// # Errors
    /// If its file cannot be written.
    pub fn hand(&self, key: &str, to: &str) -> std::io::Result<()> {
        std::fs::write(self.fleet.data_dir().with_file_name(format!("{to}.key")), key)
    }

    /// The gateway's services for the holder of a new key, which an admin makes.
    ///
    /// # Errors
    /// If it is not made.
    pub async fn client(&self, tenant: &str, roles: &[&str]) -> anyhow::Result<(Api, String)> {
        let mut args = vec!["keys", "create", "--name", "test", "--tenant", tenant];
        args.extend(roles.iter().flat_map(|role| ["--role", role]));
        let made = self.fleet.caravan().showing(&self.keys.admin).run(&args).await?;
        ensure!(made.code == 0, "no key: {}", made.stderr);
        let key = made.stdout.trim().to_owned();
        Ok((self.fleet.api()?.showing(&key)?, key))
    }
}

/// A key of the default tenant, made by the planner's own command on a database that nobody serves yet.
async fn first_key(config: &Path, role: &str) -> anyhow::Result<String> {
    let made = Command::new(binary("caravan-planner")?)
        .arg("--config")
        .arg(config)
        .args(["keys", "create", "--role", role, "--name", role])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let log = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "no key for {role}: {log}");
    let key = String::from_utf8(made.stdout)?.trim().to_owned();
    ensure!(!log.contains(&key), "the log shows the key");
    Some(key).filter(|key| key.starts_with("cvn_")).context("no key")
}
