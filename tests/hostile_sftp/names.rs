//! Names, links, modes and directories that a server makes up (C53 to C55).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use feramiko::{Error, LinkMode, Result, SFTPClient, TransferSummary};

pub(super) use super::peers::Folder;
use super::wire::{
    DIR, FILE, HANDLE, LINK, Peer, World, alone, attributes, cause, entry, is_protocol, meets, names, packet,
    status, string,
};

/// Gets the tree `/tree` of a world into the folder `in` of a new folder, which is returned.
fn get_tree(
    mut world: World,
    options: impl FnOnce(feramiko::SFTPTransfer<'static>) -> feramiko::SFTPTransfer<'static> + Send + 'static,
) -> (Folder, Result<TransferSummary>) {
    meets(
        "tree",
        &[],
        move |peer| peer.serve(|request| Some(world.answer(request))),
        move |sftp| {
            let here = Folder::new();
            fs::create_dir(here.file("in")).unwrap();
            let transfer = options(sftp.transfer().recursive(true));
            let outcome = transfer.get("/tree", here.file("in"));
            sftp.close();
            (here, outcome)
        },
    )
}

/// Every path below a folder.
fn found(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, base: &Path, list: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            list.push(path.strip_prefix(base).unwrap().to_string_lossy().into_owned());
            if path.is_dir() && !path.is_symlink() {
                walk(&path, base, list);
            }
        }
    }
    let mut list = Vec::new();
    walk(folder, folder, &mut list);
    list.sort();
    list
}

const EVIL: &[&[u8]] =
    &[b"", b"/x", b"a/b", b"../x", b"x/..", b"/", b"//", b"\0", b"x\0y", b"../../../../tmp/x", b"./x"];

#[test]
fn names_that_are_none_are_refused() {
    let long = vec![b'n'; 100_000];
    for name in EVIL.iter().copied().chain([&long[..]]) {
        for mode in [FILE, DIR, LINK] {
            let world = World::default()
                .dir("/tree", &[entry(name, &attributes(3, mode)), entry(b"good", &attributes(3, FILE))])
                .file("/tree/good", b"abc");
            let (here, outcome) = get_tree(world.clone(), |transfer| transfer);
            let shown = String::from_utf8_lossy(&name[..name.len().min(20)]).into_owned();
            let error = outcome.expect_err(&shown);
            assert!(is_protocol(&error) || matches!(cause(&error), Error::Io { .. }), "{shown:?}: {error}");
            assert!(found(here.path()).iter().all(|path| path == "in" || path == "in/good"), "{shown:?}");
            // Who goes on gets the rest.
            let (here, outcome) = get_tree(world, |transfer| transfer.on_error(|_| true));
            let done = outcome.unwrap();
            assert_eq!((done.files, done.failures.len()), (1, 1), "{shown:?}");
            assert_eq!(found(here.path()), ["in", "in/good"], "{shown:?}");
        }
    }
}

#[test]
fn dots_are_passed_over() {
    for mode in [FILE, DIR, LINK] {
        let entries = [b".".as_slice(), b"..", b".", b".."].map(|name| entry(name, &attributes(3, mode)));
        let (here, outcome) = get_tree(World::default().dir("/tree", &entries), |transfer| transfer);
        assert_eq!(outcome.unwrap().files, 0);
        assert_eq!(found(here.path()), ["in"]);
    }
}

#[test]
fn a_name_comes_once() {
    let twice = [entry(b"x", &attributes(3, FILE)), entry(b"x", &attributes(3, FILE))];
    let world = World::default().dir("/tree", &twice).file("/tree/x", b"abc");
    let (_, outcome) = get_tree(world, |transfer| transfer);
    assert!(is_protocol(&outcome.unwrap_err()));
}

/// A link, then something that goes through it; in one listing and in two transfers.
#[test]
fn no_link_is_followed() {
    let outside = Folder::new();
    let target = outside.path().to_str().unwrap().to_owned();
    fs::write(outside.file("secret"), "secret").unwrap();
    let link = || World::default().dir("/tree", &[entry(b"x", &attributes(3, LINK))]);
    let file = || World::default().dir("/tree", &[entry(b"x", &attributes(3, FILE))]).file("/tree/x", b"abc");
    let dir = || {
        World::default()
            .dir("/tree", &[entry(b"x", &attributes(3, DIR))])
            .dir("/tree/x", &[entry(b"secret", &attributes(3, FILE))])
            .file("/tree/x/secret", b"abc")
    };
    // Both in one listing, either first.
    for entries in [[LINK, DIR], [DIR, LINK], [LINK, FILE], [FILE, LINK]] {
        let entries = entries.map(|mode| entry(b"x", &attributes(3, mode)));
        let world = dir().dir("/tree", &entries).file("/tree/x", b"abc").link("/tree/x", &target);
        let (_, outcome) = get_tree(world, |transfer| transfer);
        assert!(outcome.is_err());
        assert_eq!(fs::read(outside.file("secret")).unwrap(), b"secret");
    }
    for (name, then) in [("file", file()), ("dir", dir())] {
        for to in [target.clone(), format!("{target}/secret"), format!("{target}/new")] {
            let (here, outcome) = get_tree(link().link("/tree/x", &to), |transfer| transfer);
            assert_eq!(outcome.unwrap().links, 1);
            assert_eq!(fs::read_link(here.file("in/x")).unwrap().to_str(), Some(to.as_str()));
            for atomic in [false, true] {
                let (place, mut world) = (here.file("in"), then.clone());
                let (outcome, place) = meets(
                    name,
                    &[],
                    move |peer| peer.serve(|request| Some(world.answer(request))),
                    move |sftp| {
                        let transfer = sftp.transfer().recursive(true).preserve(true).atomic(atomic);
                        let outcome = transfer.get("/tree", &place);
                        sftp.close();
                        (outcome, place)
                    },
                );
                assert_eq!(fs::read(outside.file("secret")).unwrap(), b"secret", "{name} {to}");
                assert_eq!(found(outside.path()), ["secret"], "{name} {to}");
                if atomic && name == "file" {
                    // The link's name is given to the file; what it led to is left alone.
                    assert!(outcome.is_ok() && place.join("x").symlink_metadata().unwrap().is_file());
                    fs::remove_file(place.join("x")).unwrap();
                    std::os::unix::fs::symlink(&to, place.join("x")).unwrap();
                } else {
                    assert!(matches!(outcome, Err(Error::Io { .. })), "{name} {to}: {outcome:?}");
                }
            }
        }
    }
}

#[test]
fn links_are_followed_on_the_server_only() {
    let world = || {
        World::default()
            .dir("/tree", &[entry(b"x", &attributes(3, LINK))])
            .file("/tree/x", b"abc")
            .link("/tree/x", "/etc/passwd")
    };
    let (here, outcome) = get_tree(world(), |transfer| transfer.links(LinkMode::Follow));
    assert_eq!(outcome.unwrap().files, 1);
    assert_eq!(fs::read(here.file("in/x")).unwrap(), b"abc");
    let (here, outcome) = get_tree(world(), |transfer| transfer.links(LinkMode::Skip));
    assert_eq!(outcome.unwrap().skipped, 1);
    assert_eq!(found(here.path()), ["in"]);
}

#[test]
fn special_files_and_bits_stay_there() {
    let all = 0o7777;
    let mut entries =
        vec![entry(b"file", &attributes(3, 0o100_000 | all)), entry(b"dir", &attributes(3, 0o040_000 | all))];
    for (name, kind) in
        [("fifo", 0o010_000), ("char", 0o020_000), ("block", 0o060_000), ("socket", 0o140_000)]
    {
        entries.push(entry(name.as_bytes(), &attributes(3, kind | all)));
    }
    let world = World::default().dir("/tree", &entries).dir("/tree/dir", &[]).file("/tree/file", b"abc");
    let (here, outcome) = get_tree(world, |transfer| transfer.preserve(true));
    let done = outcome.unwrap();
    assert_eq!((done.files, done.directories, done.skipped), (1, 2, 4));
    assert_eq!(found(here.path()), ["in", "in/dir", "in/file"]);
    for name in ["in/file", "in/dir"] {
        let mode = fs::metadata(here.file(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o777, "{name}");
    }
}

/// Directories below each other without end: it stops at a depth, which is above all there is in practice.
#[test]
fn endless_depth_ends() {
    let (outcome, depth) = meets(
        "depth",
        &[],
        |peer| {
            let mut listed = std::collections::HashSet::new();
            peer.serve(move |request| {
                Some(match request.kind {
                    11 => {
                        packet(HANDLE, request.id, &string(&(request.subject().len() as u32).to_be_bytes()))
                    }
                    12 if listed.insert(request.subject().to_vec()) => {
                        names(request.id, &[entry(b"d", &attributes(0, DIR))])
                    }
                    12 => status(request.id, 1),
                    _ => World::default().dir("/tree", &[]).answer(request),
                })
            });
        },
        |sftp| {
            let here = Folder::new();
            let outcome = sftp.transfer().recursive(true).get("/tree", here.file("in"));
            sftp.close();
            (outcome, found(here.path()).len())
        },
    );
    assert!(matches!(outcome, Err(Error::Limit { .. })), "{outcome:?}");
    assert!(depth <= 66, "{depth}");
}

/// READDIR is answered by `page`, for ever.
fn serve_endless(peer: &mut Peer, page: impl Fn(u64) -> Vec<Vec<u8>>) {
    let mut number = 0;
    peer.serve(|request| {
        Some(match request.kind {
            11 => packet(HANDLE, request.id, &string(b"dir")),
            12 => {
                number += 1;
                names(request.id, &page(number))
            }
            17 | 7 => packet(super::wire::ATTRS, request.id, &attributes(0, DIR)),
            3 => status(request.id, 2),
            _ => status(request.id, 0),
        })
    });
}

type Page = fn(u64) -> Vec<Vec<u8>>;

const PAGES: &[(&str, Page)] = &[
    // Special files, which are passed over at once.
    ("new names", |number| {
        (0..2000).map(|at| entry(format!("{number}-{at}").as_bytes(), &attributes(0, 0o010_644))).collect()
    }),
    ("new directories", |number| {
        (0..2000).map(|at| entry(format!("{number}-{at}").as_bytes(), &attributes(0, DIR))).collect()
    }),
    ("long names", |number| {
        let name = [&vec![b'n'; 100_000][..], &number.to_be_bytes().map(|byte| byte | 1)].concat();
        vec![entry(&name, &attributes(0, FILE)), entry(&[&name[..], b"x"].concat(), &attributes(0, FILE))]
    }),
    ("the same", |_| vec![entry(b"name", &attributes(0, FILE)); 2000]),
    ("nothing", |_| Vec::new()),
    ("dots", |_| vec![entry(b".", &attributes(0, DIR)), entry(b"..", &attributes(0, DIR))]),
];

fn endless(what: &'static str, page: Page, run: fn(&SFTPClient) -> Result<()>) -> Error {
    meets(
        what,
        &[],
        move |peer| serve_endless(peer, page),
        move |sftp| {
            sftp.set_timeout(Duration::from_secs(60));
            let error = run(&sftp).unwrap_err();
            sftp.close();
            error
        },
    )
}

#[test]
fn an_endless_listing_ends() {
    alone("names::an_endless_listing_ends", 512, || {
        for (what, page) in PAGES {
            let error = endless(what, *page, |sftp| sftp.listdir("x").map(drop));
            assert!(matches!(error, Error::Limit { .. }), "{what}: {error}");
        }
    });
}

#[test]
fn an_endless_tree_ends() {
    alone("names::an_endless_tree_ends", 160, || {
        for (what, page) in PAGES {
            let error = endless(what, *page, |sftp| {
                let here = Folder::new();
                let transfer = sftp.transfer().recursive(true);
                transfer.get("/tree", here.file("in")).map(drop)
            });
            assert!(matches!(error, Error::Limit { .. }) || is_protocol(&error), "{what}: {error}");
        }
    });
}
