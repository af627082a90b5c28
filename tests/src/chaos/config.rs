//! Who is there, and how each is configured: bounds of waiting are short, so that a run is.

use std::{ffi::OsString, fmt::Write as _, net::SocketAddr, path::Path};

use caravan_test_s3::{BUCKET, CREDENTIALS};

use super::{
    fault::{Seat, Wire},
    options::{Objects, Options, SLOTS, Store},
};

/// Tokens of the longest answer.
pub(super) const ANSWER_TOKENS: usize = 60;
/// Directory of all planners below that of a run.
pub(super) const DATA: &str = "data";
/// A silent connection is noticed within two of these, in seconds.
const KEEPALIVE: &str = "keepalive_seconds = 1\nkeepalive_timeout_seconds = 1\n";

/// All processes, in the order in which they can be started.
pub(super) fn seats(options: &Options) -> Vec<Seat> {
    let mut seats = Vec::new();
    seats.extend((options.store == Store::Postgres).then_some(Seat::Database));
    seats.extend((options.objects == Objects::S3).then_some(Seat::Objects));
    seats.extend((0..options.engines).map(Seat::Engine));
    seats.extend((0..options.planners()).map(Seat::Planner));
    seats.extend((0..options.gateways).map(Seat::Gateway));
    seats.extend((0..options.executors).map(Seat::Executor));
    seats
}

/// All links between them.
pub(super) fn wires(options: &Options) -> Vec<Wire> {
    let mut wires: Vec<Wire> = (0..options.gateways).map(Wire::ClientGateway).collect();
    for planner in 0..options.planners() {
        wires.extend((options.store == Store::Postgres).then_some(Wire::PlannerDatabase(planner)));
        wires.extend((options.objects == Objects::S3).then_some(Wire::PlannerObjects(planner)));
        wires.extend((0..options.gateways).map(|gateway| Wire::GatewayPlanner(gateway, planner)));
        wires.extend((0..options.executors).map(|executor| Wire::ExecutorPlanner(executor, planner)));
    }
    wires.extend((0..options.engines).map(Wire::ExecutorEngine));
    wires
}

/// The command line of an engine.
pub(super) fn engine(options: &Options, answers: &Path) -> Vec<OsString> {
    // The longest answer takes four times as long as one without a token.
    let decode = ANSWER_TOKENS as f64 * 1_000.0 / (3 * options.answer_ms.max(1)) as f64;
    let [slots, tokens] = [SLOTS, ANSWER_TOKENS].map(|number| number.to_string());
    let (answer_ms, decode) = (options.answer_ms.to_string(), decode.to_string());
    let args: [&str; 9] = [
        "--slots",
        &slots,
        "--answer-ms",
        &answer_ms,
        "--decode",
        &decode,
        "--answer-tokens",
        &tokens,
        "--answers-file",
    ];
    args.into_iter().map(OsString::from).chain([answers.into()]).collect()
}

/// The configuration of a role, as TOML. `at` gives the address of a link.
pub(super) fn role(
    seat: Seat,
    options: &Options,
    directory: &Path,
    at: impl Fn(Wire) -> SocketAddr,
) -> String {
    let mut text = String::new();
    let url = |wire| format!("http://{}", at(wire));
    let planners = |wire: &dyn Fn(usize) -> Wire| {
        let urls: Vec<_> =
            (0..options.planners()).map(|planner| format!("'{}'", url(wire(planner)))).collect();
        format!("planner = [{}]\n", urls.join(", "))
    };
    match seat {
        Seat::Planner(planner) => {
            text += "listen = '127.0.0.1:0'\n";
            // Writing to a String does not fail.
            let _ = writeln!(text, "data_dir = '{}'", directory.join(DATA).display());
            if options.store == Store::Postgres {
                let database = at(Wire::PlannerDatabase(planner));
                let _ =
                    writeln!(text, "store_url = 'postgres://caravan@{database}/postgres?sslmode=disable'");
            }
            if options.objects == Objects::S3 {
                let (address, (id, secret)) = (at(Wire::PlannerObjects(planner)), CREDENTIALS);
                let _ = writeln!(
                    text,
                    "object_url = 's3://{BUCKET}/chaos'\n[objects]\nendpoint = 'http://{address}'"
                );
                let _ = writeln!(
                    text,
                    "allow_http = true\naccess_key_id = '{id}'\nsecret_access_key = '{secret}'"
                );
                // An S3 server that is asked to end takes a minute until it serves again, and may be asked twice.
                let _ = writeln!(text, "request_ms = 5000\nstart_ms = 180000");
            }
            let _ = writeln!(text, "[lease]\nttl_ms = {}\n[serve]\n{KEEPALIVE}", options.ttl_ms);
        }
        Seat::Gateway(gateway) => {
            text += "listen = '127.0.0.1:0'\nhttp_listen = '127.0.0.1:0'\n";
            text += &planners(&|planner| Wire::GatewayPlanner(gateway, planner));
            let _ = writeln!(text, "[server]\n{KEEPALIVE}[client]\nconnect_timeout_seconds = 1\n{KEEPALIVE}");
        }
        Seat::Executor(executor) => {
            text += &planners(&|planner| Wire::ExecutorPlanner(executor, planner));
            let mine = (0..options.engines).filter(|engine| engine % options.executors == executor);
            let engines = mine.map(|engine| {
                let url = url(Wire::ExecutorEngine(engine));
                format!("{{kind = 'ollama', url = '{url}', slots = {SLOTS}}}")
            });
            let _ = writeln!(text, "host = '{seat}'\nengines = [{}]", engines.collect::<Vec<_>>().join(", "));
            text += "[limits]\nlongest_pause_millis = 300\nrefuse_model_seconds = 3\nrefresh_millis = 1000\n";
            text +=
                "[liveness]\nfloor_seconds = 3\nprobe_seconds = 3\nunload_seconds = 3\nmend_seconds = 5\n";
            text += "[connection]\nconnect_seconds = 1\nprobe_seconds = 3\n";
            let _ = writeln!(text, "[client]\nconnect_timeout_seconds = 1\n{KEEPALIVE}");
        }
        Seat::Engine(_) | Seat::Database | Seat::Objects => {}
    }
    text
}
