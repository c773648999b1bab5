//! Lists made here and by ssh-keygen, judged by both; every section; broken ones.

mod forms;
mod keygen;

use std::time::Instant;

use super::*;
use crate::key::{KeyKind, PKey};
use crate::wire::{Writer, string_of};

/// A list's header, version 1, and these sections.
fn framed(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put(read::MAGIC).put(&1_u32).put(&7_u64).put(&0_u64).put(&0_u64).put("").put("a comment");
    for (kind, body) in sections {
        bytes.put(kind).put(body.as_slice());
    }
    bytes
}

/// A section of certificates with these subsections.
fn of_ca(ca: &[u8], subsections: &[(u8, Vec<u8>)]) -> (u8, Vec<u8>) {
    let mut body = Vec::new();
    body.put(ca).put("");
    for (kind, inner) in subsections {
        body.put(kind).put(inner.as_slice());
    }
    (read::CERTIFICATES, body)
}

fn numbers(all: &[u64]) -> Vec<u8> {
    all.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn bits(offset: u64, number: &[u8]) -> Vec<u8> {
    let mut body = numbers(&[offset]);
    body.put(number);
    body
}

fn extension(name: &str, critical: bool) -> Vec<u8> {
    let mut body = Vec::new();
    body.put(name).put(&critical).put("contents");
    body
}

fn new_key() -> PKey {
    PKey::generate(KeyKind::Ed25519).unwrap()
}

/// A list with something of everything, and the keys in it: a CA, one revoked as it is, one by SHA-1,
/// one by SHA-256.
fn everything() -> (RevokedKeys, [PKey; 4]) {
    let keys = [new_key(), new_key(), new_key(), new_key()];
    let [ca, plain, sha1, sha256] = keys.each_ref().map(PKey::public_key);
    let mut list = RevokedKeys::new();
    list.set_version(9).set_generated(UNIX_EPOCH + Duration::from_secs(1_600_000_000));
    list.set_comment("ein Kommentar: ä").unwrap();
    list.revoke_key(plain).revoke_key_sha1(sha1).unwrap().revoke_key_sha256(sha256).unwrap();
    for issued_by in [IssuedBy::Key(ca), IssuedBy::Anyone] {
        list.revoke_serials(issued_by, 1000..=2000).unwrap();
        list.revoke_serial(issued_by, 5).unwrap().revoke_serial(issued_by, u64::MAX).unwrap();
        for serial in (10_000..10_100).step_by(3) {
            list.revoke_serial(issued_by, serial).unwrap();
        }
        list.revoke_key_id(issued_by, "mallory").unwrap().revoke_key_id(issued_by, b"\xff").unwrap();
    }
    (list, keys)
}

#[test]
fn a_list_comes_back_as_it_was() {
    let (list, keys) = everything();
    let read = RevokedKeys::from_bytes(&list.to_bytes().unwrap()).unwrap();
    assert_eq!(read, list);
    assert_eq!((read.version(), read.comment().as_ref()), (9, "ein Kommentar: ä"));
    assert_eq!(read.generated(), Some(UNIX_EPOCH + Duration::from_secs(1_600_000_000)));
    assert!(!read.is_empty());
    let [ca, plain, sha1, sha256] = keys.each_ref().map(PKey::public_key);
    assert_eq!(
        [ca, plain, sha1, sha256].map(|key| read.check_key(key)),
        [None, Some(Revoked::Key), Some(Revoked::KeyHash), Some(Revoked::KeyHash)]
    );
    assert!(format!("{read:?}").len() < 100);

    let empty = RevokedKeys::from_bytes(&RevokedKeys::new().to_bytes().unwrap()).unwrap();
    assert!(empty.is_empty() && empty == RevokedKeys::new() && empty.generated().is_none());
    let mut list = RevokedKeys::new();
    list.revoke_key_id(IssuedBy::Anyone, "").unwrap();
    assert!(!list.is_empty());
}

#[test]
fn certificates_are_judged_by_ca_serial_and_key_id() {
    let (ca, other, revoked) = (new_key(), new_key(), new_key());
    let [ca, other, revoked] = [&ca, &other, &revoked].map(PKey::public_key);
    let mut list = RevokedKeys::new();
    list.revoke_serials(IssuedBy::Key(ca), 10..=20).unwrap();
    list.revoke_key_id(IssuedBy::Key(ca), "mallory").unwrap();
    list.revoke_serial(IssuedBy::Anyone, 77).unwrap();
    list.revoke_key_id(IssuedBy::Anyone, "eve").unwrap();
    list.revoke_key(revoked);
    let list = RevokedKeys::from_bytes(&list.to_bytes().unwrap()).unwrap();
    for (ca, serial, key_id, expected) in [
        (ca, 9, "me", None),
        (ca, 10, "me", Some(Revoked::Serial)),
        (ca, 20, "me", Some(Revoked::Serial)),
        (ca, 21, "me", None),
        (ca, 0, "me", None),
        (ca, 0, "mallory", Some(Revoked::KeyId)),
        (ca, 0, "mallory\0", Some(Revoked::KeyId)),
        (ca, 0, "a\0b", Some(Revoked::KeyId)),
        (ca, 77, "me", Some(Revoked::Serial)),
        (ca, 1, "eve", Some(Revoked::KeyId)),
        (other, 15, "mallory", None),
        (other, 77, "me", Some(Revoked::Serial)),
        (other, 1, "eve", Some(Revoked::KeyId)),
        (revoked, 1, "me", Some(Revoked::Authority)),
    ] {
        assert_eq!(list.check_certificate(ca, serial, key_id.as_bytes()), expected, "{serial} {key_id:?}");
    }
}

/// Not even by a list that has it, which none that is read or made can.
#[test]
fn serial_0_is_never_revoked() {
    let ca = new_key();
    let mut list = RevokedKeys::new();
    list.certificates.entry(Vec::new()).or_default().serials.insert(0, 9);
    let answers = [0, 1].map(|serial| list.check_certificate(ca.public_key(), serial, b"me"));
    assert_eq!(answers, [None, Some(Revoked::Serial)]);
}

#[test]
fn what_cannot_be_revoked_is_refused() {
    let mut list = RevokedKeys::new();
    let unfit = |result: Result<&mut RevokedKeys, RevokedKeysError>| {
        assert!(matches!(result, Err(RevokedKeysError::Unfit(_))), "{result:?}");
    };
    unfit(list.revoke_serial(IssuedBy::Anyone, 0));
    unfit(list.revoke_serials(IssuedBy::Anyone, 0..=5));
    #[allow(clippy::reversed_empty_ranges, reason = "that is the case")]
    unfit(list.revoke_serials(IssuedBy::Anyone, 5..=4));
    unfit(list.revoke_key_id(IssuedBy::Anyone, "a\0b"));
    unfit(list.set_comment("a\0b"));
    for bad in
        ["", "SHA256:", "SHA256:AAAA", "MD5:00:11", "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"]
    {
        unfit(list.revoke_fingerprint(bad));
    }
    assert!(list.is_empty());
    let key = new_key();
    list.revoke_fingerprint(&key.public_key().fingerprint()).unwrap();
    assert_eq!(list.check_key(key.public_key()), Some(Revoked::KeyHash));
}

#[test]
fn runs_of_serials_are_a_set_of_numbers() {
    let mut state = 1_u64;
    let mut below = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    for _ in 0..200 {
        let (mut serials, mut model) = (Serials::default(), [false; 64]);
        for _ in 0..below(20) {
            let first = below(60);
            let last = (first + below(6)).min(63);
            serials.insert(first, last);
            model[first as usize..=last as usize].fill(true);
        }
        for (serial, revoked) in model.iter().enumerate() {
            assert_eq!(serials.contains(serial as u64), *revoked, "{serial} of {serials:?}");
        }
        let runs: Vec<_> = serials.runs().collect();
        assert!(runs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{runs:?}");
        assert!(runs.iter().all(|(first, last)| first <= last) && runs.len() == serials.len());
    }
    let mut serials = Serials::default();
    serials.insert(u64::MAX, u64::MAX);
    serials.insert(0, 0);
    assert!(!serials.contains(1) && !serials.contains(u64::MAX - 1));
    serials.insert(1, u64::MAX - 1);
    assert_eq!(serials.runs().collect::<Vec<_>>(), [(0, u64::MAX)]);
}

#[test]
fn every_section_is_read() {
    let keys = [new_key(), new_key(), new_key()];
    let [ca, plain, hashed] = keys.each_ref().map(PKey::public_key);
    let mut hashes = string_of(&hash::<20>(HashAlg::Sha1, hashed.blob()).unwrap());
    hashes.extend(string_of(&[7; 20]));
    let mut key_ids = string_of(b"one");
    key_ids.extend(string_of(b"two"));
    let bytes = framed(&[
        of_ca(
            ca.blob(),
            &[
                (read::SERIAL_LIST, numbers(&[3, 1])),
                (read::SERIAL_RANGE, numbers(&[100, 200])),
                (read::SERIAL_BITMAP, bits(1000, &[0, 0x81, 0x01])),
                (read::SERIAL_BITMAP, bits(2000, &[])),
                (read::CERTIFICATE_EXTENSION, extension("x@example.org", false)),
                (read::KEY_ID, key_ids),
            ],
        ),
        of_ca(b"", &[(read::SERIAL_LIST, numbers(&[u64::MAX]))]),
        (read::EXPLICIT_KEY, string_of(plain.blob())),
        (read::FINGERPRINT_SHA1, hashes),
        (read::FINGERPRINT_SHA256, string_of(&[9; 32])),
        (read::EXTENSION, extension("y@example.org", false)),
        (read::EXPLICIT_KEY, Vec::new()),
    ]);
    let list = RevokedKeys::from_bytes(&bytes).unwrap();
    assert_eq!((list.version(), list.comment().as_ref()), (7, "a comment"));
    let runs: Vec<_> = list.certificates[ca.blob()].serials.runs().collect();
    assert_eq!(runs, [(1, 1), (3, 3), (100, 200), (1000, 1000), (1008, 1008), (1015, 1015)]);
    assert_eq!(list.check_certificate(ca, 0, b"two"), Some(Revoked::KeyId));
    assert_eq!(list.check_certificate(plain, u64::MAX, b""), Some(Revoked::Authority));
    assert_eq!(list.check_certificate(hashed, 1, b""), Some(Revoked::Authority));
    assert_eq!(list.check_key(plain), Some(Revoked::Key));
    assert_eq!(list.check_key(hashed), Some(Revoked::KeyHash));
    assert!(list.sha1.contains(&[7; 20]) && list.sha256.contains(&[9; 32]));
}

#[test]
fn what_is_not_understood_refuses_the_list() {
    let ca = new_key();
    let ca = ca.public_key().blob();
    let mut certificate = Vec::new();
    certificate.put("ssh-ed25519-cert-v01@openssh.com").put("rest");
    let mut off_curve = Vec::new();
    off_curve.put("ssh-ed25519").put("short");
    let one = |kind, body: Vec<u8>| framed(&[(kind, body)]);
    let inner = |kind, body: Vec<u8>| framed(&[of_ca(ca, &[(kind, body)])]);
    let mut format = framed(&[]);
    format[11] = 2;
    let mut after_signature = framed(&[(read::SIGNATURE, ca.to_vec())]);
    after_signature.put("signature");
    RevokedKeys::from_bytes(&after_signature).unwrap();
    after_signature.put(&read::EXPLICIT_KEY).put(string_of(ca).as_slice());
    let mut comment = framed(&[]);
    let end = comment.len();
    comment[end - 3] = 0;
    for (at, bytes) in [
        format,
        comment,
        after_signature,
        one(0, Vec::new()),
        one(6, Vec::new()),
        one(read::EXTENSION, extension("x@example.org", true)),
        one(read::EXTENSION, b"short".to_vec()),
        one(read::EXTENSION, [extension("x", false), vec![0]].concat()),
        inner(read::CERTIFICATE_EXTENSION, extension("x@example.org", true)),
        inner(0x24, Vec::new()),
        one(read::EXPLICIT_KEY, string_of(&certificate)),
        one(read::EXPLICIT_KEY, string_of(b"")),
        one(read::FINGERPRINT_SHA1, string_of(&[0; 32])),
        one(read::FINGERPRINT_SHA256, string_of(&[0; 20])),
        framed(&[of_ca(&off_curve, &[])]),
        framed(&[of_ca(&certificate, &[])]),
        framed(&[of_ca(b"nothing", &[])]),
        // Serial 0, as ssh-keygen refuses it too.
        inner(read::SERIAL_LIST, numbers(&[1, 0])),
        inner(read::SERIAL_RANGE, numbers(&[0, 5])),
        inner(read::SERIAL_BITMAP, bits(0, &[1])),
        inner(read::SERIAL_LIST, vec![0; 7]),
        inner(read::SERIAL_RANGE, numbers(&[5, 4])),
        inner(read::SERIAL_RANGE, numbers(&[1, 2, 3])),
        // Beyond the last serial, and below zero.
        inner(read::SERIAL_BITMAP, bits(u64::MAX, &[2])),
        inner(read::SERIAL_BITMAP, bits(1, &[0x80])),
        inner(read::KEY_ID, string_of(b"a\0b")),
    ]
    .into_iter()
    .enumerate()
    {
        let error = RevokedKeys::from_bytes(&bytes).unwrap_err();
        assert!(
            matches!(error, RevokedKeysError::Malformed(_) | RevokedKeysError::Unsupported(_)),
            "{at}: {error:?}"
        );
    }
    // A CA of a type that is not built may stand there.
    let mut other = Vec::new();
    other.put("ssh-other@example.org").put("rest");
    RevokedKeys::from_bytes(&framed(&[of_ca(&other, &[(read::SERIAL_LIST, numbers(&[1]))])])).unwrap();
    let last = inner(read::SERIAL_BITMAP, bits(u64::MAX, &[1]));
    let list = RevokedKeys::from_bytes(&last).unwrap();
    assert_eq!(list.check_issued(ca, u64::MAX, b""), Some(Revoked::Serial));
}

#[test]
fn lists_are_bounded_before_they_take_memory() {
    let alternating = framed(&[of_ca(b"", &[(read::SERIAL_BITMAP, bits(1, &[0x55; 64]))])]);
    assert!(read::list(&alternating, 256).is_ok());
    let too_many = RevokedKeysError::TooMuch { what: "ranges of serials", limit: 255 };
    assert_eq!(read::list(&alternating, 255).unwrap_err(), too_many);
    // What closes gaps gives back what they took.
    let (gaps, whole) = (of_ca(b"", &[(read::SERIAL_LIST, numbers(&[1, 3, 5]))]), numbers(&[1, 6]));
    let filled = [gaps.clone(), of_ca(b"", &[(read::SERIAL_RANGE, whole)]), of_ca(b"", &[])];
    assert!(read::list(&framed(&filled), 3).is_ok() && read::list(&framed(&filled), 2).is_err());

    let bitmap = |length| framed(&[of_ca(b"", &[(read::SERIAL_BITMAP, bits(1, &vec![0; length]))])]);
    assert!(RevokedKeys::from_bytes(&bitmap(read::BITMAP_BYTES + 1)).is_ok());
    assert!(matches!(
        RevokedKeys::from_bytes(&bitmap(read::BITMAP_BYTES + 2)),
        Err(RevokedKeysError::TooMuch { what: "bytes of a bitmap", .. })
    ));
}

#[test]
fn truncated_and_flipped_lists_do_no_harm() {
    let (list, _) = everything();
    let bytes = list.to_bytes().unwrap();
    // A list may end where a section does.
    let mut ends = vec![framed(&[]).len() - "a comment".len() + list.comment().len()];
    let mut reader = crate::wire::Reader::new(&bytes[ends[0]..]);
    while !reader.is_empty() {
        let length = reader.get::<u8>().and_then(|_| reader.string()).unwrap().len();
        ends.push(ends.last().unwrap() + 5 + length);
    }
    assert!(ends.len() > 5 && ends.last() == Some(&bytes.len()));
    for length in 1..bytes.len() {
        assert_eq!(RevokedKeys::from_bytes(&bytes[..length]).is_ok(), ends.contains(&length), "{length}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            if let Ok(read) = RevokedKeys::from_bytes(&flipped) {
                assert!(at >= read::MAGIC.len());
                assert_eq!(RevokedKeys::from_bytes(&read.to_bytes().unwrap()), Ok(read));
            }
        }
    }
}

#[test]
fn large_lists_answer_at_once() {
    let key = new_key();
    let key = key.public_key();
    let asked = |size: u64| {
        let mut list = RevokedKeys::new();
        for at in 1..=size {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            list.sha256.insert(hash);
            list.revoke_serial(IssuedBy::Key(key), at * 1_000_003).unwrap();
        }
        let started = Instant::now();
        for serial in 0..2000 {
            let expected = (serial == 0).then_some(Revoked::Serial);
            assert_eq!(list.check_certificate(key, serial + 1_000_003, b"me"), expected);
        }
        started.elapsed()
    };
    // What looks at each entry takes a thousand times as long.
    let (small, large) = (asked(50), asked(50_000));
    assert!(large < small * 50, "{small:?} and {large:?}");
}

#[test]
fn large_lists_are_written_at_once() {
    let written = |length: usize| {
        let mut list = RevokedKeys::new();
        let bytes = framed(&[of_ca(b"", &[(read::SERIAL_BITMAP, bits(1, &vec![0x55; length]))])]);
        list.certificates = RevokedKeys::from_bytes(&bytes).unwrap().certificates;
        let started = Instant::now();
        let written = list.to_bytes().unwrap();
        let time = started.elapsed();
        assert!(written.len() < bytes.len() + bytes.len() / 50);
        assert_eq!(RevokedKeys::from_bytes(&written), Ok(list));
        time
    };
    // The least of several: other tests run beside this one.
    let least = |length| (0..10).map(|_| written(length)).min().unwrap();
    // What goes over the list again for each entry takes 256 times as long, not 16 times.
    let (small, large) = (least(4 * 1024), least(64 * 1024));
    assert!(large < small * 100, "{small:?} and {large:?}");
}

#[test]
fn files_are_replaced_bounded_and_regular() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revoked");
    let (list, _) = everything();
    for list in [&RevokedKeys::new(), &list] {
        list.write_file(&path).unwrap();
        assert_eq!(&RevokedKeys::from_file(&path).unwrap(), list);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert!(mode & 0o600 == 0o600 && mode & 0o133 == 0, "{mode:o}");
        assert!(RevokedKeys::from_file("/dev/zero").is_err());
    }
    assert!(RevokedKeys::from_file(folder.path()).is_err());
    std::fs::File::options().write(true).open(&path).unwrap().set_len(FILE_BYTES + 1).unwrap();
    let error = RevokedKeys::from_file(&path).unwrap_err();
    assert!(matches!(error, RevokedKeysError::Io { kind: std::io::ErrorKind::FileTooLarge, .. }), "{error}");
    std::fs::write(&path, "ssh-ed25519 non=sense\n").unwrap();
    let error = RevokedKeys::from_file(&path).unwrap_err().to_string();
    assert!(error.contains("revoked: line 1: bad base64"), "{error}");

    let mut list = RevokedKeys::new();
    for at in 0..2048_u32 {
        let mut id = vec![b'x'; 8192];
        id[..4].copy_from_slice(format!("{at:04}").as_bytes());
        list.revoke_key_id(IssuedBy::Anyone, id).unwrap();
    }
    assert!(matches!(list.to_bytes(), Err(RevokedKeysError::TooMuch { limit: FILE_BYTES, .. })));
}

#[test]
fn a_list_is_shown_to_people() {
    let (mut list, keys) = everything();
    list.set_comment("two\nlines").unwrap();
    list.revoke_key_id(IssuedBy::Anyone, "an\nid").unwrap();
    let text = list.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "# KRL version 9");
    assert!(lines[1].starts_with("# Generated at 202009"), "{text}");
    assert_eq!(lines[2], "# Comment: two\\nlines");
    for line in [
        format!("hash: {} # ssh-ed25519", keys[1].public_key().fingerprint()),
        format!("# CA key ssh-ed25519 {}", keys[0].public_key().fingerprint()),
        "# Wildcard CA".to_owned(),
        "serial: 1000-2000".to_owned(),
        "id: an\\nid".to_owned(),
    ] {
        assert!(lines.contains(&line.as_str()), "{line}: {text}");
    }
    assert_eq!(text.matches("hash: SHA256:").count(), 2);
    assert_eq!(text.matches("# hash SHA1:").count(), 1);
    // Nobody has a place in the order of the authorities but by coming first.
    assert_eq!(RevokedKeys::from_bytes(&list.to_bytes().unwrap()).unwrap().to_string(), text);
}
