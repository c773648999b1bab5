//! Large files over several sessions at once: one that stands still or is cut off, and what is left then.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use feramiko::{Error, LocalServer, Result, SFTPClient, SFTPServer, SFTPStatus, TransferSummary};

use super::cut::was_cut;
use super::disks::Small;
use super::peers::Folder;
use super::relay::{Whose, client, cut, noise, same, stalled};
use super::watch::within;

/// As its documentation has it: what a failure leaves may have holes in so much of its end.
const SPREAD: usize = 16 * 1024 * 1024;
/// More than twice that, and a piece.
const LENGTH: usize = 40_012_345;

fn put(sessions: &[SFTPClient], from: &Path, to: &Path, resume: bool) -> Result<TransferSummary> {
    let (first, others) = sessions.split_first().unwrap();
    let mut transfer = first.transfer().atomic(true).recursive(true).resume(resume);
    for session in others {
        transfer = transfer.stripe(session);
    }
    transfer.put(from, to.to_str().unwrap())
}

/// A file of so many bytes that are the same whoever makes it.
fn source(here: &Folder, length: usize) -> (std::path::PathBuf, Vec<u8>) {
    let (path, data) = (here.file("from"), noise(7, length));
    fs::write(&path, &data).unwrap();
    (path, data)
}

#[test]
fn a_file_over_two_and_over_four_sessions() {
    for whose in Whose::all() {
        for count in [2, 4] {
            within("stripes", move || {
                let here = Folder::new();
                let (from, data) = source(&here, LENGTH);
                let to = here.file("to");
                let sessions: Vec<_> = (0..count).map(|_| client(whose)).collect();
                let mut told = Vec::new();
                let mut transfer = sessions[0].transfer().atomic(true).preserve(true);
                for session in &sessions[1..] {
                    transfer = transfer.stripe(session);
                }
                let transfer = transfer.progress(|at| told.push((at.done, at.finished)));
                let done = transfer.put(&from, to.to_str().unwrap()).unwrap();
                assert_eq!((done.bytes as usize, done.files), (LENGTH, 1));
                assert!(fs::read(&to).unwrap() == data);
                assert!(!here.file("to.fileparts").exists());
                assert!(told.is_sorted() && told.last() == Some(&(LENGTH as u64, true)), "{told:?}");
            });
        }
    }
}

#[test]
fn a_session_that_stands_still_holds_the_others_up_before_they_are_too_far() {
    for whose in Whose::all() {
        within("still", move || {
            let here = Folder::new();
            for (length, passed) in [(LENGTH, 5_000_000), (LENGTH, 400_000), (9_000_000, 100_000)] {
                let (from, data) = source(&here, length);
                let to = here.file(&format!("to{length}.{passed}"));
                let sessions = [client(whose), stalled(whose, passed, Duration::from_secs(1))];
                let error = put(&sessions, &from, &to, false).unwrap_err();
                assert!(was_cut(&error), "{error}");
                let part = fs::read(to.with_extension(format!("{passed}.fileparts"))).unwrap();
                assert!(part.len() < length && !to.exists(), "{}", part.len());
                let sure = part.len().saturating_sub(SPREAD);
                assert!(part[..sure] == data[..sure], "a hole before the last 16 MiB");
                let done = put(&[client(whose), client(whose)], &from, &to, true).unwrap();
                assert_eq!(done.bytes as usize, length - sure);
                assert!(fs::read(&to).unwrap() == data);
                let again = put(&[client(whose), client(whose)], &from, &to, true).unwrap();
                assert_eq!((again.bytes, again.skipped), (0, 1));
            }
        });
    }
}

#[test]
fn sessions_cut_again_and_again() {
    for whose in Whose::all() {
        within("cut", move || {
            let here = Folder::new();
            let (from, data) = source(&here, LENGTH);
            let to = here.file("to");
            let mut attempts = 0;
            // Which of the two goes, and when: beyond what is sent again there must be some way forward.
            for (first, second) in
                [(3, 90), (90, 2), (12, 13), (1, 90), (90, 11), (25, 90), (90, 24), (90, 90)]
            {
                attempts += 1;
                let up = |megabytes: usize| cut(whose, usize::MAX, megabytes * 1_000_000).unwrap();
                match put(&[up(first), up(second)], &from, &to, true) {
                    Ok(_) => break,
                    Err(error) => assert!(was_cut(&error), "{error}"),
                }
                let part = fs::read(here.file("to.fileparts")).unwrap();
                let sure = part.len().saturating_sub(SPREAD);
                assert!(part.len() < LENGTH && part[..sure] == data[..sure] && !to.exists());
            }
            assert!(attempts > 4, "{attempts}");
            assert!(fs::read(&to).unwrap() == data);
        });
    }
}

#[test]
fn trees_holes_and_files_that_are_too_small() {
    for whose in Whose::all() {
        within("tree", move || {
            let here = Folder::new();
            let (from, to) = (here.file("from"), here.file("to"));
            fs::create_dir_all(from.join("below")).unwrap();
            for (number, length) in [0, 100, 3_000_000, 8_388_607, 8_388_608, 12_000_000].iter().enumerate() {
                fs::write(from.join(format!("below/{number}")), noise(number as u64, *length)).unwrap();
            }
            let mut holes = noise(9, 20_000_000);
            holes[3_000_000..11_000_000].fill(0);
            holes[15_000_000..].fill(0);
            fs::write(from.join("holes"), &holes).unwrap();
            let (first, second) = (client(whose), client(whose));
            let transfer = first.transfer().atomic(true).recursive(true).sparse(true).stripe(&second);
            assert_eq!(transfer.put(&from, to.to_str().unwrap()).unwrap().files, 7);
            same(&from, &to);
        });
    }
}

#[test]
fn what_a_full_disk_refuses_is_gone_on_with() {
    for whose in Whose::all() {
        let (Some(small), here) = (Small::new(4096), Folder::new()) else { return };
        let (from, data) = source(&here, 12_000_000);
        let (sessions, to) = ([client(whose), client(whose)], small.0.file("to"));
        let error = put(&sessions, &from, &to, false).unwrap_err();
        assert!(matches!(error, Error::Sftp(_)), "{error}");
        small.grow();
        put(&sessions, &from, &to, true).unwrap();
        assert!(fs::read(&to).unwrap() == data);
    }
}

#[test]
fn a_session_with_another_server_is_refused() {
    let (here, there) = (Folder::new(), Folder::new());
    let (from, _) = source(&here, 9_000_000);
    let elsewhere = {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let root = there.path().to_owned();
        std::thread::spawn(move || {
            let write = far.try_clone().unwrap();
            SFTPServer::new(LocalServer::rooted(root).unwrap()).serve(&far, write)
        });
        SFTPClient::over(near).unwrap()
    };
    let first = client(Whose::Ours);
    let transfer = first.transfer().atomic(true).remove_partial(true).stripe(&elsewhere);
    let error = transfer.put(&from, here.file("to").to_str().unwrap()).unwrap_err();
    assert!(matches!(&error, Error::Sftp(error) if error.status == SFTPStatus::NO_SUCH_FILE), "{error}");
    assert_eq!(fs::read_dir(there.path()).unwrap().count(), 0);
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 1, "the source");
    // Both go on.
    assert!(first.exists(from.to_str().unwrap()).unwrap() && elsewhere.exists("/").unwrap());
}

#[test]
fn a_put_that_is_cancelled_ends_all_lanes() {
    within("cancelled", || {
        let here = Folder::new();
        let (from, _) = source(&here, LENGTH);
        let to = here.file("to");
        let sessions = [client(Whose::Ours), client(Whose::Ours)];
        let mut asked = 0;
        let transfer = sessions[0].transfer().atomic(true).stripe(&sessions[1]).cancel_when(|| {
            asked += 1;
            asked > 5
        });
        let error = transfer.put(&from, to.to_str().unwrap()).unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{error}");
        assert!(!to.exists() && fs::metadata(here.file("to.fileparts")).unwrap().len() < LENGTH as u64);
        put(&sessions, &from, &to, true).unwrap();
        same(&from, &to);
    });
}

#[test]
fn a_source_that_changes_is_never_half_of_each() {
    for length in [0, 1, 9_000_000, 20_000_000, LENGTH as u64 + 3_000_000] {
        within("changes", move || {
            let here = Folder::new();
            let (from, _) = source(&here, LENGTH);
            let to = here.file("to");
            let file = fs::OpenOptions::new().write(true).open(&from).unwrap();
            let sessions = [client(Whose::Ours), client(Whose::Ours)];
            let mut once = Some(());
            let transfer = sessions[0].transfer().atomic(true).stripe(&sessions[1]).cancel_when(|| {
                if once.take().is_some() {
                    file.set_len(length).unwrap();
                }
                false
            });
            transfer.put(&from, to.to_str().unwrap()).unwrap();
            let (there, whole) = (fs::read(&to).unwrap(), noise(7, LENGTH));
            // As a put of one session has it: what was sent by then, and the rest as it is now.
            let common = there.len().min(LENGTH);
            assert!(there.len() >= length as usize && there[..common] == whole[..common], "{}", there.len());
            assert!(there[common..].iter().all(|byte| *byte == 0));
        });
    }
}

#[test]
fn a_limit_holds_for_all_sessions_together() {
    let here = Folder::new();
    let (from, _) = source(&here, 12_000_000);
    let to = here.file("to");
    let sessions = [client(Whose::Ours), client(Whose::Ours), client(Whose::Ours)];
    let transfer = sessions[0].transfer().atomic(true).stripe(&sessions[1]).stripe(&sessions[2]);
    let began = Instant::now();
    transfer.bandwidth(6_000_000).put(&from, to.to_str().unwrap()).unwrap();
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1500), "{took:?}");
    same(&from, &to);
}

#[test]
fn stripes_where_there_are_none() {
    let here = Folder::new();
    let (from, _) = source(&here, 1000);
    let sftp = client(Whose::Ours);
    let to = here.file("to");
    let (name, there) = (from.to_str().unwrap(), to.to_str().unwrap());
    let striped = || sftp.transfer().stripe(&sftp);
    for outcome in [
        striped().put(&from, there).map(drop),
        striped().atomic(true).get(name, &to).map(drop),
        striped().atomic(true).getfo(name, &mut Vec::new()).map(drop),
        striped().atomic(true).putfo(&mut &b"data"[..], there).map(drop),
    ] {
        assert!(matches!(outcome, Err(Error::Misuse(_))), "{outcome:?}");
    }
    assert!(!to.exists());
}
