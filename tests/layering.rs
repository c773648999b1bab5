//! Holds the house to its plan: imports point downward, libraries stay in their rooms.

use std::path::{Path, PathBuf};

/// Rooms by floor, lowest first.
const FLOORS: &[&[&str]] = &[
    &["wire", "pattern", "crypto", "sys", "editor"],
    &["packet", "msg", "key", "x11"],
    &["kex", "auth"],
    &["error"],
    &["engine", "hostkeys", "agent", "authorized", "config"],
    &["channel"],
    &["interface"],
    &["transport"],
    &["sftp", "scp", "forward", "mux", "text"],
    &["client", "server"],
];

/// Pairs that the plan allows against the order, with the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("error", "engine", "the error carries an exit status, which lives where it arrives"),
    ("error", "agent", "the waist wraps the small errors of its neighbours"),
    ("error", "config", "the waist wraps the small errors of its neighbours"),
    ("error", "hostkeys", "the waist wraps the small errors of its neighbours"),
    ("error", "sftp", "the waist wraps the small errors of its neighbours"),
    ("error", "scp", "the waist wraps the small errors of its neighbours"),
    ("interface", "server", "the trait's last method runs a Session"),
];

/// Crates and the rooms that may name them.
const CRATES: &[(&str, &[&str])] = &[
    ("openssl", &["crypto", "key"]),
    ("unicode_width", &["editor"]),
    ("encoding_rs", &["text"]),
    ("flate2", &["packet"]),
    ("rustix", &["sys"]),
    ("nix", &["sys"]),
    ("socket2", &["sys"]),
    ("jiff", &["sys"]),
    ("dns_lookup", &["sys"]),
    ("same_file", &["sys"]),
    ("signal_hook", &["sys"]),
    ("windows_sys", &["agent"]),
    ("blowfish", &["crypto"]),
    ("cast5", &["crypto"]),
    ("ctr", &["crypto"]),
    ("des", &["crypto"]),
    ("rc2", &["crypto"]),
    ("rc4", &["crypto"]),
    ("md5", &["crypto"]),
    ("ml_kem", &["crypto"]),
    ("poly1305", &["crypto"]),
    ("sntrup", &["crypto"]),
];

/// What no machine of bytes may have, and the rooms that may: threads, locks, clocks, sockets and
/// processes.
const MEANS: &[(&str, &[&str])] = &[
    ("thread::Builder", &["engine"]),
    ("thread::spawn", &[]),
    ("thread::scope", &[]),
    ("std::thread", &["engine", "hostkeys", "scp", "sftp", "forward", "server"]),
    ("Mutex", &["engine", "agent", "channel", "transport", "sftp", "forward", "client", "server", "mux"]),
    ("RwLock", &[]),
    ("Condvar", &["engine", "agent", "sftp", "mux", "client", "server"]),
    ("crossbeam_channel", &["engine", "channel", "interface", "sftp", "mux", "client", "server"]),
    (
        // `key` passes a deadline on to a signer; it looks at no clock.
        "Instant",
        &[
            "sys",
            "key",
            "engine",
            "hostkeys",
            "agent",
            "channel",
            "transport",
            "scp",
            "sftp",
            "forward",
            "mux",
            "text",
            "client",
            "server",
        ],
    ),
    ("SystemTime::now", &["hostkeys", "authorized", "sftp", "server"]),
    ("TcpStream", &["sys", "engine", "forward", "client"]),
    ("TcpListener", &["sys", "forward", "server", "client"]),
    ("UdpSocket", &["sys"]),
    ("UnixStream", &["sys", "engine", "agent", "client", "server", "mux"]),
    ("UnixListener", &["sys", "agent", "forward", "server", "mux"]),
    ("ToSocketAddrs", &["forward", "client"]),
    ("std::process", &["sys", "engine", "client", "server", "mux"]),
];

/// What stands beside the floors: it names every room, and no room names it.
const BESIDE: &[&str] = &["lib", "fuzz"];

/// There are at least so many files: with less, this test looks in the wrong place.
const FILES: usize = 150;

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

/// A file of the library, tests left out.
struct File {
    path: PathBuf,
    room: String,
    /// Its module below the crate.
    module: Vec<String>,
    text: String,
}

fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    let files: Vec<_> = found.into_iter().filter_map(|path| file(&root, path)).collect();
    assert!(files.len() >= FILES, "{} files", files.len());
    for room in FLOORS.iter().copied().flatten().chain(BESIDE) {
        assert!(files.iter().any(|file| file.room == *room), "there is no room {room}");
    }
    for file in &files {
        let listed = floor(&file.room).is_some() || BESIDE.contains(&file.room.as_str());
        assert!(listed, "{} is on no floor", file.path.display());
    }
    files
}

fn file(root: &Path, path: PathBuf) -> Option<File> {
    let inside = path.strip_prefix(root).unwrap().with_extension("");
    let mut module: Vec<_> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.iter().any(|part| part == "tests") {
        return None;
    }
    let room = module[0].clone();
    module.retain(|part| part != "mod");
    let text = std::fs::read_to_string(&path).unwrap();
    let tests = text.match_indices("#[cfg(test)]\n").map(|(at, _)| at);
    let inner = |at: &usize| text[*at..].lines().nth(1).is_some_and(|line| line.ends_with("mod tests {"));
    let end = tests.filter(inner).min().unwrap_or(text.len());
    Some(File { room, module, text: text[..end].to_owned(), path })
}

impl File {
    /// Every path that the code names, as its segments; grouped imports one by one.
    fn paths(&self) -> Vec<Vec<String>> {
        let code: String =
            self.text.lines().map(|line| line.split("//").next().unwrap().to_owned() + "\n").collect();
        let mut found = Vec::new();
        paths(&code, &mut Vec::new(), &mut found);
        found
    }

    /// The room that a path leads to from here.
    fn room_of<'a>(&self, path: &'a [String]) -> Option<&'a str> {
        let up = path.iter().take_while(|part| *part == "super").count();
        let from_the_top = path[0] == "crate" || up >= self.module.len();
        path.get(up.max(1)).filter(|_| from_the_top).map(String::as_str)
    }
}

/// Collects the paths of `code` up to the end of a group, each behind `prefix`; gives what follows.
fn paths<'a>(mut code: &'a str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let outer = prefix.len();
    while let Some(next) = code.chars().next() {
        if is_word(next) {
            let end = code.find(|c| !is_word(c)).unwrap_or(code.len());
            if &code[..end] == "as" {
                // Another name leads nowhere else.
                code = code[end..].trim_start().trim_start_matches(is_word);
                continue;
            }
            prefix.push(code[..end].to_owned());
            code = &code[end..];
            if let Some(rest) = code.strip_prefix("::") {
                match rest.strip_prefix('{') {
                    Some(group) => code = paths(group, prefix, found),
                    None if rest.starts_with(is_word) => {
                        code = rest;
                        continue;
                    }
                    None => code = rest,
                }
            }
            found.push(prefix.clone());
            prefix.truncate(outer);
        } else {
            code = &code[next.len_utf8()..];
            if next == '}' && outer > 0 {
                return code;
            }
        }
    }
    code
}

fn names(path: &[String], wanted: &str) -> bool {
    let wanted: Vec<_> = wanted.split("::").collect();
    path.windows(wanted.len()).any(|part| part == wanted)
}

#[test]
fn groups_are_taken_apart() {
    let mut found = Vec::new();
    paths("use crate::{a::{b, C as D}, error}; x::<y>(super::z)", &mut Vec::new(), &mut found);
    let found: Vec<_> = found.iter().map(|path| path.join("::")).filter(|path| path.contains(':')).collect();
    assert_eq!(found, ["crate::a::b", "crate::a::C", "crate::a", "crate::error", "super::z"]);
}

#[test]
fn imports_point_downward() {
    let mut wrong = Vec::new();
    for file in files() {
        let Some(here) = floor(&file.room) else { continue };
        for path in file.paths() {
            let Some(named) = file.room_of(&path) else { continue };
            let excepted = EXCEPTIONS.iter().any(|(from, to, _)| *from == file.room && *to == named);
            let upward = floor(named).is_some_and(|there| there > here) || BESIDE.contains(&named);
            // Below the waist the errors are small.
            let large = named == "Error" && Some(here) < floor("error");
            if (upward || large) && !excepted {
                wrong.push(format!("{}: {}", file.path.display(), path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that point upward:\n{}", wrong.join("\n"));
}

#[test]
fn crates_and_means_stay_in_their_rooms() {
    for file in files() {
        let (paths, beside) = (file.paths(), BESIDE.contains(&file.room.as_str()));
        for (name, rooms) in CRATES {
            let named = paths.iter().any(|path| path.len() > 1 && path[0] == *name);
            assert!(!named || rooms.contains(&file.room.as_str()), "{} names {name}", file.path.display());
        }
        for (name, rooms) in MEANS.iter().filter(|_| !beside) {
            let named = paths.iter().any(|path| names(path, name));
            assert!(!named || rooms.contains(&file.room.as_str()), "{} has {name}", file.path.display());
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
    for file in files() {
        assert!(file.text.starts_with("//!"), "{} has no opening", file.path.display());
    }
}
