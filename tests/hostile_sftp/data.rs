//! Data that is short, long, empty, endless, or not what was said of it (C57).

use std::io::{Read, Write};

use feramiko::{Error, Result, SFTPClient};

use super::names::Folder;
use super::wire::{
    ATTRS, DATA, EXTENDED, FILE, HANDLE, Peer, World, alone, attributes, is_protocol, meets, packet, status,
    string,
};

/// What READ is answered with: the number, the offset and the length asked for.
type OnRead = fn(u32, u64, usize) -> Vec<u8>;

/// One file, said to be of that size.
fn serve_file(peer: &mut Peer, size: u64, on_read: OnRead) {
    peer.serve(|request| {
        Some(match request.kind {
            3 => packet(HANDLE, request.id, &string(b"handle")),
            5 => {
                let (offset, length) = request.place();
                on_read(request.id, offset, length)
            }
            8 | 17 => packet(ATTRS, request.id, &attributes(size, FILE)),
            _ => status(request.id, 0),
        })
    });
}

/// How many bytes a way to read a file gives.
type Way = fn(&SFTPClient) -> Result<usize>;

/// Every way to read a file.
const WAYS: &[(&str, Way)] = &[
    ("read_at", |sftp| sftp.open("x", "r")?.read_at(&mut [0; 1000], 0)),
    ("a large read_at", |sftp| sftp.open("x", "r")?.read_at(&mut vec![0; 80_000], 0)),
    ("readv", |sftp| {
        let file = sftp.open("x", "r")?;
        let read: Result<Vec<Vec<u8>>> = file.readv(&[(0, 10), (5, 50_000), (5, 10)]).collect();
        read.map(|parts| parts.iter().map(Vec::len).sum())
    }),
    ("prefetch", |sftp| {
        let file = sftp.open("x", "r")?;
        file.prefetch(None)?;
        let mut found = Vec::new();
        (&file).take(1 << 20).read_to_end(&mut found).map_err(|error| error.downcast::<Error>().unwrap())?;
        Ok(found.len())
    }),
    ("getfo", |sftp| sftp.getfo("x", &mut std::io::sink()).map(|count| count as usize)),
    ("get", |sftp| {
        let here = Folder::new();
        let done = sftp.get("x", here.path().join("x"))?;
        assert_eq!((done.files, here.path().join("x").exists()), (1, true));
        Ok(done.bytes as usize)
    }),
];

fn read(way: usize, size: u64, on_read: OnRead) -> Result<usize> {
    let (name, run) = WAYS[way];
    meets(
        name,
        &[],
        move |peer| serve_file(peer, size, on_read),
        move |sftp| {
            let outcome = run(&sftp);
            sftp.close();
            outcome
        },
    )
}

const LIES: &[(&str, OnRead)] = &[
    ("more than asked", |id, _, length| packet(DATA, id, &string(&vec![1; length + 1]))),
    ("as much as fits", |id, _, _| packet(DATA, id, &string(&vec![1; 255 * 1024]))),
    ("nothing", |id, _, _| packet(DATA, id, &string(b""))),
    ("a lying length", |id, _, _| packet(DATA, id, &[0, 0, 1, 0, 1, 2])),
    ("no length", |id, _, _| packet(DATA, id, b"")),
    ("more behind", |id, _, _| packet(DATA, id, &[0, 0, 0, 1, 1, 2])),
];

#[test]
fn data_that_nobody_asked_for_ends_the_connection() {
    for (way, (name, _)) in WAYS.iter().enumerate() {
        for (what, lie) in LIES {
            let error = read(way, 20_000, *lie).expect_err(name);
            assert!(is_protocol(&error), "{name} {what}: {error}");
        }
    }
}

/// What comes of a file that is said to have so many bytes, over two stripes of one session.
fn striped(size: u64, on_read: OnRead) -> Result<Vec<u8>> {
    meets(
        "striped",
        &[],
        move |peer| serve_file(peer, size, on_read),
        |sftp| {
            let here = Folder::new();
            let to = here.path().join("x");
            let outcome = sftp.transfer().atomic(true).stripe(&sftp).get("x", &to);
            sftp.close();
            assert_eq!(to.exists(), outcome.is_ok());
            outcome.map(|_| std::fs::read(&to).unwrap())
        },
    )
}

#[test]
fn stripes_take_no_lie_either() {
    for (what, lie) in LIES {
        let error = striped(20_000_000, *lie).expect_err(what);
        assert!(is_protocol(&error), "{what}: {error}");
    }
}

#[test]
fn stripes_ask_on_and_find_the_end() {
    const SIZE: u64 = 12_345_678;
    let whole: Vec<u8> = (0..SIZE).map(|at| at as u8).collect();
    let answers: [OnRead; 3] = [
        |id, offset, length| some_of(SIZE, id, offset, length, length),
        |id, offset, length| some_of(SIZE, id, offset, length, 21_000),
        |id, offset, length| some_of(SIZE, id, offset, length, 8000 + offset as usize % 20_011),
    ];
    for said in [SIZE, SIZE - 1, SIZE + 1, 9_000_000, 40_000_000, 1 << 40, u64::MAX] {
        for answer in answers {
            assert!(striped(said, answer).unwrap() == whole, "{said}");
        }
    }
    // Said to have much, and empty by now.
    assert!(striped(20_000_000, |id, _, _| status(id, 1)).unwrap().is_empty());
}

/// So much of a file of 100,000 bytes, each of them the low byte of its place.
fn some(id: u32, offset: u64, length: usize, most: usize) -> Vec<u8> {
    some_of(100_000, id, offset, length, most)
}

fn some_of(size: u64, id: u32, offset: u64, length: usize, most: usize) -> Vec<u8> {
    let left = usize::try_from(size.saturating_sub(offset)).unwrap();
    let data: Vec<u8> = (0..left.min(length).min(most)).map(|at| (offset as usize + at) as u8).collect();
    if data.is_empty() { status(id, 1) } else { packet(DATA, id, &string(&data)) }
}

#[test]
fn short_reads_are_asked_on_for() {
    let counts = [1000, 80_000, 10 + 50_000 + 10, 100_000, 100_000, 100_000];
    for (way, count) in counts.into_iter().enumerate() {
        let shorts: [OnRead; 2] = [
            |id, offset, length| some(id, offset, length, 7000),
            |id, offset, length| some(id, offset, length, 1 + offset as usize % 977),
        ];
        for short in shorts {
            let found = read(way, 100_000, short).unwrap();
            // One READ may give less.
            assert!(found == count || (way == 0 && found > 0), "{}: {found}", WAYS[way].0);
        }
    }
}

#[test]
fn a_size_that_lies_changes_nothing() {
    for size in [0, 1, 99_999, 100_001, 1 << 40, 1 << 63, u64::MAX] {
        for way in [4, 5] {
            let found = read(way, size, |id, offset, length| some(id, offset, length, length));
            assert_eq!(found.unwrap(), 100_000, "{} {size}", WAYS[way].0);
        }
    }
    // Said to have a few bytes, and empty by now.
    for way in [4, 5] {
        assert_eq!(read(way, 5, |id, _, _| status(id, 1)).unwrap(), 0, "{}", WAYS[way].0);
    }
}

/// Then nobody can tell whether another session has the same file.
#[test]
fn stripes_do_without_fstat() {
    let found = meets(
        "no fstat",
        &[],
        |peer| {
            peer.serve(|request| {
                Some(match request.kind {
                    3 => packet(HANDLE, request.id, &string(b"handle")),
                    5 => {
                        let (offset, length) = request.place();
                        some_of(9_000_000, request.id, offset, length, length)
                    }
                    8 => status(request.id, 8),
                    17 => packet(ATTRS, request.id, &attributes(9_000_000, FILE)),
                    _ => status(request.id, 0),
                })
            });
        },
        |sftp| {
            let here = Folder::new();
            let outcome = sftp.transfer().atomic(true).stripe(&sftp).get("x", here.path().join("x"));
            sftp.close();
            outcome
        },
    );
    assert_eq!(found.unwrap().bytes, 9_000_000);
}

#[test]
fn endless_small_pieces_take_no_memory() {
    alone("data::endless_small_pieces_take_no_memory", 32, || {
        /// Takes so much and no more.
        struct Enough(usize);
        impl Write for Enough {
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                self.0 = self.0.checked_sub(buf.len()).ok_or(std::io::ErrorKind::StorageFull)?;
                Ok(buf.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let error = meets(
            "endless",
            &[],
            |peer| {
                serve_file(peer, 1 << 63, |id, _, length| {
                    packet(DATA, id, &string(&vec![1; length.min(9000)]))
                })
            },
            |sftp| {
                let error = sftp.getfo("x", &mut Enough(200 << 20)).unwrap_err();
                sftp.close();
                error
            },
        );
        assert!(matches!(error, Error::Io { .. }), "{error}");
    });
}

/// The first part never comes: what is behind it is held, and no more than a bounded amount.
#[test]
fn what_waits_for_its_turn_is_bounded() {
    alone("data::what_waits_for_its_turn_is_bounded", 48, || {
        let asked = meets(
            "turn",
            &[],
            |peer| {
                let mut asked = 0_u64;
                peer.serve(|request| {
                    Some(match request.kind {
                        3 => packet(HANDLE, request.id, &string(b"handle")),
                        5 if request.place().0 == 0 => Vec::new(),
                        5 => {
                            asked += 1;
                            packet(DATA, request.id, &string(&vec![1; request.place().1]))
                        }
                        8 | 17 => packet(ATTRS, request.id, &attributes(1 << 40, FILE)),
                        _ => status(request.id, 0),
                    })
                });
                assert!(asked < 10_000, "{asked}");
            },
            |sftp| {
                sftp.set_timeout(std::time::Duration::from_secs(2));
                let error = sftp.getfo("x", &mut std::io::sink()).unwrap_err();
                sftp.close();
                error
            },
        );
        assert!(matches!(asked, Error::Timeout(_)), "{asked}");
    });
}

/// What `check-file` answers: after the number.
fn verified(answer: fn() -> Vec<u8>) -> Result<()> {
    let (outcome, whole) = verified_as(answer, false);
    assert!(whole);
    // The name is given only to what is right.
    let (atomic, named) = verified_as(answer, true);
    assert_eq!((atomic.is_ok(), named), (outcome.is_ok(), outcome.is_ok()));
    outcome
}

/// The same, and whether the file has its name then.
fn verified_as(answer: fn() -> Vec<u8>, atomic: bool) -> (Result<()>, bool) {
    meets(
        "verify",
        &["check-file-name"],
        move |peer| {
            let mut world = World::default().file("x", b"hello");
            peer.serve(|request| {
                Some(match request.kind {
                    200 => packet(EXTENDED, request.id, &answer()),
                    _ => world.answer(request),
                })
            });
        },
        move |sftp| {
            let here = Folder::new();
            let outcome = sftp.transfer().verify(true).atomic(atomic).get("x", here.file("x"));
            sftp.close();
            (outcome.map(drop), here.file("x").exists())
        },
    )
}

#[test]
fn hashes_are_compared_and_read_with_care() {
    const MD5: &[u8] = b"\x5d\x41\x40\x2a\xbc\x4b\x2a\x76\xb9\x71\x9d\x91\x10\x17\xc5\x92";
    verified(|| [&string(b"check-file")[..], &string(b"md5"), MD5].concat()).unwrap();
    // Later drafts leave the request's name out.
    verified(|| [&string(b"md5")[..], MD5].concat()).unwrap();
    let others: [fn() -> Vec<u8>; 3] = [
        || [&string(b"md5")[..], &[7; 16]].concat(),
        || [&string(b"md5")[..], MD5, MD5].concat(),
        || string(b"md5"),
    ];
    for answer in others {
        let error = verified(answer);
        let unlike = |source: &std::io::Error| source.kind() == std::io::ErrorKind::InvalidData;
        assert!(matches!(&error, Err(Error::Io { source, .. }) if unlike(source)), "{error:?}");
    }
    let broken: [fn() -> Vec<u8>; 5] = [
        Vec::new,
        || string(b"crc32"),
        || string(b"check-file"),
        || [&string(b"md5")[..], &MD5[..15]].concat(),
        || [&string(b"sha224")[..], &[7; 28]].concat(),
    ];
    for answer in broken {
        let error = verified(answer).unwrap_err();
        assert!(is_protocol(&error), "{error}");
    }
}
