//! `caravan keys create`, `list` and `revoke`

use std::time::{Duration, SystemTime};

use caravan_proto::{
    access,
    json::to_value,
    name::KeyId,
    v1::{CreateKeyRequest, Key, ListKeysRequest, RevokeKeyRequest, Role},
};
use serde_json::{Value, json};

use super::{Context, LARGEST_PAGE, get::bare};
use crate::{
    exit::Exit,
    failure::Failure,
    server::Server,
    span, stderr, stdout,
    table::{time, with_heading},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key and print it, this once
    Create(Create),
    /// List keys, newest first; none shows its secret
    List {
        /// Only keys of this tenant.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// End a key for ever
    Revoke {
        /// The key, e.g. key_0190….
        key: KeyId,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Whose files and batches it is for.
    #[arg(long, default_value = "default")]
    tenant: String,
    /// What it may be used for: submit, read, admin, executor or gateway; may be given again. Without
    /// any: submit and read.
    #[arg(long = "role", value_name = "ROLE", value_parser = access::role)]
    roles: Vec<Role>,
    /// What people call it.
    #[arg(long)]
    name: String,
    /// How long it is good, e.g. 90d; without it, until it is revoked.
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    expires_in: Option<Duration>,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let server = Server::connect(&context.server).await?;
    match args.command {
        Command::Create(args) => create(&server, args, context.json).await?,
        Command::List { tenant } => list(&server, tenant.unwrap_or_default(), context.json).await?,
        Command::Revoke { key } => revoke(&server, key, context.json).await?,
    }
    Ok(Exit::Done)
}

/// The key alone on stdout, for scripts. Not asked for again if the answer is lost: that would be another key.
async fn create(server: &Server, args: Create, as_json: bool) -> Result<(), Failure> {
    let roles = if args.roles.is_empty() { vec![Role::Submit, Role::Read] } else { args.roles };
    let expire_time = args.expires_in.map(|good| prost_types::Timestamp::from(SystemTime::now() + good));
    let key = Key {
        tenant: args.tenant,
        roles: roles.into_iter().map(Into::into).collect(),
        display_name: args.name,
        expire_time,
        ..Key::default()
    };
    let made = server.access().create_key(CreateKeyRequest { key: Some(key) }).await?.into_inner();
    let key = made.key.unwrap_or_default();
    if as_json {
        return stdout::line(json!({"key": to_value(&key), "secret": made.secret}));
    }
    stderr::note(format_args!("{} of tenant {}: keep it, it is shown this once", id(&key), key.tenant));
    stdout::line(made.secret)
}

async fn list(server: &Server, tenant: String, as_json: bool) -> Result<(), Failure> {
    let mut table = with_heading(["KEY", "PREFIX", "TENANT", "ROLES", "NAME", "CREATED", "USED", "STATE"]);
    let mut page_token = String::new();
    loop {
        let request = ListKeysRequest { page_size: LARGEST_PAGE, page_token, tenant: tenant.clone() };
        let page = server.call(request, async |request| server.access().list_keys(request).await).await?;
        for key in &page.keys {
            if as_json {
                stdout::line(to_value(key))?;
            }
            table.add_row(row(key));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if as_json { Ok(()) } else { stdout::line(table.trim_fmt()) }
}

async fn revoke(server: &Server, key: KeyId, as_json: bool) -> Result<(), Failure> {
    let request = RevokeKeyRequest { name: key.name() };
    let key = server.call(request, async |request| server.access().revoke_key(request).await).await?;
    if as_json {
        return stdout::line(to_value(&key) as Value);
    }
    stderr::note(format_args!("{} ({}) is revoked", id(&key), key.prefix));
    Ok(())
}

fn row(key: &Key) -> [String; 8] {
    let roles: access::Roles = key.roles().collect();
    [
        id(key).to_owned(),
        key.prefix.clone(),
        key.tenant.clone(),
        roles.to_string(),
        key.display_name.clone(),
        time(key.create_time),
        time(key.last_use_time),
        state(key, SystemTime::now().into()),
    ]
}

fn state(key: &Key, now: prost_types::Timestamp) -> String {
    match (key.revoke_time, key.expire_time) {
        (Some(_), _) => "revoked".into(),
        (None, Some(expires)) if expires.seconds <= now.seconds => "expired".into(),
        (None, Some(_)) => format!("good until {}", time(key.expire_time)),
        (None, None) => "good".into(),
    }
}

fn id(key: &Key) -> &str {
    bare(&key.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_whether_it_is_good() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let now = prost_types::Timestamp { seconds: 10, nanos: 0 };
        let key = |expire_time, revoke_time| Key { expire_time, revoke_time, ..Key::default() };
        assert_eq!(state(&key(None, None), now), "good");
        assert_eq!(state(&key(at(11), None), now), "good until 1970-01-01T00:00:11Z");
        assert_eq!(state(&key(at(10), None), now), "expired");
        assert_eq!(state(&key(at(11), at(1)), now), "revoked");
    }
}
