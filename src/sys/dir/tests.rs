//! Directories that are held: names stay inside, links are not followed.

use std::fs as std_fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::sys::file::tests::Directory;

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

fn held() -> (Directory, Dir) {
    let directory = Directory::new();
    let dir = Dir::open(&directory.0).unwrap();
    (directory, dir)
}

fn write(dir: &Dir, file: &str, text: &str) {
    let mut file = dir.open_file(name(file), &FileOptions::making(0o644)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn read(dir: &Dir, file: &str) -> io::Result<String> {
    let mut text = String::new();
    dir.open_file(name(file), &FileOptions::reading())?.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn a_name_is_one_component() {
    let (_directory, dir) = held();
    let files = FileOptions::reading();
    for bad in ["", ".", "..", "a/b", "/etc", "a/", "a\0b"] {
        let bad = name(bad);
        let tries = [
            dir.open_dir(bad).map(drop),
            dir.create_dir(bad, 0o755),
            dir.open_file(bad, &files).map(drop),
            dir.open_following(bad, &files).map(drop),
            dir.stat(bad).map(drop),
            dir.stat_following(bad).map(drop),
            dir.read_link(bad).map(drop),
            dir.symlink(name("x"), bad),
            dir.hard_link(name("x"), &dir, bad),
            dir.hard_link(bad, &dir, name("x")),
            dir.rename(bad, &dir, name("x")),
            dir.rename_no_replace(name("x"), &dir, bad),
            dir.remove_file(bad),
            dir.remove_dir(bad),
            dir.set_permissions(bad, 0o600),
            dir.set_times(bad, (Time::default(), Time::default()), false),
            dir.set_owner(bad, (0, 0), false),
        ];
        for tried in tries {
            assert_eq!(tried.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bad:?}");
        }
    }
    assert!(Dir::open(Path::new("/")).unwrap().with_paths().stat(name("etc/passwd")).is_ok());
}

#[test]
fn files_are_made_read_and_listed() {
    let (directory, dir) = held();
    write(&dir, "a b\n", "text");
    assert_eq!(read(&dir, "a b\n").unwrap(), "text");
    let again = dir.open_file(name("a b\n"), &FileOptions::making(0o644));
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    dir.create_dir(name("deeper"), 0o700).unwrap();
    write(&dir.open_dir(name("deeper")).unwrap(), "in it", "");
    dir.symlink(name("nowhere"), name("link")).unwrap();
    let mut found: Vec<_> = dir.entries().unwrap().map(Result::unwrap).collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [("a b\n", Kind::File), ("deeper", Kind::Directory), ("link", Kind::Symlink)];
    assert_eq!(found.len(), expected.len());
    for ((found, kind), (expected, known)) in found.iter().zip(expected) {
        assert_eq!((found.as_os_str(), kind.unwrap_or(known)), (name(expected), known));
    }
    let stat = dir.stat(name("a b\n")).unwrap();
    let metadata = std_fs::metadata(directory.file("a b\n")).unwrap();
    assert_eq!((stat.kind, stat.size, stat.links), (Kind::File, 4, 1));
    assert_eq!((stat.mode, stat.owner), (metadata.mode(), (metadata.uid(), metadata.gid())));
    assert_eq!(stat.file, (metadata.dev(), metadata.ino()));
    assert_eq!(stat_file(&File::open(directory.file("a b\n")).unwrap()).unwrap(), stat);
    dir.open_dir(name("deeper")).unwrap().remove_file(name("in it")).unwrap();
    dir.remove_dir(name("deeper")).unwrap();
    dir.remove_file(name("link")).unwrap();
    assert_eq!(dir.entries().unwrap().count(), 1);
}

#[test]
fn links_are_not_followed() {
    let (directory, dir) = held();
    let outside = Directory::new();
    std_fs::write(outside.file("secret"), "secret").unwrap();
    std_fs::set_permissions(outside.file("secret"), std_fs::Permissions::from_mode(0o640)).unwrap();
    symlink(outside.file("secret"), directory.file("file")).unwrap();
    symlink(&outside.0, directory.file("dir")).unwrap();
    let before = std_fs::metadata(outside.file("secret")).unwrap();
    assert!(dir.open_dir(name("dir")).is_err());
    assert!(read(&dir, "file").is_err());
    let write = FileOptions { write: true, create: true, truncate: true, mode: 0o644, ..<_>::default() };
    assert!(dir.open_file(name("file"), &write).is_err());
    assert_eq!(dir.set_permissions(name("file"), 0o777).unwrap_err().kind(), io::ErrorKind::Unsupported);
    let time = Time { seconds: 5, nanoseconds: 7 };
    dir.set_times(name("file"), (time, time), false).unwrap();
    assert_eq!(dir.stat(name("file")).unwrap().modified, time);
    assert_eq!(dir.stat(name("file")).unwrap().kind, Kind::Symlink);
    assert_eq!(dir.stat_following(name("file")).unwrap().size, 6);
    assert_eq!(dir.read_link(name("file")).unwrap(), outside.file("secret"));
    let after = std_fs::metadata(outside.file("secret")).unwrap();
    assert_eq!((before.mode(), before.mtime_nsec()), (after.mode(), after.mtime_nsec()));
    assert_eq!(std_fs::read(outside.file("secret")).unwrap(), b"secret");
}

#[test]
fn a_held_directory_stays_the_same_one() {
    let (directory, dir) = held();
    dir.create_dir(name("a"), 0o755).unwrap();
    let a = dir.open_dir(name("a")).unwrap();
    std_fs::rename(directory.file("a"), directory.file("b")).unwrap();
    symlink("/etc", directory.file("a")).unwrap();
    write(&a, "file", "here");
    assert_eq!(std_fs::read(directory.file("b/file")).unwrap(), b"here");
}

#[test]
fn renaming_without_replacing() {
    let (_directory, dir) = held();
    for by_link in [false, true] {
        let rename = |from: &str, to: &str| {
            let (from, to) = (name(from), name(to));
            if by_link { dir.rename_by_link(from, &dir, to) } else { dir.rename_no_replace(from, &dir, to) }
        };
        write(&dir, "one", "1");
        write(&dir, "two", "2");
        dir.create_dir(name("folder"), 0o755).unwrap();
        assert_eq!(rename("one", "two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(rename("folder", "two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(rename("nothing", "three").unwrap_err().kind(), io::ErrorKind::NotFound);
        rename("one", "three").unwrap();
        rename("folder", "other").unwrap();
        assert_eq!((read(&dir, "two").unwrap(), read(&dir, "three").unwrap()), ("2".into(), "1".into()));
        assert!(dir.stat(name("one")).is_err());
        dir.rename(name("three"), &dir, name("two")).unwrap();
        assert_eq!(read(&dir, "two").unwrap(), "1");
        dir.hard_link(name("two"), &dir, name("four")).unwrap();
        assert_eq!(dir.stat(name("four")).unwrap().links, 2);
        for file in ["two", "four"] {
            dir.remove_file(name(file)).unwrap();
        }
        dir.remove_dir(name("other")).unwrap();
    }
}

#[test]
fn permissions_and_times_are_set() {
    let (directory, dir) = held();
    write(&dir, "file", "");
    dir.create_dir(name("folder"), 0o755).unwrap();
    let times = (Time { seconds: 1, nanoseconds: 2 }, Time { seconds: 1 << 33, nanoseconds: 999_999_999 });
    for file in ["file", "folder"] {
        dir.set_permissions(name(file), 0o7711).unwrap();
        dir.set_times(name(file), times, false).unwrap();
        let owner = dir.stat(name(file)).unwrap().owner;
        dir.set_owner(name(file), (u32::MAX, owner.1), false).unwrap();
        let stat = dir.stat(name(file)).unwrap();
        assert_eq!((stat.accessed, stat.modified, stat.owner), (times.0, times.1, owner));
    }
    assert_eq!(dir.stat(name("folder")).unwrap().mode & 0o7777, 0o7711);
    let file = File::open(directory.file("file")).unwrap();
    set_file_permissions(&file, 0o600).unwrap();
    set_file_times(&file, (times.1, times.0)).unwrap();
    let stat = stat_file(&file).unwrap();
    assert_eq!((stat.mode & 0o7777, stat.accessed, stat.modified), (0o600, times.1, times.0));
    // What nobody may read can have its permissions set all the same.
    dir.set_permissions(name("file"), 0).unwrap();
    dir.set_permissions(name("file"), 0o600).unwrap();
}

#[test]
fn a_fifo_does_not_make_us_wait() {
    let (directory, dir) = held();
    let made = std::process::Command::new("mkfifo").arg(directory.file("fifo")).status();
    if made.is_ok_and(|status| status.success()) {
        let file = dir.open_file(name("fifo"), &FileOptions::reading()).unwrap();
        assert_eq!(stat_file(&file).unwrap().kind, Kind::Other);
    }
}
