use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use caravan_proto::{
    json::to_value,
    v1::{EnsureModelRequest, EnsureModelResponse, File, ensure_model_response::State},
};
use tonic::{Status, Streaming};

use super::{progress::Progress, short};
use crate::{
    command::Context,
    exit::Exit,
    failure::Failure,
    input::Input,
    interrupt,
    progress::Transfer,
    server::Server,
    stdout,
    table::with_heading,
    upload::{hash, upload_model},
};

/// What a GGUF file begins with.
const GGUF: &[u8] = b"GGUF";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The model as requests name it, e.g. gemma3:4b.
    name: String,
    /// GGUF file to import; without it the engines pull the model from their registry.
    #[arg(long, value_name = "FILE.gguf")]
    from: Option<PathBuf>,
    /// Engines, each as HOST or HOST/ENGINE; all that can get models if left out.
    #[arg(long, value_name = "ENGINE,…", value_delimiter = ',')]
    engines: Vec<String>,
    /// Pull it anew, or import over what the name stands for.
    #[arg(long)]
    replace: bool,
}

/// The latest of each engine, by host.
type Engines = BTreeMap<(String, String, String), EnsureModelResponse>;

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    // Whether the engines were asked.
    let asked = Cell::new(false);
    let work = async {
        let server = Server::connect(&context.server).await?;
        let file = match &args.from {
            Some(path) => send(&server, path).await?.name,
            None => String::new(),
        };
        let request = EnsureModelRequest {
            model: args.name.clone(),
            file,
            engines: args.engines.clone(),
            replace: args.replace,
        };
        asked.set(true);
        ensure(&server, request, context.json).await
    };
    let goes_on = || {
        let what = if asked.get() { "the engines go on" } else { "the same command goes on with the upload" };
        what.to_owned()
    };
    let engines = interrupt::guard(Box::pin(work), goes_on).await?;
    print(&args.name, &engines, context.json)
}

/// The file on the server; sent only as far as the server does not have it.
async fn send(server: &Server, path: &Path) -> Result<File, Failure> {
    let input = Input::open(path, None).await?;
    if !input.begins_with(GGUF).await? {
        return Err(Failure::Usage(format!("{} is no GGUF file", path.display())));
    }
    let sha256 = {
        let reading = Transfer::new("reading", input.size());
        hash(&input, &reading).await?
    };
    let sending = Transfer::new("uploading", input.size());
    upload_model(server, &input, sha256, &sending).await
}

/// Asks until every engine has said how it ended. Asked again, a server goes on with what is under way.
async fn ensure(server: &Server, request: EnsureModelRequest, json: bool) -> Result<Engines, Failure> {
    let mut progress = Progress::new(json);
    let mut patience = server.patience();
    loop {
        let mut engines = Engines::new();
        let ended = match server.fleet().ensure_model(request.clone()).await {
            Ok(response) => {
                patience.answered();
                follow(response.into_inner(), &mut engines, &mut progress).await
            }
            Err(status) => status,
        };
        if !engines.is_empty() && engines.values().all(has_ended) {
            return Ok(engines);
        }
        patience.wait(ended).await?;
    }
}

/// Takes one stream to its end: the status says how it ended.
async fn follow(
    mut stream: Streaming<EnsureModelResponse>,
    engines: &mut Engines,
    progress: &mut Progress,
) -> Status {
    loop {
        match stream.message().await {
            Ok(Some(now)) => {
                progress.show(&now);
                engines.insert((now.host.clone(), now.executor.clone(), now.engine.clone()), now);
            }
            Ok(None) => return Status::unavailable("the server broke off"),
            Err(status) => return status,
        }
    }
}

fn has_ended(engine: &EnsureModelResponse) -> bool {
    matches!(engine.state(), State::Ready | State::Failed)
}

fn print(model: &str, engines: &Engines, json: bool) -> Result<Exit, Failure> {
    if json {
        engines.values().try_for_each(|engine| stdout::line(to_value(engine)))?;
    } else {
        let mut table = with_heading(["HOST", "ENGINE", "STATE", "DIGEST", "WHY"]);
        for engine in engines.values() {
            table.add_row([
                engine.host.as_str(),
                &engine.engine,
                &super::progress::state(engine),
                short(&engine.digest),
                &engine.message,
            ]);
        }
        stdout::line(table.trim_fmt())?;
    }
    let ready = engines.values().filter(|engine| engine.state() == State::Ready);
    if ready.map(|engine| &engine.digest).collect::<BTreeSet<_>>().len() > 1 {
        super::warn_of_digests(model);
    }
    let all = engines.values().all(|engine| engine.state() == State::Ready);
    Ok(if all { Exit::Done } else { Exit::Other })
}
