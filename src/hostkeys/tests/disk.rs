//! Files: loaded, saved in one step, appended to by many at once, refused when they are none.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::super::*;
use super::{E1, E2, E3, P256, key};
use crate::sys::file::open_append;
use crate::sys::file::tests::Directory;

#[test]
fn what_is_saved_is_what_is_loaded() {
    let directory = Directory::new();
    let path = directory.file("known_hosts");
    let text = format!("# one\n\nhost {E1}\n@nonsense\nhost2 {E2} c\n");
    fs::write(&path, &text).unwrap();
    let mut keys = HostKeys::load(&path).unwrap();
    let HostKeyStatus::Changed { at, .. } = keys.check("host2", 22, &key(E1)) else { panic!() };
    assert_eq!((at.file(), at.line()), (Some(&*path), Some(5)));
    assert_eq!(at.to_string(), format!("{}:5", path.display()));
    keys.add("host3", 22, &key(E3)).unwrap();
    keys.save(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{text}host3 {E3}\n"));
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn files_are_for_their_owner_only_and_links_stay() {
    use std::os::unix::fs::PermissionsExt;

    let directory = Directory::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (appended, saved) = (directory.file("deep/known_hosts"), directory.file("saved"));
    HostKeys::append(&appended, "host", 22, &key(E1)).unwrap();
    HostKeys::load(&appended).unwrap().save(&saved).unwrap();
    assert_eq!((mode(&appended), mode(&saved)), (0o600, 0o600));
    assert_eq!(mode(&directory.file("deep")), 0o700);

    // One that was there keeps its mode, as far as others only read it.
    fs::set_permissions(&saved, fs::Permissions::from_mode(0o664)).unwrap();
    HostKeys::load(&appended).unwrap().save(&saved).unwrap();
    assert_eq!(mode(&saved), 0o644);

    let link = directory.file("link");
    std::os::unix::fs::symlink(&saved, &link).unwrap();
    HostKeys::parse(format!("other {E2}\n")).save(&link).unwrap();
    HostKeys::append(&link, "third", 22, &key(E3)).unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&saved).unwrap(), format!("other {E2}\nthird {E3}\n"));
}

#[test]
fn appending_adds_a_line_once_and_touches_no_other() {
    let directory = Directory::new();
    let path = directory.file("known_hosts");
    fs::write(&path, format!("# no line break at the end\na {E1}")).unwrap();
    for _ in 0..2 {
        HostKeys::append(&path, "b", 22, &key(E2)).unwrap();
        HostKeys::append_hashed(&path, "c", 2222, &key(P256)).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(&format!("# no line break at the end\na {E1}\nb {E2}\n|1|")), "{text}");
    assert_eq!(text.lines().count(), 4);
    let keys = HostKeys::load(&path).unwrap();
    assert_eq!(keys.check("c", 2222, &key(P256)), HostKeyStatus::Known);
    // Another key of the same host is added beside the first.
    HostKeys::append(&path, "b", 22, &key(E3)).unwrap();
    assert_eq!(HostKeys::load(&path).unwrap().lookup("b", 22), [&key(E2), &key(E3)]);
}

#[test]
fn a_revoked_key_is_not_appended() {
    let directory = Directory::new();
    let path = directory.file("known_hosts");
    let text = format!("@revoked * {E1}\n");
    fs::write(&path, &text).unwrap();
    let error = HostKeys::append(&path, "host", 22, &key(E1)).unwrap_err();
    assert_eq!(error, HostKeysError::Revoked { path: path.display().to_string() });
    let error = HostKeys::append(&path, "host\nevil", 22, &key(E2)).unwrap_err();
    assert_eq!(error, HostKeysError::BadHost { host: "host\nevil".to_owned() });
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn many_at_once_lose_no_line() {
    let directory = Directory::new();
    let path = directory.file("known_hosts");
    HostKeys::append(&path, "host-first", 22, &key(E1)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let path = &path;
            scope.spawn(move || {
                for number in 0..10 {
                    HostKeys::append(path, &format!("host-{thread}-{number}"), 22, &key(E1)).unwrap();
                }
            });
        }
        // Whoever saves meanwhile saves all that was there when it looked, as long as nobody was
        // between; what matters here is that no half line and no other's lock file comes of it.
        scope.spawn(|| {
            for number in 0..10 {
                let other = directory.file(&format!("copy-{number}"));
                HostKeys::load(&path).unwrap().save(other).unwrap();
            }
        });
    });
    let keys = HostKeys::load(&path).unwrap();
    assert_eq!(keys.len(), 41);
    assert_eq!(keys.keys().len(), 41);
    for number in 0..10 {
        let copy = fs::read_to_string(directory.file(&format!("copy-{number}"))).unwrap();
        assert!(
            copy.starts_with("host-first ")
                && copy.lines().all(|line| line.starts_with("host-") && line.ends_with(E1)),
            "{copy}"
        );
    }
}

/// Waits until this process has the file open twice; where the system does not tell, for a while.
fn wait_for_the_second_to_open(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Ok(open) = fs::read_dir("/proc/self/fd") {
        let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        if links.filter(|link| link == path).count() >= 2 || Instant::now() > deadline {
            return;
        }
    }
    std::thread::sleep(Duration::from_millis(100));
}

#[test]
fn an_appender_that_waited_writes_into_the_new_file() {
    let directory = Directory::new();
    let path = directory.file("known_hosts");
    let lock = open_append(&path, 0o600).unwrap();
    lock.lock().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| HostKeys::append(&path, "late", 22, &key(E2)));
        wait_for_the_second_to_open(&path);
        assert!(!waiting.is_finished());
        crate::sys::file::replace(&path, format!("new {E1}\n").as_bytes(), 0o600).unwrap();
        drop(lock);
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("new {E1}\nlate {E2}\n"));
}

#[test]
fn a_file_that_goes_away_meanwhile_is_made_anew() {
    let directory = Directory::new();
    let path = directory.file("known_hosts");
    std::thread::scope(|scope| {
        let appending =
            scope.spawn(|| (0..1000).try_for_each(|_| HostKeys::append(&path, "host", 22, &key(E1))));
        // Often enough that one line can lose many races, and with an end: how many it loses is the
        // scheduler's whim.
        let mut removed = 0;
        while removed < 1000 && !appending.is_finished() {
            removed += u32::from(fs::remove_file(&path).is_ok());
        }
        appending.join().unwrap().unwrap();
    });
    HostKeys::append(&path, "host", 22, &key(E1)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("host {E1}\n"));
}

#[test]
fn a_lock_that_is_held_for_ever_is_an_error() {
    let directory = Directory::new();
    let path = directory.file("known_hosts");
    let lock = open_append(&path, 0o600).unwrap();
    lock.lock().unwrap();
    let started = Instant::now();
    let error = HostKeys::append(&path, "host", 22, &key(E1)).unwrap_err();
    assert_eq!(error, HostKeysError::Locked { path: path.display().to_string() });
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn what_is_no_file_or_too_large_is_an_error() {
    let directory = Directory::new();
    let kind = |path: &Path| HostKeys::load(path).unwrap_err().kind();
    assert_eq!(kind(&directory.file("none")), ErrorKind::NotFound);
    // Windows opens no directory as a file.
    let refused = if cfg!(windows) { ErrorKind::PermissionDenied } else { ErrorKind::InvalidInput };
    assert_eq!(kind(&directory.0), refused);
    let large = directory.file("large");
    fs::File::create(&large).unwrap().set_len(16 * 1024 * 1024 + 1).unwrap();
    assert_eq!(kind(&large), ErrorKind::FileTooLarge);
    assert_eq!(HostKeys::append(&large, "host", 22, &key(E1)).unwrap_err().kind(), ErrorKind::FileTooLarge);
    let error = HostKeys::load(directory.file("none")).unwrap_err().to_string();
    assert!(error.starts_with("host keys file ") && error.contains("none"), "{error}");
}

#[test]
fn the_file_of_nothing_knows_nothing_and_keeps_nothing() {
    let mut keys = HostKeys::load("/dev/null").unwrap();
    assert!(keys.is_empty());
    let key = PublicKey::from_line(E1).unwrap().0;
    HostKeys::append("/dev/null", "host", 22, &key).unwrap();
    keys.add("host", 22, &key).unwrap();
    keys.save("/dev/null").unwrap();
    assert!(HostKeys::load("/dev/null").unwrap().is_empty());
    assert!(!Path::new("/dev/null").is_file());
}
