//! Finding, removing and hashing the hosts of a known_hosts file, line by line: hostkeys_foreach of
//! OpenSSH's hostfile.c and what ssh-keygen does with the lines.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use feramiko::{HostKeyMarker, HostKeys, PublicKey};

use super::files::read_key;
use super::outcome::{Outcome, about, error, say, say_bytes, status};
use super::settings::Settings;
use super::show::picture;
use super::support::home::home;
use super::support::output::complain;
use super::types;

/// Names are matched by the library, in a line with this key instead of their own, which may be of any
/// type.
const ANY_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHYkCMScBgImnT7HHiFCOj0zuxgtmtrc2qqkMPsexTo9";
/// Names that stand for others.
const PATTERN: [char; 3] = ['*', '?', '!'];
const BLANK: [char; 2] = [' ', '\t'];

/// The lines of a file, each byte as one letter: what is not understood is kept as it is, in whatever
/// encoding.
fn lines_of(bytes: &[u8]) -> Vec<String> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line));
    lines.map(|line| line.iter().map(|byte| char::from(*byte)).collect()).collect()
}

/// The bytes of such a line.
fn bytes_of(line: &str) -> Vec<u8> {
    line.chars().map(|letter| u8::try_from(letter).unwrap_or(b'?')).collect()
}

/// The library's view of names.
fn named(names: &str) -> HostKeys {
    HostKeys::parse(bytes_of(&format!("{names} {ANY_KEY}")))
}

/// What a line is.
enum Line<'a> {
    Remark,
    Invalid,
    Entry { marker: Option<HostKeyMarker>, names: &'a str, rest: &'a str },
}

fn split(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(BLANK).unwrap_or((text, ""));
    (word, rest.trim_start_matches(BLANK))
}

impl<'a> Line<'a> {
    fn read(text: &'a str) -> Self {
        let text = text.trim_start_matches(BLANK);
        if text.is_empty() || text.starts_with('#') {
            return Self::Remark;
        }
        let (mut names, mut rest) = split(text);
        let marker = match names {
            "@cert-authority" => Some(HostKeyMarker::CertAuthority),
            "@revoked" => Some(HostKeyMarker::Revoked),
            name if name.starts_with('@') => return Self::Invalid,
            _ => None,
        };
        if marker.is_some() {
            (names, rest) = split(rest);
        }
        if names.is_empty() || names.starts_with('@') || rest.is_empty() || rest.starts_with('#') {
            return Self::Invalid;
        }
        let (kind, key) = split(rest);
        if !types::is_known(kind) || key.is_empty() || key.starts_with('#') {
            return Self::Invalid;
        }
        // A hashed name that is none.
        if names.starts_with('|') && named(names).is_empty() {
            return Self::Invalid;
        }
        Self::Entry { marker, names, rest }
    }
}

fn is_about(names: &str, host: &str) -> bool {
    named(names).contains(host, 22)
}

/// The lines with the names of hosts hashed; none for those that stay as they are.
fn hashed(names: &str, rest: &str) -> Outcome<String> {
    let each = names.split(',').take_while(|name| !name.is_empty());
    each.map(|name| Ok(format!("{} {rest}\n", HostKeys::hash_host(name, None)?))).collect()
}

/// Whether names are hashed with `-H`.
fn to_be_hashed(marker: Option<HostKeyMarker>, names: &str) -> bool {
    marker.is_none() && !names.contains(PATTERN) && !names.starts_with('|')
}

/// The file of `-f`, or the user's.
fn path_of(settings: &Settings) -> Outcome<String> {
    let usual = || home().join(".ssh/known_hosts").display().to_string();
    let path = settings.given.last('f').map_or_else(usual, str::to_owned);
    fs::metadata(&path).map_err(about(&format!("Cannot stat {path}")))?;
    Ok(path)
}

/// `-F`: the lines about a host; hashed with `-H`, as fingerprints with `-l`.
pub(crate) fn find(settings: &Settings, host: &str) -> Outcome {
    let path = path_of(settings)?;
    let text = fs::read(&path).map_err(about(&path))?;
    let mut found = false;
    for (number, text) in (1..).zip(lines_of(&text)) {
        let Line::Entry { marker, names, rest } = Line::read(&text) else { continue };
        if !is_about(names, host) {
            continue;
        }
        let key = read_key(rest);
        if settings.given.has('l') && key.is_none() {
            continue;
        }
        found = true;
        let word = match marker {
            Some(HostKeyMarker::CertAuthority) => "CA",
            Some(HostKeyMarker::Revoked) => "REVOKED",
            None => "",
        };
        if !settings.quiet {
            say(&format!("# Host {host} found: line {number} {word}\n"))?;
        }
        match key {
            _ if settings.given.has('H') && to_be_hashed(marker, names) => {
                say_bytes(&bytes_of(&hashed(names, rest)?))?
            }
            Some((key, comment)) if settings.given.has('l') && !settings.given.has('H') => {
                fingerprint(settings, host, &key, comment)?;
            }
            _ => say_bytes(&bytes_of(&format!("{text}\n")))?,
        }
    }
    if found { Ok(()) } else { Err(status(1)) }
}

fn fingerprint(settings: &Settings, host: &str, key: &PublicKey, comment: &str) -> Outcome {
    let blank = if comment.is_empty() { "" } else { " " };
    let comment = String::from_utf8_lossy(&bytes_of(comment)).into_owned();
    say(&format!("{host} {} {}{blank}{comment}\n", key.short_type(), key.fingerprint_by(settings.hash)))?;
    picture(settings, key)
}

/// What a pass over the file comes to.
#[derive(Default)]
struct Rewritten {
    text: String,
    changed: bool,
    invalid: bool,
}

impl Rewritten {
    fn keep(&mut self, line: &str) {
        self.text += line;
        self.text.push('\n');
    }

    fn keep_invalid(&mut self, path: &str, number: usize, line: &str) {
        complain(format_args!("{path}:{number}: invalid line"));
        self.invalid = true;
        self.keep(line);
    }
}

/// `-R`: takes a host's lines out of the file.
pub(crate) fn remove(settings: &Settings, host: &str) -> Outcome {
    let path = path_of(settings)?;
    let text = fs::read(&path).map_err(about(&path))?;
    let mut new = Rewritten::default();
    for (number, line) in (1..).zip(lines_of(&text)) {
        match Line::read(&line) {
            Line::Entry { marker: None, names, .. } if is_about(names, host) => {
                new.changed = true;
                if !settings.quiet {
                    say(&format!("# Host {host} found: line {number}\n"))?;
                }
            }
            Line::Invalid => new.keep_invalid(&path, number, &line),
            _ => new.keep(&line),
        }
    }
    if !new.changed && !new.invalid {
        complain(format_args!("Host {host} not found in {path}"));
        return Ok(());
    }
    replace(&path, &new)
}

/// `-H`: hashes the names in the file.
pub(crate) fn hash(settings: &Settings) -> Outcome {
    let path = &path_of(settings)?;
    let text = fs::read(path).map_err(about(path))?;
    let mut new = Rewritten::default();
    for (number, line) in (1..).zip(lines_of(&text)) {
        match Line::read(&line) {
            Line::Entry { marker, names, rest } if to_be_hashed(marker, names) => {
                new.text += &hashed(names, rest)?;
                new.changed = true;
            }
            Line::Invalid => new.keep_invalid(path, number, &line),
            Line::Entry { names, .. } => {
                if names.contains(PATTERN) {
                    complain(format_args!("{path}:{number}: ignoring host name with wildcard: {names}"));
                }
                new.keep(&line);
            }
            Line::Remark => new.keep(&line),
        }
    }
    replace(path, &new)?;
    if new.changed {
        complain(format_args!("WARNING: {path}.old contains unhashed entries"));
        complain("Delete this file to ensure privacy of hostnames");
    }
    Ok(())
}

/// Puts the new text in the file's place and keeps the old one beside it.
fn replace(path: &str, new: &Rewritten) -> Outcome {
    if new.invalid {
        complain(format_args!("{path} is not a valid known_hosts file."));
        return Err(error("Not replacing existing known_hosts file because of errors"));
    }
    let old = format!("{path}.old");
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(about(path))?;
    let mode = fs::metadata(path).map_err(about(path))?.permissions().mode() & 0o644;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode)).map_err(about(path))?;
    file.write_all(&bytes_of(&new.text)).map_err(about(path))?;
    match fs::remove_file(&old) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(about(&old)(error)),
        _ => {}
    }
    fs::hard_link(path, &old).map_err(about(&format!("link {path} to {old}")))?;
    file.persist(path).map_err(about(path))?;
    say(&format!("{path} updated.\nOriginal contents retained as {old}\n"))
}
