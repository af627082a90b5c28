//! Engines as the command line and the environment name them.

use std::{collections::BTreeMap, net::Ipv6Addr};

use caravan_executor::{EngineOptions, Slots};
use caravan_request::EngineKind;
use url::{Host, Url};

/// Where Ollama listens unless told otherwise.
const OLLAMA_PORT: u16 = 11_434;
/// Where to reach what listens on every address, or on one that is not named.
const LOOPBACK: &str = "127.0.0.1";

/// Parses `ollama=URL` and `openai=URL`.
pub(crate) fn parse(text: &str) -> Result<EngineOptions, String> {
    let wrong = || format!("`{text}` is not of the form ollama=URL or openai=URL");
    let (kind, address) = text.split_once('=').ok_or_else(wrong)?;
    let kind = match kind {
        "ollama" => EngineKind::Ollama,
        "openai" => EngineKind::OpenAi,
        _ => return Err(wrong()),
    };
    let url = match kind {
        EngineKind::Ollama => ollama_url(address)?,
        EngineKind::OpenAi => url(address)?,
    };
    Ok(engine(kind, url))
}

/// The Ollama that `host`, the value of `OLLAMA_HOST`, names as Ollama itself reads it:
/// scheme, host and port may be missing, and an address to listen on stands for this machine.
pub(crate) fn ollama(host: Option<&str>) -> Result<EngineOptions, String> {
    let host = host.unwrap_or_default().trim_matches(|c: char| c.is_whitespace() || c == '"' || c == '\'');
    let host = if host.is_empty() { LOOPBACK } else { host };
    let url = ollama_url(host).map_err(|error| format!("OLLAMA_HOST: {error}"))?;
    Ok(engine(EngineKind::Ollama, url))
}

/// The URL of an Ollama: its own port unless a scheme or a port is named.
fn ollama_url(address: &str) -> Result<Url, String> {
    let mut url = url(address)?;
    let anywhere = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => ip.is_unspecified(),
        _ => false,
    };
    let set = !anywhere || url.set_host(Some(LOOPBACK)).is_ok();
    let own = address.contains("://") || names_port(address) || url.set_port(Some(OLLAMA_PORT)).is_ok();
    if set && own { Ok(url) } else { Err(format!("bad host `{address}`")) }
}

/// Whether an address without scheme ends with a port; `url` forgets the one that is http's.
fn names_port(address: &str) -> bool {
    let authority = address.split('/').next().unwrap_or_default();
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    authority.parse::<Ipv6Addr>().is_err() && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

fn engine(kind: EngineKind, url: Url) -> EngineOptions {
    EngineOptions {
        kind,
        url: Some(url),
        slots: Slots::Auto,
        max_context: None,
        partial_offload: false,
        gpus: Vec::new(),
        tokenizers: BTreeMap::new(),
        managed: None,
    }
}

/// `address` as a URL: http unless it says otherwise, this machine if it begins with its
/// port, and an IPv6 address also without its brackets.
fn url(address: &str) -> Result<Url, String> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let text = if rest.parse::<Ipv6Addr>().is_ok() {
        format!("{scheme}://[{rest}]")
    } else if rest.starts_with(':') {
        format!("{scheme}://{LOOPBACK}{rest}")
    } else {
        format!("{scheme}://{rest}")
    };
    let url = Url::parse(&text).map_err(|error| format!("`{address}` is not a URL: {error}"))?;
    if url.has_host() { Ok(url) } else { Err(format!("`{address}` names no host")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(engine: &EngineOptions) -> &str {
        engine.url.as_ref().expect("a URL").as_str()
    }

    #[test]
    fn an_engine_is_a_kind_and_a_url() {
        let engine = parse("openai=http://127.0.0.1:8080").expect("an engine");
        assert_eq!((engine.kind, url(&engine)), (EngineKind::OpenAi, "http://127.0.0.1:8080/"));
        for (text, expected) in [
            ("ollama=gpu-7", "http://gpu-7:11434/"),
            ("ollama=::1", "http://[::1]:11434/"),
            ("ollama=:9000", "http://127.0.0.1:9000/"),
            ("ollama=http://gpu-7", "http://gpu-7/"),
            ("openai=gpu-7:8080", "http://gpu-7:8080/"),
        ] {
            assert_eq!(url(&parse(text).expect("an engine")), expected, "{text}");
        }
        for bad in ["ollama", "vllm=http://a", "http://a", "ollama="] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ollama_host_is_read_as_ollama_reads_it() {
        for (host, expected) in [
            (None, "http://127.0.0.1:11434/"),
            (Some(""), "http://127.0.0.1:11434/"),
            (Some("0.0.0.0"), "http://127.0.0.1:11434/"),
            (Some("0.0.0.0:9000"), "http://127.0.0.1:9000/"),
            (Some(":9000"), "http://127.0.0.1:9000/"),
            (Some("\":11434\""), "http://127.0.0.1:11434/"),
            (Some("::1"), "http://[::1]:11434/"),
            (Some("[::1]:9000"), "http://[::1]:9000/"),
            (Some("::"), "http://127.0.0.1:11434/"),
            (Some("gpu-7:80"), "http://gpu-7/"),
            (Some("gpu-7"), "http://gpu-7:11434/"),
            (Some("http://gpu-7:80"), "http://gpu-7/"),
        ] {
            assert_eq!(url(&ollama(host).expect("an engine")), expected, "{host:?}");
        }
    }
}
