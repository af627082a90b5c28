//! What all lines of a batch share, from the command line.

use std::{
    fs,
    path::{Path, PathBuf},
};

use caravan_request::{Defaults, Endpoint};
use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// Fields that lines need not repeat; a line's own win.
#[derive(Debug, Clone, clap::Args)]
// Its name is that of other options, and no two groups of a command may share one.
#[group(skip)]
pub(crate) struct Options {
    /// Text file whose whole content is the system message of every request.
    #[arg(long, value_name = "FILE", help_heading = "Defaults of lines")]
    system_file: Option<PathBuf>,
    /// JSON file: an object with fields of a body; its messages stand before those of each line.
    #[arg(long, value_name = "FILE", help_heading = "Defaults of lines")]
    defaults: Option<PathBuf>,
    /// One such field, as JSON, as text if it is no JSON, or as @FILE for the JSON in FILE,
    /// e.g. max_tokens=8 or response_format=@format.json; may be given again.
    #[arg(long, value_name = "KEY=VALUE", value_parser = param, help_heading = "Defaults of lines")]
    param: Vec<(String, String)>,
}

// === impl Options ===

impl Options {
    /// Whether there are any.
    pub(crate) fn are_given(&self) -> bool {
        self.system_file.is_some() || self.defaults.is_some() || !self.param.is_empty()
    }

    /// The defaults of a batch whose lines go to `endpoint`: an object, also if none are given.
    pub(crate) fn text(&self, endpoint: Endpoint) -> Result<String, Failure> {
        let mut fields: Map<String, Value> = match &self.defaults {
            Some(path) => parse(path)?,
            None => Map::new(),
        };
        for (key, value) in &self.param {
            let value = match value.strip_prefix('@') {
                Some(path) => parse(Path::new(path))?,
                None => serde_json::from_str(value).unwrap_or_else(|_| Value::from(value.as_str())),
            };
            fields.insert(key.clone(), value);
        }
        if let Some(path) = &self.system_file {
            let message = json!({"role": "system", "content": read(path)?});
            // What is no array is told below.
            if let Value::Array(messages) = fields.entry("messages").or_insert_with(|| json!([])) {
                messages.insert(0, message);
            }
        }
        let text = Value::Object(fields).to_string();
        match Defaults::parse(&text, Some(endpoint)) {
            Ok(_) => Ok(text),
            Err(error) => Err(Failure::Usage(error.to_string())),
        }
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|source| Failure::read(path, source))
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = read(path)?;
    serde_json::from_str(&text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

fn param(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not of the form KEY=VALUE")),
    }
}
