//! Engines as the command line and the environment name them.

use caravan_executor::{EngineOptions, Slots};
use caravan_request::EngineKind;
use url::{Host, Url};

/// Where Ollama listens unless told otherwise.
const OLLAMA_PORT: u16 = 11_434;

/// Parses `ollama=URL` and `openai=URL`.
pub(crate) fn parse(text: &str) -> Result<EngineOptions, String> {
    let wrong = || format!("`{text}` is not of the form ollama=URL or openai=URL");
    let (kind, address) = text.split_once('=').ok_or_else(wrong)?;
    let kind = match kind {
        "ollama" => EngineKind::Ollama,
        "openai" => EngineKind::OpenAi,
        _ => return Err(wrong()),
    };
    Ok(engine(kind, url(address)?))
}

/// The Ollama that `host`, the value of `OLLAMA_HOST`, names as Ollama itself reads it:
/// scheme and port may be missing, and an address to listen on stands for this machine.
pub(crate) fn ollama(host: Option<&str>) -> Result<EngineOptions, String> {
    let host = host.map(str::trim).filter(|host| !host.is_empty()).unwrap_or("127.0.0.1");
    let mut url = url(host).map_err(|error| format!("OLLAMA_HOST: {error}"))?;
    let anywhere = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => ip.is_unspecified(),
        _ => false,
    };
    let set = !anywhere || url.set_host(Some("127.0.0.1")).is_ok();
    let with_port = host.contains("://") || url.port().is_some() || url.set_port(Some(OLLAMA_PORT)).is_ok();
    if set && with_port {
        Ok(engine(EngineKind::Ollama, url))
    } else {
        Err(format!("OLLAMA_HOST: bad host `{host}`"))
    }
}

fn engine(kind: EngineKind, url: Url) -> EngineOptions {
    EngineOptions { kind, url, slots: Slots::Auto, max_context: None }
}

fn url(address: &str) -> Result<Url, String> {
    let text = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let url = Url::parse(&text).map_err(|error| format!("`{address}` is not a URL: {error}"))?;
    if url.has_host() { Ok(url) } else { Err(format!("`{address}` names no host")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_a_kind_and_a_url() {
        let engine = parse("openai=http://127.0.0.1:8080").expect("an engine");
        assert_eq!((engine.kind, engine.url.as_str()), (EngineKind::OpenAi, "http://127.0.0.1:8080/"));
        for bad in ["ollama", "vllm=http://a", "http://a", "ollama="] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ollama_host_is_read_as_ollama_reads_it() {
        for (host, url) in [
            (None, "http://127.0.0.1:11434/"),
            (Some(""), "http://127.0.0.1:11434/"),
            (Some("0.0.0.0"), "http://127.0.0.1:11434/"),
            (Some("0.0.0.0:9000"), "http://127.0.0.1:9000/"),
            (Some("gpu-7"), "http://gpu-7:11434/"),
            (Some("http://gpu-7:80"), "http://gpu-7/"),
        ] {
            assert_eq!(ollama(host).expect("an engine").url.as_str(), url, "{host:?}");
        }
    }
}
