//! `caravan plan --profile P.json FILE`: a file planned here, on a profile alone.

use std::{
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use caravan_planner::prepare::{Offline, Unplanned};
use caravan_proto::{json::from_value, v1};
use caravan_service::explain;
use caravan_tokenize::{Definition, Metadata, Vocabulary};

use crate::{batch_options::BatchOptions, failure::Failure};

/// Bytes of a tokenizer.json at most: what a definition may have.
const MAX_JSON: u64 = 64 << 20;

/// A plan of a file without a server.
#[derive(Debug, clap::Args)]
// Its name is that of other options, and no two groups of a command may share one.
#[group(skip)]
pub(super) struct Options {
    /// Plan FILE here, for an engine as this profile in JSON says, without asking a server.
    #[arg(long, value_name = "FILE", help_heading = "Without a server")]
    profile: Option<PathBuf>,
    /// Count tokens with this tokenizer.json, or the vocabulary of this .gguf; left out, tokens
    /// are estimated.
    #[arg(long, value_name = "FILE", requires = "profile", help_heading = "Without a server")]
    tokenizer: Option<PathBuf>,
    /// Lanes of all engines together; left out, the slots of the profile.
    #[arg(long, value_name = "N", requires = "profile", help_heading = "Without a server")]
    lanes: Option<NonZeroU32>,
}

// === impl Options ===

impl Options {
    /// What a plan counts on; none if the server is to be asked.
    pub(super) fn known(&self) -> Result<Option<Offline>, Failure> {
        let Some(path) = &self.profile else { return Ok(None) };
        let profile = read(path)?;
        let mut known = Offline { profile, lanes: self.lanes, ..Offline::default() };
        if let Some(path) = &self.tokenizer {
            let definition = if is_gguf(path) { gguf(path, &mut known) } else { tokenizer_json(path) };
            known.definition = Some(definition?);
        }
        Ok(Some(known))
    }
}

/// The profile in a file of JSON.
pub(in crate::command) fn read(path: &Path) -> Result<v1::Profile, Failure> {
    let text = fs::read(path).map_err(|source| Failure::read(path, source))?;
    let json = serde_json::from_slice(&text).map_err(|error| wrong(path, error))?;
    from_value(&json).map_err(|error| wrong(path, error))
}

/// The batch as a server with such an engine would have it.
pub(super) async fn plan(known: Offline, options: &BatchOptions, file: &Path) -> Result<v1::Batch, Failure> {
    let (input, batch) = options.read(file).await?;
    let planned = known.plan(batch, input.reader()?).await;
    planned.map_err(|error| match error {
        Unplanned::Batch(status) => Failure::Refused(status),
        Unplanned::Profile { .. } | Unplanned::Tokenizer(_) => Failure::Usage(explain(&error)),
        Unplanned::Prepare(_) => Failure::Role(explain(&error)),
    })
}

fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"))
}

/// The vocabulary of a model's file, which tells the window of its attention too.
fn gguf(path: &Path, known: &mut Offline) -> Result<Definition, Failure> {
    let unread = |error: caravan_tokenize::Error| wrong(path, explain(&error));
    let window = Metadata::from_gguf(path).map_err(unread)?.sliding_window();
    known.sliding_window = window.map_or(0, |window| i64::try_from(window).unwrap_or(i64::MAX));
    Ok(Definition::Vocabulary(Vocabulary::from_gguf(path).map_err(unread)?))
}

fn tokenizer_json(path: &Path) -> Result<Definition, Failure> {
    let unread = |source| Failure::read(path, source);
    let bytes = fs::metadata(path).map_err(unread)?.len();
    if bytes > MAX_JSON {
        return Err(wrong(
            path,
            format_args!("{bytes} bytes are more than the {MAX_JSON} of a tokenizer.json"),
        ));
    }
    Ok(Definition::TokenizerJson(fs::read_to_string(path).map_err(unread)?))
}

fn wrong(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::Usage(format!("{}: {why}", path.display()))
}
