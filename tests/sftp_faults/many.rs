//! Many files, many directories, many threads, and odd names.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;

use feramiko::Limits;

use super::peers::Folder;
use super::relay::{Whose, client, noise, same};
use super::servers::serve;
use super::watch::{alone, long, memory, within};

const NAMES: &[&[u8]] = &[
    b" leading and trailing ",
    b"quotes ' \" `",
    b"back\\slash",
    b"new\nline",
    b"tab\tand\x1b[31mescape",
    "na\u{ef}ve \u{65e5}\u{672c}".as_bytes(),
    b"\xff\xfe\x80",
    b"-rf",
    b"*?[x]",
    b"$(reboot)",
    b"...",
    b"~",
    b"a\x7fb",
];

#[test]
fn odd_names_are_kept() {
    for whose in Whose::all() {
        let here = Folder::new();
        let from = here.file("from");
        for name in NAMES {
            let dir = from.join(OsStr::from_bytes(name));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(OsStr::from_bytes(name)), name).unwrap();
            std::os::unix::fs::symlink(OsStr::from_bytes(name), dir.join("link")).unwrap();
        }
        let longest = "n".repeat(255);
        fs::write(from.join(&longest), "long").unwrap();
        let sftp = client(whose);
        sftp.transfer().recursive(true).put(&from, here.file("put").to_str().unwrap()).unwrap();
        sftp.transfer().recursive(true).get(from.to_str().unwrap(), here.file("got")).unwrap();
        same(&from, &here.file("put"));
        same(&from, &here.file("got"));
        for name in NAMES {
            let path = [from.as_os_str().as_bytes(), b"/", name, b"/", name].concat();
            assert!(sftp.stat(&path).unwrap().is_file());
            let shown = sftp.open([&path[..], b"x"].concat(), "r").unwrap_err().to_string();
            assert!(!shown.chars().any(char::is_control), "{shown}");
        }
    }
}

#[test]
fn a_hundred_thousand_entries_take_no_memory() {
    if !Whose::OpenSsh.is_here() {
        return;
    }
    alone("many::a_hundred_thousand_entries_take_no_memory", 48, || {
        let here = Folder::new();
        for number in 0..100_000 {
            fs::write(here.file(&format!("a file with a name of some length {number:09}")), b"").unwrap();
        }
        let sftp = client(Whose::OpenSsh);
        let before = memory("VmRSS:");
        let listed = sftp.listdir_iter(here.path().to_str().unwrap()).unwrap();
        assert_eq!(listed.map(Result::unwrap).count(), 100_000);
        let used = memory("VmRSS:").saturating_sub(before);
        assert!(used <= 8, "{used} MiB");
        assert_eq!(sftp.listdir(here.path().to_str().unwrap()).unwrap().len(), 100_000);
    });
}

#[test]
fn a_tree_of_many_small_files() {
    within("tree", || {
        let here = Folder::new();
        let from = here.file("from");
        let count = if long() { 20_000 } else { 2000 };
        for number in 0..count {
            let dir = from.join(format!("{}/{}", number % 13, number % 50));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(format!("{number}")), noise(number as u64, number % 5000)).unwrap();
        }
        for whose in Whose::all() {
            let sftp = client(whose);
            let (put, got) = (here.file(&format!("put{whose:?}")), here.file(&format!("got{whose:?}")));
            let transfer = || sftp.transfer().recursive(true).preserve(true);
            assert_eq!(transfer().put(&from, put.to_str().unwrap()).unwrap().files, count as u64);
            assert_eq!(transfer().get(put.to_str().unwrap(), &got).unwrap().files, count as u64);
            same(&from, &put);
            same(&from, &got);
        }
    });
}

/// One file in each of many directories, which have more directories in them: no more of them are held open
/// than a system allows by default, however slow the files are.
#[test]
fn many_directories_are_not_held_open() {
    if !Whose::OpenSsh.is_here() {
        return;
    }
    alone("many::many_directories_are_not_held_open", 200, || {
        let here = Folder::new();
        let from = here.file("from");
        for number in 0..700 {
            let dir = from.join(format!("{number}/below/further"));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("file"), noise(number, 20_000)).unwrap();
            fs::write(dir.join("../file"), noise(number, 100)).unwrap();
        }
        // The server is a process of its own, with a limit of its own.
        let sftp = client(Whose::OpenSsh);
        let limit = rustix::process::Rlimit { current: Some(300), maximum: Some(1024) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        let (put, got) = (here.file("put"), here.file("got"));
        let transfer = || sftp.transfer().recursive(true).preserve(true).bandwidth(100 << 20);
        transfer().get(from.to_str().unwrap(), &got).unwrap();
        transfer().put(&from, put.to_str().unwrap()).unwrap();
        same(&from, &got);
        same(&from, &put);
    });
}

/// Directories keep what is to be set of them until all in them is there.
#[test]
fn directories_that_may_not_be_written_are_got() {
    use std::os::unix::fs::PermissionsExt;
    let here = Folder::new();
    let from = here.file("from");
    fs::create_dir_all(from.join("a/b/c")).unwrap();
    fs::write(from.join("a/b/c/file"), "x").unwrap();
    for (name, mode) in [("a/b/c", 0o500), ("a/b", 0o550), ("a", 0o700)] {
        fs::set_permissions(from.join(name), fs::Permissions::from_mode(mode)).unwrap();
        let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        fs::File::open(from.join(name)).unwrap().set_times(times).unwrap();
    }
    let sftp = client(Whose::Ours);
    let got = here.file("got");
    sftp.transfer().recursive(true).preserve(true).get(from.to_str().unwrap(), &got).unwrap();
    for (name, mode) in [("a/b/c", 0o500), ("a/b", 0o550), ("a", 0o700)] {
        let found = fs::metadata(got.join(name)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, mode, "{name}");
        assert_eq!(found.modified().unwrap(), std::time::UNIX_EPOCH, "{name}");
    }
}

#[test]
fn one_handle_serves_many_threads() {
    if !Whose::OpenSsh.is_here() {
        return;
    }
    within("handle", || {
        const BLOCK: usize = 40_000;
        let here = Folder::new();
        let sftp = client(Whose::OpenSsh);
        let file = sftp.open(here.file("file").to_str().unwrap(), "w+").unwrap();
        std::thread::scope(|scope| {
            for number in 0..32_u64 {
                let file = &file;
                scope.spawn(move || {
                    for round in 0..8 {
                        let (data, at) = (noise(number * 8 + round, BLOCK), number * BLOCK as u64);
                        file.write_at(&data, at).unwrap();
                        let mut found = vec![0; BLOCK];
                        assert_eq!(file.read_at(&mut found, at).unwrap(), BLOCK);
                        assert!(found == data);
                    }
                });
            }
        });
        file.close().unwrap();
        let whole = fs::read(here.file("file")).unwrap();
        assert!(whole.chunks(BLOCK).zip(0..).all(|(block, number)| block == noise(number * 8 + 7, BLOCK)));
    });
}

/// One client, 64 threads, and new keys every megabyte.
#[test]
fn many_threads_while_keys_change() {
    for name in ["internal-sftp", "feramiko"] {
        let mut limits = Limits::default();
        limits.rekey_bytes = 1 << 20;
        let Some(served) = serve(name, limits) else { continue };
        within(name, move || {
            std::thread::scope(|scope| {
                for number in 0..64_u64 {
                    let (sftp, here) = (&served.sftp, &served.folder);
                    scope.spawn(move || {
                        let name = format!("file{number}");
                        for round in 0..3 {
                            let data = noise(number + round * 100 + 1, 50_000 + number as usize * 1000);
                            sftp.putfo(&mut &data[..], &name).unwrap();
                            let mut found = Vec::new();
                            sftp.getfo(&name, &mut found).unwrap();
                            assert!(found == data);
                            let mut file = sftp.open(&name, "r+").unwrap();
                            file.write_all(&data[..1000]).unwrap();
                            let mut rest = Vec::new();
                            file.read_to_end(&mut rest).unwrap();
                            assert!(rest == data[1000..]);
                            file.close().unwrap();
                            assert_eq!(sftp.stat(&name).unwrap().size, Some(data.len() as u64));
                            assert!(fs::read(here.file(&name)).unwrap() == data);
                        }
                    });
                }
            });
            assert_eq!(served.sftp.listdir(".").unwrap().len(), 64);
        });
    }
}
