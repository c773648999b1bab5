//! A security token, played: it signs as one does, and says how its user was present.

use base64ct::{Base64UrlUnpadded, Encoding};
use feramiko::{KeyError, KeyKind, PKey, PublicKey, Signer};
use openssl::sha::sha256;

/// What the key is bound to; as a browser's page, AsyncSSH wants the same.
const APPLICATION: &[u8] = b"ssh:";
const WEBAUTHN: &str = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com";

/// Somebody touched it.
pub(crate) const TOUCHED: u8 = 1;
/// It knew who.
pub(crate) const VERIFIED: u8 = 4;

pub(crate) struct Token {
    key: PKey,
    public: PublicKey,
    flags: u8,
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

impl Token {
    /// A token with that key, which is of a type that tokens have.
    pub(crate) fn new(key: &PKey, flags: u8) -> Self {
        let blob = key.public_key().blob();
        let (name, own) = match key.public_key().key_type() {
            "ssh-ed25519" => ("sk-ssh-ed25519@openssh.com", 4 + "ssh-ed25519".len()),
            "ecdsa-sha2-nistp256" => ("sk-ecdsa-sha2-nistp256@openssh.com", 4 + "ecdsa-sha2-nistp256".len()),
            other => panic!("no token has {other}"),
        };
        let public = [&string(name.as_bytes()), &blob[own..], &string(APPLICATION)].concat();
        Self { key: key.clone(), public: PublicKey::from_blob(&public).unwrap(), flags }
    }

    pub(crate) fn generate(kind: KeyKind, flags: u8) -> PKey {
        PKey::from_signer(Self::new(&PKey::generate(kind).unwrap(), flags))
    }
}

impl Signer for Token {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, KeyError> {
        // What a browser has a token sign instead of the data.
        let client = format!(
            "{{\"type\":\"webauthn.get\",\"challenge\":\"{}\",\"origin\":\"ssh:\"}}",
            Base64UrlUnpadded::encode_string(data)
        );
        let browser = algorithm == WEBAUTHN;
        let message = if browser { sha256(client.as_bytes()) } else { sha256(data) };
        let presence = [&[self.flags][..], &7_u32.to_be_bytes()].concat();
        let signed = [&sha256(APPLICATION)[..], &presence, &message].concat();
        let own = self.key.public_key().algorithms()[0];
        let raw = self.key.sign(own, &signed)?[4 + own.len()..].to_vec();
        let mut blob = [string(algorithm.as_bytes()), raw, presence].concat();
        if browser {
            blob.extend([string(APPLICATION), string(client.as_bytes()), string(b"")].concat());
        }
        Ok(blob)
    }
}
