//! The corpus, and what the fuzzer once found, through their doors.

use std::fs;
use std::path::Path;

use super::TARGETS;

/// Every file of `fuzz/corpus` and `fuzz/cases`. A folder without a target, or a target without a
/// corpus, is a mistake.
#[test]
fn the_corpus_and_the_cases_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for folder in ["corpus", "cases"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            // Elsewhere than on UNIX some have none.
            let known = TARGETS.iter().any(|(target, _)| *target == name);
            assert!(known || !cfg!(unix), "{folder}/{name} has no target");
        }
    }
    for (name, door) in TARGETS {
        let mut files = 0;
        for folder in ["corpus", "cases"] {
            for entry in fs::read_dir(root.join(folder).join(name)).into_iter().flatten() {
                let path = entry.unwrap().path();
                let data = fs::read(&path).unwrap();
                let ran = std::panic::catch_unwind(|| door(&data));
                assert!(ran.is_ok(), "{}", path.display());
                files += 1;
            }
        }
        assert!(files > 0, "no corpus for {name}");
    }
}
