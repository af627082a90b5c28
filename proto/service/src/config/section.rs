use super::{Error, check};

/// Where the options of a role stand in the file of its process: at its top, or in a section of it, beside which some
/// keys are the process's own.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    name: &'static str,
    above: &'static [&'static str],
}

// === impl Section ===

impl Section {
    /// The file is the role's own.
    pub const TOP: Self = Self::new("", &[]);

    /// The section `name`; `above` are those keys of the role that the process has at its top instead.
    #[must_use]
    pub const fn new(name: &'static str, above: &'static [&'static str]) -> Self {
        Self { name, above }
    }

    /// The whole path of a key of the role, as whoever writes the file needs it.
    #[must_use]
    pub fn key(self, key: &str) -> String {
        let first = key.split(['.', '[']).next().unwrap_or(key);
        if self.name.is_empty() || self.above.contains(&first) {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    /// As [`check`], of a key of the role.
    ///
    /// # Errors
    /// Always what it was made for, if `holds` is false.
    pub fn check(self, holds: bool, key: &str, wanted: &str) -> Result<(), Error> {
        check(holds, &self.key(key), wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_where_it_stands() {
        let section = Section::new("roles.gateway", &["listen", "engines"]);
        let keys = ["listen", "listen_more", "engines[0].url", "server.max_calls"];
        assert_eq!(
            keys.map(|key| section.key(key)),
            ["listen", "roles.gateway.listen_more", "engines[0].url", "roles.gateway.server.max_calls"]
        );
        assert_eq!(keys.map(|key| Section::TOP.key(key)), keys);
        let error = section.check(false, "server.max_calls", "at least 1").expect_err("it does not hold");
        assert!(error.to_string().contains("`roles.gateway.server.max_calls` must be at least 1"), "{error}");
    }
}
