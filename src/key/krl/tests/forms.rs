//! The forms in text: plain lists and specifications, good and bad lines.

use super::*;

/// A key of a type that is not built.
const OTHER: &str = "ssh-other@example.org AAAAFXNzaC1vdGhlckBleGFtcGxlLm9yZwAAAAF4";

fn line_of(error: &RevokedKeysError) -> usize {
    match error {
        RevokedKeysError::Line { number, .. } => *number,
        error => panic!("{error:?}"),
    }
}

#[test]
fn plain_lists() {
    let (one, two, other) = (new_key(), new_key(), new_key());
    let [one, two, other] = [&one, &two, &other].map(PKey::public_key);
    let text = format!(
        "# revoked\n\n{}\n \t{}\t \tmy comment # more\r\n{OTHER}\n   # the end",
        one.to_line(),
        two.to_line().replace(' ', " \t ")
    );
    let list = RevokedKeys::from_bytes(text.as_bytes()).unwrap();
    let keys = [one, two, other].map(|key| list.check_key(key));
    assert_eq!(keys, [Some(Revoked::Key), Some(Revoked::Key), None]);
    assert!(RevokedKeys::from_bytes(b"").unwrap().is_empty());

    let line = one.to_line();
    for bad in [
        "SSHKRL",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 =",
        &line.replace("ssh-ed25519 ", "ssh-rsa "),
        &line.replace("ssh-ed25519 ", "no-pty ssh-ed25519 "),
        &line[..line.len() - 1],
        "serial: 5",
        "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29t",
        "\u{e9}",
    ] {
        let text = format!("{line}\n\n{bad}\n{line}");
        assert_eq!(line_of(&RevokedKeys::from_bytes(text.as_bytes()).unwrap_err()), 3, "{bad}");
    }
}

#[test]
fn specifications() {
    let keys = [new_key(), new_key(), new_key(), new_key(), new_key(), new_key()];
    let [ca, plain, key, sha1, sha256, hash] = keys.each_ref().map(PKey::public_key);
    let text = format!(
        "# what is revoked\n\nserial: 5 # and why\nSerial:0x10-0X1f\n serial: 010\nSERIAL: 40- 41\t\r\n\
         id: two words\nid:\tx\n{}\nkey: {} comment\nsha1:{}\nsha256: {}\nhash: {}\n",
        plain.to_line(),
        key.to_line(),
        sha1.to_line(),
        sha256.to_line(),
        hash.fingerprint()
    );
    for issued_by in [IssuedBy::Key(ca), IssuedBy::Anyone] {
        let mut list = RevokedKeys::new();
        list.revoke_specified(text.as_bytes(), Some(issued_by)).unwrap();
        let of_one = &list.certificates[&issued_by.blob()];
        assert_eq!(of_one.serials.runs().collect::<Vec<_>>(), [(5, 5), (8, 8), (16, 31), (40, 41)]);
        assert_eq!(of_one.key_ids, [b"two words".to_vec(), b"x".to_vec()].into());
        assert_eq!((list.keys.len(), list.sha1.len(), list.sha256.len()), (2, 1, 2));
        assert_eq!([plain, key].map(|key| list.check_key(key)), [Some(Revoked::Key); 2]);
        assert_eq!([sha1, sha256, hash].map(|key| list.check_key(key)), [Some(Revoked::KeyHash); 3]);
    }
}

#[test]
fn bad_lines_of_a_specification_revoke_nothing() {
    for bad in [
        "serial:",
        "serial: 0",
        "serial: 0x0-5",
        "serial: x",
        "serial: -5",
        "serial: +5",
        "serial: 0x+5",
        "serial: 08",
        "serial: 0x",
        "serial: 5-",
        "serial: 5-5",
        "serial: 6-5",
        "serial: 1 - 5",
        "serial: 1-2-3",
        "serial: 18446744073709551616",
        "serial: 1-0x10000000000000000",
        "id: a\0b",
        "hash: MD5:00",
        "hash:",
        "hash: SHA256:AAAA",
        "key:",
        "key: serial: 5",
        "sha1: AAAA",
        "sha512: AAAA",
        "nonsense",
    ] {
        let text = format!("serial: 7\n{bad}\n");
        let mut list = RevokedKeys::new();
        let error = list.revoke_specified(text.as_bytes(), Some(IssuedBy::Anyone)).unwrap_err();
        assert_eq!(line_of(&error), 2, "{bad}");
        assert!(list.is_empty(), "{bad}");
    }
    for needs_ca in ["serial: 5", "id: me"] {
        let error = RevokedKeys::new().revoke_specified(needs_ca.as_bytes(), None).unwrap_err();
        assert!(error.to_string().contains("needs the CA"), "{error}");
    }
    let mut list = RevokedKeys::new();
    list.revoke_specified(b"serial: 1-0xffffffffffffffff", Some(IssuedBy::Anyone)).unwrap();
    assert!(list.certificates[&[][..]].serials.contains(u64::MAX));
}

/// A certificate that no CA can have signed names nobody whose certificates could be revoked.
#[test]
fn certificates_of_what_is_no_ca_are_refused() {
    let key = new_key();
    let line = |inside: &str, authority: &[u8]| {
        let kind = "ssh-ed25519-cert-v01@openssh.com";
        let mut blob = Vec::new();
        blob.put(kind).put("nonce").put(inside).put(&5_u64).put(&1_u32).put("me").put("");
        blob.put(&0_u64).put(&u64::MAX).put("").put("").put("").put(authority).put("signature");
        format!("{kind} {}", <base64ct::Base64 as base64ct::Encoding>::encode_string(&blob))
    };
    let inside = "01234567890123456789012345678901";
    let revoke = |line: String| RevokedKeys::new().revoke_specified(line.as_bytes(), None).map(|_| ());
    let ca = key.public_key().blob();
    let good = crate::key::CertificateBuilder::user(new_key().public_key()).sign(&key).unwrap().to_line();
    assert_eq!(revoke(good.clone()), Ok(()));
    assert_eq!(revoke(format!("key: {good}")), Ok(()));
    for bad in [
        line(inside, ca),
        line(inside, b""),
        line(inside, &ca[..ca.len() - 1]),
        line(inside, &string_of(b"ssh-ed25519-cert-v01@openssh.com")),
        format!("key: {}", line("short", ca)),
        format!("sha256: {}", line("short", ca)),
    ] {
        assert!(matches!(revoke(bad.clone()), Err(RevokedKeysError::Line { number: 1, .. })), "{bad}");
    }
}
