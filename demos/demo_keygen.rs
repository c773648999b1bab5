//! Makes a key pair: `demo_keygen FILE [ed25519|ecdsa|rsa] [passphrase]`.

mod support;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use feramiko::{KeyKind, PKey, Secret};
use support::given::operands;
use support::home::beside;
use support::output::{end, say};

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = operands()?.into_iter();
    let path = args.next().ok_or("usage: demo_keygen FILE [ed25519|ecdsa|rsa] [passphrase]")?;
    let kind = match args.next().as_deref() {
        None | Some("ed25519") => KeyKind::Ed25519,
        Some("ecdsa") => KeyKind::EcdsaP256,
        Some("rsa") => KeyKind::Rsa(3072),
        Some(other) => return Err(format!("no such key type: {other}").into()),
    };
    let passphrase = args.next().map(Secret::from);
    if Path::new(&path).symlink_metadata().is_ok() {
        return Err(format!("{path} is there already").into());
    }
    let public = beside(path.as_ref(), ".pub");
    let mut out = File::create_new(&public).map_err(|error| format!("{}: {error}", public.display()))?;
    let key = PKey::generate(kind)?.with_comment("made by demo_keygen")?;
    key.write_private_key_file(&path, passphrase.as_ref())?;
    writeln!(out, "{} {}", key.public_key().to_line(), key.comment())?;
    let key = key.public_key();
    Ok(say(format_args!("{path}: {} {} bits {}", key.key_type(), key.bits(), key.fingerprint()))?)
}

fn main() -> ExitCode {
    end("demo_keygen", run())
}
