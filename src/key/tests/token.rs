//! Signatures of security tokens, made here as a token makes them, and judged by ssh-keygen too.

use base64ct::{Base64, Base64UrlUnpadded, Encoding};

use super::*;
use crate::crypto::hash::HashAlg;
use crate::wire::{Writer, string_of};

const APPLICATION: &[u8] = b"ssh:";

/// A token: a key of ours that signs as one.
struct Token {
    key: PKey,
    public: PublicKey,
}

fn sha256(data: &[u8]) -> Vec<u8> {
    HashAlg::Sha256.digest(&[data]).unwrap().to_vec()
}

impl Token {
    fn new(kind: KeyKind, name: &str) -> Self {
        let key = PKey::generate(kind).unwrap();
        let blob = key.public_key().blob();
        let own = string_of(key.public_key().key_type().as_bytes()).len();
        let mut public = Vec::new();
        public.put(name).extend_from_slice(&blob[own..]);
        public.put(APPLICATION);
        Self { key, public: PublicKey::from_blob(&public).unwrap() }
    }

    /// The signature over `signed`, without its label.
    fn raw(&self, signed: &[u8]) -> Vec<u8> {
        let algorithm = self.key.public_key().algorithms()[0];
        let blob = self.key.sign(algorithm, signed).unwrap();
        blob[string_of(algorithm.as_bytes()).len()..].to_vec()
    }

    fn sign(&self, data: &[u8], flags: u8) -> Vec<u8> {
        let mut signed = sha256(APPLICATION);
        signed.put(&flags).put(&7_u32).extend_from_slice(&sha256(data));
        let mut blob = string_of(self.public.key_type().as_bytes());
        blob.extend_from_slice(&self.raw(&signed));
        blob.put(&flags).put(&7_u32);
        blob
    }

    /// As a browser has it sign.
    fn sign_webauthn(&self, data: &[u8], origin: &str, flags: u8, client_data: &str) -> Vec<u8> {
        let mut signed = sha256(APPLICATION);
        signed.put(&flags).put(&7_u32).extend_from_slice(&sha256(client_data.as_bytes()));
        let mut blob = string_of(b"webauthn-sk-ecdsa-sha2-nistp256@openssh.com");
        blob.extend_from_slice(&self.raw(&signed));
        blob.put(&flags).put(&7_u32).put(origin).put(client_data).put("");
        assert!(!data.is_empty());
        blob
    }
}

fn tokens() -> [Token; 2] {
    [
        Token::new(KeyKind::Ed25519, "sk-ssh-ed25519@openssh.com"),
        Token::new(KeyKind::EcdsaP256, "sk-ecdsa-sha2-nistp256@openssh.com"),
    ]
}

#[test]
fn a_touch_is_asked_for_and_told() {
    for token in tokens() {
        let algorithm = token.public.key_type();
        for (flags, touched, verified) in
            [(0, false, false), (1, true, false), (5, true, true), (4, false, true)]
        {
            let signature = token.sign(b"data", flags);
            let used = token.public.verify_use(algorithm, b"data", &signature).unwrap().unwrap();
            assert_eq!((used.touched, used.verified, used.counter), (touched, verified, 7));
            assert_eq!(token.public.verify(algorithm, b"data", &signature).is_ok(), touched);
            assert!(token.public.verify(algorithm, b"other", &signature).is_err());
            for at in 0..signature.len() {
                let mut flipped = signature.clone();
                flipped[at] ^= 1;
                assert!(token.public.verify_use(algorithm, b"data", &flipped).is_err(), "byte {at}");
                assert!(token.public.verify_use(algorithm, b"data", &signature[..at]).is_err());
            }
        }
    }
}

#[test]
fn a_browsers_signature() {
    let token = Token::new(KeyKind::EcdsaP256, "sk-ecdsa-sha2-nistp256@openssh.com");
    let algorithm = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com";
    let challenge = Base64UrlUnpadded::encode_string(b"data");
    let origin = "https://example.org";
    let json = format!(
        "{{\"type\":\"webauthn.get\",\"challenge\":\"{challenge}\",\"origin\":\"{origin}\",\"crossOrigin\":false}}"
    );
    let good = token.sign_webauthn(b"data", origin, 1, &json);
    token.public.verify(algorithm, b"data", &good).unwrap();
    assert!(token.public.verify(algorithm, b"other", &good).is_err());
    assert!(token.public.verify(token.public.key_type(), b"data", &good).is_err(), "another algorithm");
    let refused = [
        token.sign_webauthn(b"data", "https://example.com", 1, &json),
        token.sign_webauthn(b"data", origin, 1, &json.replace("get", "create")),
        token.sign_webauthn(b"data", origin, 0x41, &json),
        token.sign_webauthn(b"data", origin, 0x81, &json),
        token.sign_webauthn(b"data", "https://example.org\"", 1, &json),
    ];
    for (at, signature) in refused.iter().enumerate() {
        assert!(token.public.verify_use(algorithm, b"data", signature).is_err(), "case {at}");
    }
}

/// What ssh-keygen makes of a signature that we take for good, and of one over other data.
#[test]
fn ssh_keygen_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    for token in tokens() {
        let mut signed = b"SSHSIG".to_vec();
        let hash = HashAlg::Sha512.digest(&[b"the message"]).unwrap();
        signed.put("file").put("").put("sha512").put(&*hash);
        for (data, good) in [(&signed[..], true), (b"something else", false)] {
            let mut blob = b"SSHSIG".to_vec();
            blob.put(&1_u32).put(token.public.blob()).put("file").put("").put("sha512");
            blob.put(token.sign(data, 1).as_slice());
            let body = Base64::encode_string(&blob);
            let lines: Vec<_> =
                body.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
            let armored =
                format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"));
            std::fs::write(file("sig"), armored).unwrap();
            std::fs::write(file("signers"), format!("robey {}\n", token.public.to_line())).unwrap();
            let Some(mut keygen) = command("ssh-keygen") else { return };
            keygen
                .args(["-Y", "verify", "-n", "file", "-I", "robey", "-f"])
                .arg(file("signers"))
                .arg("-s")
                .arg(file("sig"));
            let output = output(&mut keygen, "the message");
            assert_eq!(output.status.success(), good, "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn no_format_loses_what_a_tokens_key_is_for() {
    for token in tokens() {
        for format in [PublicFormat::Pem, PublicFormat::Pkcs8] {
            assert!(
                matches!(token.public.to_format(format, ""), Err(KeyError::Unsupported(_))),
                "{format:?}"
            );
            assert!(matches!(token.public.to_der(format), Err(KeyError::Unsupported(_))), "{format:?}");
        }
        for format in [PublicFormat::Line, PublicFormat::Rfc4716] {
            let text = token.public.to_format(format, "").unwrap();
            let (read, _) = PublicKey::from_bytes(text.as_bytes()).unwrap();
            assert_eq!((&read, read.application()), (&token.public, APPLICATION), "{format:?}");
        }
    }
}

#[test]
fn a_tokens_key_file_says_what_to_do() {
    let token = &tokens()[0];
    assert!(token.key.public_key().application().is_empty());
    assert_eq!(token.public.application(), APPLICATION);
    let endless = {
        let mut blob = string_of(b"sk-ssh-ed25519@openssh.com");
        blob.put(&[1_u8; 32][..]).put(&[b'x'; 2000][..]);
        blob
    };
    assert!(PublicKey::from_blob(&endless).is_err());
}
