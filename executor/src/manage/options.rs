//! How a managed engine is configured.

use std::{collections::BTreeMap, path::PathBuf};

use caravan_request::EngineKind;
use caravan_service::config;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// An engine that the executor starts, supervises and stops itself.
///
/// In `program`, `args` and the values of `env` stand `{host}` and `{port}` (where it has to
/// listen), `{slots}`, `{context}` (tokens of one slot), `{total_context}` (of all slots),
/// `{batch}`, `{kv_type}`, `{model}`, `{alias}` and `{gpu}` for what the engine is started with.
/// Other braces stay as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ManagedOptions {
    /// The program and its first arguments; empty: `ollama serve`, or `llama-server` for the kind
    /// `openai`. A llama-server's own arguments are put behind it, unless `{port}` stands
    /// somewhere in `program` or `args`: then those are all that it gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub program: Vec<String>,
    /// Arguments behind all others, so that they win.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment on top of the executor's and of what the kind of engine needs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// GPUs, one engine for each; absent: one engine that sees what the executor sees.
    #[serde(skip_serializing_if = "Gpus::is_inherited")]
    pub gpus: Gpus,
    /// The model of a llama-server: a GGUF file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// How requests name that model; absent: as its file, without `.gguf`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Where an Ollama keeps its models; several may share it. Absent: its own default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models_dir: Option<PathBuf>,
    /// A profile from calibration, as JSON: slots, context, batch, type of the KV cache and
    /// `swa_full` are its unless they are stated here or in the engine's entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<PathBuf>,
    /// Prompt tokens that a llama-server evaluates at once; absent: its own default. An Ollama is
    /// told with each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
    /// Type of the KV cache, e.g. `f16` or `q8_0`; absent: the engine's own, `f16`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_type: Option<String>,
    /// Flash attention; absent: on for an Ollama (a KV cache that is not f16 needs it), as it sees
    /// fit for a llama-server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flash_attention: Option<bool>,
    /// Whether to keep the whole cache of sliding-window layers: more memory, and prefixes are
    /// reused whatever their length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swa_full: Option<bool>,
    /// From its start until its API answers at most, in seconds. Default 900, as for a load: a
    /// llama-server reads its model first.
    pub start_seconds: u64,
    /// How long it may take to end by itself when it is stopped, in seconds; then it is killed.
    /// Default 2: nothing is in flight by then, and container runtimes allow no more after a drain.
    pub stop_seconds: u64,
    /// Started anew once its processes have taken so many bytes of host memory more than they had
    /// settled at after the model was loaded; 0: never. Default 4 GiB: engines are known to keep 5 to
    /// 12 MiB a request, so this is some hundred of those.
    pub memory_growth_bytes: u64,
    /// Memory has settled so many seconds after a load. Default 60: caches and buffers still fill with
    /// the first requests.
    pub memory_settle_seconds: u64,
    /// Between two looks at its memory, and at the kernel's count of kills, in seconds. Default 5:
    /// often enough to tell one kill from another.
    pub look_seconds: u64,
    /// Directory for a log of what it writes; absent: that is not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_dir: Option<PathBuf>,
    /// Bytes of a log before another is begun; one old log is kept. Default 16 MiB.
    pub log_bytes: u64,
}

/// Which GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "GpusText", into = "GpusText")]
pub enum Gpus {
    /// Those that the executor sees, for one engine.
    #[default]
    Inherited,
    /// Every GPU of the host that NVML lists, an engine each.
    All,
    /// An engine for each entry, which is put into `CUDA_VISIBLE_DEVICES`: an index as NVML counts,
    /// a UUID, or several with commas between for one engine on several GPUs.
    Each(Vec<String>),
}

/// As written: `"all"`, `"0"`, `["0", "1"]` or `[0, 1]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum GpusText {
    One(GpuText),
    Many(Vec<GpuText>),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum GpuText {
    Index(u32),
    Word(String),
}

// === impl ManagedOptions ===

impl Default for ManagedOptions {
    fn default() -> Self {
        Self {
            program: Vec::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
            gpus: Gpus::default(),
            model: None,
            alias: None,
            models_dir: None,
            profile: None,
            batch: None,
            kv_type: None,
            flash_attention: None,
            swa_full: None,
            start_seconds: 900,
            stop_seconds: 2,
            memory_growth_bytes: 4 << 30,
            memory_settle_seconds: 60,
            look_seconds: 5,
            log_dir: None,
            log_bytes: 16 << 20,
        }
    }
}

impl ManagedOptions {
    /// The program with its first arguments.
    pub(super) fn program(&self, kind: EngineKind) -> Vec<String> {
        let words: &[&str] = match kind {
            _ if !self.program.is_empty() => return self.program.clone(),
            EngineKind::Ollama => &["ollama", "serve"],
            EngineKind::OpenAi => &["llama-server"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// Whether the command line is stated as a whole.
    pub(super) fn is_whole(&self) -> bool {
        self.program.iter().chain(&self.args).any(|word| word.contains("{port}"))
    }

    /// What serde cannot check. `key` is that of the table.
    pub(crate) fn check(&self, key: &str, kind: EngineKind, url: Option<&Url>) -> Result<(), config::Error> {
        let key = |name: &str| format!("{key}.{name}");
        let needs_model = kind == EngineKind::OpenAi && !self.is_whole();
        let model = !needs_model || self.model.as_ref().is_some_and(|path| path.is_file());
        config::check(model, &key("model"), "a GGUF file for the llama-server")?;
        let profile = self.profile.as_ref().is_none_or(|path| path.is_file());
        config::check(profile, &key("profile"), "a file with a profile")?;
        config::check(self.start_seconds > 0, &key("start_seconds"), "at least 1")?;
        config::check(self.look_seconds > 0, &key("look_seconds"), "at least 1")?;
        config::check(self.log_bytes > 0, &key("log_bytes"), "at least 1")?;
        let Some(url) = url else { return Ok(()) };
        let loopback = match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            _ => false,
        };
        let own = url.scheme() == "http" && loopback && url.port().is_some();
        config::check(own, &key("url"), "http, an IP address of this host's loopback and a port, or absent")?;
        let one = match &self.gpus {
            Gpus::Inherited => true,
            Gpus::All => false,
            Gpus::Each(gpus) => gpus.len() == 1,
        };
        config::check(one, &key("gpus"), "at most one where a `url` is stated: each engine has its own")
    }
}

// === impl Gpus ===

impl Gpus {
    fn is_inherited(&self) -> bool {
        *self == Self::Inherited
    }
}

impl TryFrom<GpusText> for Gpus {
    type Error = String;

    fn try_from(text: GpusText) -> Result<Self, String> {
        let gpus = match text {
            GpusText::One(GpuText::Word(word)) if word == "all" => return Ok(Self::All),
            GpusText::One(gpu) => vec![gpu],
            GpusText::Many(gpus) => gpus,
        };
        let gpus: Vec<String> = gpus
            .into_iter()
            .map(|gpu| match gpu {
                GpuText::Index(index) => index.to_string(),
                GpuText::Word(word) => word,
            })
            .collect();
        if gpus.is_empty() || gpus.iter().any(|gpu| gpu.trim().is_empty()) {
            return Err("gpus must be `all`, or a list of at least one index or UUID".into());
        }
        Ok(Self::Each(gpus))
    }
}

impl From<Gpus> for GpusText {
    fn from(gpus: Gpus) -> Self {
        match gpus {
            // Left out when written.
            Gpus::Inherited => Self::Many(Vec::new()),
            Gpus::All => Self::One(GpuText::Word("all".into())),
            Gpus::Each(gpus) => Self::Many(gpus.into_iter().map(GpuText::Word).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(text: &str) -> Result<Gpus, String> {
        toml::from_str::<ManagedOptions>(text).map(|options| options.gpus).map_err(|error| error.to_string())
    }

    #[test]
    fn gpus_are_all_or_one_engine_each() {
        let each = |gpus: &[&str]| Ok(Gpus::Each(gpus.iter().map(|gpu| (*gpu).to_owned()).collect()));
        assert_eq!(gpus(""), Ok(Gpus::Inherited));
        assert_eq!(gpus("gpus = 'all'"), Ok(Gpus::All));
        assert_eq!(gpus("gpus = '1'"), each(&["1"]));
        assert_eq!(gpus("gpus = 0"), each(&["0"]));
        assert_eq!(gpus("gpus = [0, 1]"), each(&["0", "1"]));
        assert_eq!(gpus("gpus = ['0,1', 'GPU-8f6d']"), each(&["0,1", "GPU-8f6d"]));
        for bad in ["gpus = []", "gpus = ['']", "gpus = ''"] {
            assert!(gpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let options = ManagedOptions {
            gpus: Gpus::Each(vec!["0".into(), "1".into()]),
            kv_type: Some("q8_0".into()),
            ..ManagedOptions::default()
        };
        let text = toml::to_string(&options).unwrap();
        assert_eq!(toml::from_str::<ManagedOptions>(&text).unwrap(), options);
    }

    #[test]
    fn mistakes_are_named() {
        let check = |options: &ManagedOptions, kind, url: Option<&str>| {
            let url = url.map(|url| url.parse().unwrap());
            options.check("engines[0].managed", kind, url.as_ref()).map_err(|error| error.to_string())
        };
        let options = ManagedOptions::default();
        assert_eq!(check(&options, EngineKind::Ollama, None), Ok(()));
        assert_eq!(check(&options, EngineKind::Ollama, Some("http://127.0.0.1:11434")), Ok(()));
        let error = check(&options, EngineKind::OpenAi, None).unwrap_err();
        assert!(error.contains("engines[0].managed.model") && error.contains("GGUF"), "{error}");
        for url in ["http://gpu-7:11434", "https://127.0.0.1:1", "http://127.0.0.1"] {
            let error = check(&options, EngineKind::Ollama, Some(url)).unwrap_err();
            assert!(error.contains("engines[0].managed.url"), "{error}");
        }
        let two = ManagedOptions { gpus: Gpus::Each(vec!["0".into(), "1".into()]), ..options };
        let error = check(&two, EngineKind::Ollama, Some("http://127.0.0.1:1")).unwrap_err();
        assert!(error.contains("engines[0].managed.gpus"), "{error}");
        // A program that is told everything needs no model here.
        let whole = ManagedOptions { program: vec!["vllm".into(), "--port={port}".into()], ..two };
        assert_eq!(check(&whole, EngineKind::OpenAi, None), Ok(()));
    }
}
