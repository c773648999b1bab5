//! Files that are empty, larger than 4 GiB, or full of holes.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};

use feramiko::{
    OpenFlags, SFTPAttributes, SFTPClient, SFTPHandle, SFTPResult, SFTPServer, SFTPServerInterface,
    SFTPStatus, SFTPTransfer,
};

use super::peers::Folder;
use super::relay::{Whose, client, noise};
use super::watch::{long, within};

/// More than a 32-bit offset reaches.
const BEYOND: u64 = (1 << 32) + 5000;

/// A file that is a hole but for some bytes.
fn sparse(path: &Path, length: u64, data: &[(u64, &[u8])]) {
    let file = fs::File::create(path).unwrap();
    file.set_len(length).unwrap();
    data.iter().for_each(|(at, bytes)| file.write_all_at(bytes, *at).unwrap());
}

/// What takes room on the disk, in KiB.
fn taken(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() / 2
}

#[test]
fn the_end_of_a_file_beyond_4_gib_is_gone_on_with() {
    if !Whose::OpenSsh.is_here() {
        return;
    }
    // OpenSSH's server has no hashes: only the end of the part is read.
    within("beyond", || {
        let here = Folder::new();
        let (from, data) = (here.file("from"), noise(1, 1_000_000));
        sparse(&from, BEYOND + 1_000_000, &[(BEYOND, &data)]);
        for get in [true, false] {
            let to = here.file(if get { "got" } else { "put" });
            sparse(&to, BEYOND - 1000, &[]);
            let sftp = client(Whose::OpenSsh);
            let transfer = sftp.transfer().resume(true).sparse(true);
            let done = match get {
                true => transfer.get(from.to_str().unwrap(), &to),
                false => transfer.put(&from, to.to_str().unwrap()),
            };
            assert_eq!(done.unwrap().bytes, 1_001_000);
            assert_eq!(fs::metadata(&to).unwrap().len(), BEYOND + 1_000_000);
            let mut found = vec![0; data.len()];
            fs::File::open(&to).unwrap().read_exact_at(&mut found, BEYOND).unwrap();
            assert!(found == data);
            assert!(taken(&to) < 4096, "{}", taken(&to));
        }
        let file = client(Whose::OpenSsh).open(from.to_str().unwrap(), "r").unwrap();
        let mut some = [0; 100];
        assert_eq!(file.read_at(&mut some, BEYOND + 17).unwrap(), 100);
        assert!(some[..] == data[17..117]);
        assert_eq!(file.read_at(&mut some, BEYOND + 2_000_000).unwrap(), 0);
    });
}

#[test]
fn holes_stay_holes() {
    within("holes", || {
        let here = Folder::new();
        let length = if long() { BEYOND + 1_000_000 } else { 64 << 20 };
        let (from, data) = (here.file("from"), noise(1, 5000));
        for (name, data) in [
            ("end", vec![(0, &data[..]), (length / 2 + 77, &data[..])]),
            ("begin", vec![(length - 5000, &data[..])]),
            ("all", vec![]),
        ] {
            sparse(&from, length, &data);
            for whose in Whose::all() {
                let sftp = client(whose);
                let (got, put) = (here.file("got"), here.file("put"));
                sftp.transfer().sparse(true).get(from.to_str().unwrap(), &got).unwrap();
                sftp.transfer().sparse(true).put(&from, put.to_str().unwrap()).unwrap();
                for to in [got, put] {
                    let same = std::process::Command::new("cmp").arg(&from).arg(&to).status().unwrap();
                    assert!(same.success(), "{name} {whose:?}");
                    assert!(taken(&to) < 700, "{name} {whose:?}: {} KiB", taken(&to));
                    fs::remove_file(to).unwrap();
                }
            }
        }
    });
}

#[test]
fn two_gib_once() {
    if !long() || !Whose::OpenSsh.is_here() {
        return;
    }
    within("two GiB", || {
        let here = Folder::new();
        let (from, to, back) = (here.file("from"), here.file("to"), here.file("back"));
        let file = fs::File::create(&from).unwrap();
        for piece in 0..2048_u64 {
            file.write_all_at(&noise(piece + 1, 1 << 20), piece << 20).unwrap();
        }
        let sftp = client(Whose::OpenSsh);
        sftp.put(&from, to.to_str().unwrap()).unwrap();
        sftp.get(to.to_str().unwrap(), &back).unwrap();
        for to in [to, back] {
            assert!(std::process::Command::new("cmp").arg(&from).arg(&to).status().unwrap().success());
        }
    });
}

#[test]
fn empty_files() {
    for whose in Whose::all() {
        let here = Folder::new();
        let from = here.file("from");
        fs::write(&from, b"").unwrap();
        let (sftp, name) = (client(whose), from.to_str().unwrap());
        for atomic in [false, true] {
            for other in [false, true] {
                let to = here.file(&format!("to{atomic}{other}"));
                let transfer = sftp.transfer().atomic(atomic).sparse(other).resume(other).preserve(other);
                assert_eq!(transfer.get(name, &to).unwrap().files, 1);
                assert_eq!(fs::metadata(&to).unwrap().len(), 0);
                let to = here.file(&format!("put{atomic}{other}"));
                let transfer = sftp.transfer().atomic(atomic).sparse(other).resume(other).preserve(other);
                assert_eq!(transfer.put(&from, to.to_str().unwrap()).unwrap().files, 1);
                assert_eq!(fs::metadata(&to).unwrap().len(), 0);
            }
        }
        let file = sftp.open(name, "r").unwrap();
        assert_eq!(file.read_at(&mut [0; 10], 0).unwrap(), 0);
        assert!(file.readv(&[(0, 10), (5, 0), (7, 100_000)]).all(|part| part.unwrap().is_empty()));
        if whose == Whose::Ours {
            sftp.transfer().verify(true).get(name, here.file("verified")).unwrap();
        }
    }
}

/// A server that keeps the length of every WRITE.
#[derive(Clone, Default)]
struct Lengths(Arc<Mutex<Vec<usize>>>);

impl SFTPServerInterface for Lengths {
    fn open(&self, _: &[u8], _: OpenFlags, _: &SFTPAttributes) -> SFTPResult<Box<dyn SFTPHandle>> {
        Ok(Box::new(self.clone()))
    }

    fn stat(&self, _: &[u8]) -> SFTPResult<SFTPAttributes> {
        Err(SFTPStatus::NO_SUCH_FILE.into())
    }
}

impl SFTPHandle for Lengths {
    fn write(&self, _: u64, bytes: &[u8]) -> SFTPResult<()> {
        self.0.lock().unwrap().push(bytes.len());
        Ok(())
    }
}

#[test]
fn one_write_is_as_long_as_is_asked_and_no_longer_than_the_server_takes() {
    let here = Folder::new();
    let from = here.file("from");
    fs::write(&from, noise(1, 600_000)).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let lengths = Lengths::default();
    let server = SFTPServer::new(lengths.clone());
    std::thread::spawn(move || server.serve(&far, far.try_clone().unwrap()));
    let sftp = SFTPClient::over(near).unwrap();
    for (asked, longest) in [(None, 124 * 1024), (Some(10_000), 10_000), (Some(1_000_000), 255 * 1024)] {
        let transfer = asked.into_iter().fold(sftp.transfer(), SFTPTransfer::buffer);
        transfer.put(&from, "/to").unwrap();
        let lengths = std::mem::take(&mut *lengths.0.lock().unwrap());
        assert_eq!(lengths.iter().max(), Some(&longest), "{asked:?}");
        assert_eq!(lengths.iter().sum::<usize>(), 600_000, "{asked:?}");
    }
}
