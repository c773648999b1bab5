//! The connection ends in the middle of anything.

use std::fs;
use std::net::Shutdown;

use feramiko::Error;

use super::answers::{EXTENSIONS, OPERATIONS, answer};
use super::names::Folder;
use super::wire::{DIR, FILE, LINK, World, attributes, cause, entry, meets};

#[test]
fn every_answer_may_be_cut() {
    for operation in OPERATIONS {
        let whole = answer(operation.wants, 0).len();
        for cut in 0..whole {
            let (outcome, next) = meets(
                operation.name,
                EXTENSIONS,
                move |peer| {
                    let request = peer.expect(operation.asks);
                    peer.send(&answer(operation.wants, request.id)[..cut]);
                    peer.0.shutdown(Shutdown::Write).unwrap();
                    while peer.next().is_some() {}
                },
                |sftp| {
                    let outcome = (operation.run)(&sftp);
                    let next = sftp.stat("x");
                    sftp.close();
                    (outcome, next)
                },
            );
            let ended = |error: &Error| matches!(cause(error), Error::Io { .. });
            assert!(outcome.as_ref().is_err_and(ended), "{} {cut}: {outcome:?}", operation.name);
            assert!(matches!(&next, Err(error @ Error::Closed(Some(_))) if ended(error)), "{next:?}");
        }
    }
}

/// Two files, a directory and a link, and the bytes of the server's part of getting them.
fn world() -> World {
    World::default()
        .dir(
            "/tree",
            &[
                entry(b"a", &attributes(5, FILE)),
                entry(b"d", &attributes(0, DIR)),
                entry(b"l", &attributes(0, LINK)),
            ],
        )
        .dir("/tree/d", &[entry(b"b", &attributes(0, FILE))])
        .file("/tree/a", b"hello")
        .file("/tree/d/b", b"more than was said")
        .link("/tree/l", "a")
}

/// Gets the tree; the server's end stops after so many bytes. Whether all was there, and how much it took.
fn get_until(cut: usize, atomic: bool) -> (bool, usize) {
    let (send, sent) = std::sync::mpsc::channel();
    let whole = meets(
        "cut",
        &[],
        move |peer| {
            let (mut world, mut left) = (world(), cut);
            while let Some(request) = peer.next() {
                let bytes = world.answer(&request);
                let now = bytes.len().min(left);
                left -= now;
                peer.send(&bytes[..now]);
                if now < bytes.len() {
                    peer.0.shutdown(Shutdown::Write).unwrap();
                }
            }
            send.send(cut - left).unwrap();
        },
        move |sftp| {
            let here = Folder::new();
            let outcome = sftp.transfer().recursive(true).atomic(atomic).get("/tree", here.file("in"));
            sftp.close();
            match outcome {
                Ok(done) => {
                    assert_eq!((done.files, done.links, done.directories), (2, 1, 2));
                    assert_eq!(fs::read(here.file("in/a")).unwrap(), b"hello");
                    assert_eq!(fs::read(here.file("in/d/b")).unwrap(), b"more than was said");
                    true
                }
                Err(error) => {
                    assert!(matches!(cause(&error), Error::Io { .. }), "{cut}: {error}");
                    for (name, content) in [("in/a", &b"hello"[..]), ("in/d/b", b"more than was said")] {
                        if let Ok(there) = fs::read(here.file(name)) {
                            assert!(content.starts_with(&there), "{cut}");
                            assert!(!atomic || there == content, "{cut}");
                        }
                    }
                    false
                }
            }
        },
    );
    (whole, sent.recv().unwrap())
}

#[test]
fn a_transfer_may_be_cut_after_every_byte() {
    for atomic in [false, true] {
        let (whole, length) = get_until(usize::MAX, atomic);
        assert!(whole && length > 500, "{length}");
        for cut in 0..length {
            assert!(!get_until(cut, atomic).0 || cut + 100 > length, "{cut} of {length}");
        }
    }
}
