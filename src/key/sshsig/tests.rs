//! Signatures made here and verified by ssh-keygen, and back, by every kind of key; broken and foreign
//! ones.

mod signers;

use super::*;
use crate::key::{KeyError, KeyKind, Signer};
use crate::programs::{command, output};

const KINDS: [KeyKind; 5] =
    [KeyKind::Ed25519, KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521, KeyKind::Rsa(2048)];
const HASHES: [SignatureHash; 2] = [SignatureHash::Sha256, SignatureHash::Sha512];

/// A folder, and ssh-keygen in it.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_string_lossy().into_owned()
    }

    fn key(&self, name: &str, key: &PKey) -> String {
        let path = self.0.path().join(name);
        key.write_private_key_file(&path, None).unwrap();
        path.to_string_lossy().into_owned()
    }

    /// Runs ssh-keygen with `input`; none when it is not there. Whether it was content, and what it
    /// said.
    fn keygen(&self, arguments: &[&str], input: &[u8]) -> Option<(bool, String)> {
        let output = output(command("ssh-keygen")?.args(arguments).env("TZ", signers::PLACE), input);
        let text = [output.stdout, output.stderr].concat();
        Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
    }
}

fn signed_here() -> (PKey, SshSignature) {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let signature = SshSignature::sign(&key, "file", SignatureHash::Sha512, &b"message"[..]).unwrap();
    (key, signature)
}

#[test]
fn ssh_keygen_verifies_ours_and_we_verify_its() {
    let bench = Bench::new();
    let message = b"a message\n".repeat(5000);
    for kind in KINDS {
        let key = PKey::generate(kind).unwrap();
        let path = bench.key(&format!("{kind:?}"), &key);
        let signers = format!("me@example.org {}", key.public_key().to_line());
        let signers = bench.write("signers", signers);
        for hash in HASHES {
            let ours = SshSignature::sign(&key, "file", hash, &message[..]).unwrap();
            let text = ours.to_armored();
            let signature = bench.write("ours", &text);
            let verify =
                ["-Y", "verify", "-f", &signers, "-I", "me@example.org", "-n", "file", "-s", &signature];
            let Some((good, shown)) = bench.keygen(&verify, &message) else { return };
            assert!(good && shown.contains("Good \"file\" signature"), "{kind:?} {hash:?}: {shown}");
            let check = ["-Y", "check-novalidate", "-n", "file", "-s", &signature];
            assert!(bench.keygen(&check, &message).unwrap().0);
            assert!(!bench.keygen(&check, b"another").unwrap().0);
            let check = ["-Y", "check-novalidate", "-n", "git", "-s", &signature];
            assert!(!bench.keygen(&check, &message).unwrap().0);

            let option = format!("hashalg={}", hash.name());
            let sign = ["-Y", "sign", "-q", "-f", &path, "-n", "file", "-O", &option];
            let (made, theirs) = bench.keygen(&sign, &message).unwrap();
            assert!(made, "{theirs}");
            let read = SshSignature::from_armored(&theirs).unwrap();
            assert_eq!(read.verify("file", &message[..]), Ok(key.public_key()), "{kind:?} {hash:?}");
            assert_eq!((read.hash(), read.namespace(), read.to_armored()), (hash, &b"file"[..], theirs));
            assert_eq!(read.verify("file", &message[1..]), Err(SshSignatureError::BadSignature));
            let other = SshSignatureError::OtherNamespace { found: "file".to_owned() };
            assert_eq!(read.verify("git", &message[..]), Err(other));
        }
    }
}

#[test]
fn a_revoked_signer_is_refused_by_both_kinds_of_lists() {
    let bench = Bench::new();
    let (key, signature) = signed_here();
    let signature = bench.write("signature", signature.to_armored());
    let signers = bench.write("signers", format!("me {}", key.public_key().to_line()));
    let other = PKey::generate(KeyKind::Ed25519).unwrap();
    for (revoked, good) in [(key.public_key(), false), (other.public_key(), true)] {
        let mut list = crate::RevokedKeys::new();
        list.revoke_key_sha256(revoked).unwrap();
        let plain = format!("# revoked\n\n{} x\n", revoked.to_line()).into_bytes();
        for list in [list.to_bytes().unwrap(), plain] {
            let path = bench.write("revoked", &list);
            let verify =
                ["-Y", "verify", "-f", &signers, "-I", "me", "-n", "file", "-s", &signature, "-r", &path];
            let Some((theirs, shown)) = bench.keygen(&verify, b"message") else { return };
            let ours = crate::RevokedKeys::from_bytes(&list).unwrap();
            assert_eq!((theirs, ours.check_key(key.public_key()).is_none()), (good, good), "{shown}");
        }
    }
}

#[test]
fn rsa_signs_with_sha_2_only() {
    let key = PKey::generate(KeyKind::Rsa(2048)).unwrap();
    let signed = SshSignature::sign(&key, "file", SignatureHash::Sha256, &b"message"[..]).unwrap();
    assert_eq!(signed.algorithm(), Ok("rsa-sha2-512"));
    let other = key.sign("rsa-sha2-256", &data(&signed)).unwrap();
    let other = SshSignature { signature: other, ..signed.clone() };
    let read = SshSignature::from_armored(other.to_armored()).unwrap();
    assert_eq!(read.verify("file", &b"message"[..]), Ok(key.public_key()));

    // A real signature with SHA-1.
    let der = openssl::pkey::PKey::private_key_from_pem(
        &openssl::rsa::Rsa::generate(2048).unwrap().private_key_to_pem().unwrap(),
    )
    .unwrap();
    let rsa = der.rsa().unwrap();
    let mut blob = Vec::new();
    blob.put("ssh-rsa");
    crate::wire::put_mpint(&mut blob, &rsa.e().to_vec());
    crate::wire::put_mpint(&mut blob, &rsa.n().to_vec());
    let mut signer = openssl::sign::Signer::new(openssl::hash::MessageDigest::sha1(), &der).unwrap();
    signer.update(&data(&signed)).unwrap();
    let mut legacy = Vec::new();
    legacy.put("ssh-rsa").put(signer.sign_to_vec().unwrap().as_slice());
    let legacy =
        SshSignature { key: PublicKey::from_blob(&blob).unwrap(), signature: legacy, ..signed.clone() };
    let refused = SshSignatureError::Unsupported("the algorithm ssh-rsa".to_owned());
    assert_eq!(SshSignature::from_armored(legacy.to_armored()), Err(refused.clone()));
    assert_eq!(legacy.verify("file", &b"message"[..]), Err(refused));
}

/// What `signature` signs of `message`.
fn data(signature: &SshSignature) -> Vec<u8> {
    let digest = digest_of(signature.hash, &b"message"[..]).unwrap();
    signed(&signature.namespace, signature.hash, &digest)
}

#[test]
fn signers_elsewhere_sign_and_are_not_believed() {
    struct Elsewhere(PKey, bool);
    impl Signer for Elsewhere {
        fn public_key(&self) -> &PublicKey {
            self.0.public_key()
        }

        fn sign(&self, algorithm: &str, data: &[u8]) -> std::result::Result<Vec<u8>, KeyError> {
            let signature = self.0.sign(algorithm, data)?;
            if self.1 {
                return Ok(signature);
            }
            let mut blob = Vec::new();
            blob.put("ssh-rsa").put("raw");
            Ok(blob)
        }
    }
    let key = PKey::generate(KeyKind::Rsa(2048)).unwrap();
    let sign = |honest| {
        let key = PKey::from_signer(Elsewhere(key.clone(), honest));
        SshSignature::sign(&key, "file", SignatureHash::Sha512, &b"message"[..])
    };
    assert_eq!(sign(true).unwrap().verify("file", &b"message"[..]), Ok(key.public_key()));
    assert!(matches!(sign(false), Err(SshSignatureError::Unsupported(_))));
}

#[test]
fn namespaces_are_named() {
    let (key, signature) = signed_here();
    let sign = |namespace: &str| SshSignature::sign(&key, namespace, SignatureHash::Sha512, &b"message"[..]);
    assert_eq!(sign(""), Err(SshSignatureError::NoNamespace));
    assert!(matches!(sign("a\0b"), Err(SshSignatureError::Malformed(_))));
    assert_eq!(signature.verify("", &b"message"[..]), Err(SshSignatureError::NoNamespace));
    let none = SshSignature { namespace: Vec::new(), ..signature };
    assert_eq!(SshSignature::from_armored(none.to_armored()), Err(SshSignatureError::NoNamespace));
}

#[test]
fn what_cannot_be_read_is_not_signed() {
    struct Broken(u8);
    impl Read for Broken {
        fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
            self.0 -= 1;
            match self.0 {
                2 => Err(io::ErrorKind::Interrupted.into()),
                0 => Err(io::Error::other("the disk is gone")),
                _ => {
                    piece[0] = b'x';
                    Ok(1)
                }
            }
        }
    }
    let (key, signature) = signed_here();
    let gone = SshSignatureError::Io {
        what: "the message".to_owned(),
        kind: io::ErrorKind::Other,
        text: "the disk is gone".to_owned(),
    };
    assert_eq!(SshSignature::sign(&key, "file", SignatureHash::Sha512, Broken(4)), Err(gone.clone()));
    assert_eq!(signature.verify("file", Broken(4)), Err(gone));
    let interrupted = Broken(4).chain(&b""[..]).take(2);
    let signed = SshSignature::sign(&key, "file", SignatureHash::Sha256, interrupted).unwrap();
    assert_eq!(signed.verify("file", &b"xx"[..]), Ok(key.public_key()));
}

#[test]
fn broken_signatures_are_refused() {
    let (_, signature) = signed_here();
    let text = signature.to_armored();
    for length in 0..text.len() {
        // Only the last line's end may be missing.
        let read = SshSignature::from_armored(&text[..length]);
        assert_eq!(read.is_ok(), length == text.len() - 1, "{length}");
    }
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut flipped = text.clone().into_bytes();
            flipped[at] ^= 1 << bit;
            if let Ok(read) = SshSignature::from_armored(&flipped) {
                // Line breaks may become other blanks.
                let same = read == signature;
                assert!(same || read.verify("file", &b"message"[..]).is_err(), "{at} {bit}");
            }
        }
    }
    let blob = signature.to_blob();
    for length in 0..blob.len() {
        assert!(SshSignature::from_blob(&blob[..length]).is_err(), "{length}");
    }
    assert!(SshSignature::from_blob(&[&blob[..], &[0]].concat()).is_err());
    for version in [0, 2] {
        let mut other = blob.clone();
        other[9] = version;
        assert!(matches!(SshSignature::from_blob(&other), Err(SshSignatureError::Unsupported(_))));
    }
    let sha1 = blob.windows(6).position(|window| window == b"sha512").unwrap();
    let mut other = blob.clone();
    other[sha1..sha1 + 6].copy_from_slice(b"sha384");
    assert!(matches!(SshSignature::from_blob(&other), Err(SshSignatureError::Unsupported(_))));
}

#[test]
fn the_armor_is_read_as_ssh_keygen_reads_it() {
    let (key, signature) = signed_here();
    let text = signature.to_armored();
    assert!(text.lines().all(|line| line.len() <= COLUMNS) && text.lines().nth(1).unwrap().len() == COLUMNS);
    let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let bench = Bench::new();
    // What ssh-keygen makes of it, if it is there.
    let judged = |armor: &str| {
        let path = bench.write("signature", armor);
        let check = ["-Y", "check-novalidate", "-n", "file", "-s", &path];
        bench.keygen(&check, b"message").map(|(good, _)| good)
    };
    for fine in [
        format!("{BEGIN}\n{base64}\n{END}"),
        format!("{text}\n\r\n \t"),
        format!("{text}{text}"),
        format!("{text}more"),
        format!("{}\0", text.trim_end()),
        format!("{BEGIN}\n\n{base64}\n\n{END}"),
        format!("{BEGIN}\n \t{} \r\n\u{b}{}\t \n{END} \n", &base64[..30], &base64[30..]),
    ] {
        let read = SshSignature::from_armored(&fine).unwrap();
        assert_eq!(read.verify("file", &b"message"[..]), Ok(key.public_key()), "{fine}");
        assert!(judged(&fine).is_none_or(|good| good), "{fine}");
    }
    // Not by every version of ssh-keygen.
    assert_eq!(SshSignature::from_armored(text.replace('\n', "\r\n")).as_ref(), Ok(&signature));
    for bad in [
        format!(" {text}"),
        format!("\n{text}"),
        format!("{BEGIN} \n{base64}\n{END}"),
        format!("{BEGIN}\r{base64}\n{END}"),
        format!("{BEGIN}\n{base64}{END}"),
        format!("{BEGIN}\n{base64}\n {END}"),
        format!("{BEGIN}\n{}\0{}\n{END}", &base64[..30], &base64[30..]),
        format!("{BEGIN}{base64}\n{END}"),
        format!("{BEGIN}\n{END}\n"),
        text.replace("SIGNATURE", "MESSAGE"),
        text.replacen(END, BEGIN, 1),
    ] {
        let error = SshSignature::from_armored(&bad).unwrap_err();
        assert!(matches!(error, SshSignatureError::Malformed(_)), "{bad}{error:?}");
        assert!(judged(&bad).is_none_or(|good| !good), "{bad}");
    }
    assert!(SshSignature::from_armored(b"\xff").is_err());
}

/// Whatever is reserved is not signed, and to be ignored.
#[test]
fn a_reserved_field_is_ignored() {
    let (key, signature) = signed_here();
    let mut blob = Vec::new();
    blob.put(MAGIC).put(&VERSION).put(key.public_key().blob()).put("file").put("reserved");
    blob.put("sha512").put(signature.signature.as_slice());
    assert_eq!(SshSignature::from_blob(&blob), Ok(signature));
}
