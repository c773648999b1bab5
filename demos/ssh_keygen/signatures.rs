//! Signatures of files and messages, and who may make them: `-Y`.

use std::fs::{self, File};
use std::time::SystemTime;

use feramiko::{
    Agent, AllowedSigners, PKey, PublicKey, Revoked, RevokedKeys, SignatureHash, SshSignature, parse_time,
};

use super::files::{confirm_overwrite, load_identity, load_public, must_exist};
use super::outcome::{Outcome, about, error, fatal, say, status};
use super::settings::Settings;
use super::support::output::complain;

/// OpenSSH's numbers of errors, as exit statuses.
const KEY_NOT_FOUND: u8 = 46_u8.wrapping_neg();
const INVALID_ARGUMENT: u8 = 10_u8.wrapping_neg();
const SYSTEM_ERROR: u8 = 24_u8.wrapping_neg();

/// What `-O` says.
struct Details {
    hash: SignatureHash,
    time: SystemTime,
    print_key: bool,
}

/// Reads the options; only those that are named here may be given.
fn details(settings: &Settings, allowed: &[&str]) -> Outcome<Details> {
    let mut this = Details { hash: SignatureHash::Sha512, time: SystemTime::now(), print_key: false };
    for option in settings.given.all('O') {
        let lower = option.to_ascii_lowercase();
        let (name, value) = lower.split_once('=').unwrap_or((&lower, ""));
        match name {
            _ if !allowed.contains(&name) => return Err(fatal(format!("Invalid option \"{option}\""))),
            "hashalg" => {
                this.hash = SignatureHash::by_name(&option[name.len() + 1..])
                    .ok_or_else(|| fatal(format!("Unsupported hash algorithm \"{value}\"")))?;
            }
            "verify-time" => {
                let time = parse_time(value).filter(|time| *time > SystemTime::UNIX_EPOCH);
                this.time = time.ok_or_else(|| fatal("Invalid \"verify-time\" option"))?;
            }
            _ => this.print_key = true,
        }
    }
    Ok(this)
}

/// What `-Y` needs besides.
fn needed<'a>(settings: &'a Settings, operation: &str, letter: char, what: &str) -> Outcome<&'a str> {
    let value = settings.given.last(letter).filter(|value| letter != 'n' || !value.is_empty());
    value.ok_or_else(|| error(format!("Too few arguments for {operation}: missing {what}")))
}

/// Does what `-Y` says.
pub(crate) fn operate(settings: &Settings, operation: &str) -> Outcome {
    let is = |name: &str| operation.starts_with(name);
    let need = |letter, what| needed(settings, operation, letter, what);
    if is("find-principals") {
        find_principals(settings, need('s', "signature file")?, need('f', "allowed keys file")?)
    } else if is("match-principals") {
        match_principals(settings, need('f', "allowed keys file")?, need('I', "principal ID")?)
    } else if is("sign") {
        sign(settings, need('n', "namespace")?, need('f', "key")?)
    } else if is("check-novalidate") {
        verify(settings, need('n', "namespace")?, need('s', "signature file")?, None)
    } else if is("verify") {
        let (namespace, signature) = (need('n', "namespace")?, need('s', "signature file")?);
        let signers = need('f', "allowed keys file")?;
        verify(settings, namespace, signature, Some((need('I', "principal identity")?, signers)))
    } else {
        Err(super::usage(&format!("Unsupported operation for -Y: \"{operation}\"")))
    }
}

/// The key that signs: the agent's if it has it, or else that of the file.
fn signing_key(settings: &Settings, path: &str) -> Outcome<PKey> {
    let (public, _) =
        load_public(path).map_err(|fail| fatal(format!("Couldn't load public key {}", fail.text)))?;
    let must = settings.given.has('U');
    match Agent::from_env().and_then(|agent| agent.keys()) {
        Err(_) if must => return Err(fatal("Couldn't get agent socket")),
        Err(_) => {}
        Ok(keys) => match keys.into_iter().find(|key| *key.public_key() == public) {
            Some(key) => return Ok(key.into()),
            None if must => return Err(fatal("Couldn't find key in agent")),
            None => {}
        },
    }
    let private = path.strip_suffix("-cert.pub").or_else(|| path.strip_suffix(".pub")).unwrap_or(path);
    must_exist(private).map_err(|_| fatal(format!("No private key found for \"{path}\"")))?;
    let key = load_identity(private, settings)?.key;
    if *key.public_key() != public.without_certificate() {
        return Err(fatal(format!("Public key {path} doesn't match private {private}")));
    }
    if public.certificate().is_some() { Ok(key.with_certificate(&public)?) } else { Ok(key) }
}

fn sign(settings: &Settings, namespace: &str, path: &str) -> Outcome {
    let files = &settings.given.operands;
    if files.len() > 1 && files.iter().any(|name| name == "-") {
        return Err(fatal("Cannot sign mix of paths and standard input"));
    }
    let hash = details(settings, &["hashalg"])?.hash;
    let key = signing_key(settings, path)?;
    if files.is_empty() || files[0] == "-" {
        if !settings.quiet {
            complain("Signing data on standard input");
        }
        let signature = SshSignature::sign(&key, namespace, hash, std::io::stdin().lock())?;
        return say(&signature.to_armored());
    }
    for name in files {
        let file = File::open(name).map_err(about(&format!("Cannot open {name} for signing")))?;
        if !settings.quiet {
            complain(format_args!("Signing file {name}"));
        }
        let signature = SshSignature::sign(&key, namespace, hash, file);
        let signature = signature.map_err(about(&format!("Signing {name} failed")))?;
        let out = format!("{name}.sig");
        if confirm_overwrite(&out)? {
            fs::write(&out, signature.to_armored()).map_err(about(&format!("Cannot write to {out}")))?;
            if !settings.quiet {
                complain(format_args!("Write signature to {out}"));
            }
        }
    }
    Ok(())
}

fn read_signature(path: &str) -> Outcome<SshSignature> {
    let text = fs::read(path).map_err(about("Couldn't read signature file"))?;
    SshSignature::from_armored(text).map_err(about(path))
}

/// Checks the signature of standard input; with a principal and a list of signers, also whether that one
/// may sign so.
fn verify(settings: &Settings, namespace: &str, signature: &str, by: Option<(&str, &str)>) -> Outcome {
    let checked = details(settings, &["verify-time", "print-pubkey"]).and_then(|details| {
        let key = check(settings, namespace, signature, by, details.time)?;
        Ok((key, details.print_key))
    });
    let (key, print_key) = match checked {
        Ok(checked) => checked,
        Err(fail) => {
            if !settings.quiet {
                say("Could not verify signature.\n")?;
            }
            return Err(fail);
        }
    };
    if !settings.quiet {
        let signer = by.map_or_else(String::new, |(principal, _)| format!(" for {principal}"));
        let (kind, shown) = (key.short_type(), key.fingerprint_by(settings.hash));
        say(&format!("Good \"{namespace}\" signature{signer} with {kind} key {shown}\n"))?;
    }
    if print_key { say(&format!("{}\n", key.to_line())) } else { Ok(()) }
}

fn check(
    settings: &Settings,
    namespace: &str,
    signature: &str,
    by: Option<(&str, &str)>,
    time: SystemTime,
) -> Outcome<PublicKey> {
    let signature = read_signature(signature)?;
    let key = signature.verify(namespace, std::io::stdin().lock())?.clone();
    let Some((principal, signers)) = by else { return Ok(key) };
    if let Some(path) = settings.given.last('r') {
        let revoked: Option<Revoked> = RevokedKeys::from_file(path)?.check_key(&key);
        if let Some(reason) = revoked {
            return Err(fatal(reason));
        }
    }
    let signers = AllowedSigners::from_file(signers).map_err(about("Unable to open allowed keys file"))?;
    let verdict = signers.check(principal, namespace, &key, time);
    if verdict.is_allowed() { Ok(key) } else { Err(fatal(verdict)) }
}

fn find_principals(settings: &Settings, signature: &str, signers: &str) -> Outcome {
    let found = details(settings, &["verify-time"]).and_then(|details| {
        let (signature, signers) = (read_signature(signature)?, AllowedSigners::from_file(signers)?);
        let found = signers.find_principals(signature.public_key(), None, details.time);
        Ok(found.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>())
    });
    let found = found.inspect_err(|fail| complain(&fail.text)).unwrap_or_default();
    if found.is_empty() {
        return Err(fatal("No principal matched."));
    }
    found.iter().take_while(|name| !name.is_empty()).try_for_each(|name| say(&format!("{name}\n")))
}

fn match_principals(settings: &Settings, signers: &str, principal: &str) -> Outcome {
    if let Some(option) = settings.given.all('O').next() {
        complain(format_args!("Invalid option \"{option}\""));
        return Err(status(INVALID_ARGUMENT));
    }
    let signers = AllowedSigners::from_file(signers).map_err(|error| {
        complain(format_args!("{error}\nNo principal matched."));
        status(SYSTEM_ERROR)
    })?;
    let found = signers.match_principals(principal);
    if found.is_empty() {
        complain("No principal matched.");
        return Err(status(KEY_NOT_FOUND));
    }
    found.iter().try_for_each(|names| say(&format!("{}\n", String::from_utf8_lossy(names))))
}
