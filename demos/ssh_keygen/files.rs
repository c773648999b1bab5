//! Keys from files and to files, and what the user is asked about them: authfile.c of OpenSSH.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use feramiko::{KeyError, PKey, PublicKey, Secret};

use super::outcome::{Outcome, about, fatal, say, status};
use super::settings::Settings;
use super::support::home::{self, home};
use super::support::prompt::{Echo, ask};
use super::types;

/// Others may read what is public.
const PUBLIC_MODE: u32 = 0o644;

/// `user@host`, what keys are called unless told otherwise.
pub(crate) fn default_comment() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    let name = user.map(|user| user.name).unwrap_or_default();
    let system = rustix::system::uname();
    format!("{name}@{}", system.nodename().to_string_lossy())
}

/// The path with `~` at its start replaced.
pub(crate) fn expand(path: &str) -> String {
    home::expand(path).display().to_string()
}

/// A line of the user's, without its end; none at the end of input.
pub(crate) fn read_line() -> Outcome<Option<String>> {
    let mut line = String::new();
    let count = io::stdin().read_line(&mut line).map_err(about("standard input"))?;
    Ok((count > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Asks for a file; the usual one for such a key is meant by an empty answer.
pub(crate) fn ask_filename(question: &str, key_type: Option<&str>) -> Outcome<String> {
    let kind =
        types::by_name(key_type.unwrap_or(super::DEFAULT_TYPE)).ok_or_else(|| fatal("bad key type"))?;
    let usual = home().join(".ssh").join(kind.file).display().to_string();
    say(&format!("{question} ({usual}): "))?;
    let answer = read_line()?.ok_or_else(|| status(1))?;
    Ok(if answer.is_empty() { usual } else { answer })
}

/// Asks for a passphrase on the terminal; where there is none, it is a line of standard input.
pub(crate) fn ask_passphrase(question: &str) -> Outcome<Secret> {
    match ask(question, Echo::Off).map_err(about("the terminal"))? {
        Some(answer) => Ok(answer),
        None if io::stdin().is_terminal() => Ok(Secret::from("")),
        None => Ok(Secret::from(read_line()?.unwrap_or_default().as_str())),
    }
}

/// Whether a file may be written: it is not there, or the user says so.
pub(crate) fn confirm_overwrite(path: &str) -> Outcome<bool> {
    if fs::metadata(path).is_err() {
        return Ok(true);
    }
    say(&format!("{path} already exists.\nOverwrite (y/n)? "))?;
    Ok(read_line()?.is_some_and(|answer| answer.starts_with(['y', 'Y'])))
}

/// That there is such a file.
pub(crate) fn must_exist(path: &str) -> Outcome {
    fs::metadata(path).map(drop).map_err(about(path))
}

/// A private key and what it was encrypted with.
pub(crate) struct Loaded {
    pub(crate) key: PKey,
    /// The comment, if the format has any.
    pub(crate) comment: Option<String>,
    pub(crate) passphrase: Secret,
}

/// Reads a private key with the passphrase that `passphrase` gives if one is needed.
pub(crate) fn load_private(path: &str, passphrase: impl FnOnce() -> Outcome<Secret>) -> Outcome<Loaded> {
    let loaded = |key: PKey, passphrase| {
        let text = fs::read(path).unwrap_or_default();
        // PEM and DER have no comments.
        let has_comment = ["OPENSSH PRIVATE", "PuTTY", "SSH2 "].iter().any(|word| contains(&text, word));
        let comment = has_comment.then(|| key.comment().to_owned());
        Loaded { key, comment, passphrase }
    };
    match PKey::from_file(path, None) {
        Ok(key) => Ok(loaded(key, Secret::from(""))),
        Err(KeyError::PassphraseNeeded) => {
            let passphrase = passphrase()?;
            let text = String::from_utf8_lossy(passphrase.expose()).into_owned();
            let key = PKey::from_file(path, Some(&text));
            Ok(loaded(key.map_err(about(&format!("Load key \"{path}\"")))?, passphrase))
        }
        Err(error) => Err(fatal(format!("Load key \"{path}\": {error}"))),
    }
}

fn contains(text: &[u8], word: &str) -> bool {
    let start = text.get(..64).unwrap_or(text);
    start.windows(word.len()).any(|window| window == word.as_bytes())
}

/// Reads a private key with the passphrase of `-P`, or else asks for it.
pub(crate) fn load_identity(path: &str, settings: &Settings) -> Outcome<Loaded> {
    load_private(path, || match settings.given.last('P') {
        Some(passphrase) => Ok(Secret::from(passphrase)),
        None => ask_passphrase("Enter passphrase: "),
    })
}

/// Reads `type base64` at the start of a line; the key and the rest behind blanks.
pub(crate) fn read_key(line: &str) -> Option<(PublicKey, &str)> {
    let blank = [' ', '\t'];
    let (kind, rest) = line.split_once(blank)?;
    let rest = rest.trim_start_matches(blank);
    let end = rest.find(blank).unwrap_or(rest.len());
    let (base64, rest) = rest.split_at(end);
    let (key, _) = PublicKey::from_line(&format!("{kind} {}", base64.trim_end())).ok()?;
    Some((key, rest.trim_start_matches(blank)))
}

/// The lines of a file, without their ends.
pub(crate) fn lines_of(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    if text.is_empty() { Vec::new() } else { text.split('\n').map(str::to_owned).collect() }
}

/// The first key of a public key file, with its comment or else the file's name.
fn try_public(path: &str) -> Option<(PublicKey, String)> {
    for line in lines_of(&fs::read(path).ok()?) {
        if line.starts_with("-----BEGIN") {
            return None;
        }
        if line.starts_with('#') {
            continue;
        }
        if let Some((key, rest)) = read_key(line.trim_start_matches([' ', '\t'])) {
            let comment = rest.trim_end_matches('\r');
            return Some((key, if comment.is_empty() { path.to_owned() } else { comment.to_owned() }));
        }
    }
    None
}

/// Reads a public key: from the file, from the `.pub` beside it, or from what a private key's file says of it.
pub(crate) fn load_public(path: &str) -> Outcome<(PublicKey, Option<String>)> {
    let beside = || try_public(&format!("{path}.pub"));
    if let Some((key, comment)) = try_public(path).or_else(beside) {
        return Ok((key, Some(comment)));
    }
    let half = fs::read(path).ok().and_then(|text| PublicKey::from_bytes(&text).ok()).map(|(half, _)| half);
    half.map(|key| (key, None))
        .ok_or_else(|| fatal(format!("{path}: No such file or directory, or no key in it")))
}

/// Writes a public key file.
pub(crate) fn save_public(path: &str, key: &PublicKey, comment: &str) -> Outcome {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(PUBLIC_MODE).open(path);
    let text = format!("{} {comment}\n", key.to_line());
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(about(&format!("Unable to save public key to {path}")))
}

/// Writes a private key file, as the options say.
pub(crate) fn save_private(path: &str, key: &PKey, passphrase: &Secret, settings: &Settings) -> Outcome {
    let format = settings.key_format(key)?;
    let saved = key.write_private_key_file_as(Path::new(path), &format, Some(passphrase));
    saved.map_err(|error| super::outcome::error(format!("Saving key \"{path}\" failed: {error}")))
}
