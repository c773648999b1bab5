//! What keys are: public halves, fingerprints, records for the DNS; and keys in other formats.

use std::fs;
use std::io::Read;

use feramiko::{KeyFormat, PKey, PublicFormat, PublicKey};

use super::files::{default_comment, lines_of, load_identity, load_public, must_exist, read_key};
use super::outcome::{Outcome, about, fatal, say};
use super::settings::Settings;
use super::support::output::complain;

/// As OpenSSH: with quotes and tag, no longer than a line of RFC 4716.
const COMMENT: usize = 60;
/// How PKCS#1 begins.
const RSA: &str = "-----BEGIN RSA PUBLIC KEY-----";
/// Where host keys are, for records without `-f`.
const HOST_KEYS: [&str; 4] = [
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssh/ssh_host_dsa_key",
    "/etc/ssh/ssh_host_ecdsa_key",
    "/etc/ssh/ssh_host_ed25519_key",
];

/// `-y`.
pub(crate) fn public(settings: &Settings) -> Outcome {
    let path = settings.file("Enter file in which the key is")?;
    must_exist(&path)?;
    let loaded = load_identity(&path, settings)?;
    let comment = loaded.comment.unwrap_or_default();
    let line = loaded.key.public_key().to_line();
    say(&format!("{line}{}{comment}\n", if comment.is_empty() { "" } else { " " }))
}

/// A line about a key, and its picture with `-v`.
fn fingerprint(settings: &Settings, key: &PublicKey, comment: &str) -> Outcome {
    let shown = key.fingerprint_by(settings.hash);
    say(&format!("{} {shown} {comment} ({})\n", key.bits(), key.short_type()))?;
    picture(settings, key)
}

/// The key's picture, with `-v`.
pub(crate) fn picture(settings: &Settings, key: &PublicKey) -> Outcome {
    if settings.given.has('v') { say(&format!("{}\n", key.randomart(settings.hash))) } else { Ok(()) }
}

const NO_COMMENT: &str = "no comment";

/// `-l`: the keys of a file of any kind.
pub(crate) fn fingerprints(settings: &Settings) -> Outcome {
    let path = settings.file("Enter file in which the key is")?;
    let mut text = Vec::new();
    let from_input = path == "-";
    let read = match from_input {
        true => std::io::stdin().read_to_end(&mut text).map(drop),
        false => fs::read(&path).map(|bytes| text = bytes),
    };
    read.map_err(about(&path))?;
    let lines = lines_of(&text);
    if !from_input && lines.first().is_some_and(|line| line.contains("PRIVATE KEY")) {
        return fingerprint_private(settings, &path);
    }
    let mut found = false;
    for line in &lines {
        if let Some((key, comment)) = key_in_line(line.trim_start_matches([' ', '\t'])) {
            found = true;
            fingerprint(settings, &key, comment)?;
        }
    }
    let shown = if from_input { "(stdin)" } else { &path };
    if found { Ok(()) } else { Err(fatal(format!("{shown} is not a public key file."))) }
}

/// The key of a line, perhaps behind the names of hosts or options; without a comment those are shown.
fn key_in_line(line: &str) -> Option<(PublicKey, &str)> {
    if line.starts_with('#') {
        return None;
    }
    let comment = |rest: &str| !rest.is_empty() && !rest.starts_with('#');
    if let Some((key, rest)) = read_key(line) {
        return Some((key, if comment(rest) { rest } else { NO_COMMENT }));
    }
    let (before, after) = split_options(line)?;
    // The first number of a key of SSH 1, which is read no more.
    if before.parse::<u64>().is_ok_and(|number| number > 0) {
        return None;
    }
    let (key, rest) = read_key(after)?;
    Some((key, if comment(rest) { rest } else { before }))
}

/// Cuts a line at the first blank outside of quotes.
fn split_options(line: &str) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, letter) in line.char_indices() {
        match letter {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => return Some((&line[..at], &line[at + 1..])),
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
    }
    None
}

fn fingerprint_private(settings: &Settings, path: &str) -> Outcome {
    let public = load_public(path).ok();
    let said = public.as_ref().and_then(|(_, comment)| comment.clone());
    let private = if said.is_none() { PKey::from_file(path, None).ok() } else { None };
    let held = private.as_ref().map(|key| key.comment().to_owned()).filter(|text| !text.is_empty());
    let key = public.map(|(key, _)| key).or_else(|| private.map(|key| key.public_key().clone()));
    let key = key.ok_or_else(|| fatal(format!("{path} is not a key file.")))?;
    fingerprint(settings, &key, said.or(held).as_deref().unwrap_or(NO_COMMENT))
}

/// The number of the only hash that `-O` asks for.
fn record_hash(settings: &Settings) -> Outcome<Option<u8>> {
    let mut hash = None;
    for option in settings.given.all('O') {
        hash = match option.to_ascii_lowercase().as_str() {
            "hashalg=sha1" => Some(1),
            "hashalg=sha256" => Some(2),
            _ => return Err(fatal(format!("Invalid option \"{option}\""))),
        };
    }
    Ok(hash)
}

/// `-r`: what the DNS may say of a host.
pub(crate) fn records(settings: &Settings, host: &str) -> Outcome {
    if let Some(path) = settings.given.last('f') {
        must_exist(path)?;
        return record(settings, host, path);
    }
    let there: Vec<_> = HOST_KEYS.into_iter().filter(|path| fs::metadata(path).is_ok()).collect();
    if there.is_empty() {
        return Err(fatal("no keys found."));
    }
    there.into_iter().try_for_each(|path| record(settings, host, path))
}

fn record(settings: &Settings, host: &str, path: &str) -> Outcome {
    let (key, _) = load_public(path)?;
    let records = match key.sshfp_records() {
        Ok(records) => records,
        Err(error) => {
            complain(format_args!("{path}: {error}"));
            return Ok(());
        }
    };
    let only = record_hash(settings)?;
    for record in records.into_iter().filter(|record| only.is_none_or(|hash| record.hash == hash)) {
        if settings.given.has('g') {
            let hex: String = record.digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let length = record.digest.len() + 2;
            say(&format!(
                "{host} IN TYPE44 \\# {length} {:02x} {:02x} {hex}\n",
                record.algorithm, record.hash
            ))?;
        } else {
            say(&format!("{host} IN SSHFP {record}\n"))?;
        }
    }
    Ok(())
}

/// `-e`: a public key in another format.
pub(crate) fn export(settings: &Settings) -> Outcome {
    let path = settings.file("Enter file in which the key is")?;
    must_exist(&path)?;
    let key = match load_public(&path) {
        Ok((key, _)) => key,
        Err(_) => load_identity(&path, settings)?.key.public_key().clone(),
    };
    let mut comment = String::new();
    if settings.format == PublicFormat::Rfc4716 {
        let by = default_comment();
        comment = format!("{}-bit {}, converted by {by} from OpenSSH", key.bits(), key.short_type());
        comment = comment.chars().take(COMMENT).collect();
    }
    say(&key.to_format(settings.format, &comment)?)
}

/// `-i`: a key of another format as OpenSSH has it.
pub(crate) fn import(settings: &Settings) -> Outcome {
    let path = settings.file("Enter file in which the key is")?;
    let text = fs::read(&path).map_err(about(&path))?;
    let begins = match settings.format {
        PublicFormat::Pkcs8 => &["-----BEGIN PUBLIC KEY-----", RSA][..],
        PublicFormat::Pem => &[RSA],
        _ => &["---- BEGIN SSH2 "],
    };
    let shown = String::from_utf8_lossy(&text);
    if !begins.iter().any(|begin| shown.contains(begin)) {
        return Err(fatal(format!("{path} is not a file that begins with {}", begins.join(" or "))));
    }
    if shown.contains("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----") {
        let key = PKey::from_bytes(&text, None).map_err(about(&path))?;
        let pem = key.to_format(&KeyFormat::Pem, None)?;
        return say(&String::from_utf8_lossy(pem.expose()));
    }
    let (key, _) = PublicKey::from_bytes(&text).map_err(about(&path))?;
    say(&format!("{}\n", key.to_line()))
}
