//! Lists of revoked keys, made by `ssh-keygen` and made here, and which keys and certificates they keep out.

use std::fs;

use feramiko::KeyKind;

use crate::given;
use crate::judges::{Judges, Out, PLAIN, Verdict, all_agreed};
use crate::makers::Workshop;

/// OpenSSH says which list; ours also what of the key stands in it.
const KEY: Verdict = Out("revoked by file", "the key is revoked");
const HASH: Verdict = Out("revoked by file", "the key is revoked by its hash");
const SERIAL: Verdict = Out("revoked by file", "the certificate is revoked by its serial number");
const ID: Verdict = Out("revoked by file", "the certificate is revoked by its key id");
const AUTHORITY: Verdict = Out("revoked by file", "the key that signed the certificate is revoked");
const UNREADABLE: Verdict = Out("Error checking authentication key", "all keys count as revoked: ");

/// Arguments of `ssh-keygen -k`; of the file `specification` its text, in which OWN, OTHER and AUTHORITY are
/// lines of keys, and HASH the fingerprint of OWN. What is made of the key, and of its certificate, whose serial
/// is 7 and whose id is "mine".
const LISTS: &[(&[&str], &str, Verdict, Verdict)] = &[
    (&[], "", PLAIN, PLAIN),
    (&["other.pub"], "", PLAIN, PLAIN),
    (&["id.pub"], "", KEY, KEY),
    (&["authority.pub"], "", PLAIN, AUTHORITY),
    // A certificate in the list: only it, by what its authority calls it.
    (&["-s", "authority.pub", "id-cert.pub"], "", PLAIN, SERIAL),
    (&["specification"], "OTHER", PLAIN, PLAIN),
    (&["specification"], "OWN", KEY, KEY),
    (&["specification"], "key: OWN", KEY, KEY),
    (&["specification"], "sha256: OWN", HASH, HASH),
    (&["specification"], "sha1: OWN", HASH, HASH),
    (&["specification"], "hash: HASH", HASH, HASH),
    (&["specification"], "sha256: OTHER", PLAIN, PLAIN),
    (&["specification"], "key: AUTHORITY", PLAIN, AUTHORITY),
    (&["specification"], "sha256: AUTHORITY", PLAIN, AUTHORITY),
    (&["-s", "authority.pub", "specification"], "serial: 7", PLAIN, SERIAL),
    (&["-s", "authority.pub", "specification"], "serial: 5-9", PLAIN, SERIAL),
    (&["-s", "authority.pub", "specification"], "serial: 7-18446744073709551615", PLAIN, SERIAL),
    (&["-s", "authority.pub", "specification"], "serial: 1\nserial: 3\nserial: 7\nserial: 99", PLAIN, SERIAL),
    (&["-s", "authority.pub", "specification"], "serial: 8-99", PLAIN, PLAIN),
    (&["-s", "authority.pub", "specification"], "serial: 1-6\nserial: 8", PLAIN, PLAIN),
    (&["-s", "authority.pub", "specification"], "id: mine", PLAIN, ID),
    (&["-s", "authority.pub", "specification"], "id: min", PLAIN, PLAIN),
    (&["-s", "authority.pub", "specification"], "id: MINE", PLAIN, PLAIN),
    (&["-s", "authority.pub", "specification"], "serial: 8\nid: mine\nsha256: OTHER", PLAIN, ID),
    // Of another authority's certificates, and of anybody's.
    (&["-s", "other.pub", "specification"], "serial: 7\nid: mine", PLAIN, PLAIN),
    (&["-s", "none", "specification"], "serial: 7", PLAIN, SERIAL),
    (&["-s", "none", "specification"], "id: mine", PLAIN, ID),
];

#[test]
fn lists_of_either_maker() {
    let _watch = given::within(300);
    let (Some(judges), Some(shop)) = (Judges::new(&[]), Workshop::new()) else { return };
    let [authority, key, other] = ["authority", "id", "other"].map(|name| shop.key(name, KeyKind::Ed25519));
    let certificate = shop.certificate(0, "authority", &["-n", "USER", "-I", "mine", "-z", "7"]);
    let certified = key.with_certificate(&certificate).unwrap();
    let [own, others, authoritys] = [&key, &other, &authority].map(|key| key.public_key().to_line());
    judges.write("keys", &own);
    judges.write("authorities", &authoritys);
    let mut failed = Vec::new();
    for (arguments, text, plain, certificate) in LISTS {
        let text = text.replace("OWN", &own).replace("OTHER", &others).replace("AUTHORITY", &authoritys);
        shop.write("specification", &text.replace("HASH", &key.public_key().fingerprint()));
        for (maker, by) in shop.makers() {
            shop.run(maker, &[&["-q", "-k", "-f", "list"], *arguments].concat());
            judges.write("revoked", &shop.read("list"));
            let what = format!("{arguments:?} {text} {by}");
            judges.agree(&what, &key, *plain, &mut failed);
            judges.agree(&format!("{what}, certificate"), &certified, *certificate, &mut failed);
        }
    }
    all_agreed(&failed);
}

#[test]
fn lists_that_nobody_made() {
    let _watch = given::within(300);
    let (Some(judges), Some(shop)) = (Judges::new(&[]), Workshop::new()) else { return };
    let (key, other) = (shop.key("id", KeyKind::Ed25519), shop.key("other", KeyKind::Ed25519));
    let own = key.public_key().to_line();
    judges.write("keys", &own);
    shop.run(0, &["-q", "-k", "-f", "list", "other.pub"]);
    let list = shop.read("list");
    let mut failed = Vec::new();
    for (what, text, verdict) in [
        ("a plain list", own.clone().into_bytes(), KEY),
        ("a plain list of others", other.public_key().to_line().into_bytes(), PLAIN),
        ("a broken list", b"nonsense".to_vec(), UNREADABLE),
        ("one that was cut", list[..list.len() - 1].to_vec(), UNREADABLE),
        ("one of another version", [&list[..8], &[0, 0, 0, 9], &list[12..]].concat(), UNREADABLE),
        ("none", Vec::new(), PLAIN),
    ] {
        judges.write("revoked", &text);
        judges.agree(what, &key, verdict, &mut failed);
    }
    fs::remove_file(judges.folder.file("revoked")).unwrap();
    judges.agree("no list", &key, UNREADABLE, &mut failed);
    all_agreed(&failed);
}
