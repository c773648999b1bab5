//! A server below a root: nothing leads out, and nothing tells what there is outside. Once as the kernel looks
//! paths up, once as we do.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use super::*;
use crate::sftp::packet::SFTPTime;
use crate::sftp::packet::extension as ext;
use crate::sftp::server::LocalServer;
use crate::sys::file::tests::Directory;

/// A root beside a secret, with a client on it. Runs twice.
fn jailed(test: impl Fn(&Directory, &mut Peer)) {
    for walking in [false, true] {
        let directory = Directory::new();
        fs::create_dir_all(directory.file("root/sub")).unwrap();
        fs::write(directory.file("root/file"), "inside").unwrap();
        fs::create_dir(directory.file("outside")).unwrap();
        fs::write(directory.file("outside/secret"), "secret").unwrap();
        let server = LocalServer::rooted(directory.file("root")).unwrap();
        let mut peer = Peer::new(if walking { server.walking() } else { server });
        test(&directory, &mut peer);
        peer.end().unwrap();
        assert_eq!(fs::read(directory.file("outside/secret")).unwrap(), b"secret");
        assert_eq!(fs::read_dir(directory.file("outside")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 2);
    }
}

const NOT_THERE: SFTPStatus = SFTPStatus::NO_SUCH_FILE;
const WRITE: OpenFlags = OpenFlags(2 | 8 | 16);

#[test]
fn paths_do_not_lead_out() {
    jailed(|directory, peer| {
        let absolute = directory.file("outside/secret").to_str().unwrap().to_owned();
        for path in ["../outside/secret", "/../outside/secret", "sub/../../outside/secret", &absolute] {
            assert_eq!(peer.contents(path), Err(NOT_THERE), "{path}");
            assert_eq!(peer.open(path, WRITE), Err(NOT_THERE), "{path}");
            assert_eq!((peer.stat(path), peer.lstat(path)), (Err(NOT_THERE), Err(NOT_THERE)), "{path}");
            assert_eq!(peer.on_path("remove", path), NOT_THERE, "{path}");
            assert_eq!(peer.on_path("mkdir", path), NOT_THERE, "{path}");
            assert_eq!(peer.on_paths("rename", "file", path), NOT_THERE, "{path}");
            assert_eq!(peer.on_paths(ext::POSIX_RENAME, "file", path), NOT_THERE, "{path}");
            assert_eq!(peer.on_paths(ext::HARDLINK, "file", path), NOT_THERE, "{path}");
            assert_eq!(peer.on_paths(ext::HARDLINK, path, "new"), NOT_THERE, "{path}");
            assert_eq!(peer.setstat(path, &SFTPAttributes::new().with_mode(0)), NOT_THERE, "{path}");
            assert_eq!(peer.path(ext::STATVFS, path), Err(NOT_THERE), "{path}");
            assert_eq!(peer.path("realpath", path), Err(NOT_THERE), "{path}");
        }
        assert_eq!(peer.path("realpath", "..").unwrap(), "/");
        assert_eq!(peer.path("realpath", "sub/../../../sub/new").unwrap(), "/sub/new");
        assert_eq!(peer.list("/..").unwrap(), ["file", "sub"]);
        assert_eq!(peer.contents("../file").unwrap(), "inside");
        assert_eq!(peer.path(ext::EXPAND_PATH, "~/sub").unwrap(), "/sub");
        assert_eq!(peer.path(ext::HOME_DIRECTORY, "").unwrap(), "/");
        assert_eq!(peer.path(ext::HOME_DIRECTORY, "root"), Err(NOT_THERE));
    });
}

#[test]
fn links_do_not_lead_out_whoever_made_them() {
    jailed(|directory, peer| {
        let outside = directory.file("outside").to_str().unwrap().to_owned();
        // Some the client makes, some were there.
        assert_eq!(peer.on_paths("symlink", &outside, "planted"), SFTPStatus::OK);
        assert_eq!(peer.on_paths("symlink", "../../outside", "sub/up"), SFTPStatus::OK);
        symlink(directory.file("outside/secret"), directory.file("root/file-link")).unwrap();
        symlink("/proc/self/root", directory.file("root/magic")).unwrap();
        for way in ["planted", "sub/up", "magic", "magic/etc"] {
            assert_eq!(peer.list(way), Err(NOT_THERE), "{way}");
            let path = format!("{way}/secret");
            assert_eq!(peer.contents(&path), Err(NOT_THERE), "{way}");
            assert_eq!(peer.open(&path, WRITE), Err(NOT_THERE), "{way}");
            assert_eq!(peer.on_path("remove", &path), NOT_THERE, "{way}");
            assert_eq!(peer.on_paths("rename", "file", &path), NOT_THERE, "{way}");
            assert_eq!(peer.on_paths(ext::HARDLINK, &path, "new"), NOT_THERE, "{way}");
        }
        assert_eq!(peer.contents("file-link"), Err(NOT_THERE));
        assert_eq!(peer.open("file-link", WRITE), Err(NOT_THERE));
        assert_eq!(peer.setstat("file-link", &SFTPAttributes::new().with_size(0)), NOT_THERE);
        // A link to be had under another name is still that link.
        assert_eq!(peer.on_paths(ext::HARDLINK, "file-link", "again"), SFTPStatus::OK);
        assert_eq!(peer.contents("again"), Err(NOT_THERE));
        assert!(peer.lstat("planted").unwrap().is_symlink());
        assert_eq!(peer.path("readlink", "planted").unwrap(), outside);
        // The same target inside is what a link means here.
        fs::create_dir(directory.file("root/outside")).unwrap();
        fs::write(directory.file("root/outside/secret"), "decoy").unwrap();
        assert_eq!(peer.contents("sub/up/secret").unwrap(), "decoy");
        assert_eq!(peer.on_path("remove", "sub/up/secret"), SFTPStatus::OK);
    });
}

#[test]
fn links_that_go_round_end() {
    jailed(|directory, peer| {
        symlink("round", directory.file("root/round")).unwrap();
        symlink("pong", directory.file("root/ping")).unwrap();
        symlink("ping/x", directory.file("root/pong")).unwrap();
        for path in ["round", "round/x", "ping", "pong/x"] {
            assert_eq!(peer.contents(path), Err(SFTPStatus::FAILURE), "{path}");
            assert_eq!(peer.stat(path), Err(SFTPStatus::FAILURE), "{path}");
            assert_eq!(peer.path("realpath", path), Err(SFTPStatus::FAILURE), "{path}");
        }
        assert!(peer.lstat("round").unwrap().is_symlink());
        let deep = "sub/".repeat(1000);
        assert_eq!(peer.stat(&deep), Err(NOT_THERE));
    });
}

#[test]
fn the_root_stays() {
    jailed(|directory, peer| {
        for root in ["/", ".", "..", "sub/.."] {
            assert_ne!(peer.on_path("rmdir", root), SFTPStatus::OK, "{root}");
            assert_ne!(peer.on_path("remove", root), SFTPStatus::OK, "{root}");
            for kind in ["rename", ext::POSIX_RENAME, ext::HARDLINK] {
                assert_ne!(peer.on_paths(kind, root, "sub/new"), SFTPStatus::OK, "{kind} {root}");
                assert_ne!(peer.on_paths(kind, "sub", root), SFTPStatus::OK, "{kind} {root}");
            }
            assert_ne!(peer.on_paths("symlink", "x", root), SFTPStatus::OK, "{root}");
        }
        assert_eq!(peer.list("/").unwrap(), ["file", "sub"]);
        assert!(peer.stat("/").unwrap().is_dir());
        assert_eq!(peer.setstat("/", &SFTPAttributes::new().with_mode(0o711)), SFTPStatus::OK);
        assert_eq!(fs::metadata(directory.file("root")).unwrap().mode() & 0o7777, 0o711);
    });
}

#[test]
fn a_handle_is_the_file_that_was_opened() {
    jailed(|directory, peer| {
        let handle = peer.open("file", OpenFlags::READ | OpenFlags::WRITE).unwrap();
        fs::rename(directory.file("root/file"), directory.file("root/moved")).unwrap();
        symlink(directory.file("outside/secret"), directory.file("root/file")).unwrap();
        let before = fs::metadata(directory.file("outside/secret")).unwrap();
        let time = SFTPTime::from_seconds(77);
        let set = SFTPAttributes::new().with_size(2).with_mode(0o4777).with_times(time, time);
        let (id, set) = (peer.id(), set.to_vec());
        let request = msg::Fsetstat { id, handle: &handle, attributes: Rest(&set) };
        assert_eq!(peer.status(&request), SFTPStatus::OK);
        assert_eq!(peer.write(&handle, 2, b"new"), SFTPStatus::OK);
        let after = fs::metadata(directory.file("outside/secret")).unwrap();
        assert_eq!((before.mode(), before.mtime_nsec()), (after.mode(), after.mtime_nsec()));
        let moved = fs::metadata(directory.file("root/moved")).unwrap();
        assert_eq!((moved.size(), moved.mode() & 0o777), (5, 0o777));
        assert_eq!(fs::read(directory.file("root/moved")).unwrap(), b"innew");
        assert_eq!(peer.close(&handle), SFTPStatus::OK);
    });
}

#[test]
fn a_directory_that_is_moved_out_meanwhile_leads_nowhere_else() {
    jailed(|directory, peer| {
        // The listing goes on where it began.
        let handle = peer.opendir("sub").unwrap();
        fs::write(directory.file("root/sub/in"), "").unwrap();
        fs::rename(directory.file("root/sub"), directory.file("root/other")).unwrap();
        symlink(directory.file("outside"), directory.file("root/sub")).unwrap();
        let names: Vec<_> =
            peer.readdir(&handle).unwrap().iter().map(|entry| entry.name.to_string()).collect();
        assert_eq!(names, [".", "..", "in"]);
        assert_eq!(peer.opendir("sub"), Err(NOT_THERE));
    });
}

#[test]
fn only_regular_files_are_opened() {
    jailed(|directory, peer| {
        let made = std::process::Command::new("mkfifo").arg(directory.file("root/fifo")).status();
        if made.is_ok_and(|status| status.success()) {
            for flags in [OpenFlags::READ, OpenFlags::READ | OpenFlags::WRITE] {
                assert_eq!(peer.open("fifo", flags), Err(SFTPStatus::PERMISSION_DENIED));
            }
            assert!(peer.open("fifo", OpenFlags::WRITE).is_err());
            assert_eq!(peer.on_path("remove", "fifo"), SFTPStatus::OK);
        }
        assert_eq!(peer.open("sub", OpenFlags::READ), Err(SFTPStatus::FAILURE));
    });
}
