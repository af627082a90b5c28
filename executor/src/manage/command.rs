//! The command lines and environments of the programs: pure.

use std::{collections::BTreeMap, path::Path};

use caravan_request::EngineKind;
use url::Url;

use super::{Gpus, Launch, ManagedOptions};

/// How a program is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandLine {
    /// The program and its arguments; at least one word.
    pub(super) words: Vec<String>,
    /// What its environment has beside the executor's; none: it must not have it.
    pub(super) env: BTreeMap<String, Option<String>>,
}

// === impl CommandLine ===

impl CommandLine {
    /// An engine of `kind` that listens at `url`, as `options` and `launch` say.
    pub(super) fn new(kind: EngineKind, url: &Url, options: &ManagedOptions, launch: &Launch) -> Self {
        let mut words = options.program(kind);
        let mut env = BTreeMap::new();
        match kind {
            EngineKind::Ollama => env.extend(ollama(url, options, launch)),
            EngineKind::OpenAi if options.is_whole() => {}
            EngineKind::OpenAi => words.extend(llama_server(options, launch)),
        }
        if let Gpus::Each(gpus) = &options.gpus {
            // By index as NVML has it, not the fastest first.
            env.insert("CUDA_DEVICE_ORDER".into(), Some("PCI_BUS_ID".into()));
            env.insert("CUDA_VISIBLE_DEVICES".into(), Some(gpus.join(",")));
        }
        words.extend(options.args.iter().cloned());
        env.extend(options.env.iter().map(|(name, value)| (name.clone(), Some(value.clone()))));
        let places = places(url, options, launch);
        let fill =
            |text: &mut String| places.iter().for_each(|(place, value)| *text = text.replace(place, value));
        words.iter_mut().for_each(fill);
        env.values_mut().flatten().for_each(fill);
        Self { words, env }
    }
}

/// The environment that a batch wants: every slot of one model with its whole context, for as long
/// as it is used, nothing kept twice, nothing sent elsewhere, nothing deleted that another Ollama
/// with the same models needs. The `LLAMA_ARG_…` reach the llama-server that it starts.
fn ollama(url: &Url, options: &ManagedOptions, launch: &Launch) -> BTreeMap<String, Option<String>> {
    let on = |wanted: bool| wanted.then(|| "1".to_owned());
    let flash_attention = u8::from(options.flash_attention.unwrap_or(true)).to_string();
    let mut env: BTreeMap<_, _> = [
        ("OLLAMA_HOST", Some(authority(url))),
        ("OLLAMA_NUM_PARALLEL", Some(launch.slots.to_string())),
        ("OLLAMA_CONTEXT_LENGTH", Some(launch.context.to_string())),
        ("OLLAMA_MAX_LOADED_MODELS", on(true)),
        ("OLLAMA_KEEP_ALIVE", Some("-1".to_owned())),
        ("OLLAMA_FLASH_ATTENTION", Some(flash_attention)),
        ("OLLAMA_KV_CACHE_TYPE", launch.kv_type.clone()),
        ("OLLAMA_NO_CLOUD", on(true)),
        ("OLLAMA_NOPRUNE", on(true)),
        // Then it would write prompts into its log.
        ("OLLAMA_DEBUG", None),
        ("LLAMA_ARG_CACHE_RAM", Some("0".to_owned())),
        ("LLAMA_ARG_ENDPOINT_METRICS", on(true)),
        ("LLAMA_ARG_SWA_FULL", on(launch.swa_full)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(directory) = &options.models_dir {
        env.insert("OLLAMA_MODELS".to_owned(), Some(directory.display().to_string()));
    }
    env
}

/// The same for a llama-server. All layers on the GPU or no start: some on the CPU would be slow
/// without a word.
fn llama_server(options: &ManagedOptions, launch: &Launch) -> Vec<String> {
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut words =
        text(&["--model", "{model}", "--alias", "{alias}", "--host", "{host}", "--port", "{port}"]);
    words.extend(text(&["--parallel", "{slots}", "--ctx-size", "{total_context}", "--gpu-layers", "999"]));
    words.extend(text(&["--cache-ram", "0", "--metrics", "--no-webui", "--jinja"]));
    if launch.batch > 0 {
        words.extend(text(&["--batch-size", "{batch}", "--ubatch-size", "{batch}"]));
    }
    if launch.kv_type.is_some() {
        words.extend(text(&["--cache-type-k", "{kv_type}", "--cache-type-v", "{kv_type}"]));
    }
    if let Some(on) = options.flash_attention {
        words.extend(text(&["--flash-attn", if on { "on" } else { "off" }]));
    }
    if launch.swa_full {
        words.extend(text(&["--swa-full"]));
    }
    words
}

/// What stands for what.
fn places(url: &Url, options: &ManagedOptions, launch: &Launch) -> [(&'static str, String); 10] {
    let model = launch.model.clone().unwrap_or_default();
    let stem = || Path::new(&model).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let gpu = if let Gpus::Each(gpus) = &options.gpus { gpus.join(",") } else { String::new() };
    [
        ("{host}", url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned()),
        ("{port}", url.port_or_known_default().unwrap_or_default().to_string()),
        ("{slots}", launch.slots.to_string()),
        ("{context}", launch.context.to_string()),
        ("{total_context}", u64::from(launch.slots).saturating_mul(launch.context).to_string()),
        ("{batch}", launch.batch.to_string()),
        ("{kv_type}", launch.kv_type.clone().unwrap_or_else(|| "f16".to_owned())),
        ("{alias}", options.alias.clone().or_else(stem).unwrap_or_default()),
        ("{model}", model),
        ("{gpu}", gpu),
    ]
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    format!("{host}:{}", url.port_or_known_default().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch() -> Launch {
        let model = Some("/srv/gemma3-270m.gguf".to_owned());
        Launch { slots: 4, context: 2_048, batch: 0, kv_type: None, swa_full: false, model }
    }

    fn line(kind: EngineKind, table: &str, launch: &Launch) -> CommandLine {
        let url = "http://127.0.0.1:9000".parse().unwrap();
        CommandLine::new(kind, &url, &toml::from_str(table).unwrap(), launch)
    }

    #[test]
    fn an_ollama_gets_the_environment_that_a_batch_wants() {
        let table = "models_dir = '/srv/ollama'\ngpus = [1]\nenv = {HOME = '/srv/home', X = '{gpu}:{port}'}";
        let line = line(EngineKind::Ollama, table, &Launch { kv_type: Some("q8_0".into()), ..launch() });
        assert_eq!(line.words, ["ollama", "serve"]);
        let env: Vec<_> =
            line.env.iter().map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or("-"))).collect();
        assert_eq!(
            env,
            [
                ("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
                ("CUDA_VISIBLE_DEVICES", "1"),
                ("HOME", "/srv/home"),
                ("LLAMA_ARG_CACHE_RAM", "0"),
                ("LLAMA_ARG_ENDPOINT_METRICS", "1"),
                ("LLAMA_ARG_SWA_FULL", "-"),
                ("OLLAMA_CONTEXT_LENGTH", "2048"),
                ("OLLAMA_DEBUG", "-"),
                ("OLLAMA_FLASH_ATTENTION", "1"),
                ("OLLAMA_HOST", "127.0.0.1:9000"),
                ("OLLAMA_KEEP_ALIVE", "-1"),
                ("OLLAMA_KV_CACHE_TYPE", "q8_0"),
                ("OLLAMA_MAX_LOADED_MODELS", "1"),
                ("OLLAMA_MODELS", "/srv/ollama"),
                ("OLLAMA_NOPRUNE", "1"),
                ("OLLAMA_NO_CLOUD", "1"),
                ("OLLAMA_NUM_PARALLEL", "4"),
                ("X", "1:9000"),
            ]
        );
    }

    #[test]
    fn an_ollama_keeps_whole_sliding_windows_and_forgoes_flash_attention_where_told() {
        let swa = Launch { swa_full: true, ..launch() };
        let line = line(EngineKind::Ollama, "flash_attention = false", &swa);
        assert_eq!(line.env["LLAMA_ARG_SWA_FULL"].as_deref(), Some("1"));
        assert_eq!(line.env["OLLAMA_FLASH_ATTENTION"].as_deref(), Some("0"));
        assert!(!line.env.contains_key("CUDA_VISIBLE_DEVICES"), "what the executor sees");
    }

    #[test]
    fn a_llama_server_gets_its_command_line() {
        let plain = line(EngineKind::OpenAi, "", &launch());
        let words = "llama-server --model /srv/gemma3-270m.gguf --alias gemma3-270m --host 127.0.0.1 --port 9000 \
                     --parallel 4 --ctx-size 8192 --gpu-layers 999 --cache-ram 0 --metrics --no-webui --jinja";
        assert_eq!(plain.words.join(" "), words);

        let table = "program = ['/opt/llama-server', '-v']\nargs = ['--threads', '1']\nalias = 'gemma'\nflash_attention = true";
        let launch = Launch { batch: 1_024, kv_type: Some("q8_0".into()), swa_full: true, ..launch() };
        let told = line(EngineKind::OpenAi, table, &launch);
        let words = "/opt/llama-server -v --model /srv/gemma3-270m.gguf --alias gemma --host 127.0.0.1 --port 9000 \
                     --parallel 4 --ctx-size 8192 --gpu-layers 999 --cache-ram 0 --metrics --no-webui --jinja \
                     --batch-size 1024 --ubatch-size 1024 --cache-type-k q8_0 --cache-type-v q8_0 \
                     --flash-attn on --swa-full --threads 1";
        assert_eq!(told.words.join(" "), words);
    }

    #[test]
    fn a_program_that_is_told_its_port_is_told_everything() {
        let table = "program = ['python3', 'serve.py']\n\
                     args = ['--listen={host}:{port}', '--slots={slots}', '--context={context}', '--kv={kv_type}', '{\"a\":{model}}']\n\
                     gpus = ['0,1']\nenv = {ROCR_VISIBLE_DEVICES = '{gpu}'}";
        let line = line(EngineKind::OpenAi, table, &launch());
        assert_eq!(
            line.words,
            [
                "python3",
                "serve.py",
                "--listen=127.0.0.1:9000",
                "--slots=4",
                "--context=2048",
                "--kv=f16",
                "{\"a\":/srv/gemma3-270m.gguf}"
            ]
        );
        assert_eq!(line.env["ROCR_VISIBLE_DEVICES"].as_deref(), Some("0,1"));
    }
}
