//! The usual style rules for protos (AIP, and what buf checks by default).

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FileDescriptor, MessageDescriptor, MethodDescriptor, ServiceDescriptor,
};

use crate::source::{self, behaviours, comment, is_ours};

/// What is wrong with the style of a contract; each names where.
fn complaints(pool: &DescriptorPool) -> Vec<String> {
    let mut found = Found(Vec::new());
    pool.files().filter(|file| is_ours(file.package_name())).for_each(|each| file(&each, &mut found));
    pool.services().filter(|each| is_ours(each.package_name())).for_each(|each| service(&each, &mut found));
    pool.all_enums().filter(|each| is_ours(each.package_name())).for_each(|each| choice(&each, &mut found));
    let messages = pool.all_messages().filter(|each| is_ours(each.package_name()) && !each.is_map_entry());
    messages.for_each(|each| message(&each, &mut found));
    found.0
}

/// Complaints so far.
struct Found(Vec<String>);

// === impl Found ===

impl Found {
    fn unless(&mut self, good: bool, place: &str, rule: &str) {
        if !good {
            self.0.push(format!("{place}: {rule}"));
        }
    }

    fn commented(&mut self, file: &FileDescriptor, path: &[i32], place: &str) {
        self.unless(!comment(file, path).trim().is_empty(), place, "has no comment");
    }
}

fn file(file: &FileDescriptor, found: &mut Found) {
    let (package, name) = (file.package_name(), file.name());
    let version = package.rsplit('.').next().and_then(|last| last.strip_prefix('v'));
    let versioned = version.is_some_and(|version| version.parse::<u32>().is_ok());
    found.unless(versioned, name, "the package does not end in a version");
    let (folder, stem) = name.rsplit_once('/').unwrap_or(("", name));
    found.unless(folder == package.replace('.', "/"), name, "does not lie in the folder of its package");
    found.unless(stem.strip_suffix(".proto").is_some_and(is_snake), name, "is not named in snake_case");
}

fn service(service: &ServiceDescriptor, found: &mut Found) {
    let place = service.full_name();
    found.unless(is_pascal(service.name()), place, "is not named in PascalCase");
    found.unless(service.name().ends_with("Service"), place, "does not end in Service");
    found.commented(&service.parent_file(), service.path(), place);
    service.methods().for_each(|each| method(&each, found));
}

fn method(method: &MethodDescriptor, found: &mut Found) {
    let (place, name) = (method.full_name(), method.name());
    found.unless(is_pascal(name), place, "is not named in PascalCase");
    found.unless(
        method.input().name() == format!("{name}Request"),
        place,
        "does not take a message of its own that is named after it",
    );
    let output = method.output();
    let good = output.name() == format!("{name}Response")
        || output.full_name() == "google.protobuf.Empty"
        || is_resource(&output);
    found.unless(good, place, "gives neither a message named after it nor a resource nor nothing");
    found.commented(&method.parent_service().parent_file(), method.path(), place);
}

fn message(message: &MessageDescriptor, found: &mut Found) {
    let (place, file) = (message.full_name(), message.parent_file());
    found.unless(is_pascal(message.name()), place, "is not named in PascalCase");
    found.commented(&file, message.path(), place);
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        found.unless(is_snake(oneof.name()), oneof.full_name(), "is not named in snake_case");
        found.commented(&file, oneof.path(), oneof.full_name());
    }
    for field in message.fields() {
        let (place, behaviours) = (field.full_name(), behaviours(&field));
        let said = |behaviour: &str| behaviours.iter().any(|said| said == behaviour);
        found.unless(is_snake(field.name()), place, "is not named in snake_case");
        found.commented(&file, field.path(), place);
        let set_by =
            ["REQUIRED", "OPTIONAL", "OUTPUT_ONLY", "IDENTIFIER"].into_iter().filter(|each| said(each));
        found.unless(
            set_by.count() == 1,
            place,
            "its field_behavior is not one of REQUIRED, OPTIONAL, OUTPUT_ONLY, IDENTIFIER",
        );
        let is_name = field.name() == "name" && field.number() == 1;
        found.unless(
            !said("IDENTIFIER") || is_name,
            place,
            "is an IDENTIFIER, but not the first field, `name`",
        );
        found.unless(
            field.containing_oneof().is_none() || !said("REQUIRED"),
            place,
            "is REQUIRED, but one of several of which only one can be set",
        );
    }
}

fn choice(choice: &EnumDescriptor, found: &mut Found) {
    let (place, file) = (choice.full_name(), choice.parent_file());
    found.unless(is_pascal(choice.name()), place, "is not named in PascalCase");
    found.commented(&file, choice.path(), place);
    let prefix = format!("{}_", shouting(choice.name()));
    for value in choice.values() {
        let place = format!("{place}.{}", value.name());
        found.unless(is_shouting(value.name()), &place, "is not named in UPPER_SNAKE_CASE");
        found.unless(value.name().starts_with(&prefix), &place, "does not begin with the enum's name");
        let unspecified = value.name() == format!("{prefix}UNSPECIFIED");
        found.unless((value.number() == 0) == unspecified, &place, "0, and it alone, must be …_UNSPECIFIED");
        found.commented(&file, value.path(), &place);
    }
}

fn is_resource(message: &MessageDescriptor) -> bool {
    message.fields().any(|field| behaviours(&field).iter().any(|said| said == "IDENTIFIER"))
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_snake(name: &str) -> bool {
    let good =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.split('_').all(good)
}

fn is_shouting(name: &str) -> bool {
    is_snake(&name.to_ascii_lowercase()) && !name.chars().any(|c| c.is_ascii_lowercase())
}

/// `PascalCase` as `PASCAL_CASE`.
pub(crate) fn shouting(name: &str) -> String {
    let mut text = String::new();
    for (at, letter) in name.chars().enumerate() {
        if at > 0 && letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

#[test]
fn the_contract_keeps_to_the_style() {
    let found = complaints(&source::protos());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_sample_keeps_to_the_style() {
    assert_eq!(complaints(&source::sample("", "")), Vec::<String>::new());
}

#[test]
fn each_rule_can_fail() {
    const BEHAVIOUR: &str = "[(google.api.field_behavior) = OPTIONAL]";
    for (from, to, rule) in [
        ("package caravan.v1;", "package caravan;", "does not end in a version"),
        ("package caravan.v1;", "package caravan.api.v1;", "in the folder of its package"),
        ("service ThingService", "service Things", "does not end in Service"),
        ("service ThingService", "service thingService", "in PascalCase"),
        ("rpc GetThing(", "rpc get_thing(", "in PascalCase"),
        ("(GetThingRequest)", "(WatchThingRequest)", "a message of its own"),
        ("(stream WatchThingResponse)", "(GetThingRequest)", "nor a resource nor nothing"),
        ("message Thing {\n", "message thing_Z {} message Thing {\n", "in PascalCase"),
        ("string language", "string inLanguage", "in snake_case"),
        ("oneof matter", "oneof Matter", "in snake_case"),
        ("enum State {", "enum state_of { STATE_OF_UNSPECIFIED = 0; } enum State {", "in PascalCase"),
        ("STATE_WELL", "STATE_well", "in UPPER_SNAKE_CASE"),
        ("STATE_WELL", "WELL", "with the enum's name"),
        ("STATE_UNSPECIFIED", "STATE_UNKNOWN", "must be …_UNSPECIFIED"),
        ("// Keeps things.", "", "ThingService: has no comment"),
        ("// Gives one. Errors: INVALID_ARGUMENT.", "", "GetThing: has no comment"),
        ("// A thing.", "", "Thing: has no comment"),
        ("// In which words.", "", "language: has no comment"),
        ("// What it is made of.", "", "matter: has no comment"),
        ("// How it is.\n  enum", "\nenum", "State: has no comment"),
        ("// Well.", "", "STATE_WELL: has no comment"),
        (BEHAVIOUR, "", "its field_behavior is not"),
        (BEHAVIOUR, "[(google.api.field_behavior) = IMMUTABLE]", "its field_behavior is not"),
        (BEHAVIOUR, "[(google.api.field_behavior) = REQUIRED]", "of which only one can be set"),
        ("= OUTPUT_ONLY", "= IDENTIFIER", "but not the first field"),
    ] {
        let found = complaints(&source::sample(from, to));
        let said = found.iter().any(|complaint| complaint.contains(rule));
        assert!(said, "{from:?} as {to:?} should have said {rule:?}, but said {found:?}");
    }
}

#[test]
fn a_number_cannot_be_used_twice() {
    for (from, to) in [("string language = 2", "string language = 1"), ("STATE_WELL = 1", "STATE_WELL = 0")] {
        assert!(source::try_sample(from, to).is_err(), "{to} should be refused");
    }
}
