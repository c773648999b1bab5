//! The connection is cut after every so many kilobytes, and the transfer gone on with until it is done.

use std::fs;
use std::path::Path;

use feramiko::{Error, Result, SFTPClient, SFTPTransfer, TransferSummary};

use super::peers::Folder;
use super::relay::{Whose, client, cut, noise, same};
use super::watch::within;

/// Kilobytes: below a packet, about one, several, and no power of two.
const CUTS: &[usize] = &[1, 5, 33, 100, 255, 256, 257, 300, 511, 600, 777, 1000, 1500, 2000, 2900];
const LENGTH: usize = 3_000_000;
/// Both ways of both kinds, from both servers.
const WAYS: &[(Whose, bool, bool)] = &[
    (Whose::Ours, true, false),
    (Whose::Ours, true, true),
    (Whose::Ours, false, false),
    (Whose::Ours, false, true),
    (Whose::OpenSsh, true, false),
    (Whose::OpenSsh, false, true),
];

/// A transfer of a file or a tree from `from` to `to`, one of which is the server's.
fn transfer(sftp: &SFTPClient, get: bool, atomic: bool, from: &Path, to: &Path) -> Result<TransferSummary> {
    let options: SFTPTransfer<'_> = sftp.transfer().resume(true).recursive(true).atomic(atomic);
    if get { options.get(from.to_str().unwrap(), to) } else { options.put(from, to.to_str().unwrap()) }
}

/// The error of a connection that was cut.
pub(crate) fn was_cut(error: &Error) -> bool {
    match error {
        Error::Closed(Some(why)) => was_cut(why),
        Error::Io { .. } => true,
        _ => false,
    }
}

/// One attempt, whose connection ends after so many bytes of data; whether it was done before.
fn attempt(way: (Whose, bool, bool), from: &Path, to: &Path, bytes: usize) -> bool {
    let (whose, get, atomic) = way;
    let (down, up) = if get { (bytes, usize::MAX) } else { (usize::MAX, bytes) };
    let outcome = cut(whose, down, up).and_then(|sftp| transfer(&sftp, get, atomic, from, to));
    match outcome {
        Ok(_) => true,
        Err(error) => {
            assert!(was_cut(&error), "{way:?}: {error}");
            false
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_gone_on_with() {
    for way in WAYS.iter().filter(|(whose, ..)| whose.is_here()) {
        within("file", move || {
            let (whose, get, atomic) = *way;
            let here = Folder::new();
            let (from, data) = (here.file("from"), noise(1, LENGTH));
            fs::write(&from, &data).unwrap();
            for kilobytes in CUTS {
                let to = here.file(&format!("to{kilobytes}"));
                let mut parts = Vec::new();
                for round in 0..2 {
                    if attempt(*way, &from, &to, kilobytes * 1024) {
                        assert!(round == 1 && *kilobytes >= 1000, "{way:?} {kilobytes}");
                        break;
                    }
                    let part = if atomic { to.with_extension("filepart") } else { to.clone() };
                    assert!(!atomic || !to.exists());
                    let there = fs::read(part).unwrap_or_default();
                    assert!(data.starts_with(&there), "{way:?} {kilobytes}: not the beginning");
                    parts.push(there.len());
                }
                let there = parts[parts.len() - 1];
                assert!(parts[0] <= there);
                if parts.len() == 1 {
                    assert!(fs::read(&to).unwrap() == data, "{way:?} {kilobytes}");
                    continue;
                }
                let done = transfer(&client(whose), get, atomic, &from, &to).unwrap();
                assert!(fs::read(&to).unwrap() == data, "{way:?} {kilobytes}");
                // What was there is not moved again; a server may still be writing what it was sent.
                assert!(done.bytes as usize <= LENGTH - there, "{way:?} {kilobytes}: {}", done.bytes);
                assert!(*kilobytes < 1000 || (done.bytes as usize) < LENGTH, "{way:?} {kilobytes}");
                let again = transfer(&client(whose), get, atomic, &from, &to).unwrap();
                assert_eq!((again.bytes, again.skipped), (0, 1), "{way:?}");
            }
        });
    }
}

fn tree(folder: &Path) {
    for dir in 0..6 {
        let below = folder.join(format!("dir{dir}/below"));
        fs::create_dir_all(&below).unwrap();
        for file in 0..12_usize {
            let length = [0, 1, 700, 4096, 32_768, 70_000, 261_120, 300_001][(dir + file) % 8];
            fs::write(below.join(format!("file {file}")), noise((dir * 100 + file) as u64, length)).unwrap();
        }
        std::os::unix::fs::symlink("below/file 1", folder.join(format!("dir{dir}/link"))).unwrap();
    }
}

#[test]
fn a_tree_cut_again_and_again_is_gone_on_with() {
    for way in WAYS.iter().filter(|(whose, ..)| whose.is_here()) {
        within("tree", move || {
            let here = Folder::new();
            let (from, to) = (here.file("from"), here.file("to"));
            tree(&from);
            let mut kilobytes = CUTS.iter().cycle().filter(|kilobytes| **kilobytes >= 300);
            let mut attempts = 0;
            while !attempt(*way, &from, &to, kilobytes.next().unwrap() * 1024) {
                attempts += 1;
                assert!(attempts < 300, "{way:?}: no way forward");
            }
            assert!(attempts > 3, "{way:?}: {attempts}");
            same(&from, &to);
        });
    }
}

/// What is there is not the beginning of the file: it is neither gone on with nor touched.
#[test]
fn what_is_something_else_is_left_alone() {
    for (whose, get, atomic) in WAYS.iter().filter(|(whose, ..)| whose.is_here()) {
        let here = Folder::new();
        let (from, to) = (here.file("from"), here.file("to"));
        fs::write(&from, noise(1, 200_000)).unwrap();
        for length in [100_000, 200_000, 200_001] {
            let place = if *atomic { to.with_extension("filepart") } else { to.clone() };
            fs::write(&place, noise(2, length)).unwrap();
            let error = transfer(&client(*whose), *get, *atomic, &from, &to).unwrap_err();
            assert!(matches!(error, Error::Io { .. }), "{error}");
            assert!(fs::read(&place).unwrap() == noise(2, length));
        }
    }
}

#[test]
fn the_part_is_removed_where_that_is_asked_for() {
    for (get, atomic) in [(true, false), (true, true)] {
        let here = Folder::new();
        let (from, to) = (here.file("from"), here.file("to"));
        fs::write(&from, noise(1, LENGTH)).unwrap();
        let sftp = cut(Whose::Ours, 1_000_000, usize::MAX).unwrap();
        let transfer = sftp.transfer().remove_partial(true).atomic(atomic);
        let outcome = if get { transfer.get(from.to_str().unwrap(), &to) } else { unreachable!() };
        assert!(was_cut(&outcome.unwrap_err()));
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 1);
    }
}
