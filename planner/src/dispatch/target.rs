use caravan_proto::{name::ExecutorId, v1::engine::Kind};

use super::Outgoing;

/// An engine that an errand may go to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Whose it is.
    pub(crate) executor: ExecutorId,
    /// The host of its executor.
    pub(crate) host: String,
    /// `Engine.id`.
    pub(crate) engine: String,
    /// Which API it speaks.
    pub(crate) kind: Kind,
    /// The way to its executor.
    pub(super) outgoing: Outgoing,
}

/// Why no engine is selected; the text says the way out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unselected {
    /// A name that no engine has.
    #[error("no engine is named {name}; there is {known}")]
    Unknown {
        /// As given.
        name: String,
        /// All names that there are.
        known: String,
    },
    /// The engines that were named cannot get models.
    #[error("{name} cannot get models: the model of a llama-server or vLLM is fixed at its start")]
    Fixed {
        /// As given.
        name: String,
    },
    /// Nothing to select from.
    #[error("no engine is connected that can get models: an Ollama can")]
    None,
}

// === impl Target ===

impl Target {
    /// The engines that `names` mean, each `HOST`, `HOST/ENGINE` or an executor's name; without names
    /// every engine that can get models. A host stands for those of its engines that can.
    ///
    /// # Errors
    /// If a name means none, or none that can get models.
    pub fn select(all: Vec<Self>, names: &[String]) -> Result<Vec<Self>, Unselected> {
        for name in names {
            let mut named = all.iter().filter(|target| target.is_named(name)).peekable();
            if named.peek().is_none() {
                return Err(Unselected::Unknown { name: name.clone(), known: known(&all) });
            }
            if !named.any(Self::can_get_models) {
                return Err(Unselected::Fixed { name: name.clone() });
            }
        }
        let is_wanted = |target: &Self| names.is_empty() || names.iter().any(|name| target.is_named(name));
        let selected: Vec<_> =
            all.into_iter().filter(|target| target.can_get_models() && is_wanted(target)).collect();
        if selected.is_empty() { Err(Unselected::None) } else { Ok(selected) }
    }

    fn can_get_models(&self) -> bool {
        self.kind == Kind::Ollama
    }

    fn is_named(&self, name: &str) -> bool {
        let of_host = name
            .strip_prefix(&self.host)
            .is_some_and(|rest| rest.is_empty() || rest.strip_prefix('/') == Some(self.engine.as_str()));
        of_host || name.parse() == Ok(self.executor)
    }
}

fn known(all: &[Target]) -> String {
    let mut names: Vec<_> = all.iter().map(|target| format!("{}/{}", target.host, target.engine)).collect();
    names.sort_unstable();
    if names.is_empty() { "none at all".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn fleet() -> Vec<Target> {
        let engines = [
            ("a", "ollama-0", Kind::Ollama),
            ("a", "openai-1", Kind::Openai),
            ("b", "ollama-0", Kind::Ollama),
        ];
        let target = |(host, engine, kind): (&str, &str, Kind)| Target {
            executor: ExecutorId::now(),
            host: host.into(),
            engine: engine.into(),
            kind,
            outgoing: Outgoing::new(mpsc::channel(1).0, CancellationToken::new()),
        };
        engines.into_iter().map(target).collect()
    }

    fn selected(names: &[&str]) -> Result<Vec<String>, String> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let selected = Target::select(fleet(), &names).map_err(|error| error.to_string())?;
        Ok(selected.iter().map(|target| format!("{}/{}", target.host, target.engine)).collect())
    }

    #[test]
    fn a_name_is_a_host_or_one_of_its_engines() {
        assert_eq!(selected(&[]).unwrap(), ["a/ollama-0", "b/ollama-0"]);
        assert_eq!(selected(&["a"]).unwrap(), ["a/ollama-0"], "of a host those that can");
        assert_eq!(selected(&["b/ollama-0", "a", "b"]).unwrap(), ["a/ollama-0", "b/ollama-0"], "each once");
        let all = fleet();
        let name = all[2].executor.name();
        assert_eq!(Target::select(all, &[name]).unwrap()[0].host, "b");
    }

    #[test]
    fn what_cannot_be_selected_is_said() {
        let unknown = "no engine is named ab; there is a/ollama-0, a/openai-1, b/ollama-0";
        assert_eq!(selected(&["a", "ab"]).unwrap_err(), unknown);
        assert!(selected(&["a/openai-1"]).unwrap_err().contains("fixed at its start"));
        assert_eq!(Target::select(Vec::new(), &[]).unwrap_err(), Unselected::None);
    }
}
