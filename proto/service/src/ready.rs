//! The ready file: how a script learns the addresses of a role, ports of 0 included.

use std::{
    io::{self, Write as _},
    path::Path,
};

use serde::Serialize;

/// What the file says. A role writes it once it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// URL of the gRPC server; null if the role has none.
    pub grpc: Option<String>,
    /// URL of the HTTP server; null if the role has none.
    pub http: Option<String>,
    /// This process.
    pub pid: u32,
}

impl Ready {
    /// This process at these addresses.
    #[must_use]
    pub fn new(grpc: Option<String>, http: Option<String>) -> Self {
        Self { grpc, http, pid: std::process::id() }
    }
}

/// Writes the file whole: a reader finds no file or all of it.
///
/// # Errors
/// If the file cannot be written; the error names it.
pub fn write(path: &Path, ready: &Ready) -> io::Result<()> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("ready file {}: {error}", path.display()));
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(named)?;
    serde_json::to_writer(&mut file, ready)?;
    file.write_all(b"\n").map_err(named)?;
    file.persist(path).map_err(|error| named(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_not_served_is_null_and_an_old_file_is_replaced() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("ready.json");
        std::fs::write(&path, "a much longer file of an earlier run, which must not shine through")
            .expect("write");
        let ready = Ready { grpc: Some("http://127.0.0.1:4082".into()), http: None, pid: 7 };
        write(&path, &ready).expect("written");
        let text = std::fs::read_to_string(&path).expect("read");
        assert_eq!(text, "{\"grpc\":\"http://127.0.0.1:4082\",\"http\":null,\"pid\":7}\n");
        let left = std::fs::read_dir(dir.path()).expect("list").count();
        assert_eq!(left, 1, "a temporary file was left behind");
    }

    #[test]
    fn an_error_names_the_file() {
        let error = write(Path::new("/nonexistent/ready.json"), &Ready::new(None, None))
            .expect_err("no such directory");
        assert!(error.to_string().contains("/nonexistent/ready.json"), "{error}");
    }
}
