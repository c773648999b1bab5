//! What an announcement of keys may change: lines with addresses, several files, what changed meanwhile.
//! That the same files are changed as by ssh is for tests/hostkeys.rs.

use std::fs;
use std::path::PathBuf;

use super::super::*;
use super::{E1, E2, E3, P256, key};
use crate::sys::file::tests::Directory;

fn names(address: Option<&str>) -> HostNames {
    HostNames::new("Host", address, 22).unwrap()
}

fn plan(text: &str, address: Option<&str>, keys: &[PublicKey]) -> UpdatePlan {
    let path = PathBuf::from("first");
    HostKeys::parse_from(text.as_bytes(), Some(path.as_path().into())).plan_update(
        &names(address),
        keys,
        &path,
    )
}

fn change(new: &[&str], old: &[&str]) -> UpdatePlan {
    let keys = |lines: &[&str]| lines.iter().map(|line| key(line)).collect();
    UpdatePlan::Change { new: keys(new), old: keys(old) }
}

#[test]
fn lines_of_the_host_alone_are_changed() {
    let announced = [key(E1), key(P256)];
    let address = Some("192.0.2.7");
    let table = [
        (format!("host {E1}\n"), None, change(&[P256], &[])),
        (format!("HOST {E1}\nhost {E2}\n"), None, change(&[P256], &[E2])),
        (format!("host {E2}\nhost {E2}\nhost {E1}\n"), None, change(&[P256], &[E2])),
        (format!("host {E1}\nhost {P256}\n"), None, UpdatePlan::Nothing),
        (format!("host,192.0.2.7 {E1}\n"), None, change(&[P256], &[])),
        (format!("host,192.0.2.7 {E1}\n192.0.2.7 {P256}\n"), address, UpdatePlan::Nothing),
        (format!("host {E1}\n192.0.2.7 {E1}\n"), address, change(&[P256], &[])),
        (format!("host {E1}\n192.0.2.7 {E2}\n"), address, change(&[P256], &[E2])),
        (format!("host {E1}\nother {E2}\n@cert-authority other {E3}\n"), None, change(&[P256], &[])),
        // A key of a type that is not built stays.
        (format!("host {E1}\nhost ssh-x AAAABXNzaC14\n"), None, change(&[P256], &[])),
    ];
    for (text, address, expected) in table {
        assert_eq!(plan(&text, address, &announced), expected, "{text}");
    }
}

#[test]
fn lines_that_speak_of_more_are_left_alone() {
    let announced = [key(E1), key(P256)];
    let address = Some("192.0.2.7");
    let table = [
        (format!("host* {E1}\n"), None),
        (format!("hos? {E1}\n"), None),
        (format!("host,!other {E1}\n"), None),
        (format!("host,other {E1}\n"), None),
        (format!("host,192.0.2.7,192.0.2.8 {E1}\n"), None),
        (format!("host {E1}\n@revoked host {E2}\n"), None),
        (format!("host {E1}\n@cert-authority * {E2}\n"), None),
        (format!("host {E1}\nother {P256}\n"), None),
        (format!("host {E1}\n@revoked other {P256}\n"), None),
        (format!("host {E1}\nhost {E2}\nother {E2}\n"), None),
        (format!("host {E1}\n192.0.2.8 {E1}\n"), None),
        (format!("host,192.0.2.8 {E1}\n"), address),
        (format!("host {E1}\n[192.0.2.7]:22 {P256}\n"), address),
    ];
    for (text, address) in table {
        assert!(matches!(plan(&text, address, &announced), UpdatePlan::Not(_)), "{text}");
    }
}

#[test]
fn every_other_byte_stays_and_new_lines_come_last() {
    let directory = Directory::new();
    let path = directory.file("known_hosts");
    let kept = format!("# mine\r\n\nother {E3}\n@nonsense\nhost {E1} its key\n");
    let announced = [key(E1), key(P256)];
    for (address, hash) in [(None, false), (Some("192.0.2.7"), false), (Some("192.0.2.7"), true)] {
        fs::write(&path, format!("{kept}host {E2}\n")).unwrap();
        let files = [path.clone(), directory.file("none")];
        let plan = HostKeys::load(&path).unwrap().plan_update(&names(address), &announced, &path);
        assert!(HostKeys::update_file(&files, &names(address), &announced, &plan, hash).unwrap());
        let text = fs::read_to_string(&path).unwrap();
        let added = text.strip_prefix(&kept).unwrap();
        assert_eq!(added.lines().count(), 1 + usize::from(address.is_some()), "{text}");
        assert_eq!(added.lines().filter(|line| line.starts_with("|1|")).count(), 2 * usize::from(hash));
        let keys = HostKeys::load(&path).unwrap();
        assert_eq!(keys.lookup("host", 22), [&key(E1), &key(P256)]);
        assert_eq!(keys.contains("192.0.2.7", 22), address.is_some());
        // What was planned is done: it is not done twice.
        assert!(!HostKeys::update_file(&files, &names(address), &announced, &plan, hash).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1, "and no other file is left");
}

#[test]
fn what_somebody_else_changed_meanwhile_is_not_overwritten() {
    let directory = Directory::new();
    let path = directory.file("known_hosts");
    let announced = [key(E1), key(P256)];
    let first = format!("host {E1}\nhost {E2}\n");
    fs::write(&path, &first).unwrap();
    let plan = HostKeys::load(&path).unwrap().plan_update(&names(None), &announced, &path);
    let files = [path.clone()];
    let update = || HostKeys::update_file(&files, &names(None), &announced, &plan, false);
    for meanwhile in [format!("{first}host {E3}\n"), format!("{first}other {E2}\n"), String::new()] {
        fs::write(&path, &meanwhile).unwrap();
        assert!(!update().unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), meanwhile);
    }
    // What does not concern the host does not matter, and is kept.
    fs::write(&path, format!("{first}third {E3}\n")).unwrap();
    assert!(update().unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("host {E1}\nthird {E3}\nhost {P256}\n"));
    fs::remove_file(&path).unwrap();
    assert_eq!(update().unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn old_keys_in_other_files_are_not_forgotten() {
    let directory = Directory::new();
    let (first, second) = (directory.file("first"), directory.file("second"));
    fs::write(&first, format!("host {E1}\n")).unwrap();
    fs::write(&second, format!("host {P256}\n")).unwrap();
    let all = HostKeys::load_all(&[first.clone(), second, directory.file("none")]).unwrap();
    assert_eq!(all.path(), Some(&*first));
    let plan = |keys: &[PublicKey]| all.plan_update(&names(None), keys, &first);
    assert_eq!(plan(&[key(E1), key(P256)]), UpdatePlan::Nothing);
    assert_eq!(plan(&[key(E1), key(P256), key(E3)]), change(&[E3], &[]));
    assert!(matches!(plan(&[key(E1), key(E3)]), UpdatePlan::Not(_)));
}
