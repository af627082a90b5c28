//! Names of models. Ollama lists `name:tag` and takes `name` for `name:latest`.

/// The one name of a model: without the tag that is taken for granted.
#[must_use]
pub fn bare(name: &str) -> &str {
    name.strip_suffix(":latest").unwrap_or(name)
}

/// Whether a request for `wanted` means the model that an engine lists as `known`.
#[must_use]
pub fn means(wanted: &str, known: &str) -> bool {
    bare(wanted) == bare(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_means_the_latest() {
        assert!(means("gemma3", "gemma3:latest") && means("gemma3:latest", "gemma3:latest"));
        assert!(!means("gemma3", "gemma3:12b") && !means("gemma", "gemma3:latest"));
    }
}
