//! The committed code is what the protos generate. `UPDATE=1` writes it anew.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

const PACKAGE: &str = "caravan.v1";

fn generate(out: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let protos = fs::read_dir(root.join("caravan/v1")).expect("the folder of the protos");
    let mut protos: Vec<_> = protos.map(|file| file.expect("a proto").path()).collect();
    protos.sort();
    let mut compiler = protox::Compiler::new([root]).expect("the folder exists");
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(protos).expect("the protos compile");
    // With the options of fields, which the set below has no place for.
    let descriptors = compiler.encode_file_descriptor_set();
    fs::write(out.join("caravan.v1.bin"), descriptors).expect("write the descriptors");

    let mut descriptors = compiler.file_descriptor_set();
    descriptors.file.retain(|file| file.package() == PACKAGE || file.package() == "google.protobuf");
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .out_dir(out)
        // The RPC `Connect` takes the name of the constructor that this would generate.
        .build_transport(false)
        .bytes(".caravan.v1.UploadChunk.data")
        .bytes(".caravan.v1.DownloadFileResponse.data")
        .bytes(".caravan.v1.FetchModelResponse.data")
        .compile_fds_with_config(descriptors, config)
        .expect("code is generated");
}

#[test]
fn committed_code_is_what_the_protos_generate() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated");
    if std::env::var_os("UPDATE").is_some() {
        generate(&committed);
        return;
    }
    let fresh = tempfile::tempdir().expect("a temporary directory");
    generate(fresh.path());
    for name in ["caravan.v1.rs", "caravan.v1.bin"] {
        let same = fs::read(fresh.path().join(name)).ok() == fs::read(committed.join(name)).ok();
        assert!(same, "{name} is out of date: UPDATE=1 cargo test -p caravan-proto --test generated");
    }
}
