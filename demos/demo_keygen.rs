//! Makes a key pair: `demo_keygen FILE [ed25519|ecdsa|rsa] [passphrase]`.

use feramiko::{KeyKind, PKey, Secret};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: demo_keygen FILE [ed25519|ecdsa|rsa] [passphrase]")?;
    let kind = match args.next().as_deref() {
        None | Some("ed25519") => KeyKind::Ed25519,
        Some("ecdsa") => KeyKind::EcdsaP256,
        Some("rsa") => KeyKind::Rsa(3072),
        Some(other) => return Err(format!("no such key type: {other}").into()),
    };
    let passphrase = args.next().map(Secret::from);
    let key = PKey::generate(kind)?.with_comment("made by demo_keygen")?;
    key.write_private_key_file(&path, passphrase.as_ref())?;
    std::fs::write(format!("{path}.pub"), format!("{} {}\n", key.public_key().to_line(), key.comment()))?;
    println!(
        "{path}: {} {} bits {}",
        key.public_key().key_type(),
        key.public_key().bits(),
        key.public_key().fingerprint()
    );
    Ok(())
}
