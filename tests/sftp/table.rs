//! Every operation with every server: what each lacks.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use feramiko::{Error, HashAlgorithm, Limits, OpenFlags, Result, SFTPAttributes, SFTPClient, SFTPTime};

use super::servers::{NAMES, serve};

/// An operation: fails where the server does not have it, panics where it does something else. The client is in
/// the folder, where `file` holds "hello" and `dir` is a directory.
type Operation = fn(&SFTPClient, &Path) -> Result<()>;

/// SHA-256 and others of "hello" need not be known here: both ends of the file are compared.
const HASHES: &[HashAlgorithm] = &[HashAlgorithm::Sha256, HashAlgorithm::Sha1, HashAlgorithm::Md5];

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn modified(path: &Path) -> i64 {
    fs::symlink_metadata(path).unwrap().mtime()
}

fn at(seconds: u64) -> SFTPTime {
    (UNIX_EPOCH + Duration::from_secs(seconds)).into()
}

const OPERATIONS: &[(&str, Operation)] = &[
    ("stat", |sftp, _| {
        let found = sftp.stat("file")?;
        assert!(found.size == Some(5) && found.is_file());
        Ok(())
    }),
    ("stat through a link", |sftp, here| {
        std::os::unix::fs::symlink("file", here.join("link")).unwrap();
        assert!(sftp.stat("link")?.is_file() && sftp.lstat("link")?.is_symlink());
        Ok(())
    }),
    ("open, read, seek", |sftp, _| {
        let mut file = sftp.open("file", "r")?;
        let mut buf = [0; 10];
        assert_eq!(file.read_at(&mut buf, 1)?, 4);
        assert_eq!((file.read_at(&mut buf, 5)?, file.read_at(&mut buf, 1 << 40)?), (0, 0));
        file.seek(SeekFrom::End(-2)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "lo");
        file.close()
    }),
    ("write, truncate", |sftp, here| {
        let mut file = sftp.open("new", "w+")?;
        file.write_all(b"hello world").unwrap();
        file.write_at(b"W", 6)?;
        file.truncate(9)?;
        file.close()?;
        assert_eq!(fs::read(here.join("new")).unwrap(), b"hello Wor");
        Ok(())
    }),
    ("append", |sftp, here| {
        let mut file = sftp.open("file", "a")?;
        file.write_all(b" there").unwrap();
        file.close()?;
        assert_eq!(fs::read(here.join("file")).unwrap(), b"hello there");
        Ok(())
    }),
    ("exclusive", |sftp, _| {
        assert!(matches!(sftp.open("file", "x"), Err(Error::Sftp(_))));
        sftp.open("fresh", "x")?.close()
    }),
    ("create with a mode", |sftp, here| {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE;
        sftp.open_with("secret", flags, &SFTPAttributes::new().with_mode(0o600))?.close()?;
        assert_eq!(mode(&here.join("secret")), 0o600);
        Ok(())
    }),
    ("handle: stat, chmod, utime", |sftp, here| {
        let file = sftp.open("file", "r+")?;
        assert_eq!(file.stat()?.size, Some(5));
        file.chmod(0o640)?;
        file.utime(at(1_000_000), at(2_000_000))?;
        file.close()?;
        assert_eq!((mode(&here.join("file")), modified(&here.join("file"))), (0o640, 2_000_000));
        Ok(())
    }),
    ("listdir", |sftp, _| {
        let mut names: Vec<String> =
            sftp.listdir_attr(".")?.iter().map(|entry| entry.name.to_string()).collect();
        names.sort();
        assert_eq!(names, ["dir", "file"]);
        assert!(sftp.listdir("dir")?.is_empty());
        Ok(())
    }),
    ("mkdir, rmdir", |sftp, here| {
        sftp.mkdir("made", 0o750)?;
        assert_eq!(mode(&here.join("made")), 0o750);
        sftp.rmdir("made")
    }),
    ("rename", |sftp, here| {
        fs::write(here.join("other"), "other").unwrap();
        assert!(matches!(sftp.rename("file", "other"), Err(Error::Sftp(_))));
        sftp.rename("file", "renamed")?;
        assert_eq!(fs::read(here.join("renamed")).unwrap(), b"hello");
        Ok(())
    }),
    ("remove", |sftp, here| {
        sftp.remove("file")?;
        assert!(!here.join("file").exists());
        Ok(())
    }),
    ("symlink, readlink", |sftp, here| {
        sftp.symlink("to/nowhere", "link")?;
        assert_eq!(fs::read_link(here.join("link")).unwrap().to_str(), Some("to/nowhere"));
        assert_eq!(sftp.readlink("link")?, "to/nowhere");
        Ok(())
    }),
    ("normalize", |sftp, here| {
        assert_eq!(sftp.normalize("dir/../file")?, here.join("file").to_str().unwrap());
        Ok(())
    }),
    ("chmod, chown, utime, truncate", |sftp, here| {
        sftp.chmod("file", 0o604)?;
        let owner = fs::metadata(here.join("file")).unwrap();
        sftp.chown("file", owner.uid(), owner.gid())?;
        sftp.truncate("file", 2)?;
        sftp.utime("file", at(3_000_000), at(4_000_000))?;
        let path = here.join("file");
        assert_eq!((mode(&path), modified(&path), owner.uid()), (0o604, 4_000_000, owner.uid()));
        assert_eq!(fs::read(path).unwrap(), b"he");
        Ok(())
    }),
    ("special files", |sftp, here| {
        assert!(Command::new("mkfifo").arg(here.join("fifo")).status().unwrap().success());
        assert!(fs::metadata(here.join("fifo")).unwrap().file_type().is_fifo());
        assert_eq!(sftp.stat("fifo")?.kind(), Some(feramiko::FileKind::Fifo));
        Ok(())
    }),
    ("posix_rename", |sftp, here| {
        fs::write(here.join("other"), "other").unwrap();
        sftp.posix_rename("file", "other")?;
        assert_eq!(fs::read(here.join("other")).unwrap(), b"hello");
        Ok(())
    }),
    ("hard_link", |sftp, here| {
        sftp.hard_link("file", "second")?;
        assert_eq!(fs::metadata(here.join("second")).unwrap().nlink(), 2);
        Ok(())
    }),
    ("statvfs", |sftp, _| {
        let found = sftp.statvfs(".")?;
        assert!(found.block_size > 0 && found.name_max > 0);
        Ok(())
    }),
    ("handle: statvfs", |sftp, _| {
        assert!(sftp.open("file", "r")?.statvfs()?.block_size > 0);
        Ok(())
    }),
    ("fsync", |sftp, _| {
        let mut file = sftp.open("file", "r+")?;
        file.write_all(b"more").unwrap();
        file.sync_all()
    }),
    ("lsetstat", |sftp, here| {
        std::os::unix::fs::symlink("file", here.join("link")).unwrap();
        let before = modified(&here.join("file"));
        sftp.lsetstat("link", &SFTPAttributes::new().with_times(at(5_000_000), at(6_000_000)))?;
        assert_eq!((modified(&here.join("link")), modified(&here.join("file"))), (6_000_000, before));
        Ok(())
    }),
    ("limits", |sftp, _| {
        let said = sftp.has_extension("limits@openssh.com");
        assert!(!said || sftp.limits().read > 32 * 1024);
        said.then_some(()).ok_or_else(|| Error::Unsupported("limits".to_owned()))
    }),
    ("expand_path", |sftp, _| {
        // Of a server that no login led to, the home is where it began.
        let found = sftp.expand_path("~/x")?.to_string();
        assert!(found.starts_with('/') && found.ends_with("/x") && !found.contains('~'), "{found}");
        Ok(())
    }),
    ("home_directory", |sftp, _| {
        assert_eq!(
            sftp.home_directory(&super::peers::user())?,
            std::env::home_dir().unwrap().to_str().unwrap()
        );
        Ok(())
    }),
    ("users_groups_by_id", |sftp, _| {
        let (users, groups) = sftp.users_groups_by_id(&[0, 4_000_000], &[0])?;
        assert_eq!(
            users.iter().chain(&groups).map(ToString::to_string).collect::<Vec<_>>(),
            ["root", "", "root"]
        );
        Ok(())
    }),
    ("copy_data", |sftp, here| {
        let (from, to) = (sftp.open("file", "r")?, sftp.open("copy", "w")?);
        from.copy_to(1, 0, &to, 2)?;
        to.close()?;
        assert_eq!(fs::read(here.join("copy")).unwrap(), b"\0\0ello");
        Ok(())
    }),
    ("check_file by path", |sftp, here| {
        let data = "0123456789abcdef".repeat(100);
        fs::write(here.join("same"), &data).unwrap();
        fs::write(here.join("big"), data.repeat(2)).unwrap();
        let (algorithm, whole) = sftp.check_file("same", HASHES, (0, 0), 0)?;
        assert_eq!((whole.len(), whole[0].len()), (1, algorithm.length()));
        let (_, halves) = sftp.check_file("big", HASHES, (0, 0), 1600)?;
        assert_eq!(halves, [whole[0].clone(), whole[0].clone()]);
        Ok(())
    }),
    ("check_file by handle", |sftp, here| {
        let data = "0123456789abcdef".repeat(100);
        fs::write(here.join("same"), &data).unwrap();
        fs::write(here.join("big"), data.repeat(2)).unwrap();
        let (algorithm, whole) = sftp.open("same", "r")?.check(HASHES, (0, 0), 0)?;
        assert_eq!((whole.len(), whole[0].len()), (1, algorithm.length()));
        let (_, half) = sftp.open("big", "r")?.check(HASHES, (1600, 1600), 0)?;
        assert_eq!(half, whole);
        Ok(())
    }),
    ("ranges", |sftp, here| {
        let file = fs::File::create(here.join("sparse")).unwrap();
        file.set_len(1 << 24).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"data", 1 << 23).unwrap();
        let (ranges, ended) = sftp.open("sparse", "r")?.ranges(0, 1 << 24)?;
        assert!(ended && ranges.len() == 1, "{ranges:?}");
        Ok(())
    }),
    ("verify", |sftp, here| {
        let local = here.join("dir/local");
        fs::write(&local, "0123456789".repeat(1000)).unwrap();
        sftp.transfer().verify(true).put(&local, "put")?;
        sftp.transfer().verify(true).get("put", here.join("got"))?;
        assert_eq!(fs::read(here.join("got")).unwrap(), fs::read(local).unwrap());
        Ok(())
    }),
    ("atomic", |sftp, here| {
        sftp.transfer().atomic(true).put(here.join("file"), "put")?;
        sftp.transfer().atomic(true).put(here.join("file"), "put")?;
        sftp.transfer().atomic(true).get("put", here.join("got"))?;
        let mut names = fs::read_dir(here).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.all(|name| ["dir", "file", "got", "put"].contains(&name.to_str().unwrap())));
        assert_eq!(fs::read(here.join("got")).unwrap(), b"hello");
        Ok(())
    }),
];

/// What each server does not have. What is not here works, and is checked on the server's own disk.
const LACKS: &[(&str, &[&str])] = &[
    ("sftp-server", &["check_file by path", "check_file by handle", "ranges", "verify"]),
    ("internal-sftp", &["check_file by path", "check_file by handle", "ranges", "verify"]),
    (
        "asyncssh",
        &[
            "expand_path",
            "home_directory",
            "users_groups_by_id",
            "check_file by path",
            "check_file by handle",
            "verify",
        ],
    ),
    // It announces nothing; of what it has all the same, only check-file is asked for.
    (
        "paramiko",
        &[
            "posix_rename",
            "hard_link",
            "statvfs",
            "handle: statvfs",
            "fsync",
            "lsetstat",
            "limits",
            "expand_path",
            "home_directory",
            "users_groups_by_id",
            "copy_data",
            "check_file by path",
            "ranges",
        ],
    ),
    ("feramiko", &[]),
];

#[test]
fn every_operation_with_every_server() {
    let mut wrong = Vec::new();
    for name in NAMES {
        let Some(served) = serve(name, Limits::default()) else { continue };
        let lacks = LACKS.iter().find(|(server, _)| *server == name).unwrap().1;
        for (operation, run) in OPERATIONS {
            let here = served.folder.file(&operation.replace(|c: char| !c.is_alphanumeric(), "-"));
            fs::create_dir_all(here.join("dir")).unwrap();
            fs::write(here.join("file"), "hello").unwrap();
            served.sftp.chdir(here.to_str().unwrap()).unwrap();
            let ran = std::panic::catch_unwind(AssertUnwindSafe(|| run(&served.sftp, &here)));
            let there = match ran {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("it does something else".to_owned()),
            };
            if there.is_ok() == lacks.contains(operation) {
                wrong.push(format!("{name} {operation}: {there:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
