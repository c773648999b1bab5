//! Large files over several sessions at once, both ways: one that stands still or is cut off, and what is left then.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use feramiko::{
    Error, LocalServer, Result, SFTPClient, SFTPServer, SFTPStatus, SFTPTransfer, TransferSummary,
};

use super::cut::was_cut;
use super::disks::Small;
use super::peers::Folder;
use super::relay::{Whose, client, cut, noise, other_stalled, same, stalled};
use super::watch::within;

/// As its documentation has it: what a failure leaves may have holes in so much of its end.
const SPREAD: usize = 16 * 1024 * 1024;
/// More than twice that, and a piece.
const LENGTH: usize = 40_012_345;
/// A transfer asks whether it is cancelled before all else, and then when its file is open.
const OPEN: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Get,
    Put,
}

impl Way {
    fn run(self, transfer: SFTPTransfer<'_>, from: &Path, to: &Path) -> Result<TransferSummary> {
        match self {
            Self::Get => transfer.get(from.to_str().unwrap(), to),
            Self::Put => transfer.put(from, to.to_str().unwrap()),
        }
    }

    /// Down and up, of so many bytes of data.
    fn bytes(self, count: usize) -> (usize, usize) {
        if self == Self::Get { (count, usize::MAX) } else { (usize::MAX, count) }
    }
}

/// Runs with every server, both ways.
fn ways(name: &str, run: fn(Whose, Way)) {
    for whose in Whose::all() {
        for way in [Way::Get, Way::Put] {
            within(&format!("{name} {whose:?} {way:?}"), move || run(whose, way));
        }
    }
}

fn over(sessions: &[SFTPClient]) -> SFTPTransfer<'static> {
    let (first, others) = sessions.split_first().unwrap();
    others.iter().fold(first.transfer().atomic(true), SFTPTransfer::stripe)
}

fn two(whose: Whose) -> [SFTPClient; 2] {
    [client(whose), client(whose)]
}

/// A file of so many bytes that are the same whoever makes it.
fn source(here: &Folder, length: usize) -> (PathBuf, Vec<u8>) {
    let (path, data) = (here.file("from"), noise(7, length));
    fs::write(&path, &data).unwrap();
    (path, data)
}

/// How much of a part is certainly there.
fn sure(part: &[u8], data: &[u8]) -> usize {
    let sure = part.len().saturating_sub(SPREAD);
    assert!(part.len() < data.len() && part[..sure] == data[..sure], "a hole before the last 16 MiB");
    sure
}

#[test]
fn a_file_over_two_and_over_four_sessions() {
    ways("stripes", |whose, way| {
        for count in [2, 4] {
            let here = Folder::new();
            let (from, data) = source(&here, LENGTH);
            let to = here.file("to");
            let sessions: Vec<_> = (0..count).map(|_| client(whose)).collect();
            let mut told = Vec::new();
            let transfer = over(&sessions).preserve(true).progress(|at| told.push((at.done, at.finished)));
            let done = way.run(transfer, &from, &to).unwrap();
            assert_eq!((done.bytes as usize, done.files), (LENGTH, 1));
            assert!(fs::read(&to).unwrap() == data);
            assert!(!here.file("to.fileparts").exists());
            assert!(told.is_sorted() && told.last() == Some(&(LENGTH as u64, true)), "{told:?}");
        }
    });
}

#[test]
fn a_session_that_stands_still_holds_the_others_up_before_they_are_too_far() {
    ways("still", |whose, way| {
        let here = Folder::new();
        for (length, passed) in [(LENGTH, 5_000_000), (LENGTH, 400_000), (9_000_000, 100_000)] {
            let (from, data) = source(&here, length);
            let to = here.file(&format!("to{length}.{passed}"));
            let (down, up) = way.bytes(passed);
            let sessions = other_stalled(whose, down, up, Duration::from_secs(1));
            let error = way.run(over(&sessions), &from, &to).unwrap_err();
            assert!(was_cut(&error), "{error}");
            let part = fs::read(to.with_extension(format!("{passed}.fileparts"))).unwrap();
            assert!(!to.exists());
            let sure = sure(&part, &data);
            let done = way.run(over(&two(whose)).resume(true), &from, &to).unwrap();
            assert_eq!(done.bytes as usize, length - sure);
            assert!(fs::read(&to).unwrap() == data);
            let again = way.run(over(&two(whose)).resume(true), &from, &to).unwrap();
            assert_eq!((again.bytes, again.skipped), (0, 1));
        }
    });
}

#[test]
fn sessions_cut_again_and_again() {
    ways("cut", |whose, way| {
        let here = Folder::new();
        let (from, data) = source(&here, LENGTH);
        let to = here.file("to");
        let mut attempts = 0;
        // Which of the two goes, and when: beyond what is moved again there must be some way forward.
        for (first, second) in [(12, 13), (3, 90), (90, 2), (1, 90), (90, 11), (25, 90), (90, 24), (90, 90)] {
            attempts += 1;
            let one = |megabytes: usize| {
                let (down, up) = way.bytes(megabytes * 1_000_000);
                cut(whose, down, up).unwrap()
            };
            match way.run(over(&[one(first), one(second)]).resume(true), &from, &to) {
                Ok(_) => break,
                Err(error) => assert!(was_cut(&error), "{error}"),
            }
            sure(&fs::read(here.file("to.fileparts")).unwrap(), &data);
            assert!(!to.exists());
        }
        // Only the first is certain: later ones may leave all to the session that is not cut.
        assert!(attempts > 1, "{attempts}");
        assert!(fs::read(&to).unwrap() == data);
    });
}

#[test]
fn trees_holes_and_files_that_are_too_small() {
    ways("tree", |whose, way| {
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
        let transfer = over(&two(whose)).recursive(true).sparse(true).verify(whose == Whose::Ours);
        assert_eq!(way.run(transfer, &from, &to).unwrap().files, 7);
        same(&from, &to);
        let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(to.join("holes")).unwrap());
        assert!(blocks * 512 < 15_000_000, "{blocks}");
    });
}

/// What an attempt left was made of another file, whose bytes would show where the file has a hole now.
#[test]
fn what_lies_in_a_part_does_not_show_through_holes() {
    ways("through", |whose, way| {
        let here = Folder::new();
        let mut data = noise(7, 30_000_000);
        fs::write(here.file("to.fileparts"), &data[..26_000_000]).unwrap();
        data[12_000_000..29_000_000].fill(0);
        let (from, to) = (here.file("from"), here.file("to"));
        fs::write(&from, &data).unwrap();
        let done = way.run(over(&two(whose)).resume(true).sparse(true), &from, &to).unwrap();
        assert!(done.bytes < 30_000_000, "{}", done.bytes);
        assert!(fs::read(&to).unwrap() == data);
    });
}

/// A part may have holes though it is as long as the file: when it was made, that was longer.
#[test]
fn a_part_as_long_as_the_file_is_not_taken_for_whole() {
    ways("shrunk", |whose, way| {
        let here = Folder::new();
        let (from, data) = source(&here, 30_000_000);
        let to = here.file("to");
        let mut part = data.clone();
        part[15_000_000..29_000_000].fill(0);
        fs::write(here.file("to.fileparts"), part).unwrap();
        way.run(over(&two(whose)).resume(true), &from, &to).unwrap();
        assert!(fs::read(&to).unwrap() == data);
    });
}

#[test]
fn what_a_full_disk_refuses_is_gone_on_with() {
    ways("full", |whose, way| {
        let (Some(small), here) = (Small::new(4096), Folder::new()) else { return };
        let (from, data) = source(&here, 12_000_000);
        let to = small.0.file("to");
        let error = way.run(over(&two(whose)), &from, &to).unwrap_err();
        assert!(matches!(error, Error::Sftp(_) | Error::Io { .. }), "{error}");
        assert!(!to.exists());
        small.grow();
        way.run(over(&two(whose)).resume(true), &from, &to).unwrap();
        assert!(fs::read(&to).unwrap() == data);
    });
}

/// A client of a server that has nothing but that folder, and the server's thread, which ends with the client.
fn rooted(there: &Folder) -> (SFTPClient, JoinHandle<()>) {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let root = there.path().to_owned();
    let server = thread::spawn(move || {
        let write = far.try_clone().unwrap();
        let _ = SFTPServer::new(LocalServer::rooted(root).unwrap()).serve(&far, write);
    });
    (SFTPClient::over(near).unwrap(), server)
}

#[test]
fn a_session_with_another_server_is_refused() {
    for way in [Way::Get, Way::Put] {
        let there = [Folder::new(), Folder::new()];
        let sessions = [rooted(&there[0]).0, rooted(&there[1]).0];
        let here = Folder::new();
        let (from, to) = match way {
            Way::Get => {
                fs::write(there[0].file("from"), noise(1, 9_000_000)).unwrap();
                ("/from".into(), here.file("to"))
            }
            Way::Put => (source(&here, 9_000_000).0, "/to".into()),
        };
        let other = if way == Way::Get { "from" } else { "to.fileparts" };
        // It has no such file, and another one of that name.
        for length in [None, Some(9_000_001), Some(8_999_999)] {
            if let Some(length) = length {
                fs::write(there[1].file(other), noise(2, length)).unwrap();
            }
            let transfer = over(&sessions).remove_partial(true);
            let error = way.run(transfer, &from, &to).unwrap_err();
            match (length, &error) {
                (None, Error::Sftp(error)) => assert_eq!(error.status, SFTPStatus::NO_SUCH_FILE),
                (Some(_), Error::Io { .. }) => assert!(error.to_string().contains("another file"), "{error}"),
                _ => panic!("{error}"),
            }
            let left =
                [&there[0], &there[1], &here].map(|folder| fs::read_dir(folder.path()).unwrap().count());
            let wanted = if way == Way::Get { [1, 0, 0] } else { [0, 0, 1] };
            assert_eq!(left, [wanted[0], usize::from(length.is_some()), wanted[2]], "{way:?}");
            if let Some(length) = length {
                assert!(fs::read(there[1].file(other)).unwrap() == noise(2, length));
            }
        }
        // Both go on.
        assert!(sessions.iter().all(|session| session.exists("/").unwrap()));
    }
}

#[test]
fn a_transfer_that_is_cancelled_or_whose_user_panics_ends_all_lanes() {
    ways("cancelled", |_, way| {
        for panics in [false, true] {
            let here = Folder::new();
            let (from, data) = source(&here, LENGTH);
            let to = here.file("to");
            // As the server has it, whose root that folder is.
            let there = |path: &Path| Path::new("/").join(path.file_name().unwrap());
            let (name, goal) = match way {
                Way::Get => (there(&from), to.clone()),
                Way::Put => (from, there(&to)),
            };
            let run = |transfer| way.run(transfer, &name, &goal);
            let ((first, one), (second, other)) = (rooted(&here), rooted(&here));
            let sessions = [first, second];
            let asked = AtomicUsize::new(0);
            let transfer = over(&sessions).cancel_when(move || {
                if asked.fetch_add(1, Ordering::Relaxed) < OPEN {
                    return false;
                }
                // The other session goes as far as it may, and waits.
                thread::sleep(Duration::from_secs(1));
                assert!(!panics, "as a user's callback may");
                true
            });
            match catch_unwind(AssertUnwindSafe(|| run(transfer))) {
                Ok(outcome) => assert!(!panics && matches!(outcome, Err(Error::Cancelled)), "{outcome:?}"),
                Err(_) => assert!(panics),
            }
            assert!(!to.exists());
            // Nobody holds a session any more.
            drop(sessions);
            for server in [one, other] {
                server.join().unwrap();
            }
            run(over(&[rooted(&here).0, rooted(&here).0]).resume(true)).unwrap();
            assert!(fs::read(&to).unwrap() == data);
        }
    });
}

/// A server that says nothing for a minute: nobody waits for it who is told to end, or has failed elsewhere.
#[test]
fn a_session_that_stands_still_keeps_nobody_from_ending() {
    const MINUTE: Duration = Duration::from_secs(60);
    ways("ends", |whose, way| {
        let here = Folder::new();
        let (from, _) = source(&here, LENGTH);
        let (down, up) = way.bytes(1_000_000);
        let failing = || cut(whose, down, up).unwrap();
        let (down, up) = way.bytes(100_000);
        let still = || stalled(whose, down, up, MINUTE);
        let slow = |transfer: SFTPTransfer<'static>| transfer.bandwidth(5_000);
        let cases: [(&str, SFTPTransfer<'_>, bool); 6] = [
            ("one", over(&[still()]), true),
            ("the first", over(&[still(), client(whose)]), true),
            ("the other", over(&other_stalled(whose, down, up, MINUTE)), true),
            ("one is slow", slow(over(&[client(whose)])), true),
            ("both are slow", slow(over(&two(whose))), true),
            ("one fails", over(&[still(), failing()]), false),
        ];
        for (name, transfer, cancelled) in cases {
            let began = Instant::now();
            let to = here.file(name);
            let transfer =
                transfer.cancel_when(move || cancelled && began.elapsed() > Duration::from_millis(500));
            let error = way.run(transfer, &from, &to).unwrap_err();
            let took = began.elapsed();
            assert!(took < MINUTE / 4, "{name}: {took:?}");
            assert_eq!(matches!(error, Error::Cancelled), cancelled, "{name}: {error}");
            assert!(!to.exists());
        }
    });
}

/// It is read, and nothing of it sent.
#[test]
fn a_put_of_one_great_hole_can_be_cancelled() {
    within("hole", || {
        let here = Folder::new();
        let from = here.file("from");
        fs::File::create(&from).unwrap().set_len(200 << 30).unwrap();
        for count in [1, 2] {
            let sessions: Vec<_> = (0..count).map(|_| client(Whose::Ours)).collect();
            let began = Instant::now();
            let transfer = over(&sessions).sparse(true);
            let transfer = transfer.cancel_when(move || began.elapsed() > Duration::from_millis(300));
            let error = Way::Put.run(transfer, &from, &here.file("to")).unwrap_err();
            assert!(matches!(error, Error::Cancelled), "{error}");
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        }
    });
}

#[test]
fn a_source_that_changes_is_never_half_of_each() {
    ways("changes", |whose, way| {
        for length in [0, 1, 9_000_000, 20_000_000, LENGTH as u64 + 3_000_000] {
            let here = Folder::new();
            let (from, whole) = source(&here, LENGTH);
            let to = here.file("to");
            let file = fs::OpenOptions::new().write(true).open(&from).unwrap();
            let asked = AtomicUsize::new(0);
            let sessions = two(whose);
            let transfer = over(&sessions).cancel_when(move || {
                if asked.fetch_add(1, Ordering::Relaxed) + 1 == OPEN {
                    file.set_len(length).unwrap();
                }
                false
            });
            way.run(transfer, &from, &to).unwrap();
            let there = fs::read(&to).unwrap();
            // As over one session: what was moved by then, and the rest as it is now.
            let common = there.len().min(LENGTH);
            assert!(there.len() >= length as usize && there[..common] == whole[..common], "{}", there.len());
            assert!(there[common..].iter().all(|byte| *byte == 0));
        }
    });
}

/// It becomes shorter than what an attempt before has left, which was made of another file.
#[test]
fn what_lies_in_a_part_does_not_stand_behind_the_end() {
    ways("behind", |whose, way| {
        let here = Folder::new();
        let (from, whole) = source(&here, LENGTH);
        let to = here.file("to");
        let mut part = whole[..38_000_000].to_vec();
        part[22_000_000..].fill(0xff);
        fs::write(here.file("to.fileparts"), part).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&from).unwrap();
        let sessions = two(whose);
        let asked = AtomicUsize::new(0);
        let transfer = over(&sessions).resume(true).cancel_when(move || {
            if asked.fetch_add(1, Ordering::Relaxed) + 1 >= OPEN {
                file.set_len(28_000_000).unwrap();
            }
            false
        });
        way.run(transfer, &from, &to).unwrap();
        let there = fs::read(&to).unwrap();
        assert!(there.len() < 38_000_000 && whole.starts_with(&there), "{}", there.len());
    });
}

#[test]
fn a_limit_holds_for_all_sessions_together() {
    for way in [Way::Get, Way::Put] {
        let here = Folder::new();
        let (from, _) = source(&here, 12_000_000);
        let to = here.file("to");
        let sessions = [client(Whose::Ours), client(Whose::Ours), client(Whose::Ours)];
        let began = Instant::now();
        way.run(over(&sessions).bandwidth(6_000_000), &from, &to).unwrap();
        let took = began.elapsed();
        assert!(took > Duration::from_millis(1500), "{took:?}");
        same(&from, &to);
    }
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
        striped().get(name, &to).map(drop),
        striped().atomic(true).getfo(name, &mut Vec::new()).map(drop),
        striped().atomic(true).putfo(&mut &b"data"[..], there).map(drop),
    ] {
        assert!(matches!(outcome, Err(Error::Misuse(_))), "{outcome:?}");
    }
    assert!(!to.exists());
}
