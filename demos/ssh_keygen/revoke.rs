//! Lists of revoked keys: making, changing, asking.

use std::fs;
use std::io::Read;
use std::time::SystemTime;

use feramiko::{IssuedBy, PublicKey, RevokedKeys};

use super::files::{expand, load_public};
use super::outcome::{Outcome, about, fatal, say, status};
use super::settings::Settings;

/// What a list begins with; text is none here.
const MAGIC: &[u8] = b"SSHKRL\n\0";

fn load(path: &str) -> Outcome<RevokedKeys> {
    let bytes = fs::read(path).map_err(about(&format!("Unable to load KRL {path}")))?;
    if !bytes.starts_with(MAGIC) {
        return Err(fatal(format!("Invalid KRL file {path}")));
    }
    RevokedKeys::from_bytes(&bytes).map_err(about(&format!("Invalid KRL file {path}")))
}

/// `-k`, with `-u` onto what is there.
pub(crate) fn make(settings: &Settings) -> Outcome {
    let given = &settings.given;
    let path = given.last('f').ok_or_else(|| fatal("KRL generation requires an output file"))?;
    if given.has('u') && fs::metadata(path).is_err() {
        return Err(fatal(format!("KRL \"{path}\" does not exist")));
    }
    let authority = match given.last('s') {
        Some(name) if !name.eq_ignore_ascii_case("none") => {
            let loaded = load_public(&expand(name));
            Some(loaded.map_err(|fail| fatal(format!("Cannot load CA public key {}", fail.text)))?.0)
        }
        _ => None,
    };
    let anyone = given.has('s').then_some(IssuedBy::Anyone);
    let issued_by = authority.as_ref().map(IssuedBy::Key).or(anyone);
    let mut list = if given.has('u') { load(path)? } else { RevokedKeys::new() };
    if settings.serial != 0 {
        list.set_version(settings.serial);
    }
    if let Some(comment) = given.last('C') {
        list.set_comment(comment)?;
    }
    let mut said = String::new();
    for name in &given.operands {
        let name = expand(name);
        let shown = if name == "-" { "(standard input)" } else { &name };
        let mut text = Vec::new();
        let read = match name.as_str() {
            "-" => std::io::stdin().read_to_end(&mut text).map(drop),
            path => fs::read(path).map(|bytes| text = bytes),
        };
        read.map_err(about(shown))?;
        said += &format!("Revoking from {shown}\n");
        list.revoke_specified(&text, issued_by).map_err(about(shown))?;
    }
    if list.generated().is_none() {
        list.set_generated(SystemTime::now());
    }
    fs::write(path, list.to_bytes()?).map_err(about(path))?;
    if settings.quiet { Ok(()) } else { say(&said) }
}

/// `-Q`: which of the keys are revoked; with `-l`, everything that is.
pub(crate) fn query(settings: &Settings) -> Outcome {
    let given = &settings.given;
    let list = load(given.last('f').ok_or_else(|| fatal("KRL checking requires an input file"))?)?;
    if given.has('l') {
        say(&list.to_string())?;
    }
    let mut all_good = true;
    for path in &given.operands {
        let (key, comment): (PublicKey, _) =
            load_public(path).map_err(|fail| fatal(format!("Cannot load public key {}", fail.text)))?;
        let revoked = list.check_key(&key).is_some();
        let comment = comment.map_or_else(String::new, |comment| format!(" ({comment})"));
        say(&format!("{path}{comment}: {}\n", if revoked { "REVOKED" } else { "ok" }))?;
        all_good &= !revoked;
    }
    if all_good { Ok(()) } else { Err(status(1)) }
}
