//! The table of all pains names tests that exist, and every test of a pain is in it.

use std::{collections::BTreeSet, fs, path::Path};

/// Pains of the list.
const PAINS: usize = 23;

/// Names of the tests in the sources beside this one.
fn tests() -> BTreeSet<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/pains");
    let sources =
        fs::read_dir(directory).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let name = |line: &str| Some(line.strip_prefix("async fn ")?.split('(').next()?.to_owned());
    let named = sources.flat_map(|source| source.lines().filter_map(name).collect::<Vec<_>>());
    named.filter(|name| name.starts_with("pain_")).collect()
}

#[test]
fn every_row_of_the_table_names_its_test_and_every_test_has_its_row() {
    let table = include_str!("../../../docs/pains.md");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows.len(), PAINS);
    let mut named = BTreeSet::new();
    for (row, number) in rows.iter().zip(1..) {
        assert_eq!((row.len(), row[0]), (5, number.to_string().as_str()), "{row:?}");
        assert!(row[1].contains("https://"), "an issue in {row:?}");
        for test in row[4].split(", ").map(|name| name.trim_matches('`')) {
            assert!(test.starts_with(&format!("pain_{number:02}_")), "{test} in the row of {number}");
            named.insert(test.to_owned());
        }
    }
    assert_eq!(named, tests());
}
