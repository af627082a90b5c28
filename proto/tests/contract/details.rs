//! The protos of an error's details are what an error is made of.

use std::{collections::BTreeMap, time::Duration};

use caravan_proto::error::Reason;
use prost_reflect::{DescriptorPool, DynamicMessage};
use tonic::Status;

use crate::source;

fn pool() -> DescriptorPool {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut compiler = protox::Compiler::new([root]).expect("the folder exists");
    compiler.include_imports(true);
    compiler.open_files(["google/rpc/status.proto", "google/rpc/error_details.proto"]).expect("they compile");
    source::decode(&compiler.encode_file_descriptor_set())
}

fn read(pool: &DescriptorPool, name: &str, bytes: &[u8]) -> DynamicMessage {
    let message = pool.get_message_by_name(name).expect("the protos have it");
    let message = DynamicMessage::decode(message, bytes).expect("it can be read");
    assert_eq!(message.unknown_fields().count(), 0, "{name} has more fields than its proto");
    message
}

/// What a status says, read by the protos, e.g. `google.rpc.Help` and its text.
fn read_details(status: &Status) -> BTreeMap<String, String> {
    let pool = pool();
    let whole = read(&pool, "google.rpc.Status", status.details());
    assert_eq!(whole.get_field_by_name("code").and_then(|code| code.as_i32()), Some(status.code().into()));
    let details = whole.get_field_by_name("details").expect("details").into_owned();
    let details = details.as_list().expect("a list").iter().map(|any| {
        let any = any.as_message().expect("an Any");
        let url = any.get_field_by_name("type_url").expect("a type").into_owned();
        let name = url.as_str().and_then(|url| url.rsplit('/').next()).expect("a name").to_owned();
        let value = any.get_field_by_name("value").expect("bytes").into_owned();
        let message = read(&pool, &name, value.as_bytes().expect("bytes"));
        (name, message.to_string())
    });
    details.collect()
}

#[test]
fn every_kind_of_detail_is_read_by_its_proto() {
    let wrong = read_details(&Reason::InvalidArgument.field("batch.priority", "too high"));
    assert!(wrong["google.rpc.BadRequest"].contains("batch.priority"), "{wrong:?}");
    assert!(wrong["google.rpc.BadRequest"].contains("too high"), "{wrong:?}");
    assert!(wrong["google.rpc.ErrorInfo"].contains("INVALID_ARGUMENT"), "{wrong:?}");
    assert!(wrong["google.rpc.Help"].contains("docs/errors/INVALID_ARGUMENT.md"), "{wrong:?}");

    let later = read_details(&Reason::Unavailable.retry_after("draining", Duration::from_secs(7)));
    assert!(later["google.rpc.RetryInfo"].contains("seconds:7"), "{later:?}");
    let where_to =
        read_details(&Reason::OffsetMismatch.metadata("no", [("expected_offset", "42".to_owned())]));
    assert!(where_to["google.rpc.ErrorInfo"].contains("42"), "{where_to:?}");
}
