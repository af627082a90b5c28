//! How an executor is configured.

mod ceiling;
mod limits;
mod liveness;
mod slots;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use caravan_request::EngineKind;
use caravan_service::{
    client,
    config::{self, Section},
    shutdown, telemetry,
};
use serde::{Deserialize, Serialize};
use url::Url;

pub use ceiling::Ceiling;
pub use limits::Limits;
pub use liveness::Liveness;
pub use slots::Slots;

use crate::{
    calibrate::{self, shelf::Shelf},
    engine::{self, Engine, Tokenizers, ollama::Ollama, openai::OpenAi, tokenizers},
    gpu::{LIBRARY, Nvml, Probe as _},
    manage::{self, ManagedOptions},
    service::{Error, Service},
};

/// The executor's configuration. Reading it touches no network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Planners, any of which will do: each executor begins at one of them, and goes to another when it
    /// is lost or does not serve.
    pub planner: Vec<Url>,
    /// Name of this host in the fleet; absent: what the kernel says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where to write the ready file once a planner has said welcome; absent: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_file: Option<PathBuf>,
    /// How long running requests may go on once asked to stop, in seconds.
    pub drain_seconds: u64,
    /// Bounds of waiting and of memory.
    pub limits: Limits,
    /// When an engine that takes requests but does not answer them is noticed, and what follows.
    pub liveness: Liveness,
    /// Logs, traces, metrics.
    pub telemetry: telemetry::Options,
    /// How planners are dialled.
    pub client: client::Options,
    /// How engines are talked to.
    pub connection: engine::Options,
    /// The VRAM of each GPU that may be in use. Above it what runs is finished, then an engine that is
    /// the cause gives some back, and a foreign process is waited for.
    pub vram_ceiling: Ceiling,
    /// NVIDIA's library, by path or as the loader finds it.
    pub nvml_library: PathBuf,
    /// Where the profiles of this host are kept: those that `calibrate` measured, and those that are put there
    /// by hand. Planners get the ones that hold for the engines as they are. Absent: none is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profiles_dir: Option<PathBuf>,
    /// How models are calibrated.
    pub calibration: calibrate::Options,
    /// The engines of this host; after a restart their order should be the same, their
    /// ids come from it.
    pub engines: Vec<EngineOptions>,
}

/// One engine of this host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineOptions {
    /// Which API it speaks: `ollama` or `openai`.
    pub kind: EngineKind,
    /// Where it listens. A managed engine may leave it out and gets a free port of the loopback,
    /// the same one for as long as the executor lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// Requests it runs in parallel: a number, or `auto`. A managed engine is started with so many;
    /// `auto` is what its profile says, else 4.
    #[serde(default)]
    pub slots: Slots,
    /// Largest context of one slot to ask for, in tokens; absent: what its model can. A managed
    /// engine is started with so much; absent: what its profile says, else 8,192.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_context: Option<u64>,
    /// GPUs that it runs on, as NVML numbers them; empty: those on which its processes take memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<u32>,
    /// Whether a model serves of which some layers are on the CPU, because not all of it fits into VRAM:
    /// it is many times slower, and says nothing of it. Default false: such a load is undone and refused.
    #[serde(default)]
    pub partial_offload: bool,
    /// Files to count a model's prompts with, by the model's name: a `tokenizer.json` or a GGUF. One
    /// that is named here wins over what the engine itself tells of the model.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokenizers: BTreeMap<String, PathBuf>,
    /// Has the executor start and stop it; absent: it is there without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedOptions>,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            planner: Url::parse("http://127.0.0.1:4082").into_iter().collect(),
            host: None,
            ready_file: None,
            drain_seconds: shutdown::DEFAULT_DRAIN.as_secs(),
            limits: Limits::default(),
            liveness: Liveness::default(),
            telemetry: telemetry::Options::default(),
            client: client::Options::default(),
            connection: engine::Options::default(),
            vram_ceiling: Ceiling::default(),
            nvml_library: PathBuf::from(LIBRARY),
            profiles_dir: None,
            calibration: calibrate::Options::default(),
            engines: Vec::new(),
        }
    }
}

impl Options {
    /// An executor for these engines. Waits for nothing: engines and planners that do
    /// not answer yet are waited for while it runs.
    ///
    /// # Errors
    /// As [`check`](Self::check), or if there is no engine.
    #[expect(clippy::unused_async, reason = "every role is built the same way")]
    pub async fn build(mut self) -> Result<Service, Error> {
        // Not for `check`: the defaults, which are shown, have none.
        config::check(!self.engines.is_empty(), "engines", "a list with at least one engine")?;
        self.check(Section::TOP)?;
        let mut gpus = Nvml::new(&self.nvml_library);
        self.engines = manage::expand(&self.engines, || gpus.sample())?;
        let engines = self.engines.iter().map(|engine| engine.driver(self.connection));
        let engines = engines.collect::<Result<Vec<_>, _>>()?;
        let shelf = Shelf::open(self.profiles_dir.clone());
        let shelf = shelf.map_err(|source| Error::Profiles { path: self.profiles_dir.clone(), source })?;
        Service::new(&self, engines, Box::new(gpus), shelf)
    }

    /// What can be found wrong without a network; these options stand `at` a place of the configuration.
    ///
    /// # Errors
    /// If a value is out of its range, some do not go together, or an engine's file is not there.
    pub fn check(&self, at: Section) -> Result<(), config::Error> {
        let planners = !self.planner.is_empty() && self.planner.iter().all(client::is_server);
        at.check(planners, "planner", "a list with at least one URL, of http or https")?;
        self.client.check(&at.key("client"))?;
        self.telemetry.check(&at.key("telemetry"))?;
        self.limits.check(&at.key("limits"))?;
        self.liveness.check(&at.key("liveness"))?;
        let check =
            |(place, engine): (usize, &EngineOptions)| engine.check(&at.key(&format!("engines[{place}]")));
        self.engines.iter().enumerate().try_for_each(check)
    }
}

// === impl EngineOptions ===

impl EngineOptions {
    /// Its driver; touches no network.
    pub(crate) fn driver(&self, connection: engine::Options) -> Result<Arc<dyn Engine>, engine::Error> {
        let url = self.url.as_ref().ok_or(engine::Error::NoUrl)?;
        let tokenizers = Tokenizers::new(self.tokenizers.clone());
        Ok(match self.kind {
            EngineKind::Ollama => {
                let driver = Ollama::new(url, connection)?.with_tokenizers(tokenizers);
                Arc::new(driver.with_partial_offload(self.partial_offload))
            }
            EngineKind::OpenAi => Arc::new(OpenAi::new(url, connection)?.with_tokenizers(tokenizers)),
        })
    }

    /// What serde cannot check; `key` is that of the entry.
    fn check(&self, key: &str) -> Result<(), config::Error> {
        match &self.managed {
            Some(managed) => managed.check(&format!("{key}.managed"), self.kind, self.url.as_ref())?,
            None => {
                let there = self.url.as_ref().is_some_and(|url| url.scheme() == "http" && url.has_host());
                config::check(there, &format!("{key}.url"), "stated, as http://HOST:PORT")?;
            }
        }
        for (model, path) in &self.tokenizers {
            if let Err(error) = tokenizers::check(path) {
                let key = format!("{key}.tokenizers.\"{model}\"");
                let wanted = format!("a tokenizer.json or a GGUF file, not {} ({error})", path.display());
                return config::check(false, &key, &wanted);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn parse(text: &str) -> Result<Options, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn the_fixed_keys_are_read() {
        let options = parse(
            "planner = ['http://a:1', 'http://b:2']\n\
             engines = [{kind = 'ollama', url = 'http://127.0.0.1:11434', slots = 4}, {kind = 'openai', url = 'http://127.0.0.1:8080', slots = 'auto'}]",
        )
        .unwrap();
        assert_eq!(options.planner.len(), 2);
        assert_eq!(options.engines[0].slots, Slots::Fixed(NonZeroU32::new(4).unwrap()));
        assert_eq!((options.engines[1].kind, options.engines[1].slots), (EngineKind::OpenAi, Slots::Auto));
        assert!(options.check(Section::TOP).is_ok());
        assert_eq!(parse(&config::dump(&options).unwrap()).unwrap(), options);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, named) in [
            ("planer = []", "planer"),
            ("engines = [{kind = 'vllm', url = 'http://a'}]", "vllm"),
            ("engines = [{kind = 'ollama', url = 'http://a', slots = 0}]", "at least 1"),
            ("engines = [{kind = 'ollama', url = 'http://a', slots = 257}]", "at most 256"),
            ("engines = [{kind = 'ollama', url = 'http://a', slots = 'many'}]", "many"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let empty = Options { planner: Vec::new(), ..Options::default() };
        assert!(empty.check(Section::TOP).unwrap_err().to_string().contains("planner"));
        let options = parse(
            "engines = [{kind = 'ollama', url = 'http://a', tokenizers = {'m:7b' = '/nowhere/t.json'}}]",
        );
        let error = options.unwrap().check(Section::TOP).unwrap_err().to_string();
        assert!(
            error.contains("engines[0].tokenizers.\"m:7b\"") && error.contains("/nowhere/t.json"),
            "{error}"
        );
    }

    #[test]
    fn auto_takes_what_the_engine_says_or_one() {
        assert_eq!([Slots::Auto.or(Some(4)), Slots::Auto.or(None), Slots::Auto.or(Some(0))], [4, 1, 1]);
        assert_eq!("3".parse::<Slots>().unwrap().or(Some(8)), 3);
    }
}
