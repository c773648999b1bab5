//! Servers that say no more, and a user who has had enough: whatever is waited for is given up.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{Error, Result, SFTPClient};

use super::names::Folder;
use super::wire::{DIR, World, attributes, entry, meets};

/// When the user has had enough.
const ENOUGH: Duration = Duration::from_millis(150);
/// Until then everything has returned; nothing else ends the wait before an hour is over.
const SOON: Duration = Duration::from_secs(10);

fn impatient(sftp: &SFTPClient) -> SFTPClient {
    let began = Instant::now();
    sftp.cancel_when(move || began.elapsed() > ENOUGH)
}

fn world() -> World {
    let dirs: Vec<_> = (0..4).map(|n| entry(&[b'a' + n], &attributes(0, DIR))).collect();
    let world = World::default().dir("/tree", &dirs).file("x", &[7; 300_000]);
    ["a", "b", "c", "d"].iter().fold(world, |world, dir| world.dir(&format!("/tree/{dir}"), &[]))
}

/// Requests (draft-ietf-secsh-filexfer-02, 3).
const OPEN: u8 = 3;
const MKDIR: u8 = 14;

type Run = fn(&SFTPClient, &Folder) -> Result<()>;

const RUNS: &[(&str, Run)] = &[
    ("stat", |sftp, _| sftp.stat("x").map(drop)),
    ("rename", |sftp, _| sftp.rename("x", "y")),
    ("listdir", |sftp, _| sftp.listdir("/tree").map(drop)),
    ("rmtree", |sftp, _| sftp.rmtree("/tree/a")),
    ("read", |sftp, _| {
        let mut file = sftp.open("x", "r")?;
        let count = file.read(&mut [0; 1000]).map_err(feramiko_error)?;
        assert_eq!(count, 1000);
        file.close()
    }),
    ("prefetch", |sftp, _| {
        let mut file = sftp.open("x", "r")?;
        file.prefetch(None)?;
        file.read_to_end(&mut Vec::new()).map_err(feramiko_error)?;
        file.close()
    }),
    ("write", |sftp, _| {
        let mut file = sftp.open("x", "w")?;
        file.write_all(&[1; 1_000_000]).map_err(feramiko_error)?;
        file.close()
    }),
    ("pipelined", |sftp, _| {
        let mut file = sftp.open("x", "w")?;
        file.set_pipelined(true)?;
        file.write_all(&[1; 1_000_000]).map_err(feramiko_error)?;
        file.close()
    }),
    ("get", |sftp, here| sftp.get("x", here.file("to")).map(drop)),
    ("tree", |sftp, here| sftp.transfer().recursive(true).get("/tree/a", here.file("to")).map(drop)),
    ("put", |sftp, here| {
        std::fs::write(here.file("from"), [7; 300_000]).unwrap();
        sftp.transfer().preserve(true).remove_partial(true).put(here.file("from"), "x").map(drop)
    }),
];

/// What an error of `std::io` is made of.
fn feramiko_error(error: std::io::Error) -> Error {
    error.downcast().unwrap_or(Error::Misuse("another error than ours"))
}

/// With a server that answers so many requests and says no more.
fn after(answers: usize, run: Run) -> Result<()> {
    meets(
        "silent",
        &[],
        move |peer| {
            let mut world = world();
            for _ in 0..answers {
                let Some(request) = peer.next() else { return };
                peer.send(&world.answer(&request));
            }
            while peer.next().is_some() {}
        },
        move |sftp| run(&impatient(&sftp), &Folder::new()),
    )
}

#[test]
fn every_wait_is_given_up() {
    for (name, run) in RUNS {
        let mut answers = 0;
        loop {
            let began = Instant::now();
            let outcome = after(answers, *run);
            assert!(began.elapsed() < SOON, "{name}, {answers} answers: {:?}", began.elapsed());
            match outcome {
                Ok(()) => break,
                Err(Error::Cancelled) => answers += 1,
                Err(error) => panic!("{name}, {answers} answers: {error}"),
            }
            assert!(answers < 40, "{name}");
        }
        assert!(answers > 0, "{name}");
    }
}

/// No file is emptied for what will not come.
#[test]
fn what_is_cancelled_before_it_begins_opens_nothing() {
    meets(
        "before it begins",
        &[],
        |peer| {
            let mut world = world();
            peer.serve(|request| {
                assert!(![OPEN, MKDIR].contains(&request.kind), "{request:?}");
                Some(world.answer(request))
            });
        },
        |sftp| {
            let here = Folder::new();
            std::fs::write(here.file("from"), b"data").unwrap();
            let transfer = || sftp.transfer().recursive(true).cancel_when(|| true);
            for outcome in [
                transfer().put(here.file("from"), "x").map(drop),
                transfer().put(here.path(), "/tree").map(drop),
                transfer().putfo(&mut &b"data"[..], "x").map(drop),
                transfer().get("x", here.file("from")).map(drop),
                transfer().getfo("x", &mut Vec::new()).map(drop),
            ] {
                assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
            }
            assert_eq!(std::fs::read(here.file("from")).unwrap(), b"data");
        },
    );
}

/// Late answers are for nobody; others, and who has had enough, ask on.
#[test]
fn the_connection_goes_on() {
    meets(
        "goes on",
        &[],
        |peer| {
            let late = [peer.expect(17), peer.expect(3), peer.expect(17)];
            let mut world = world();
            late.iter().for_each(|request| assert!(peer.send(&world.answer(request))));
            peer.serve(|request| Some(world.answer(request)));
        },
        |sftp| {
            let cancelled = impatient(&sftp);
            assert!(matches!(cancelled.stat("x"), Err(Error::Cancelled)));
            assert!(matches!(cancelled.open("x", "r"), Err(Error::Cancelled)));
            assert_eq!(sftp.stat("x").unwrap().size, Some(300_000));
            assert_eq!(impatient(&cancelled).stat("x").unwrap().size, Some(300_000));
        },
    );
}

/// Also where what is under way leaves no room to ask more.
#[test]
fn transfers_are_given_up_that_wait_to_ask() {
    // Of what each of these is about, nothing is told: what is in directories, and in files.
    for (silent, gets) in [(12, vec!["/tree"]), (5, vec!["x", "x", "x"])] {
        let began = Instant::now();
        let count = gets.len();
        meets(
            "cancelled",
            &[],
            move |peer| {
                let mut world = world().file("x", &[7; 8_000_000]);
                let mut opens = Vec::new();
                while let Some(request) = peer.next() {
                    if request.kind == 3 {
                        // All have been told of the file before one of them takes all the room.
                        opens.push(request);
                        if opens.len() == count {
                            opens.iter().for_each(|open| assert!(peer.send(&world.answer(open))));
                        }
                    } else if request.kind != silent || request.subject() == b"/tree" {
                        peer.send(&world.answer(&request));
                    }
                }
            },
            move |sftp| {
                let get = |from| {
                    let sftp = sftp.clone();
                    thread::spawn(move || {
                        let transfer = impatient(&sftp).transfer().recursive(true);
                        let here = Folder::new();
                        let outcome = transfer.get(from, here.file("to"));
                        assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
                    })
                };
                let threads: Vec<_> = gets.into_iter().map(get).collect();
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            },
        );
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
}
