//! A fleet whose every hop is TLS with certificates on both sides, renewed while it works.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use caravan_simulated_engine::{Options, SimulatedEngine};
use caravan_test_certificates::Authority;
use caravan_tests::{Caravan, Input, Process, until};

/// The roles' certificates, and what they are configured with.
struct Ground {
    authority: Authority,
    directory: tempfile::TempDir,
}

const ROLES: [&str; 4] = ["planner", "gateway", "executor", "client"];

impl Ground {
    fn new() -> anyhow::Result<Self> {
        let ground = Self { authority: Authority::new("fleet")?, directory: tempfile::tempdir()? };
        ground.authority.write(ground.path())?;
        ground.renew()?;
        Ok(ground)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// New certificates for all, over the old ones.
    fn renew(&self) -> anyhow::Result<()> {
        for role in ROLES {
            self.authority.identity(role)?.write(self.path(), role)?;
        }
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Its keys of `[tls]`.
    fn identity(&self, role: &str) -> String {
        let [certificate, key] = ["pem", "key"].map(|end| self.file(&format!("{role}.{end}")));
        format!("certificate = {certificate:?}\nkey = {key:?}\nreload_seconds = 1\n")
    }

    fn server(&self, role: &str) -> String {
        let identity = self.identity(role);
        format!("[tls]\n{identity}client_ca = {:?}\nclient_auth = 'required'\n", self.file("ca.pem"))
    }

    fn client(&self, role: &str) -> String {
        format!("[client.tls]\n{}ca = {:?}\n", self.identity(role), self.file("ca.pem"))
    }

    /// Starts a role; gives its gRPC address too, if it has one.
    async fn start(&self, role: &str, config: &str) -> anyhow::Result<(Process, String)> {
        let (file, ready) = (self.file(&format!("{role}.toml")), self.file(&format!("{role}.ready")));
        std::fs::write(&file, config)?;
        let args = ["--config".as_ref(), file.as_os_str(), "--ready-file".as_ref(), ready.as_os_str()];
        let mut process = Process::start(&format!("caravan-{role}"), role, self.path(), args)?;
        let served = process.ready(&ready).await?;
        Ok((process, served["grpc"].as_str().unwrap_or_default().to_owned()))
    }

    /// What the command is told of `name`'s certificate.
    fn flags(&self, name: &str) -> anyhow::Result<Vec<String>> {
        let files = ["ca.pem".to_owned(), format!("{name}.pem"), format!("{name}.key")];
        let flags = ["--tls-ca", "--tls-certificate", "--tls-key"].into_iter().zip(files);
        let mut all = Vec::new();
        for (flag, file) in flags {
            let path = self.file(&file).into_os_string().into_string();
            all.extend([flag.to_owned(), path.ok().context("a path that is no text")?]);
        }
        Ok(all)
    }
}

#[tokio::test]
async fn a_batch_runs_with_certificates_on_every_hop_that_are_renewed_meanwhile() -> anyhow::Result<()> {
    let ground = Ground::new()?;
    let engine = SimulatedEngine::start(Options { answer_ms: 100, ..Options::default() })?;
    let data = ground.file("data");
    let config = format!("listen = '127.0.0.1:0'\ndata_dir = {data:?}\n{}", ground.server("planner"));
    let (planner, at) = ground.start("planner", &config).await?;
    assert!(at.starts_with("https://"), "{at}");
    let config = format!(
        "listen = '127.0.0.1:0'\nhttp_listen = '127.0.0.1:0'\nplanner = ['{at}']\n{}{}",
        ground.server("gateway"),
        ground.client("gateway")
    );
    let (gateway, served) = ground.start("gateway", &config).await?;
    let engines = format!("[{{kind = 'ollama', url = '{}', slots = 2}}]", engine.url());
    let config = format!("planner = ['{at}']\nengines = {engines}\n{}", ground.client("executor"));
    let (executor, _) = ground.start("executor", &config).await?;

    let caravan = Caravan::new(&served);
    let (input, flags) = (Input::chats(60, "s"), ground.flags("client")?);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let renewed = async {
        until("requests run", async || match engine.stats().requests {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        })
        .await?;
        ground.renew()?;
        for process in [&planner, &gateway, &executor] {
            let look = async || {
                let log = process.log();
                if log.contains("read anew what=\"certificates\"") { Ok(()) } else { Err(log) }
            };
            until("the new certificates are read", look).await?;
        }
        anyhow::Ok(())
    };
    let (submitted, renewed) = tokio::join!(caravan.submit(&input, &flags), renewed);
    renewed?;
    let submitted = submitted?;
    assert_eq!(submitted.code, 0, "{}", submitted.stderr);
    assert_eq!(submitted.audit(&input)?.answered, 60);

    // Whoever comes now does so with the new certificates.
    let listed = caravan.run(&[&["list", "--json"], flags.as_slice()].concat()).await?;
    assert_eq!((listed.code, listed.json()?.len()), (0, 1), "{}", listed.stderr);
    Authority::new("somebody else")?.identity("stranger")?.write(ground.path(), "stranger")?;
    let stranger = ground.flags("stranger")?;
    let stranger: Vec<_> = stranger.iter().map(String::as_str).collect();
    for flags in [&flags[..2], &stranger] {
        let refused = caravan.run(&[&["list"], flags].concat()).await?;
        assert_eq!(refused.code, 5, "{}", refused.stderr);
        // The alert that says why may be overtaken by the end of the connection.
        assert!(refused.stderr.contains("not reached"), "{}", refused.stderr);
    }
    Ok(())
}
