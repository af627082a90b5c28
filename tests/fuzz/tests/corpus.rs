//! What fuzzers found, run again.

use std::{fs, path::Path};

#[test]
fn what_fuzzers_found_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, property) in caravan_fuzz::ALL {
        let files: Vec<_> = fs::read_dir(corpus.join(name)).unwrap().collect::<Result<_, _>>().unwrap();
        assert!(files.len() >= 20, "the corpus of {name} is there");
        for file in files {
            // Captured unless it panics: says which it was.
            println!("{}", file.path().display());
            property(&fs::read(file.path()).unwrap());
        }
    }
}
