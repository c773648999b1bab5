//! Holds the house to its plan: imports point downward, libraries stay in their rooms.

use std::path::{Path, PathBuf};

/// Rooms by floor, lowest first.
const FLOORS: &[&[&str]] = &[
    &["wire", "pattern", "crypto", "sys"],
    &["packet", "msg", "key"],
    &["kex", "auth"],
    &["error"],
    &["engine", "hostkeys", "agent", "authorized"],
    &["channel"],
    &["interface"],
    &["transport"],
    &["sftp"],
    &["client", "server"],
];

/// Pairs that the plan allows against the order, with the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("error", "engine", "the error carries an exit status, which lives where it arrives"),
    ("error", "agent", "the waist wraps the small errors of its neighbours"),
    ("error", "hostkeys", "the waist wraps the small errors of its neighbours"),
    ("error", "sftp", "the waist wraps the small errors of its neighbours"),
    ("interface", "server", "the trait's last method runs a Session"),
];

/// Crates and the rooms that may name them.
const CRATES: &[(&str, &[&str])] = &[
    ("openssl", &["crypto", "key"]),
    ("flate2", &["packet"]),
    ("rustix", &["sys"]),
    ("nix", &["sys"]),
    ("socket2", &["sys"]),
    ("jiff", &["sys"]),
    ("same_file", &["sys"]),
    ("signal_hook", &["sys"]),
    ("windows_sys", &["agent"]),
    ("blowfish", &["crypto"]),
    ("cast5", &["crypto"]),
    ("ctr", &["crypto"]),
    ("des", &["crypto"]),
    ("rc4", &["crypto"]),
    ("md5", &["crypto"]),
    ("ml_kem", &["crypto"]),
    ("poly1305", &["crypto"]),
    ("sntrup", &["crypto"]),
];

/// The only file that may say `unsafe`; and the line before the module, which lets it.
const UNSAFE: (&str, &str) = ("agent/endpoint/pageant.rs", "#[allow(unsafe_code, ");

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The library's files with their room and text, tests left out.
fn files() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    found
        .into_iter()
        .filter(|path| !path.to_string_lossy().contains("tests"))
        .map(|path| {
            let inside = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            let room = inside.split(['/', '.']).next().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
            (room, path, text)
        })
        .collect()
}

#[test]
fn imports_point_downward() {
    let mut wrong = Vec::new();
    for (room, path, text) in files() {
        let Some(here) = floor(&room) else { continue };
        for line in text.lines().map(str::trim_start).filter(|line| !line.starts_with("//")) {
            for (at, _) in line.match_indices("crate::") {
                let named: String =
                    line[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let excepted = EXCEPTIONS.iter().any(|(from, to, _)| *from == room && *to == named);
                if floor(&named).is_some_and(|there| there > here) && !excepted {
                    wrong.push(format!("{}: {line}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that point upward:\n{}", wrong.join("\n"));
}

#[test]
fn crates_stay_in_their_rooms() {
    for (room, path, text) in files() {
        for (name, rooms) in CRATES {
            let word = format!("{name}::");
            let names_it = |line: &str| {
                let mut found = line.match_indices(&word);
                found.any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            };
            let named = text.lines().any(|line| !line.trim_start().starts_with("//") && names_it(line));
            assert!(!named || rooms.contains(&room.as_str()), "{} names {name}", path.display());
        }
    }
}

/// The compiler denies the code; this holds that nobody else lets it, and that every use says why it
/// is sound.
#[test]
fn one_file_has_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join("src"), &mut found);
    let mut allowed = Vec::new();
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = |line: &&str| !line.trim_start().starts_with("//");
        allowed
            .extend(text.lines().filter(code).filter(|line| line.contains("unsafe_code")).map(str::to_owned));
        let word =
            |line: &&str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe");
        if path.ends_with(UNSAFE.0) {
            let lines: Vec<&str> = text.lines().collect();
            for (at, line) in lines.iter().enumerate().filter(|(_, line)| code(line) && word(line)) {
                let above = lines[..at].iter().rev().take(4);
                let said = above
                    .clone()
                    .any(|line| ["// SAFETY: ", "/// # Safety"].iter().any(|it| line.contains(it)));
                assert!(said, "line {} of {} says not why: {line}", at + 1, path.display());
            }
        } else {
            assert!(!text.lines().filter(code).any(|line| word(&line)), "{} has unsafe code", path.display());
        }
    }
    assert!(allowed.len() == 1 && allowed[0].starts_with(UNSAFE.1), "{allowed:?}");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"deny\""));
}

#[test]
fn files_open_with_what_they_are() {
    for (_, path, text) in files() {
        assert!(text.starts_with("//!"), "{} has no opening", path.display());
    }
}
