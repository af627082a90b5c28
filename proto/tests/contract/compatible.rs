//! Clients of the last release are understood, in bytes and in JSON.

use std::{fs, path::Path};

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
};

use crate::source::{self, behaviours, is_ours};

/// What `new` does to clients of `old`; each names where.
fn breaks(old: &DescriptorPool, new: &DescriptorPool) -> Vec<String> {
    let mut found = Vec::new();
    for message in old.all_messages().filter(|each| is_ours(each.package_name()) && !each.is_map_entry()) {
        match new.get_message_by_name(message.full_name()) {
            Some(now) => found.extend(in_message(&message, &now)),
            None => found.push(format!("{}: the message is gone", message.full_name())),
        }
    }
    for choice in old.all_enums().filter(|each| is_ours(each.package_name())) {
        match new.get_enum_by_name(choice.full_name()) {
            Some(now) => found.extend(in_enum(&choice, &now)),
            None => found.push(format!("{}: the enum is gone", choice.full_name())),
        }
    }
    for service in old.services().filter(|each| is_ours(each.package_name())) {
        match new.get_service_by_name(service.full_name()) {
            Some(now) => found.extend(service.methods().filter_map(|method| {
                let same = now.methods().find(|each| each.name() == method.name());
                same.map_or_else(|| Some("the RPC is gone"), |now| in_method(&method, &now))
                    .map(|what| format!("{}: {what}", method.full_name()))
            })),
            None => found.push(format!("{}: the service is gone", service.full_name())),
        }
    }
    found
}

fn in_message(old: &MessageDescriptor, new: &MessageDescriptor) -> Vec<String> {
    let changed = old.fields().filter_map(|field| {
        let same = new.get_field(field.number());
        same.map_or_else(|| Some("the field is gone"), |now| in_field(&field, &now))
            .map(|what| format!("{}: {what}", field.full_name()))
    });
    let demanded = new.fields().filter(|field| {
        old.get_field(field.number()).is_none() && behaviours(field).iter().any(|said| said == "REQUIRED")
    });
    let demanded = demanded.map(|field| format!("{}: a new field is REQUIRED", field.full_name()));
    changed.chain(demanded).collect()
}

fn in_field(old: &FieldDescriptor, new: &FieldDescriptor) -> Option<&'static str> {
    if old.name() != new.name() || old.json_name() != new.json_name() {
        return Some("the field has another name");
    }
    if type_of(old) != type_of(new) {
        return Some("the field has another type");
    }
    if old.cardinality() != new.cardinality() || old.supports_presence() != new.supports_presence() {
        return Some("the field has another cardinality or presence");
    }
    let oneof = |field: &FieldDescriptor| field.containing_oneof().map(|oneof| oneof.name().to_owned());
    if oneof(old) != oneof(new) {
        return Some("the field went into or out of a oneof");
    }
    let (was, is) = (behaviours(old), behaviours(new));
    let narrowed =
        is.iter().any(|said| matches!(said.as_str(), "REQUIRED" | "OUTPUT_ONLY") && !was.contains(said));
    narrowed.then_some("a request must set, or may not set, what was free to it")
}

/// The type of a field; of a map, those of its entries.
fn type_of(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            format!("map<{}, {}>", type_of(&key), type_of(&value))
        }
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(choice) => choice.full_name().to_owned(),
        scalar => format!("{scalar:?}"),
    }
}

fn in_enum(old: &EnumDescriptor, new: &EnumDescriptor) -> Vec<String> {
    let changed = old.values().filter_map(|value| {
        let what = match new.get_value(value.number()) {
            None => "the value is gone",
            Some(now) if now.name() != value.name() => "the value has another name",
            Some(_) => return None,
        };
        Some(format!("{}: {what}", value.full_name()))
    });
    changed.collect()
}

fn in_method(old: &MethodDescriptor, new: &MethodDescriptor) -> Option<&'static str> {
    let types =
        |method: &MethodDescriptor| [method.input(), method.output()].map(|m| m.full_name().to_owned());
    if types(old) != types(new) {
        return Some("the RPC takes or gives another message");
    }
    let streams = |method: &MethodDescriptor| (method.is_client_streaming(), method.is_server_streaming());
    (streams(old) != streams(new)).then_some("the RPC streams otherwise")
}

#[test]
fn clients_of_the_last_release_are_understood() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("released/v1.bin");
    let released = source::decode(&fs::read(&path).expect("the descriptor set of the last release"));
    let protos = source::protos();
    let found = breaks(&released, &protos);
    assert!(found.is_empty(), "this breaks clients; a new package could have it:\n{}", found.join("\n"));
    if std::env::var_os("RELEASE").is_some() {
        fs::write(&path, without_comments(&protos)).expect("write the descriptor set");
    }
}

/// The contract as bytes, with the options of its fields.
fn without_comments(protos: &DescriptorPool) -> Vec<u8> {
    let mut compiler = protox::Compiler::new([env!("CARGO_MANIFEST_DIR")]).expect("the folder exists");
    let names = protos.files().filter(|file| is_ours(file.package_name())).map(|file| file.name().to_owned());
    compiler.include_imports(true).open_files(names).expect("the protos compile");
    compiler.encode_file_descriptor_set()
}

#[test]
fn what_is_added_breaks_nobody() {
    let before = source::sample("", "");
    for (from, to) in [
        ("", ""),
        ("message Thing {", "message Other {} message Thing {"),
        ("STATE_WELL = 1;", "STATE_WELL = 1; STATE_ILL = 2;"),
        (
            "string language = 2",
            "string more = 3 [(google.api.field_behavior) = OPTIONAL]; string language = 2",
        ),
        ("rpc GetThing(", "rpc FindThing(GetThingRequest) returns (Thing); rpc GetThing("),
        ("= REQUIRED", "= OPTIONAL"),
        ("// A thing.", "// A thing of any kind."),
    ] {
        assert_eq!(breaks(&before, &source::sample(from, to)), Vec::<String>::new(), "{to}");
    }
}

#[test]
fn each_rule_can_fail() {
    let before = source::sample("", "");
    const LANGUAGE: &str = "string language = 2 [(google.api.field_behavior) = OPTIONAL];";
    for (from, to, rule) in [
        ("package caravan.v1;", "package caravan.v2;", "Thing: the message is gone"),
        (LANGUAGE, "", "language: the field is gone"),
        ("string language = 2", "string language = 3", "language: the field is gone"),
        ("string language", "string tongue", "another name"),
        ("string language = 2 [", "string language = 2 [json_name = \"tongue\", ", "another name"),
        ("string language", "bytes language", "another type"),
        ("Thing.State state", "Thing state", "another type"),
        ("string language", "repeated string language", "another cardinality"),
        ("string language", "optional string language", "or presence"),
        ("string language", "map<string, string> language", "another type"),
        ("oneof matter", "oneof substance", "into or out of a oneof"),
        (LANGUAGE, "string language = 2 [(google.api.field_behavior) = REQUIRED];", "was free to it"),
        (LANGUAGE, "string language = 2 [(google.api.field_behavior) = OUTPUT_ONLY];", "was free to it"),
        (
            "string language",
            "string more = 3 [(google.api.field_behavior) = REQUIRED]; string language",
            "a new field is REQUIRED",
        ),
        ("STATE_WELL = 1", "STATE_WELL = 2", "the value is gone"),
        ("STATE_WELL", "STATE_FINE", "another name"),
        ("service ThingService", "service OtherService", "the service is gone"),
        ("rpc GetThing(", "rpc FindThing(", "the RPC is gone"),
        ("rpc GetThing(GetThingRequest)", "rpc GetThing(WatchThingRequest)", "another message"),
        ("(stream WatchThingResponse)", "(WatchThingResponse)", "streams otherwise"),
    ] {
        let found = breaks(&before, &source::sample(from, to));
        let said = found.iter().any(|complaint| complaint.contains(rule));
        assert!(said, "{from:?} as {to:?} should have said {rule:?}, but said {found:?}");
    }
}
