//! Servers that answer late or never, and what several threads do meanwhile.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{Error, SFTPClient};

use super::answers::answer;
use super::names::Folder;
use super::wire::{ATTRS, DATA, FILE, HANDLE, World, attributes, entry, meets, packet, status, string};

const SOON: Duration = Duration::from_millis(200);

#[test]
fn a_server_that_never_answers_is_a_timeout() {
    meets(
        "never",
        &[],
        |peer| while peer.next().is_some() {},
        |sftp| {
            sftp.set_timeout(SOON);
            for _ in 0..3 {
                let began = Instant::now();
                assert!(matches!(sftp.stat("x"), Err(Error::Timeout(_))));
                assert!(began.elapsed() >= SOON);
            }
            sftp.close();
            assert!(matches!(sftp.stat("x"), Err(Error::Closed(None))));
        },
    );
}

#[test]
fn late_answers_are_for_nobody_and_late_handles_closed() {
    let closed = meets(
        "late",
        &[],
        |peer| {
            let late = [peer.expect(17), peer.expect(3), peer.expect(11)];
            let asked = peer.expect(7);
            peer.send(&answer(ATTRS, late[0].id));
            peer.send(&packet(HANDLE, late[1].id, &string(b"file")));
            peer.send(&packet(HANDLE, late[2].id, &string(b"dir")));
            peer.send(&answer(ATTRS, asked.id));
            let mut closed = Vec::new();
            peer.serve(|request| {
                if request.kind == 4 {
                    closed.push(request.subject().to_vec());
                }
                Some(answer(if request.kind == 4 { 101 } else { ATTRS }, request.id))
            });
            assert_eq!(closed, [b"file".to_vec(), b"dir".to_vec()]);
        },
        |sftp| {
            sftp.set_timeout(SOON);
            assert!(matches!(sftp.stat("x"), Err(Error::Timeout(_))));
            assert!(matches!(sftp.open("x", "r"), Err(Error::Timeout(_))));
            assert!(matches!(sftp.listdir("x"), Err(Error::Timeout(_))));
            sftp.set_timeout(Duration::from_secs(60));
            sftp.lstat("x").unwrap();
            // What is told to nobody leaves with the next request at the latest.
            sftp.lstat("x").unwrap();
            sftp.close();
            true
        },
    );
    assert!(closed);
}

/// What is told after the failure of one file: the handles of the others, which came with it, are closed.
#[test]
fn handles_that_come_with_a_failure_are_closed() {
    const FILES: usize = 30;
    let entries: Vec<Vec<u8>> =
        (0..FILES).map(|number| entry(format!("{number}").as_bytes(), &attributes(1 << 20, FILE))).collect();
    let (send, counts) = mpsc::channel();
    meets(
        "handles",
        &[],
        move |peer| {
            let mut world = World::default().dir("/tree", &entries);
            let (mut held, mut opened, mut closed) = (Vec::new(), 0, 0);
            peer.serve(|request| {
                Some(match request.kind {
                    3 => {
                        held.push(request.id);
                        if held.len() < FILES {
                            return Some(Vec::new());
                        }
                        opened = held.len() - 1;
                        let mut all = status(held[0], 3);
                        for id in &held[1..] {
                            all.extend(packet(HANDLE, *id, &string(&id.to_be_bytes())));
                        }
                        all
                    }
                    4 if request.subject() != b"/tree" => {
                        closed += 1;
                        status(request.id, 0)
                    }
                    5 => packet(DATA, request.id, &string(&vec![0; request.place().1])),
                    17 if request.subject() == b"last" => status(request.id, 2),
                    _ => world.answer(request),
                })
            });
            send.send((opened, closed)).unwrap();
        },
        |sftp| {
            let here = Folder::new();
            let outcome = sftp.transfer().recursive(true).get("/tree", here.file("in"));
            assert!(matches!(outcome, Err(Error::Sftp(_))), "{outcome:?}");
            for _ in 0..2 {
                let _ = sftp.stat("last");
            }
            sftp.close();
        },
    );
    let (opened, closed) = counts.recv().unwrap();
    assert_eq!((opened, closed), (FILES - 1, FILES - 1));
}

/// The deadline of who writes ends the wait; the packet that was cut in two goes on with the next one.
#[test]
fn a_server_that_does_not_read_is_a_timeout() {
    let (go, wait) = mpsc::channel();
    meets(
        "reads nothing",
        &[],
        move |peer| {
            let open = peer.expect(3);
            peer.send(&answer(HANDLE, open.id));
            wait.recv().unwrap();
            let mut end = 0;
            peer.serve(|request| {
                if request.kind == 6 {
                    let (offset, length) = request.place();
                    assert!(length > 0 && offset % 32_768 == 0, "{offset} {length}");
                    end = end.max(offset + length as u64);
                }
                Some(answer(if request.kind == 17 { ATTRS } else { 101 }, request.id))
            });
            assert!(end > 0);
        },
        move |sftp| {
            sftp.set_timeout(SOON);
            let file = sftp.open("x", "w").unwrap();
            let began = Instant::now();
            let error = file.write_at(&vec![7; 8 << 20], 0).unwrap_err();
            assert!(matches!(error, Error::Timeout(_)), "{error}");
            assert!(began.elapsed() < Duration::from_secs(30));
            // Nobody else waits longer.
            assert!(matches!(sftp.stat("x"), Err(Error::Timeout(_))));
            drop(file);
            sftp.set_timeout(Duration::from_secs(60));
            go.send(()).unwrap();
            assert!(sftp.stat("x").unwrap().size.is_some());
            sftp.close();
        },
    );
}

#[test]
fn closing_wakes_everybody() {
    for blocked in [false, true] {
        let (told, all_there) = mpsc::channel();
        meets(
            "close",
            &[],
            move |peer| {
                if blocked {
                    peer.answer_open();
                    // Until the client has gone: nothing is read.
                    all_there.recv().unwrap();
                }
                while peer.next().is_some() {}
            },
            move |sftp| {
                let file = blocked.then(|| sftp.open("x", "w").unwrap());
                let count = 16;
                let ready = Arc::new(Barrier::new(count + 1));
                let threads: Vec<_> = (0..count)
                    .map(|number| {
                        let (sftp, ready) = (sftp.clone(), Arc::clone(&ready));
                        thread::spawn(move || {
                            ready.wait();
                            match number % 3 {
                                0 => sftp.stat("x").map(drop),
                                1 => sftp.put("/proc/self/exe", "x").map(drop),
                                _ => sftp.listdir("x").map(drop),
                            }
                        })
                    })
                    .collect();
                ready.wait();
                if let Some(file) = &file {
                    sftp.set_timeout(SOON);
                    let _ = file.write_at(&vec![7; 4 << 20], 0);
                }
                thread::sleep(SOON);
                sftp.close();
                for thread in threads {
                    let error = thread.join().unwrap().unwrap_err();
                    assert!(matches!(error, Error::Closed(_) | Error::Timeout(_)), "{error}");
                }
                told.send(()).unwrap_or_default();
            },
        );
    }
}

#[test]
fn a_file_dropped_with_writes_under_way_is_closed_after_them() {
    meets(
        "drop",
        &[],
        |peer| {
            let open = peer.expect(3);
            peer.send(&answer(HANDLE, open.id));
            let (mut written, mut closed) = (0, false);
            peer.serve(|request| {
                match request.kind {
                    6 => {
                        assert!(!closed);
                        written += request.place().1;
                    }
                    4 => closed = true,
                    _ => {}
                }
                Some(if request.kind == 17 { answer(ATTRS, request.id) } else { status(request.id, 4) })
            });
            assert_eq!((written, closed), (400_000, true));
        },
        |sftp| {
            let mut file = sftp.open("x", "w").unwrap();
            file.set_pipelined(true).unwrap();
            // The refusals are told by a later call, or by nobody.
            file.write_all(&[7; 400_000]).unwrap_or_default();
            drop(file);
            sftp.stat("x").unwrap();
            sftp.close();
        },
    );
}

/// Writes that fail are told of, once, by whoever asks next.
#[test]
fn failed_writes_are_told() {
    meets(
        "told",
        &[],
        |peer| {
            let open = peer.expect(3);
            peer.send(&answer(HANDLE, open.id));
            peer.serve(|request| Some(status(request.id, if request.kind == 6 { 4 } else { 0 })));
        },
        |sftp| {
            let mut file = sftp.open("x", "w").unwrap();
            file.set_pipelined(true).unwrap();
            file.write_all(b"data").unwrap();
            assert!(file.flush().is_err());
            file.write_all(b"data").unwrap();
            assert!(matches!(file.close(), Err(Error::Sftp(_))));
            file.close().unwrap();
            sftp.close();
        },
    );
}

#[test]
fn half_a_mib_of_writes_is_under_way_on_a_short_line() {
    meets(
        "half a MiB",
        &[],
        |peer| {
            let open = peer.expect(3);
            peer.send(&answer(HANDLE, open.id));
            let (mut unanswered, mut bytes) = (Vec::new(), 0);
            while bytes < 512 * 1024 {
                let write = peer.expect(6);
                bytes += write.place().1;
                unanswered.push(write);
            }
            assert_eq!(bytes, 512 * 1024);
            peer.0.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            assert!(peer.next().is_none(), "more before any answer");
            peer.0.set_read_timeout(None).unwrap();
            unanswered.iter().for_each(|request| assert!(peer.send(&status(request.id, 0))));
            peer.serve(|request| Some(status(request.id, 0)));
        },
        |sftp| {
            let mut file = sftp.open("x", "w").unwrap();
            file.set_pipelined(true).unwrap();
            file.write_all(&[7; 2_000_000]).unwrap();
            file.close().unwrap();
            sftp.close();
        },
    );
}

#[test]
fn as_many_requests_are_under_way_as_are_asked_for() {
    const PART: u32 = 32 * 1024;
    const LENGTH: usize = 8_000_000;
    // Of WRITE, where half a MiB would be 16 requests and 96 KiB are kept free for answers; and of READ.
    for (kind, asked, under_way) in [(6, 0, 1), (6, 2, 2), (6, 50, 50), (6, 5000, 96), (5, 0, 1), (5, 2, 2)] {
        let here = Folder::new();
        let local = here.file("local");
        std::fs::write(&local, vec![7; LENGTH]).unwrap();
        let done = meets(
            "requests",
            &[],
            move |peer| {
                let mut world = World::default().file("x", &[7; LENGTH]);
                let mut held = Vec::new();
                while held.len() < under_way {
                    let request = peer.next().expect("a request");
                    if request.kind == kind {
                        held.push(request);
                    } else {
                        assert!(peer.send(&world.answer(&request)));
                    }
                }
                peer.0.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
                assert!(peer.next().is_none(), "more than {asked}");
                peer.0.set_read_timeout(None).unwrap();
                held.iter().for_each(|request| assert!(peer.send(&world.answer(request))));
                peer.serve(|request| Some(world.answer(request)));
            },
            move |sftp| {
                let transfer = sftp.transfer().buffer(PART).requests(asked);
                if kind == 6 { transfer.put(&local, "x") } else { transfer.get("x", &local) }
            },
        );
        assert_eq!(done.unwrap().bytes, LENGTH as u64);
    }
}

#[test]
fn clones_and_files_come_and_go() {
    meets(
        "clones",
        &[],
        |peer| {
            peer.serve(|request| {
                Some(match request.kind {
                    3 => packet(HANDLE, request.id, &string(&request.id.to_be_bytes())),
                    4 => status(request.id, 0),
                    _ => answer(ATTRS, request.id),
                })
            });
        },
        |sftp| {
            let stop = Arc::new(AtomicBool::new(false));
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let (sftp, stop) = (sftp.clone(), Arc::clone(&stop));
                    thread::spawn(move || {
                        let mut rounds = 0;
                        while !stop.load(Ordering::Relaxed) || rounds < 50 {
                            let clone: SFTPClient = sftp.clone();
                            let file = clone.open("x", "r").unwrap();
                            drop(clone);
                            file.stat().unwrap();
                            rounds += 1;
                        }
                    })
                })
                .collect();
            // The last one of all, and of a thread, ends nothing too early.
            drop(sftp);
            thread::sleep(SOON);
            stop.store(true, Ordering::Relaxed);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        },
    );
}

impl super::wire::Peer {
    /// Answers one OPEN.
    fn answer_open(&mut self) {
        let open = self.expect(3);
        self.send(&answer(HANDLE, open.id));
    }
}
