//! `caravan files list`, `get` and `delete`

use caravan_proto::{
    json::{enum_text, to_value},
    name::FileId,
    v1::{
        DeleteFileRequest, File, GetFileRequest, ListFilesRequest,
        file::{Purpose, State},
    },
};
use serde_json::{Value, json};

use super::{Context, LARGEST_PAGE, get::bare};
use crate::{
    exit::Exit,
    failure::Failure,
    figures::{bytes, count},
    server::Server,
    stderr, stdout,
    table::{plain, time, with_heading},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List files, newest first
    List(List),
    /// Show one file
    Get {
        /// The file, e.g. file_0190….
        file: FileId,
    },
    /// Delete a file that no batch under way reads
    Delete {
        /// The file, e.g. file_0190….
        file: FileId,
    },
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only files for this: batch, batch_output or model.
    #[arg(long, value_parser = purpose)]
    purpose: Option<Purpose>,
    /// Files to list, at most.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let server = Server::connect(&context.server).await?;
    match args.command {
        Command::List(args) => list(&server, &args, context.json).await?,
        Command::Get { file } => get(&server, file, context.json).await?,
        Command::Delete { file } => delete(&server, file, context.json).await?,
    }
    Ok(Exit::Done)
}

async fn list(server: &Server, args: &List, as_json: bool) -> Result<(), Failure> {
    let files = listed(server, args).await?;
    if as_json {
        return files.iter().try_for_each(|file| stdout::line(json(file)));
    }
    let mut table = with_heading(["FILE", "NAME", "PURPOSE", "STATE", "SIZE", "CREATED"]);
    for file in &files {
        table.add_row([
            id(file).to_owned(),
            file.filename.clone(),
            purpose_name(file.purpose()),
            state(file.state()),
            bytes(file.size_bytes),
            time(file.create_time),
        ]);
    }
    stdout::line(table.trim_fmt())
}

/// At most `--limit` files, over as many pages as it takes.
async fn listed(server: &Server, args: &List) -> Result<Vec<File>, Failure> {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut files = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListFilesRequest {
            page_size: i32::try_from(limit - files.len()).unwrap_or(LARGEST_PAGE).min(LARGEST_PAGE),
            page_token,
            purpose: args.purpose.unwrap_or_default().into(),
            ..ListFilesRequest::default()
        };
        let page = server.call(request, async |request| server.files().list_files(request).await).await?;
        files.extend(page.files.into_iter().take(limit - files.len()));
        page_token = page.next_page_token;
        if page_token.is_empty() || files.len() == limit {
            return Ok(files);
        }
    }
}

async fn get(server: &Server, file: FileId, as_json: bool) -> Result<(), Failure> {
    let request = GetFileRequest { name: file.name() };
    let file = server.call(request, async |request| server.files().get_file(request).await).await?;
    if as_json {
        return stdout::line(json(&file));
    }
    let mut table = plain();
    for (name, value) in [
        ("file", id(&file).to_owned()),
        ("name", file.filename.clone()),
        ("purpose", purpose_name(file.purpose())),
        ("state", state(file.state())),
        ("bytes", count(file.size_bytes)),
        ("sha256", file.sha256.clone()),
        ("created", time(file.create_time)),
    ] {
        if !value.is_empty() {
            table.add_row([name.to_owned(), value]);
        }
    }
    stdout::line(table.trim_fmt())
}

async fn delete(server: &Server, file: FileId, as_json: bool) -> Result<(), Failure> {
    let request = DeleteFileRequest { name: file.name() };
    server.call(request, async |request| server.files().delete_file(request).await).await?;
    if as_json {
        return stdout::line(json!({"file": file.to_string(), "deleted": true}));
    }
    stderr::note(format_args!("{file} deleted"));
    Ok(())
}

/// A file as scripts read it: `file` is the bare id.
fn json(file: &File) -> Value {
    let mut value = to_value(file);
    value["file"] = id(file).into();
    value
}

fn id(file: &File) -> &str {
    bare(&file.name)
}

fn purpose_name(purpose: Purpose) -> String {
    enum_text(purpose.as_str_name(), "Purpose")
}

fn state(state: State) -> String {
    enum_text(state.as_str_name(), "State")
}

fn purpose(text: &str) -> Result<Purpose, String> {
    Purpose::from_str_name(&format!("PURPOSE_{}", text.to_uppercase()))
        .filter(|&purpose| purpose != Purpose::Unspecified)
        .ok_or_else(|| format!("`{text}` is no purpose of a file: they are batch, batch_output and model"))
}
