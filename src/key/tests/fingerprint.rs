//! Fingerprints against what ssh-keygen 9.2 shows of the same key.

use super::*;

const LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHYkCMScBgImnT7HHiFCOj0zuxgtmtrc2qqkMPsexTo9";

const SHA256: &str = "\
+--[ED25519 256]--+
|                 |
|                 |
|        o  .     |
|         B. =    |
|        S =*.. . |
|       o = E=+  +|
|    . + = +o..=o.|
|  o. B X o. oo oo|
| . o+ B.=. oooo..|
+----[SHA256]-----+";
const MD5: &str = "\
+--[ED25519 256]--+
|                 |
|         .       |
|      E . . .    |
|     . . o o .   |
|      o S = o .  |
|       o + + +   |
|        . = o o  |
|         . X   o |
|         .= =.  .|
+------[MD5]------+";

#[test]
fn texts_pictures_and_records() {
    let (key, _) = PublicKey::from_line(LINE).unwrap();
    let sha256 = "SHA256:u0Tppol0vkm/oGLfXRzwGHu23Zexn7oYhbGc8+hn8YA";
    let md5 = "MD5:16:ed:63:ce:17:ed:0f:40:fa:f8:d8:f0:8b:e9:00:1c";
    for (hash, text, picture) in [(FingerprintHash::Sha256, sha256, SHA256), (FingerprintHash::Md5, md5, MD5)]
    {
        assert_eq!((key.fingerprint_by(hash).as_str(), key.randomart(hash).as_str()), (text, picture));
    }
    assert_eq!((key.fingerprint(), key.fingerprint_md5()), (sha256.to_owned(), md5.to_owned()));
    assert_eq!(key.fingerprint_by(FingerprintHash::Sha1), "SHA1:Urs4LcM/3Q/CyjMSOixZa7Ev1kU");
    let records: Vec<_> = key.sshfp_records().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        records,
        [
            "4 1 52bb382dc33fdd0fc2ca33123a2c596bb12fd645",
            "4 2 bb44e9a68974be49bfa062df5d1cf0187bb6dd97b19fba1885b19cf3e867f180"
        ]
    );
    for name in ["sha256", "SHA256", "md5", "Sha512"] {
        assert!(FingerprintHash::by_name(name).is_some_and(|hash| hash.name().eq_ignore_ascii_case(name)));
    }
    assert_eq!(FingerprintHash::by_name("sha3"), None);
}

#[test]
fn every_type_has_a_short_name_and_a_picture_of_one_size() {
    let authority = PKey::generate(KeyKind::Ed25519).unwrap();
    for (kind, name, title) in [
        (KeyKind::Ed25519, "ED25519", "[ED25519-CERT]"),
        (KeyKind::EcdsaP384, "ECDSA", "[ECDSA-CERT 384]"),
        (KeyKind::Rsa(2048), "RSA", "[RSA-CERT 2048]"),
        (KeyKind::Ed448, "ED448", "[ED448-CERT 448]"),
        (KeyKind::Dss, "DSA", "[DSA-CERT 1024]"),
    ] {
        let key = PKey::generate(kind).unwrap().public_key().clone();
        let certificate = CertificateBuilder::host(&key).sign(&authority).unwrap();
        assert_eq!((key.short_type(), certificate.short_type()), (name, format!("{name}-CERT").as_str()));
        assert_eq!(certificate.fingerprint(), key.fingerprint());
        let picture = certificate.randomart(FingerprintHash::Sha512);
        assert!(picture.contains(title) && picture.contains("[SHA512]"), "{picture}");
        for picture in [picture, key.randomart(FingerprintHash::Sha1)] {
            assert!(
                picture.lines().all(|line| line.len() == 19) && picture.lines().count() == 11,
                "{picture}"
            );
        }
        assert_eq!(key.sshfp_records().unwrap().len(), 2);
        assert!(matches!(certificate.sshfp_records(), Err(KeyError::Unsupported(_))));
    }
}

#[test]
fn the_public_half_of_an_encrypted_file() {
    let key = PKey::generate(KeyKind::EcdsaP256).unwrap();
    let text = key.to_openssh(Some(&Secret::from("secret"))).unwrap();
    assert_eq!(PublicKey::from_bytes(text.as_bytes()).unwrap().0, *key.public_key());
    for end in 0..text.len() - 1 {
        assert!(PublicKey::from_bytes(&text.as_bytes()[..end]).is_err(), "{end}");
    }
    for at in 0..text.len() {
        let mut flipped = text.as_bytes().to_vec();
        flipped[at] ^= 1;
        // Another key perhaps, for which nobody vouches; never more than an error.
        let _ = PublicKey::from_bytes(&flipped);
    }
    let pem = key.to_format(&KeyFormat::Pem, None).unwrap();
    assert!(PublicKey::from_bytes(pem.expose()).is_err());
}
