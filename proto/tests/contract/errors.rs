//! Every error is told of: at the RPCs that answer with it, and on a page of its own.

use std::{collections::BTreeSet, fs, path::PathBuf};

use caravan_proto::error::{DOMAIN, Reason};
use prost_reflect::{MethodDescriptor, ServiceDescriptor};
use serde_json::Value;

use crate::{
    lint::shouting,
    source::{self, comment, is_ours},
};

/// Where an RPC's comment begins to list its own errors.
const OWN: &str = "Errors: ";
/// Where a service's comment begins to list those of each of its RPCs.
const COMMON: &str = "Errors of every RPC: ";

fn services() -> Vec<ServiceDescriptor> {
    source::protos().services().filter(|service| is_ours(service.package_name())).collect()
}

/// The reasons that a comment lists behind `begin`: all words in capitals. None if it lists nothing.
fn listed(comment: &str, begin: &str) -> Option<BTreeSet<String>> {
    let (_, list) = comment.split_once(begin)?;
    let words = list.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let capital = |word: &&str| word.len() > 3 && !word.chars().any(|c| c.is_ascii_lowercase());
    Some(words.filter(capital).map(str::to_owned).collect())
}

fn of_service(service: &ServiceDescriptor) -> Option<BTreeSet<String>> {
    listed(comment(&service.parent_file(), service.path()), COMMON)
}

fn of_method(method: &MethodDescriptor) -> Option<BTreeSet<String>> {
    listed(comment(&method.parent_service().parent_file(), method.path()), OWN)
}

fn reasons() -> BTreeSet<String> {
    Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect()
}

fn pages() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/errors")
}

#[test]
fn every_rpc_lists_its_errors_and_every_error_is_listed() {
    let mut seen = BTreeSet::new();
    for service in services() {
        let common = of_service(&service).unwrap_or_default();
        assert!(!common.is_empty(), "{}: the comment lacks {COMMON:?}", service.full_name());
        for method in service.methods() {
            let own = of_method(&method);
            seen.extend(own.unwrap_or_else(|| panic!("{}: the comment lacks {OWN:?}", method.full_name())));
        }
        seen.extend(common);
    }
    assert_eq!(seen, reasons(), "left: what comments list; right: the reasons that there are");
}

#[test]
fn every_reason_has_a_page_and_every_page_a_reason() {
    let entries = fs::read_dir(pages()).expect("the pages");
    let names = entries.map(|entry| entry.expect("a page").file_name().into_string().expect("a name"));
    let mut found: BTreeSet<String> =
        names.filter_map(|name| name.strip_suffix(".md").map(Into::into)).collect();
    for other in ["README", "lines"] {
        assert!(found.remove(other), "there is no {other}.md");
    }
    assert_eq!(found, reasons(), "left: pages; right: reasons");
    let index = fs::read_to_string(pages().join("README.md")).expect("the index");
    for reason in Reason::ALL {
        let row = format!("| [{0}]({0}.md) | `{1}` |", reason.as_str(), code_name(*reason));
        assert!(index.contains(&row), "the index lacks {row}");
    }
}

#[test]
fn a_page_shows_the_status_of_its_reason() {
    for reason in Reason::ALL {
        let name = reason.as_str();
        let page = fs::read_to_string(pages().join(format!("{name}.md"))).expect("the page");
        for part in [&format!("# {name}\n"), "## Why\n- ", "## What to do\n- ", "## What it looks like\n"] {
            assert!(page.contains(part), "{name}: {part:?} is missing");
        }
        assert!(page.contains(&format!("gRPC code: `{}`", code_name(*reason))), "{name}: another code");
        let shown =
            page.split_once("```json\n").and_then(|(_, rest)| rest.split_once("```")).expect("a status").0;
        let shown: Value = serde_json::from_str(shown).expect("JSON");
        assert_eq!(shown["code"], i32::from(reason.code()), "{name}");
        let details = shown["details"].as_array().expect("details");
        let detail = |kind: &str| {
            let url = format!("type.googleapis.com/google.rpc.{kind}");
            details.iter().find(|detail| detail["@type"] == url.as_str()).expect("a detail")
        };
        assert_eq!(detail("ErrorInfo")["reason"], name);
        assert_eq!(detail("ErrorInfo")["domain"], DOMAIN);
        assert_eq!(detail("Help")["links"][0]["url"], reason.help());
    }
}

/// As the protocol writes it: `NOT_FOUND`.
fn code_name(reason: Reason) -> String {
    shouting(&format!("{:?}", reason.code()))
}

#[test]
fn a_list_is_read_from_a_comment() {
    let list = listed(" Gives one. Errors: AB_C (the\n input), CDEF, and with `x` G_HI.", OWN);
    assert_eq!(list, Some(["AB_C", "CDEF", "G_HI"].map(str::to_owned).into()));
    assert_eq!(listed("Errors: those of every RPC.", OWN), Some(BTreeSet::new()));
    assert_eq!(listed("Gives one.", OWN), None);
}
