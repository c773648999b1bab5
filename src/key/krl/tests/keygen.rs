//! ssh-keygen's lists judged here, and ours judged by ssh-keygen, key by key and certificate by
//! certificate.

use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};

use super::*;
use crate::programs::{command, output};

/// Runs ssh-keygen; none when it is not there. What it printed, whether it was content or not.
fn keygen(arguments: &[&str]) -> Option<(bool, String)> {
    let output = output(command("ssh-keygen")?.args(arguments), "");
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

/// A user certificate for `key`, as a line.
fn certificate(ca: &PKey, key: &PKey, serial: u64, key_id: &str) -> String {
    certificate_of(ca, key.public_key().blob(), serial, key_id)
}

/// The same for a key's blob of any type.
fn certificate_of(ca: &PKey, key: &[u8], serial: u64, key_id: &str) -> String {
    let mut plain = crate::wire::Reader::new(key);
    let name = std::str::from_utf8(plain.string().unwrap()).unwrap();
    let kind = format!("{}-cert-v01@openssh.com", name.trim_end_matches("@openssh.com"));
    let mut blob = Vec::new();
    blob.put(kind.as_str()).put("nonce").put_raw(plain.rest()).put(&serial).put(&1_u32).put(key_id);
    blob.put(string_of(b"me").as_slice()).put(&0_u64).put(&u64::MAX).put("").put("").put("");
    blob.put(ca.public_key().blob());
    let signature = ca.sign(ca.public_key().algorithms()[0], &blob).unwrap();
    blob.put(signature.as_slice());
    format!("{kind} {}", Base64::encode_string(&blob))
}

/// What is judged: keys and certificates as files.
struct Cases {
    folder: tempfile::TempDir,
    files: Vec<(String, String)>,
}

impl Cases {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), files: Vec::new() }
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        path.to_string_lossy().into_owned()
    }

    /// Keeps a line as a file.
    fn add(&mut self, name: &str, line: String) -> String {
        let path = self.path(name);
        std::fs::write(&path, format!("{line}\n")).unwrap();
        self.files.push((path.clone(), line));
        path
    }

    /// Whether ssh-keygen and we say the same of each case by this list; how many are revoked.
    fn judge(&self, list: &str) -> usize {
        let ours = RevokedKeys::from_file(list).unwrap();
        let mut arguments = vec!["-Q", "-f", list];
        arguments.extend(self.files.iter().map(|(path, _)| path.as_str()));
        let (_, shown) = keygen(&arguments).unwrap();
        let mut revoked = 0;
        for (path, line) in &self.files {
            let answer = shown.lines().find_map(|shown| shown.strip_prefix(path.as_str()));
            let theirs = match answer {
                Some(answer) if answer.ends_with(": REVOKED") => true,
                Some(answer) if answer.ends_with(": ok") => false,
                _ => panic!("{path}: {shown}"),
            };
            assert_eq!(judged_here(&ours, line), theirs, "{path} by {list}");
            revoked += usize::from(theirs);
        }
        revoked
    }
}

fn judged_here(list: &RevokedKeys, line: &str) -> bool {
    let blob = crate::key::line::key_blob(line.as_bytes()).unwrap();
    list.check_key(&PublicKey::from_blob(&blob).unwrap()).is_some()
}

const KINDS: [KeyKind; 5] =
    [KeyKind::Ed25519, KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521, KeyKind::Rsa(2048)];

#[test]
fn both_judge_keys_and_certificates_alike() {
    if keygen(&["-?"]).is_none() {
        return;
    }
    let mut cases = Cases::new();
    let (ca, other) = (new_key(), PKey::generate(KeyKind::EcdsaP256).unwrap());
    let ca_path = cases.add("ca", ca.public_key().to_line());
    cases.add("other", other.public_key().to_line());
    let keys: Vec<_> = KINDS.iter().map(|kind| PKey::generate(*kind).unwrap()).collect();
    for (at, key) in keys.iter().enumerate() {
        cases.add(&format!("key{at}"), key.public_key().to_line());
        cases.add(&format!("key{at}-cert"), certificate(&ca, key, 500 + at as u64, "of a key"));
    }
    let key = new_key();
    for (serial, id) in [(0, "zero"), (1, "me"), (5, "me"), (6, "me"), (7, "mallory"), (40, "two words")] {
        cases.add(&format!("ca-{serial}-{id}"), certificate(&ca, &key, serial, id));
        cases.add(&format!("other-{serial}-{id}"), certificate(&other, &key, serial, id));
    }
    for serial in [99, 100, 150, 200, 201, 1001, 1002, 1003, 1060, u64::MAX] {
        cases.add(&format!("ca-{serial}"), certificate(&ca, &key, serial, "me"));
    }
    let serials: String = (1001..1100).step_by(2).map(|serial| format!("serial: {serial}\n")).collect();
    let line = |at: usize| keys[at].public_key().to_line();
    let common = format!(
        "{serials}serial: 5\nserial: 0x7\nserial: 100-200\nserial: 0xffffffffffffffff\nid: two words\nid: zero\n"
    );
    for (at, (specification, revoked)) in [
        (common.clone(), 8 + 2),
        (format!("{common}key: {}\nsha1: {}\nsha256: {}\n", line(0), line(1), line(4)), 10 + 6),
        (format!("{}\nhash: {}\n", line(2), keys[3].public_key().fingerprint()), 4),
        (format!("{}\n{}\n", certificate(&ca, &key, 6, "x"), certificate(&ca, &key, 0, "me")), 13),
        (format!("key: {}\n", certificate(&ca, &keys[0], 1, "x")), 2),
        (format!("{}\n", ca.public_key().to_line()), 22),
        (String::new(), 0),
    ]
    .into_iter()
    .enumerate()
    {
        for authority in [ca_path.as_str(), "none"] {
            let issued_by =
                if authority == "none" { IssuedBy::Anyone } else { IssuedBy::Key(ca.public_key()) };
            let (text, theirs, ours) = (
                cases.path(&format!("specification{at}")),
                cases.path(&format!("theirs{at}")),
                cases.path(&format!("ours{at}")),
            );
            std::fs::write(&text, &specification).unwrap();
            let arguments = ["-k", "-q", "-f", &theirs, "-s", authority, "-z", "3", "-C", "words", &text];
            let (made, shown) = keygen(&arguments).unwrap();
            assert!(made, "{shown}");
            let mut list = RevokedKeys::new();
            list.set_version(3).set_comment("words").unwrap();
            list.revoke_specified(specification.as_bytes(), Some(issued_by)).unwrap();
            list.write_file(&ours).unwrap();
            let read = RevokedKeys::from_file(&theirs).unwrap();
            assert!(read.generated().is_some());
            // But for the time, it is the same list.
            list.generated = read.generated;
            assert_eq!(read, list, "{at} {authority}");
            let judged = (cases.judge(&theirs), cases.judge(&ours));
            assert_eq!(judged.0, judged.1);
            if authority != "none" {
                assert_eq!(judged.0, revoked, "{at}");
            }
        }
    }
}

#[test]
fn lists_are_about_as_short_as_those_of_ssh_keygen() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let ca = new_key();
    std::fs::write(path("ca"), ca.public_key().to_line()).unwrap();
    let mut state = 5_u64;
    let mut below = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut scattered = |count: usize, step: u64, longest: u64| -> Vec<(u64, u64)> {
        let mut next = 1;
        let run = |_| {
            let first = next + below(step);
            let last = first + below(longest);
            next = last + 2;
            (first, last)
        };
        (0..count).map(run).collect()
    };
    for (name, runs) in [
        ("one", vec![(7, 7)]),
        ("two apart", vec![(7, 7), (1 << 40, 1 << 40)]),
        ("all", vec![(1, u64::MAX)]),
        ("every second", (1..4000).step_by(2).map(|serial| (serial, serial)).collect()),
        ("dense", scattered(2000, 10, 5)),
        ("sparse", scattered(500, 100_000, 1)),
        ("ranges", scattered(200, 100_000, 10_000)),
        ("mixed", scattered(500, 100, 400)),
        ("far and short", scattered(300, 200, 20)),
    ] {
        let text: String = runs
            .iter()
            .map(|(first, last)| {
                if first == last { format!("serial: {first}\n") } else { format!("serial: {first}-{last}\n") }
            })
            .collect();
        std::fs::write(path("specification"), &text).unwrap();
        let (theirs, authority, from) = (path("theirs"), path("ca"), path("specification"));
        let Some((made, shown)) = keygen(&["-k", "-q", "-f", &theirs, "-s", &authority, &from]) else {
            return;
        };
        assert!(made, "{shown}");
        let mut list = RevokedKeys::new();
        list.revoke_specified(text.as_bytes(), Some(IssuedBy::Key(ca.public_key()))).unwrap();
        let ours = list.to_bytes().unwrap();
        let theirs = std::fs::read(theirs).unwrap();
        println!("{name}: {} bytes, ssh-keygen {}", ours.len(), theirs.len());
        assert!(ours.len() <= theirs.len() * 11 / 10, "{name}: {} bytes", ours.len());
        let certificates = |bytes: &[u8]| RevokedKeys::from_bytes(bytes).unwrap().certificates;
        assert!(certificates(&ours) == certificates(&theirs), "{name}");
        assert!(certificates(&ours) == list.certificates, "{name}");
        // ssh-keygen takes ours, whatever shape it has.
        list.write_file(path("ours")).unwrap();
        let (fine, shown) = keygen(&["-Q", "-f", &path("ours"), &authority]).unwrap();
        assert!(fine, "{name}: {shown}");
    }
}

#[test]
fn a_signed_list_is_read_by_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (signer, revoked) = (new_key(), new_key());
    let mut list = RevokedKeys::new();
    list.revoke_key(revoked.public_key());
    let mut bytes = list.to_bytes().unwrap();
    bytes.put(&read::SIGNATURE).put(signer.public_key().blob());
    let signature = signer.sign("ssh-ed25519", &bytes).unwrap();
    bytes.put(signature.as_slice());
    assert_eq!(RevokedKeys::from_bytes(&bytes), Ok(list));
    std::fs::write(path("list"), &bytes).unwrap();
    std::fs::write(path("key"), revoked.public_key().to_line()).unwrap();
    let Some((fine, shown)) = keygen(&["-Q", "-f", &path("list"), &path("key")]) else { return };
    assert!(!fine && shown.contains("REVOKED"), "{shown}");
}

/// ssh-keygen writes larger bitmaps than it reads; ours are split.
#[test]
fn bitmaps_too_large_for_ssh_keygen() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let ca = new_key();
    std::fs::write(path("ca"), ca.public_key().to_line()).unwrap();
    let text: String = (1..40_000).step_by(2).map(|serial| format!("serial: {serial}\n")).collect();
    std::fs::write(path("specification"), &text).unwrap();
    let arguments = ["-k", "-q", "-f", &path("theirs"), "-s", &path("ca"), &path("specification")];
    if keygen(&arguments).is_none() {
        return;
    }
    let list = RevokedKeys::from_file(path("theirs")).unwrap();
    assert_eq!(list.certificates[ca.public_key().blob()].serials.len(), 20_000);
    list.write_file(path("ours")).unwrap();
    let key = new_key();
    for (serial, revoked) in [(19_999, true), (20_000, false), (39_999, true), (40_001, false)] {
        std::fs::write(path("certificate"), certificate(&ca, &key, serial, "me")).unwrap();
        let (_, shown) = keygen(&["-Q", "-f", &path("ours"), &path("certificate")]).unwrap();
        assert_eq!(shown.contains(": REVOKED"), revoked, "{serial}: {shown}");
        assert!(Path::new(&path("ours")).exists() && shown.contains(&path("certificate")));
        let found = list.check_certificate(ca.public_key(), serial, b"me");
        assert_eq!(found, revoked.then_some(Revoked::Serial), "{serial}");
    }
}

/// Certificates of every type in the table, also of keys that are not built here, revoke the same as
/// with ssh-keygen: by their key, its hash, their serial, their key id.
#[test]
fn certificates_of_every_type_are_taken_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let Some((true, _)) = keygen(&["-q", "-t", "dsa", "-N", "", "-f", &path("dsa")]) else { return };
    let dsa = std::fs::read(path("dsa.pub")).unwrap();
    let mut blobs = vec![crate::key::line::key_blob(&dsa).unwrap()];
    for kind in KINDS {
        let key = PKey::generate(kind).unwrap();
        let blob = key.public_key().blob();
        // A security key's public half is an ordinary one and the application.
        let prefix = match kind {
            KeyKind::Ed25519 => "sk-ssh-ed25519@openssh.com",
            _ => "sk-ecdsa-sha2-nistp256@openssh.com",
        };
        if matches!(kind, KeyKind::Ed25519 | KeyKind::EcdsaP256) {
            let mut plain = crate::wire::Reader::new(blob);
            plain.string().unwrap();
            let mut security_key = Vec::new();
            security_key.put(prefix).put_raw(plain.rest()).put("ssh:");
            blobs.push(security_key);
        }
        blobs.push(blob.to_vec());
    }
    assert_eq!(blobs.len(), 8);
    let ca = new_key();
    let mut specification = String::new();
    for (serial, blob) in (0..).zip(&blobs) {
        let line = certificate_of(&ca, blob, serial, &format!("id {serial}"));
        specification += &format!("{line}\nkey: {line}\nsha1: {line}\nsha256: {line}\n");
    }
    std::fs::write(path("specification"), &specification).unwrap();
    let (made, shown) = keygen(&["-k", "-q", "-f", &path("theirs"), &path("specification")]).unwrap();
    assert!(made, "{shown}");
    let theirs = RevokedKeys::from_file(path("theirs")).unwrap();
    let mut ours = RevokedKeys::new();
    ours.revoke_specified(specification.as_bytes(), None).unwrap();
    ours.generated = theirs.generated;
    assert!(ours == theirs, "{ours:?} {theirs:?}");
    assert_eq!((ours.keys.len(), ours.sha1.len(), ours.sha256.len()), (8, 8, 8));
    assert!(blobs.iter().all(|blob| ours.check_blob(blob) == Some(Revoked::Key)));
}
