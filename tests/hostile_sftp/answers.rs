//! Answers of the wrong kind, number, length or time (C56, C57).

use feramiko::{Error, OpenFlags, Result, SFTPAttributes, SFTPClient, SFTPStatus};

use super::wire::{
    ATTRS, DATA, EXTENDED, FILE, HANDLE, NAME, Peer, Request, STATUS, World, attributes, cause, entry,
    is_protocol, meets, names, packet, status, string,
};

pub(super) const EXTENSIONS: &[&str] =
    &["statvfs@openssh.com", "posix-rename@openssh.com", "expand-path@openssh.com"];

/// An operation of one request.
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) run: fn(&SFTPClient) -> Result<()>,
    /// The request's number, and the number of the answer besides STATUS.
    pub(super) asks: u8,
    pub(super) wants: u8,
}

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "stat", run: |sftp| sftp.stat("x").map(drop), asks: 17, wants: ATTRS },
    Operation { name: "lstat", run: |sftp| sftp.lstat("x").map(drop), asks: 7, wants: ATTRS },
    Operation { name: "normalize", run: |sftp| sftp.normalize("x").map(drop), asks: 16, wants: NAME },
    Operation { name: "readlink", run: |sftp| sftp.readlink("x").map(drop), asks: 19, wants: NAME },
    Operation { name: "open", run: |sftp| sftp.open("x", "r").map(drop), asks: 3, wants: HANDLE },
    Operation { name: "listdir", run: |sftp| sftp.listdir_iter("x").map(drop), asks: 11, wants: HANDLE },
    Operation { name: "mkdir", run: |sftp| sftp.mkdir("x", 0o755), asks: 14, wants: STATUS },
    Operation { name: "rmdir", run: |sftp| sftp.rmdir("x"), asks: 15, wants: STATUS },
    Operation { name: "remove", run: |sftp| sftp.remove("x"), asks: 13, wants: STATUS },
    Operation { name: "rename", run: |sftp| sftp.rename("x", "y"), asks: 18, wants: STATUS },
    Operation { name: "symlink", run: |sftp| sftp.symlink("x", "y"), asks: 20, wants: STATUS },
    Operation { name: "chmod", run: |sftp| sftp.chmod("x", 0o644), asks: 9, wants: STATUS },
    Operation { name: "posix_rename", run: |sftp| sftp.posix_rename("x", "y"), asks: 200, wants: STATUS },
    Operation { name: "statvfs", run: |sftp| sftp.statvfs("x").map(drop), asks: 200, wants: EXTENDED },
    Operation { name: "expand_path", run: |sftp| sftp.expand_path("~").map(drop), asks: 200, wants: NAME },
];

/// A good answer of each kind.
pub(super) fn answer(kind: u8, id: u32) -> Vec<u8> {
    match kind {
        STATUS => status(id, 0),
        HANDLE => packet(HANDLE, id, &string(b"handle")),
        DATA => packet(DATA, id, &string(b"data")),
        NAME => names(id, &[entry(b"name", &attributes(5, FILE))]),
        ATTRS => packet(ATTRS, id, &attributes(5, FILE)),
        EXTENDED => packet(EXTENDED, id, &[0; 88]),
        other => packet(other, id, b""),
    }
}

/// The first request of `operation` is answered by `reply`; what the client says of that, and of the next
/// thing that it is asked.
pub(super) fn asked(
    operation: &'static Operation,
    reply: impl Fn(u32) -> Vec<u8> + Send + 'static,
) -> (Result<()>, Result<()>) {
    meets(
        operation.name,
        EXTENSIONS,
        move |peer| {
            let request = peer.expect(operation.asks);
            peer.send(&reply(request.id));
            peer.serve(|request| Some(World::default().answer(request)));
        },
        |sftp| {
            let first = (operation.run)(&sftp);
            (first, sftp.remove("next"))
        },
    )
}

fn is_over(outcome: &Result<()>) -> bool {
    matches!(outcome, Err(Error::Closed(Some(why))) if is_protocol(why))
}

#[test]
fn a_wrong_kind_ends_the_connection() {
    for operation in OPERATIONS {
        for kind in [0, 1, 2, STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED, 200, 255] {
            let (outcome, next) = asked(operation, move |id| answer(kind, id));
            if kind == operation.wants {
                assert!(outcome.is_ok() && next.is_ok(), "{}: {outcome:?} {next:?}", operation.name);
            } else {
                let error = outcome.expect_err(operation.name);
                assert!(is_protocol(&error), "{} {kind}: {error}", operation.name);
                assert!(is_over(&next), "{} {kind}: {next:?}", operation.name);
            }
        }
        let (outcome, next) = asked(operation, |id| status(id, 4));
        assert!(matches!(outcome, Err(Error::Sftp(_))) && next.is_ok(), "{}: {outcome:?}", operation.name);
    }
}

#[test]
fn a_short_or_long_answer_ends_the_connection() {
    for operation in OPERATIONS {
        let whole = answer(operation.wants, 0);
        // Behind length, kind and number.
        for end in 9..whole.len() {
            let (outcome, _) = asked(operation, move |id| {
                let whole = answer(operation.wants, id);
                string(&whole[4..end])
            });
            // A status without words, or without their language, is taken as what it is.
            let taken = operation.wants == STATUS && [13, 25].contains(&end);
            let broken = outcome.as_ref().is_err_and(is_protocol);
            assert!(broken || (taken && outcome.is_ok()), "{} {end}: {outcome:?}", operation.name);
        }
        let (outcome, _) =
            asked(operation, |id| string(&[&answer(operation.wants, id)[4..], b"more"].concat()));
        assert!(outcome.as_ref().is_err_and(is_protocol), "{}: {outcome:?}", operation.name);
    }
}

#[test]
fn a_length_that_none_has_ends_the_connection() {
    for length in [0_u32, 1, 4, 256 * 1024 + 1, u32::MAX] {
        let (outcome, next) = asked(&OPERATIONS[0], move |id| {
            [&length.to_be_bytes()[..], &[ATTRS], &id.to_be_bytes()].concat()
        });
        assert!(outcome.as_ref().is_err_and(is_protocol), "{length}: {outcome:?}");
        assert!(is_over(&next), "{length}: {next:?}");
    }
}

#[test]
fn another_request_s_number_ends_the_connection() {
    for wrong in [1_u32, 77, u32::MAX] {
        let (outcome, next) = asked(&OPERATIONS[0], move |id| answer(ATTRS, id.wrapping_add(wrong)));
        assert!(outcome.as_ref().is_err_and(is_protocol), "{outcome:?}");
        assert!(is_over(&next), "{next:?}");
    }
    // The second answer to a request is one to a request that was not made.
    let (outcome, next) = asked(&OPERATIONS[0], |id| [answer(ATTRS, id), answer(ATTRS, id)].concat());
    assert!(outcome.is_ok() && is_over(&next), "{outcome:?} {next:?}");
}

#[test]
fn answers_may_change_places() {
    let read = meets(
        "order",
        &[],
        |peer| {
            let open = peer.expect(3);
            peer.send(&answer(HANDLE, open.id));
            let mut held: Vec<Request> = Vec::new();
            while let Some(request) = peer.next() {
                held.push(request);
                if held.len() == 3 || held.last().is_some_and(|last| last.kind == 4) {
                    for request in held.drain(..).rev() {
                        let (offset, length) = if request.kind == 5 { request.place() } else { (0, 0) };
                        let data: Vec<u8> = (offset..offset + length as u64).map(|at| at as u8).collect();
                        let answer = if request.kind == 5 {
                            packet(DATA, request.id, &string(&data))
                        } else {
                            status(request.id, 0)
                        };
                        peer.send(&answer);
                    }
                }
            }
        },
        |sftp| {
            let file = sftp.open("x", "r").unwrap();
            let mut buf = vec![0; 90_000];
            let count = file.read_at(&mut buf, 0).unwrap();
            drop(file);
            sftp.close();
            buf.truncate(count);
            buf
        },
    );
    assert!(read.len() == 90_000 && read.iter().zip(0_u64..).all(|(byte, at)| *byte == at as u8));
}

#[test]
fn names_come_one_or_none() {
    for count in [0_usize, 2] {
        let (outcome, _) =
            asked(&OPERATIONS[2], move |id| names(id, &vec![entry(b"name", &attributes(5, FILE)); count]));
        assert!(outcome.as_ref().is_err_and(is_protocol), "{count}: {outcome:?}");
    }
    for count in [2_u32, u32::MAX] {
        let lying = [&count.to_be_bytes()[..], &entry(b"name", &attributes(5, FILE))].concat();
        let (outcome, _) = asked(&OPERATIONS[2], move |id| packet(NAME, id, &lying));
        assert!(outcome.as_ref().is_err_and(is_protocol), "{count}: {outcome:?}");
    }
}

#[test]
fn handles_have_a_length() {
    for (length, right) in [(0, false), (1, true), (256, true), (257, false), (100_000, false)] {
        for operation in [&OPERATIONS[4], &OPERATIONS[5]] {
            let (outcome, _) = asked(operation, move |id| packet(HANDLE, id, &string(&vec![7; length])));
            assert_eq!(outcome.is_ok(), right, "{length} {outcome:?}");
            assert!(right || outcome.is_err_and(|error| is_protocol(&error)));
        }
    }
}

#[test]
fn attributes_may_be_strange() {
    let strange: &[(&str, Vec<u8>, bool)] = &[
        ("none", 0_u32.to_be_bytes().to_vec(), true),
        ("unknown flags", 0x10_u32.to_be_bytes().to_vec(), false),
        ("2^32 pairs", [&0x8000_0000_u32.to_be_bytes()[..], &[0xff; 4]].concat(), false),
        ("the largest size", attributes(u64::MAX, FILE), true),
        ("every bit of the mode", attributes(1, u32::MAX), true),
    ];
    for (what, body, right) in strange {
        let body = body.clone();
        let (outcome, _) = asked(&OPERATIONS[0], move |id| packet(ATTRS, id, &body));
        assert_eq!(outcome.is_ok(), *right, "{what}: {outcome:?}");
    }
}

#[test]
fn a_refusal_s_words_do_no_harm() {
    let words = [b'\x1b', b'[', b'2', b'J', 0, 0xff].repeat(30_000);
    let (outcome, next) = asked(&OPERATIONS[0], move |id| {
        packet(STATUS, id, &[&4_u32.to_be_bytes()[..], &string(&words), &string(b"")].concat())
    });
    let error = outcome.unwrap_err();
    assert!(matches!(&error, Error::Sftp(refused) if refused.status == SFTPStatus::FAILURE), "{error:?}");
    assert!(!error.to_string().chars().any(char::is_control));
    assert!(next.is_ok());
}

/// A file that is open, and what the server does then.
fn opened<T: Send + 'static>(
    serve: impl FnOnce(&mut Peer) + Send + 'static,
    then: impl FnOnce(&feramiko::SFTPFile) -> T + Send + 'static,
) -> T {
    meets(
        "file",
        &[],
        move |peer| {
            let open = peer.expect(3);
            peer.send(&answer(HANDLE, open.id));
            serve(peer);
        },
        move |sftp| {
            let attributes = SFTPAttributes::new();
            let file = sftp.open_with("x", OpenFlags::READ | OpenFlags::WRITE, &attributes).unwrap();
            let outcome = then(&file);
            sftp.close();
            outcome
        },
    )
}

#[test]
fn operations_on_files_want_their_kind() {
    type Run = fn(&feramiko::SFTPFile) -> Result<()>;
    let operations: [(u8, Run); 5] = [
        (ATTRS, |file| file.stat().map(drop)),
        (STATUS, |file| file.chmod(0o600)),
        (STATUS, |file| file.write_at(b"data", 0)),
        (STATUS, |file| file.close()),
        (DATA, |file| file.read_at(&mut [0; 4], 0).map(drop)),
    ];
    for (wants, run) in operations {
        for kind in [STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED, 7] {
            let outcome = opened(move |peer| peer.serve(move |request| Some(answer(kind, request.id))), run);
            match outcome {
                Ok(()) => assert_eq!(kind, wants),
                Err(error) => assert!(is_protocol(&error) && kind != wants, "{wants} {kind}: {error}"),
            }
        }
    }
    let closed = opened(|peer| drop(peer.next()), |file| file.read_at(&mut [0; 4], 0)).unwrap_err();
    assert!(matches!(cause(&closed), Error::Io { .. }), "{closed}");
}

/// Servers that say as little as version 3 lets them, or less: VanDyke's VShell announces one extension of its
/// own, Cisco's server leaves the words of a status out, others have no long names or say nothing of a file.
#[test]
fn servers_of_few_words_are_understood() {
    use super::names::Folder;
    meets(
        "few words",
        &["newline@vandyke.com"],
        |peer| {
            let unknown = 0_u32.to_be_bytes();
            let mut world = World::default().file("/tree/file", b"hello");
            let mut listed = false;
            peer.serve(|request| {
                let bare = |code: u32| packet(STATUS, request.id, &code.to_be_bytes());
                Some(match request.kind {
                    11 => packet(HANDLE, request.id, &string(b"dir")),
                    12 if !std::mem::replace(&mut listed, true) => {
                        names(request.id, &[entry(b"file", &unknown), entry(b".", &unknown)])
                    }
                    12 => bare(1),
                    17 if request.subject() == b"/tree" => {
                        packet(ATTRS, request.id, &attributes(0, 0o040_755))
                    }
                    7 | 17 => packet(ATTRS, request.id, &unknown),
                    16 => names(request.id, &[entry(b"/C/Users/me", &unknown)]),
                    3 | 5 => world.answer(request),
                    13 => bare(2),
                    _ => bare(0),
                })
            });
        },
        |sftp| {
            assert_eq!(sftp.getcwd().unwrap(), "/C/Users/me");
            assert!(sftp.stat("x").unwrap().size.is_none());
            let missing = sftp.remove("x").unwrap_err();
            assert!(matches!(&missing, Error::Sftp(refused) if refused.status == SFTPStatus::NO_SUCH_FILE));
            sftp.mkdir("x", 0o755).unwrap();
            let here = Folder::new();
            let done = sftp.transfer().recursive(true).get("/tree", here.file("in")).unwrap();
            assert_eq!((done.files, std::fs::read(here.file("in/file")).unwrap()), (1, b"hello".to_vec()));
            sftp.close();
        },
    );
}
