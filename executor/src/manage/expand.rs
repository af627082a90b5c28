//! What an entry of a managed engine leaves open: its profile's part, its GPU, where it listens.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
};

use url::Url;

use super::{Error, Gpus, ManagedOptions, launch};
use crate::{gpu::Sample, options::EngineOptions};

/// `engines`, with an entry for each GPU where that is asked for, and a URL, slots and what a profile
/// says for each. `sample` lists the GPUs of the host. The ports are free now; an engine that finds its own taken is started
/// again until it gets it.
///
/// # Errors
/// If a profile cannot be read, GPUs are needed and cannot be listed, or no port is free.
pub(crate) fn expand(
    engines: &[EngineOptions],
    mut sample: impl FnMut() -> Sample,
) -> Result<Vec<EngineOptions>, Error> {
    let mut expanded = Vec::new();
    // Held until all are chosen, so that no port is chosen twice.
    let mut held = Vec::new();
    for (place, engine) in engines.iter().enumerate() {
        let engine = launch::with_profile(engine)?;
        let Some(managed) = &engine.managed else {
            expanded.push(engine);
            continue;
        };
        for gpus in one_each(&managed.gpus, &mut sample).map_err(|why| Error::Gpus { place, why })? {
            let url = match &engine.url {
                Some(url) => url.clone(),
                None => free(&mut held).map_err(|error| Error::Port(place, error))?,
            };
            let managed = Some(ManagedOptions { gpus, ..managed.clone() });
            expanded.push(EngineOptions { url: Some(url), managed, ..engine.clone() });
        }
    }
    Ok(expanded)
}

fn one_each(gpus: &Gpus, sample: &mut impl FnMut() -> Sample) -> Result<Vec<Gpus>, String> {
    let each = match gpus {
        Gpus::Inherited => return Ok(vec![Gpus::Inherited]),
        Gpus::Each(gpus) => gpus.clone(),
        // By UUID where there is one: it means the same GPU to everybody.
        Gpus::All => {
            let name = |gpu: caravan_proto::v1::Gpu| {
                if gpu.uuid.is_empty() { gpu.index.to_string() } else { gpu.uuid }
            };
            sample()?.into_iter().map(name).collect()
        }
    };
    if each.is_empty() {
        return Err("there is none".into());
    }
    Ok(each.into_iter().map(|gpu| Gpus::Each(vec![gpu])).collect())
}

fn free(held: &mut Vec<TcpListener>) -> io::Result<Url> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let url = format!("http://{}", listener.local_addr()?);
    held.push(listener);
    Url::parse(&url).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use caravan_proto::v1::Gpu;

    use super::*;

    fn expanded(text: &str, sample: Sample) -> Result<Vec<EngineOptions>, Error> {
        expand(&[toml::from_str(text).unwrap()], || sample.clone())
    }

    fn gpus(engines: &[EngineOptions]) -> Vec<Gpus> {
        engines.iter().map(|engine| engine.managed.clone().unwrap().gpus).collect()
    }

    fn one(gpu: &str) -> Gpus {
        Gpus::Each(vec![gpu.to_owned()])
    }

    #[test]
    fn each_gpu_gets_an_engine_with_a_port_of_its_own() {
        let none = Err("no library".to_owned());
        let two =
            expanded("kind = 'ollama'\nslots = 3\n[managed]\ngpus = ['0', '2,3']", none.clone()).unwrap();
        assert_eq!(gpus(&two), [one("0"), one("2,3")]);
        let ports: HashSet<_> = two.iter().map(|engine| engine.url.as_ref().unwrap().port()).collect();
        assert_eq!(ports.len(), 2);

        let listed = vec![
            Gpu { index: 0, uuid: "GPU-a".into(), ..Gpu::default() },
            Gpu { index: 1, ..Gpu::default() },
        ];
        let all = expanded("kind = 'ollama'\n[managed]\ngpus = 'all'", Ok(listed)).unwrap();
        assert_eq!(gpus(&all), [one("GPU-a"), one("1")]);

        for sample in [none, Ok(Vec::new())] {
            let error = expanded("kind = 'ollama'\n[managed]\ngpus = 'all'", sample).unwrap_err().to_string();
            assert!(error.contains("engines[0].managed.gpus"), "{error}");
        }
    }

    #[test]
    fn what_is_stated_stays() {
        let text = "kind = 'ollama'\nurl = 'http://127.0.0.1:11434'";
        let alone = expanded(text, Ok(Vec::new())).unwrap();
        assert_eq!(alone, [toml::from_str::<EngineOptions>(text).unwrap()]);
        let text = "kind = 'ollama'\nurl = 'http://127.0.0.1:11434'\n[managed]";
        let managed = expanded(text, Ok(Vec::new())).unwrap();
        assert_eq!(managed[0].url.as_ref().unwrap().port(), Some(11_434));
        assert_eq!(gpus(&managed), [Gpus::Inherited]);
    }
}
