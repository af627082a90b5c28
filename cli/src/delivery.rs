//! Puts the answers and the errors of an ended batch where the user wants them.

use std::path::{Path, PathBuf};

use caravan_proto::v1::{Batch, LineError};
use serde_json::json;

use crate::{download::download, failure::Failure, local_file::LocalFile, server::Server, stderr};

/// Where to put what.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Delivery {
    /// Write the answers here when the batch has ended, in input order; implies --watch.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write rejected and failed lines here when the batch has ended, in input order; implies --watch.
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
}

// === impl Delivery ===

impl Delivery {
    /// Whether anything is wanted.
    pub(crate) fn is_wanted(&self) -> bool {
        self.out.is_some() || self.errors.is_some()
    }

    /// Whether the files could be written: found out before a batch runs for a night.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.out.iter().chain(&self.errors).try_for_each(|path| LocalFile::check(path))
    }

    /// Writes the files, each whole or not at all; an empty one if there is nothing for it.
    pub(crate) async fn deliver(&self, server: &Server, batch: &Batch) -> Result<(), Failure> {
        if let Some(path) = &self.out {
            write(server, path, &batch.output_file, &[]).await?;
        }
        if let Some(path) = &self.errors {
            let unread = if batch.error_file.is_empty() { batch.line_errors.as_slice() } else { &[] };
            if i64::try_from(unread.len()).is_ok_and(|known| known < batch.line_error_count)
                && !unread.is_empty()
            {
                stderr::note(format_args!(
                    "the server names {} of {} line errors",
                    unread.len(),
                    batch.line_error_count
                ));
            }
            write(server, path, &batch.error_file, unread).await?;
        }
        Ok(())
    }
}

/// The server's file, or else the line errors that came with the batch.
async fn write(server: &Server, path: &Path, name: &str, errors: &[LineError]) -> Result<(), Failure> {
    let mut file = LocalFile::create(path)?;
    if !name.is_empty() {
        download(server, name, &mut file).await?;
    }
    for error in errors {
        file.write(format!("{}\n", error_line(error)).as_bytes()).await?;
    }
    file.finish().await
}

/// A line of an error file, for a line that never ran.
fn error_line(error: &LineError) -> serde_json::Value {
    let custom_id = if error.custom_id.is_empty() { json!(null) } else { json!(error.custom_id) };
    let param = if error.param.is_empty() { json!(null) } else { json!(error.param) };
    json!({
        "custom_id": custom_id,
        "response": null,
        "error": {"code": error.code, "message": error.message, "param": param, "line": error.line},
    })
}
