//! Making keys, and changing the passphrase or the comment of one.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use feramiko::{KeyKind, PKey, PublicFormat, Secret};

use super::files::{
    ask_passphrase, confirm_overwrite, default_comment, load_private, must_exist, read_line, save_private,
    save_public,
};
use super::outcome::{Outcome, about, error, fatal, say, status};
use super::settings::Settings;
use super::support::home::home;
use super::types;

/// The host keys of `-A`: the type, and the file under its prefix.
const HOST_KEYS: [(&str, &str); 3] = [
    ("rsa", "/etc/ssh/ssh_host_rsa_key"),
    ("ecdsa", "/etc/ssh/ssh_host_ecdsa_key"),
    ("ed25519", "/etc/ssh/ssh_host_ed25519_key"),
];

fn kind_of(name: &str, bits: Option<u32>) -> Outcome<KeyKind> {
    let kind = types::by_name(name).ok_or_else(|| fatal(format!("unknown key type {name}")))?;
    let made = kind.kind(bits).map_err(fatal)?;
    made.ok_or_else(|| error(format!("keys of type {name}, which a FIDO token holds, are not built")))
}

/// Makes a key pair.
pub(crate) fn generate(settings: &Settings) -> Outcome {
    let name = settings.given.last('t').unwrap_or(super::DEFAULT_TYPE);
    let kind = kind_of(name, settings.bits)?;
    if !settings.quiet {
        say(&format!("Generating public/private {name} key pair.\n"))?;
    }
    let key = PKey::generate(kind)?;
    let path = settings.file("Enter file in which to save the key")?;
    make_user_directory(&path, settings.quiet)?;
    if !confirm_overwrite(&path)? {
        return Err(status(1));
    }
    let passphrase = match settings.passphrase() {
        Some(passphrase) => passphrase,
        None => new_passphrase()?,
    };
    let key = key.with_comment(&settings.given.last('C').map_or_else(default_comment, str::to_owned))?;
    save_private(&path, &key, &passphrase, settings)?;
    if !settings.quiet {
        say(&format!("Your identification has been saved in {path}\n"))?;
    }
    let beside = format!("{path}.pub");
    save_public(&beside, key.public_key(), key.comment())?;
    if settings.quiet {
        return Ok(());
    }
    let public = key.public_key();
    say(&format!(
        "Your public key has been saved in {beside}\nThe key fingerprint is:\n{} {}\nThe key's randomart image \
         is:\n{}\n",
        public.fingerprint_by(settings.hash),
        key.comment(),
        public.randomart(settings.hash)
    ))
}

/// Makes `~/.ssh` for a file in it.
fn make_user_directory(path: &str, quiet: bool) -> Outcome {
    let folder = home().join(".ssh");
    if !Path::new(path).starts_with(&folder) || folder.exists() {
        return Ok(());
    }
    let shown = folder.display().to_string();
    fs::DirBuilder::new().mode(0o700).create(&folder).map_err(about(&shown))?;
    if quiet { Ok(()) } else { say(&format!("Created directory '{shown}'.\n")) }
}

/// Asks until both answers are the same.
fn new_passphrase() -> Outcome<Secret> {
    loop {
        let first = ask_passphrase("Enter passphrase (empty for no passphrase): ")?;
        if ask_passphrase("Enter same passphrase again: ")?.matches(first.expose()) {
            return Ok(first);
        }
        say("Passphrases do not match.  Try again.\n")?;
    }
}

/// `-p`.
pub(crate) fn change_passphrase(settings: &Settings) -> Outcome {
    let path = settings.file("Enter file in which the key is")?;
    must_exist(&path)?;
    let loaded = load_private(&path, || match settings.given.last('P') {
        Some(passphrase) => Ok(Secret::from(passphrase)),
        None => ask_passphrase("Enter old passphrase: "),
    })?;
    if let Some(comment) = &loaded.comment {
        say(&format!("Key has comment '{comment}'\n"))?;
    }
    let passphrase = match settings.given.last('N') {
        Some(passphrase) => Secret::from(passphrase),
        None => {
            let first = ask_passphrase("Enter new passphrase (empty for no passphrase): ")?;
            if !ask_passphrase("Enter same passphrase again: ")?.matches(first.expose()) {
                say("Pass phrases do not match.  Try again.\n")?;
                return Err(status(1));
            }
            first
        }
    };
    save_private(&path, &loaded.key, &passphrase, settings)?;
    say("Your identification has been saved with the new passphrase.\n")
}

/// `-c`.
pub(crate) fn change_comment(settings: &Settings) -> Outcome {
    let path = settings.file("Enter file in which the key is")?;
    must_exist(&path)?;
    let loaded = load_private(&path, || match settings.passphrase() {
        Some(passphrase) => Ok(passphrase),
        None => ask_passphrase("Enter passphrase: "),
    })?;
    let is_ed25519 = loaded.key.public_key().key_type() == "ssh-ed25519";
    if settings.format != PublicFormat::Rfc4716 && !is_ed25519 {
        return Err(error("Comments are only supported for keys stored in the new format (-o)."));
    }
    match &loaded.comment {
        Some(comment) => say(&format!("Old comment: {comment}\n"))?,
        None => say("No existing comment\n")?,
    }
    let comment = match settings.given.last('C') {
        Some(comment) => comment.to_owned(),
        None => {
            say("New comment: ")?;
            read_line()?.ok_or_else(|| status(1))?
        }
    };
    if loaded.comment.as_deref() == Some(comment.as_str()) {
        return say("No change to comment\n");
    }
    let key = loaded.key.with_comment(&comment)?;
    save_private(&path, &key, &loaded.passphrase, settings)?;
    save_public(&format!("{path}.pub"), key.public_key(), &comment)?;
    match comment.is_empty() {
        true => say("Comment removed\n"),
        false => say(&format!("Comment '{comment}' applied\n")),
    }
}

/// `-A`: the host keys that are not there yet.
pub(crate) fn host_keys(settings: &Settings) -> Outcome {
    let prefix = settings.given.last('f').unwrap_or_default();
    let mut said = false;
    for (name, file) in HOST_KEYS {
        let path = format!("{prefix}{file}");
        if fs::metadata(&path).is_ok_and(|found| found.len() > 0) {
            continue;
        }
        if !said {
            say("ssh-keygen: generating new host keys: ")?;
        }
        said = true;
        say(&format!("{} ", name.to_ascii_uppercase()))?;
        let key = PKey::generate(kind_of(name, None)?)?.with_comment(&default_comment())?;
        save_private(&path, &key, &Secret::from(""), settings)?;
        save_public(&format!("{path}.pub"), key.public_key(), key.comment())?;
    }
    if said { say("\n") } else { Ok(()) }
}
