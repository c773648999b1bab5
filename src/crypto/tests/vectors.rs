//! Reads the vectors of Project Wycheproof in `tests/wycheproof`; `compact.py` there says how they stand.

use base64ct::{Base64, Encoding};

/// What a test says should come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Valid,
    Invalid,
    /// Either may be right.
    Acceptable,
}

/// A test: its number, the fields of its key, and its own.
pub(crate) struct Vector {
    pub(crate) number: u32,
    pub(crate) expected: Expected,
    pub(crate) key: Vec<Vec<u8>>,
    pub(crate) fields: Vec<Vec<u8>>,
}

fn field(text: &str) -> Vec<u8> {
    if text == "-" { Vec::new() } else { Base64::decode_vec(text).unwrap() }
}

/// The tests of a set.
pub(crate) fn vectors(name: &str) -> Vec<Vector> {
    let path = format!("{}/tests/wycheproof/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (mut key, mut found) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let (first, rest) = line.split_once(' ').unwrap();
        if first == "key" {
            key = rest.split(' ').map(field).collect();
            continue;
        }
        let mut words = rest.split(' ');
        let expected = match words.next().unwrap() {
            "v" => Expected::Valid,
            "i" => Expected::Invalid,
            "a" => Expected::Acceptable,
            other => panic!("{path}: {other}"),
        };
        let number = first.parse().unwrap();
        found.push(Vector { number, expected, key: key.clone(), fields: words.map(field).collect() });
    }
    assert!(found.len() >= 15, "{path} has {} tests", found.len());
    found
}
