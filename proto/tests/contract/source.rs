//! Protos, compiled with their comments and the options of their fields.

use std::{fs, path::Path};

use prost_reflect::{DescriptorPool, FieldDescriptor, FileDescriptor, Value};
use protox::{
    Compiler, Error,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver},
};

/// The name of a sample's file.
const SAMPLE_FILE: &str = "caravan/v1/sample.proto";

/// A small contract with one of everything, and nothing to complain of.
pub(crate) const SAMPLE: &str = r#"
syntax = "proto3";
package caravan.v1;
import "google/api/field_behavior.proto";
// Keeps things.
service ThingService {
  // Gives one. Errors: INVALID_ARGUMENT.
  rpc GetThing(GetThingRequest) returns (Thing);
  // Follows one. Errors: INVALID_ARGUMENT.
  rpc WatchThing(WatchThingRequest) returns (stream WatchThingResponse);
}
// A thing.
message Thing {
  // How it is.
  enum State {
    // Never sent.
    STATE_UNSPECIFIED = 0;
    // Well.
    STATE_WELL = 1;
  }
  // Resource name.
  string name = 1 [(google.api.field_behavior) = IDENTIFIER];
  // How it is.
  State state = 2 [(google.api.field_behavior) = OUTPUT_ONLY];
  // What it is made of.
  oneof matter {
    // Wood.
    string wood = 3 [(google.api.field_behavior) = OPTIONAL];
    // Stone.
    string stone = 4 [(google.api.field_behavior) = OPTIONAL];
  }
}
// Request of GetThing.
message GetThingRequest {
  // Which one.
  string name = 1 [(google.api.field_behavior) = REQUIRED];
  // In which words.
  string language = 2 [(google.api.field_behavior) = OPTIONAL];
}
// Request of WatchThing.
message WatchThingRequest {
  // Which one.
  string name = 1 [(google.api.field_behavior) = REQUIRED];
}
// One message of WatchThing.
message WatchThingResponse {
  // How it is now.
  Thing.State state = 1 [(google.api.field_behavior) = OUTPUT_ONLY];
}
"#;

/// The contract.
pub(crate) fn protos() -> DescriptorPool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let protos = fs::read_dir(root.join("caravan/v1")).expect("the folder of the protos");
    let mut protos: Vec<_> = protos.map(|file| file.expect("a proto").path()).collect();
    protos.sort();
    let mut compiler = Compiler::new([root]).expect("the folder exists");
    compiler.include_imports(true).include_source_info(true).open_files(protos).expect("the protos compile");
    decode(&compiler.encode_file_descriptor_set())
}

/// SAMPLE with `from` replaced by `to`.
pub(crate) fn sample(from: &str, to: &str) -> DescriptorPool {
    try_sample(from, to).expect("the sample compiles")
}

/// The same, where it may be refused.
pub(crate) fn try_sample(from: &str, to: &str) -> Result<DescriptorPool, Error> {
    assert!(SAMPLE.contains(from), "the sample has no {from:?}");
    let mut resolver = ChainFileResolver::new();
    resolver.add(Text(SAMPLE.replacen(from, to, 1)));
    resolver.add(IncludeFileResolver::new(env!("CARGO_MANIFEST_DIR").into()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true).open_file(SAMPLE_FILE)?;
    Ok(decode(&compiler.encode_file_descriptor_set()))
}

/// A descriptor set as written.
pub(crate) fn decode(set: &[u8]) -> DescriptorPool {
    DescriptorPool::decode(set).expect("a descriptor set")
}

/// Whether a package is part of the contract, and not one that it imports.
pub(crate) fn is_ours(package: &str) -> bool {
    !package.starts_with("google.")
}

/// The comment before what stands at `path`; empty if there is none.
pub(crate) fn comment<'a>(file: &'a FileDescriptor, path: &[i32]) -> &'a str {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    location.map_or("", |location| location.leading_comments())
}

/// What `google.api.field_behavior` says of a field.
pub(crate) fn behaviours(field: &FieldDescriptor) -> Vec<String> {
    let option = field.parent_pool().get_extension_by_name("google.api.field_behavior");
    let Some(option) = option else { return Vec::new() };
    let kind = option.kind();
    let name = |value: &Value| {
        let number = value.as_enum_number()?;
        kind.as_enum()?.get_value(number).map(|value| value.name().to_owned())
    };
    let options = field.options();
    let values = options.get_extension(&option);
    values.as_list().map(|values| values.iter().filter_map(name).collect()).unwrap_or_default()
}

/// Resolves to one text.
struct Text(String);

impl FileResolver for Text {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        if name == SAMPLE_FILE { File::from_source(name, &self.0) } else { Err(Error::file_not_found(name)) }
    }
}
