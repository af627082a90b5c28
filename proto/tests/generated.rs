//! The committed code is what the protos generate. `UPDATE=1` writes it anew.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use prost::Message as _;

fn generate(out: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["access", "batch", "file", "fleet", "plan", "usage", "work"]
        .map(|f| format!("caravan/v1/{f}.proto"));
    let descriptors = protox::compile(files, [root]).expect("the protos compile");
    fs::write(out.join("caravan.v1.bin"), descriptors.encode_to_vec()).expect("write the descriptors");
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
