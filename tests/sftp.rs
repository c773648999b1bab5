//! Our SFTP client with the servers of others.

#![cfg(unix)]

mod given;
mod peers;
#[path = "sftp/servers.rs"]
mod servers;
#[path = "sftp/table.rs"]
mod table;

use std::io::{Read, Seek, SeekFrom, Write};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use feramiko::{Error, Limits, SFTPStatus};
use peers::Folder;
use servers::Local;

fn status(error: Error) -> SFTPStatus {
    match error {
        Error::Sftp(error) => error.status,
        other => panic!("{other}"),
    }
}

#[test]
fn a_round_of_operations() {
    let Some(local) = Local::start() else { return };
    let sftp = &local.sftp;
    assert_eq!(sftp.getcwd().unwrap(), local.folder.path().to_str().unwrap());
    sftp.mkdir("dir", 0o755).unwrap();
    sftp.makedirs("dir/a/b/c", 0o755).unwrap();
    sftp.chdir("dir").unwrap();
    assert_eq!(status(sftp.stat("none").unwrap_err()), SFTPStatus::NO_SUCH_FILE);
    let mut file = sftp.open("file", "w+").unwrap();
    file.write_all(b"hello world").unwrap();
    file.seek(SeekFrom::Start(6)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "world");
    file.close().unwrap();
    file.close().unwrap();
    assert!(file.read(&mut [0; 1]).is_err());
    let file = sftp.open("file", "a").unwrap();
    (&file).write_all(b"!").unwrap();
    assert_eq!(file.tell(), 12);
    drop(file);
    assert_eq!(sftp.stat("file").unwrap().size, Some(12));
    assert_eq!(status(sftp.open("file", "x").unwrap_err()), SFTPStatus::FAILURE);
    sftp.symlink("file", "link").unwrap();
    assert_eq!(sftp.readlink("link").unwrap(), "file");
    assert!(sftp.is_symlink("link").unwrap() && sftp.is_file("link").unwrap());
    sftp.rename("file", "other").unwrap();
    assert!(!sftp.exists("file").unwrap());
    sftp.posix_rename("other", "file").unwrap();
    sftp.hard_link("file", "second").unwrap();
    sftp.chmod("file", 0o600).unwrap();
    assert_eq!(sftp.stat("second").unwrap().permissions(), Some(0o600));
    sftp.truncate("file", 5).unwrap();
    let mut names: Vec<String> = sftp.listdir(".").unwrap().iter().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(names, ["a", "file", "link", "second"]);
    assert!(sftp.statvfs(".").unwrap().block_size > 0);
    assert!(sftp.limits().read > 200_000);
    for name in ["file", "link", "second"] {
        sftp.remove(name).unwrap();
    }
    assert!(sftp.rmdir("a").is_err());
}

#[test]
fn large_files_come_back_however_they_are_read() {
    let Some(local) = Local::start() else { return };
    let data: Vec<u8> =
        (0..5_000_000_u32).flat_map(|word| word.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let mut file = local.sftp.open("data", "w+").unwrap();
    file.set_pipelined(true).unwrap();
    for piece in data.chunks(100_000) {
        file.write_all(piece).unwrap();
    }
    file.flush().unwrap();
    assert_eq!(file.stat().unwrap().size, Some(data.len() as u64));
    file.rewind().unwrap();
    file.prefetch(None).unwrap();
    let mut found = Vec::new();
    file.read_to_end(&mut found).unwrap();
    assert!(found == data);
    let mut whole = vec![0; 1_500_000];
    assert_eq!(file.read_at(&mut whole, 1000).unwrap(), 96 * 1024);
    let parts = [(0, 10), (19_999_990, 300_000), (5, 600_000), (0, 10), (30_000_000, 5)];
    let read: Vec<Vec<u8>> = file.readv(&parts).map(Result::unwrap).collect();
    for ((offset, length), found) in parts.iter().zip(&read) {
        let from = (*offset as usize).min(data.len());
        let to = (from + *length as usize).min(data.len());
        assert!(found == &data[from..to], "{offset} {length}");
    }
    // Reads elsewhere are served and stop nothing.
    file.rewind().unwrap();
    file.prefetch(None).unwrap();
    for place in [0, 10_000_000, 100, 19_000_000, 300_000] {
        let mut some = [0; 1000];
        file.seek(SeekFrom::Start(place)).unwrap();
        file.read_exact(&mut some).unwrap();
        assert!(some[..] == data[place as usize..][..1000], "{place}");
    }
}

#[test]
fn many_threads_share_a_client() {
    let Some(local) = Local::start() else { return };
    std::thread::scope(|scope| {
        for number in 0..64_u32 {
            let sftp = &local.sftp;
            scope.spawn(move || {
                let name = format!("file{number}");
                for round in 0..20_u32 {
                    let mut file = sftp.open(&name, "w+").unwrap();
                    let text = format!("{number} {round} ").repeat(2000);
                    file.write_all(text.as_bytes()).unwrap();
                    file.rewind().unwrap();
                    let mut found = String::new();
                    file.read_to_string(&mut found).unwrap();
                    assert_eq!(found, text);
                    file.close().unwrap();
                    assert_eq!(sftp.stat(&name).unwrap().size, Some(text.len() as u64));
                }
            });
        }
    });
    assert_eq!(local.sftp.listdir(".").unwrap().len(), 64);
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn files_are_got_and_put_whole() {
    let Some(local) = Local::start() else { return };
    let here = Folder::new();
    for length in [0, 1, 4096, 261_119, 261_120, 261_121, 3_000_000] {
        let data = noise(length);
        std::fs::write(here.file("up"), &data).unwrap();
        local.sftp.put(here.file("up"), "up").unwrap();
        assert!(std::fs::read(local.folder.file("up")).unwrap() == data, "{length}");
        let done = local.sftp.get("up", here.file("down")).unwrap();
        assert!(std::fs::read(here.file("down")).unwrap() == data, "{length}");
        assert_eq!((done.files, done.bytes), (1, length as u64));
        let mut found = Vec::new();
        assert_eq!(local.sftp.getfo("up", &mut found).unwrap(), length as u64);
        assert!(found == data);
        assert_eq!(local.sftp.putfo(&mut data.as_slice(), "from").unwrap(), length as u64);
        assert!(std::fs::read(local.folder.file("from")).unwrap() == data, "{length}");
    }
    let mut version = Vec::new();
    local.sftp.getfo("/proc/version", &mut version).unwrap();
    assert_eq!(version, std::fs::read("/proc/version").unwrap());
    assert!(local.sftp.get("none", here.file("none")).is_err());
    assert!(!here.file("none").exists());
}

#[test]
fn a_large_file_is_moved_over_several_sessions_of_every_server() {
    let here = Folder::new();
    // More than sshd's window, AsyncSSH's and paramiko's, several times over.
    let data = noise(20_000_123);
    std::fs::write(here.file("large"), &data).unwrap();
    for name in servers::NAMES {
        let Some(served) = servers::serve(name, Limits::default()) else { continue };
        let (Some(second), Some(third)) = (served.another(), served.another()) else { continue };
        let transfer = served.sftp.transfer().atomic(true).preserve(true).stripe(&second).stripe(&third);
        let done = transfer.put(here.file("large"), "large").unwrap();
        assert_eq!((done.files, done.bytes), (1, data.len() as u64), "{name}");
        assert!(std::fs::read(served.folder.file("large")).unwrap() == data, "{name}");
        assert_eq!(served.sftp.listdir(".").unwrap().len(), 1, "{name}");
        let back = here.file(&format!("back from {name}"));
        let transfer = served.sftp.transfer().atomic(true).preserve(true).stripe(&second).stripe(&third);
        let done = transfer.get("large", &back).unwrap();
        assert_eq!((done.files, done.bytes), (1, data.len() as u64), "{name}");
        assert!(std::fs::read(back).unwrap() == data, "{name}");
    }
}

#[test]
fn trees_are_got_and_put_whole() {
    let Some(local) = Local::start() else { return };
    let here = Folder::new();
    let tree = here.file("tree");
    for dir in 0..20 {
        let folder = tree.join(format!("dir{dir}/below"));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..50 {
            std::fs::write(folder.join(format!("file {file}")), noise(file * 300)).unwrap();
        }
    }
    std::os::unix::fs::symlink("dir0/below", tree.join("link")).unwrap();
    std::fs::write(tree.join("big"), noise(2_000_000)).unwrap();
    let put = local.sftp.transfer().recursive(true).preserve(true).put(&tree, "there").unwrap();
    assert_eq!((put.files, put.directories, put.links), (1001, 41, 1));
    let got = local.sftp.transfer().recursive(true).preserve(true).get("there", here.file("back")).unwrap();
    assert_eq!((got.files, got.directories, got.links), (1001, 41, 1));
    for other in [local.folder.file("there"), here.file("back")] {
        let same = Command::new("diff").arg("-r").arg(&tree).arg(&other).output().unwrap();
        assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
        let modified = |path: &std::path::Path| {
            std::fs::metadata(path)
                .unwrap()
                .modified()
                .unwrap()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_secs()
        };
        for name in ["big", "dir3", "dir3/below/file 7"] {
            assert_eq!(modified(&tree.join(name)), modified(&other.join(name)), "{name}");
        }
    }
}

#[test]
fn patterns_and_trees() {
    let Some(local) = Local::start() else { return };
    let sftp = &local.sftp;
    sftp.makedirs("a/b/c", 0o755).unwrap();
    sftp.makedirs("a/.hidden/c", 0o755).unwrap();
    for name in ["x.c", "x.h", "a/y.c", "a/b/z.c", "a/b/c/deep.c", ".dot.c", "a/[x].c"] {
        sftp.open(name, "w").unwrap().close().unwrap();
    }
    sftp.symlink("a", "loop").unwrap();
    sftp.symlink("..", "a/up").unwrap();
    for (pattern, expected) in [
        ("*.c", "x.c"),
        ("*.[ch]", "x.c x.h"),
        ("**/*.c", "a/[x].c a/b/c/deep.c a/b/z.c a/y.c x.c"),
        ("a/**/c", "a/b/c"),
        ("*/y.c", "a/y.c loop/y.c"),
        ("a/\\[x].c", "a/[x].c"),
        ("none*", ""),
        ("none", ""),
        ("a/b", "a/b"),
        ("a/b/**", "a/b/c a/b/c/deep.c a/b/z.c"),
    ] {
        let found: Vec<String> = sftp.glob(pattern).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" "), expected, "{pattern}");
    }
    sftp.rmtree("a").unwrap();
    let mut left: Vec<String> = sftp.listdir(".").unwrap().iter().map(ToString::to_string).collect();
    left.sort();
    assert_eq!(left, [".dot.c", "loop", "x.c", "x.h"]);
    std::fs::write(local.folder.file("data"), noise(500_000)).unwrap();
    sftp.copy("data", "copy").unwrap();
    assert!(std::fs::read(local.folder.file("copy")).unwrap() == noise(500_000));
}

#[test]
fn transfers_tell_of_directories_keep_permissions_and_are_cancelled() {
    use std::os::unix::fs::PermissionsExt;
    let Some(local) = Local::start() else { return };
    let here = Folder::new();
    let mode = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let tree = here.file("tree");
    std::fs::create_dir_all(tree.join("closed")).unwrap();
    std::fs::write(tree.join("program"), b"x").unwrap();
    std::fs::write(tree.join("closed/inside"), b"x").unwrap();
    for (name, mode) in [("program", 0o750), ("closed/inside", 0o440), ("closed", 0o500)] {
        std::fs::set_permissions(tree.join(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    let mut told = Vec::new();
    let transfer = local.sftp.transfer().recursive(true).permissions(true);
    transfer.on_directory(|name| told.push(name.to_string())).put(&tree, "there").unwrap();
    told.sort();
    assert_eq!(told, ["there", "there/closed"]);
    told.clear();
    let transfer = local.sftp.transfer().recursive(true).permissions(true);
    transfer.on_directory(|name| told.push(name.to_string())).get("there", here.file("back")).unwrap();
    told.sort();
    assert_eq!(told, ["there", "there/closed"]);
    for folder in [local.folder.file("there"), here.file("back")] {
        let found = ["program", "closed", "closed/inside"].map(|name| mode(folder.join(name)));
        // What is written must be writable: a file that is got stays so for its owner.
        assert_eq!((found[0] & 0o700, found[1] & 0o500, found[2] & 0o400), (0o700, 0o500, 0o400));
        assert_eq!(found[1] & 0o222, 0);
    }

    std::fs::write(here.file("big"), noise(20_000_000)).unwrap();
    let answers = AtomicUsize::new(0);
    let few = move || answers.fetch_add(1, Ordering::Relaxed) >= 5;
    let outcome = local.sftp.transfer().cancel_when(few).put(here.file("big"), "big");
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    assert!(local.sftp.stat("big").unwrap().size < Some(20_000_000));
    // It can be gone on with, and the connection too.
    local.sftp.transfer().resume(true).put(here.file("big"), "big").unwrap();
    let outcome = local.sftp.transfer().cancel_when(|| true).get("big", here.file("part"));
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    let done = local.sftp.transfer().resume(true).verify(false).get("big", here.file("part")).unwrap();
    assert_eq!(done.files, 1);
    assert!(std::fs::read(here.file("part")).unwrap() == noise(20_000_000));
}
