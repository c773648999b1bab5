//! This machine's files, as OpenSSH's server has them.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use super::*;
use crate::sftp::packet::SFTPTime;
use crate::sftp::packet::extension as ext;
use crate::sftp::server::LocalServer;
use crate::sys::file::tests::Directory;

/// A directory with a server that starts there, and one whose root it is.
fn served(test: impl Fn(&Directory, &mut Peer)) {
    for rooted in [false, true] {
        let directory = Directory::new();
        let server =
            if rooted { LocalServer::rooted(&directory.0) } else { LocalServer::starting_in(&directory.0) };
        let mut peer = Peer::new(server.unwrap());
        test(&directory, &mut peer);
        peer.end().unwrap();
    }
}

const OK: SFTPStatus = SFTPStatus::OK;
const WRITE: OpenFlags = OpenFlags(2 | 8 | 16);

#[test]
fn files_are_written_and_read() {
    served(|directory, peer| {
        let handle = peer.open("new", WRITE).unwrap();
        assert_eq!(peer.write(&handle, 3, b"def"), OK);
        assert_eq!(peer.write(&handle, 0, b"abc"), OK);
        assert_eq!(peer.read(&handle, 0, 10), Err(SFTPStatus::FAILURE), "not open for reading");
        assert_eq!(peer.close(&handle), OK);
        assert_eq!(fs::read(directory.file("new")).unwrap(), b"abcdef");
        let handle = peer.open("new", OpenFlags::READ).unwrap();
        assert_eq!(peer.read(&handle, 4, 10).unwrap(), b"ef");
        assert_eq!(peer.read(&handle, 6, 10), Err(SFTPStatus::EOF));
        assert_eq!(peer.write(&handle, 0, b"x"), SFTPStatus::FAILURE);
        assert_eq!(peer.close(&handle), OK);
        let handle = peer.open("new", OpenFlags::APPEND | OpenFlags::WRITE).unwrap();
        assert_eq!(peer.write(&handle, 0, b"gh"), OK);
        assert_eq!(peer.close(&handle), OK);
        assert_eq!(peer.contents("new").unwrap(), "abcdefgh");
        let exclusive = WRITE | OpenFlags::EXCLUSIVE;
        assert_eq!(peer.open("new", exclusive), Err(SFTPStatus::FAILURE));
        symlink("new", directory.file("link")).unwrap();
        assert_eq!(peer.open("link", exclusive), Err(SFTPStatus::FAILURE));
        assert_eq!(peer.contents("link").unwrap(), "abcdefgh");
        assert_eq!(peer.open("new", OpenFlags(0)), Err(SFTPStatus::FAILURE));
        assert_eq!(peer.open("none", OpenFlags::READ), Err(SFTPStatus::NO_SUCH_FILE));
        assert_eq!(peer.open("new/x", OpenFlags::READ), Err(SFTPStatus::NO_SUCH_FILE));
        // A link to what is not there yet.
        symlink("later", directory.file("dangling")).unwrap();
        let handle = peer.open("dangling", WRITE).unwrap();
        assert_eq!(peer.close(&handle), OK);
        assert!(directory.file("later").is_file());
    });
}

#[test]
fn names_may_be_any_bytes() {
    served(|_, peer| {
        for name in ["with space", "new\nline", "\"'`$(x)", "naïve", "-rf", "~", "%s"] {
            let handle = peer.open(name, WRITE).unwrap();
            assert_eq!(peer.close(&handle), OK);
            assert_eq!(peer.contents(name).unwrap(), "");
            assert_eq!(
                peer.list(".").unwrap(),
                [name.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")],
                "{name}"
            );
            assert_eq!(peer.on_path("remove", name), OK);
        }
        let id = peer.id();
        let bytes = b"\xff\xfe";
        assert_eq!(peer.status(&msg::Mkdir { id, path: bytes, attributes: Rest(&[0; 4]) }), OK);
        let id = peer.id();
        assert_eq!(peer.status(&msg::Rmdir { id, path: bytes }), OK);
    });
}

#[test]
fn attributes_are_told_and_set() {
    served(|directory, peer| {
        let mode = SFTPAttributes::new().with_mode(0o600);
        let handle = peer.open_with("file", WRITE, &mode).unwrap();
        assert_eq!(peer.close(&handle), OK);
        symlink("file", directory.file("link")).unwrap();
        let (accessed, modified) = (SFTPTime::from_seconds(1), SFTPTime::from_seconds(u32::MAX.into()));
        let owner = fs::metadata(directory.file("file")).unwrap();
        let set = SFTPAttributes::new()
            .with_size(1 << 33)
            .with_mode(0o100_640)
            .with_owner(owner.uid(), owner.gid())
            .with_times(accessed, modified);
        assert_eq!(peer.setstat("link", &set), OK);
        for found in [peer.stat("link").unwrap(), peer.lstat("file").unwrap()] {
            assert_eq!(found, set, "{found:?}");
        }
        // Of the link itself.
        let link = peer.lstat("link").unwrap();
        assert!(link.is_symlink() && link.size == Some(4));
        let times = SFTPAttributes::new().with_times(modified, accessed);
        let mut fields = Vec::new();
        fields.put("link").put(&times);
        assert_eq!(peer.extended(ext::LSETSTAT, &fields), Err(OK));
        assert_eq!(peer.lstat("link").unwrap().times, Some((modified, accessed)));
        assert_eq!(peer.stat("link").unwrap().times, Some((accessed, modified)));
        fields.clear();
        fields.put("link").put(&SFTPAttributes::new().with_size(0));
        assert_eq!(peer.extended(ext::LSETSTAT, &fields), Err(SFTPStatus::BAD_MESSAGE));
        assert_eq!(peer.setstat("none", &times), SFTPStatus::NO_SUCH_FILE);
        let handle = peer.open("file", OpenFlags::READ).unwrap();
        let id = peer.id();
        let answer = peer.ask(&msg::Fstat { id, handle: &handle });
        assert_eq!(attributes(&answer).unwrap(), set);
    });
}

#[test]
fn directories_are_made_listed_and_removed() {
    served(|directory, peer| {
        assert_eq!(peer.on_path("mkdir", "a/"), OK);
        assert_eq!(peer.on_path("mkdir", "a"), SFTPStatus::FAILURE);
        assert_eq!(peer.on_path("mkdir", "none/a"), SFTPStatus::NO_SUCH_FILE);
        for number in 0..250 {
            fs::write(directory.file(&format!("a/{number:03}")), "x").unwrap();
        }
        let names = peer.list("a").unwrap();
        assert!(names.len() == 250 && names[0] == "000" && names[249] == "249");
        symlink("a", directory.file("link")).unwrap();
        assert_eq!(peer.list("link").unwrap(), names);
        let handle = peer.opendir("a").unwrap();
        let entries = peer.readdir(&handle).unwrap();
        let [here, above, entry, ..] = entries.as_slice() else { panic!("{entries:?}") };
        assert!(
            here.name == "." && above.name == ".." && here.attributes.is_dir() && above.attributes.is_dir()
        );
        assert_eq!((entry.attributes.size, entry.attributes.is_file()), (Some(1), true));
        let long = entry.longname.to_string();
        let columns: Vec<_> = long.split_whitespace().collect();
        assert_eq!((columns.len(), columns[1], columns[4]), (9, "1", "1"), "{long}");
        assert!(columns[0].starts_with("-rw") && entry.name == columns[8], "{long}");
        assert_eq!(peer.opendir("a/000"), Err(SFTPStatus::NO_SUCH_FILE));
        assert_eq!(peer.on_path("rmdir", "a"), SFTPStatus::FAILURE);
        assert_ne!(peer.on_path("remove", "a"), OK);
        assert_eq!(peer.on_path("rmdir", "a/000"), SFTPStatus::NO_SUCH_FILE);
        for name in names {
            assert_eq!(peer.on_path("remove", &format!("a/{name}")), OK);
        }
        assert_eq!(peer.on_path("rmdir", "a"), OK);
    });
}

#[test]
fn files_are_renamed_and_linked() {
    served(|directory, peer| {
        for name in ["one", "two"] {
            fs::write(directory.file(name), name).unwrap();
        }
        assert_eq!(peer.on_paths("rename", "one", "two"), SFTPStatus::FAILURE);
        assert_eq!(peer.on_paths("rename", "none", "three"), SFTPStatus::NO_SUCH_FILE);
        assert_eq!(peer.on_paths("rename", "one", "three"), OK);
        assert_eq!(peer.on_paths(ext::POSIX_RENAME, "three", "two"), OK);
        assert_eq!(peer.contents("two").unwrap(), "one");
        assert_eq!(peer.on_paths(ext::HARDLINK, "two", "again"), OK);
        assert_eq!(peer.on_paths(ext::HARDLINK, "two", "again"), SFTPStatus::FAILURE);
        assert_eq!(fs::metadata(directory.file("again")).unwrap().nlink(), 2);
        // The target first, as OpenSSH.
        assert_eq!(peer.on_paths("symlink", "two", "link"), OK);
        assert_eq!(fs::read_link(directory.file("link")).unwrap().to_str(), Some("two"));
        assert_eq!(peer.path("readlink", "link").unwrap(), "two");
        assert_eq!(peer.path("readlink", "two"), Err(SFTPStatus::FAILURE));
        assert_eq!(peer.path("readlink", "none"), Err(SFTPStatus::NO_SUCH_FILE));
    });
}

#[test]
fn some_clients_name_the_link_first() {
    let directory = Directory::new();
    let server = SFTPServer::new(LocalServer::rooted(&directory.0).unwrap()).link_first(true);
    let mut peer = Peer::new(server);
    assert_eq!(peer.on_paths("symlink", "link", "target"), OK);
    assert_eq!(peer.path("readlink", "link").unwrap(), "target");
    peer.end().unwrap();
}

#[test]
fn paths_are_made_plain() {
    let directory = Directory::new();
    fs::create_dir(directory.file("a")).unwrap();
    symlink("a", directory.file("link")).unwrap();
    let mut peer = Peer::new(LocalServer::starting_in(&directory.0).unwrap());
    let base = directory.0.canonicalize().unwrap().to_str().unwrap().to_owned();
    for (path, plain) in [
        ("", ""),
        (".", ""),
        ("./a/..", ""),
        ("link", "/a"),
        ("link/new", "/a/new"),
        ("new", "/new"),
        ("a/", "/a"),
    ] {
        assert_eq!(peer.path("realpath", path).unwrap(), format!("{base}{plain}"), "{path}");
    }
    for path in ["none/new", "none/..", "none/."] {
        assert_eq!(peer.path("realpath", path), Err(SFTPStatus::NO_SUCH_FILE), "{path}");
    }
    assert_eq!(peer.path("realpath", "/").unwrap(), "/");
    let home = crate::sys::user::Account::current().unwrap().home.canonicalize().unwrap();
    let home = home.to_str().unwrap();
    assert_eq!(peer.path(ext::EXPAND_PATH, "~").unwrap(), home);
    assert_eq!(
        peer.path(ext::EXPAND_PATH, "~/..").unwrap(),
        peer.path("realpath", &format!("{home}/..")).unwrap()
    );
    assert_eq!(peer.path(ext::EXPAND_PATH, "link").unwrap(), format!("{base}/a"));
    assert_eq!(peer.path(ext::EXPAND_PATH, "~nobody-of-that-name/x"), Err(SFTPStatus::NO_SUCH_FILE));
    assert!(peer.path(ext::HOME_DIRECTORY, "root").unwrap().starts_with('/'));
    peer.end().unwrap();
}

#[test]
fn what_is_made_gets_no_more_than_the_umask_leaves() {
    let directory = Directory::new();
    let mut peer = Peer::new(LocalServer::rooted(&directory.0).unwrap().umask(0o077));
    let handle = peer.open_with("file", WRITE, &SFTPAttributes::new().with_mode(0o644)).unwrap();
    assert_eq!(peer.close(&handle), OK);
    assert_eq!(peer.on_path("mkdir", "dir"), OK);
    let mode = |name: &str| fs::metadata(directory.file(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("file"), mode("dir")), (0o600, 0o700));
    peer.end().unwrap();
}

/// As rclone 1.60 sends them.
#[test]
fn writes_may_be_longer_than_their_data() {
    served(|directory, peer| {
        let handle = peer.open("file", OpenFlags::WRITE | OpenFlags::CREATE).unwrap();
        let id = peer.id();
        let rest = Rest(b"left over");
        assert_eq!(peer.status(&msg::Write { id, handle: &handle, offset: 0, data: b"data", rest }), OK);
        assert_eq!(fs::read(directory.file("file")).unwrap(), b"data");
    });
}
