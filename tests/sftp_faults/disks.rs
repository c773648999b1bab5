//! Disks that are full, and files that change while they are copied.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use feramiko::{
    Error, OpenFlags, Result, SFTPAttributes, SFTPClient, SFTPHandle, SFTPResult, SFTPServer,
    SFTPServerInterface, SFTPStatus,
};

use super::peers::{Folder, require, user};
use super::relay::{Whose, client, noise};

/// A file system of so many KiB in memory, which only root can mount.
pub(crate) struct Small(pub(crate) Folder);

impl Small {
    pub(crate) fn new(kilobytes: u32) -> Option<Self> {
        let folder = Folder::new();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"]).arg(folder.path());
        let mounted = user() == "root" && command.status().is_ok_and(|status| status.success());
        require("a mount (as root)", mounted.then_some(Self(folder)))
    }

    pub(crate) fn grow(&self) {
        let mut command = Command::new("mount");
        command.args(["-o", "remount,size=16m"]).arg(self.0.path());
        assert!(command.status().unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn is_full(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
}

#[test]
fn a_full_disk_here_is_said_and_gone_on_with() {
    let (Some(small), there) = (Small::new(1024), Folder::new()) else { return };
    let (from, data) = (there.file("from"), noise(1, 3_000_000));
    fs::write(&from, &data).unwrap();
    let (sftp, from) = (client(Whose::Ours), from.to_str().unwrap());
    for atomic in [false, true] {
        let to = small.0.file("to");
        let part = if atomic { small.0.file("to.filepart") } else { to.clone() };
        let error = sftp.transfer().atomic(atomic).remove_partial(true).get(from, &to).unwrap_err();
        assert!(is_full(&error), "{error}");
        assert_eq!(fs::read_dir(small.0.path()).unwrap().count(), 0);
        let error = sftp.transfer().atomic(atomic).get(from, &to).unwrap_err();
        assert!(is_full(&error), "{error}");
        let kept = fs::read(&part).unwrap();
        assert!(kept.len() > 500_000 && data.starts_with(&kept));
        if atomic {
            small.grow();
            let done = sftp.transfer().atomic(true).resume(true).get(from, &to).unwrap();
            assert_eq!(done.bytes as usize, data.len() - kept.len());
            assert!(fs::read(&to).unwrap() == data);
        } else {
            fs::remove_file(part).unwrap();
        }
    }
}

#[test]
fn a_full_disk_there_is_said_and_gone_on_with() {
    for whose in Whose::all() {
        let (Some(small), here) = (Small::new(1024), Folder::new()) else { return };
        let (from, data) = (here.file("from"), noise(1, 3_000_000));
        fs::write(&from, &data).unwrap();
        let (sftp, to) = (client(whose), small.0.file("to"));
        let name = to.to_str().unwrap();
        let error = sftp.transfer().remove_partial(true).put(&from, name).unwrap_err();
        assert!(matches!(error, Error::Sftp(_)), "{error}");
        assert!(!to.exists());
        let error = sftp.putfo(&mut &data[..], name).unwrap_err();
        assert!(matches!(error, Error::Sftp(_)), "{error}");
        let error = sftp.put(&from, name).unwrap_err();
        assert!(matches!(error, Error::Sftp(_)), "{error}");
        let mut file = sftp.open(name, "r+").unwrap();
        file.set_pipelined(true).unwrap();
        let told = io::Write::write_all(&mut file, &data).and_then(|()| io::Write::flush(&mut file));
        assert!(told.is_err());
        small.grow();
        // What was written after the first refusal may be there: the beginning is what counts.
        let kept = fs::read(&to).unwrap();
        if data.starts_with(&kept) {
            let done = sftp.transfer().resume(true).put(&from, name).unwrap();
            assert!(done.bytes > 0);
            assert!(fs::read(&to).unwrap() == data);
        }
        sftp.put(&from, name).unwrap();
        assert!(fs::read(&to).unwrap() == data);
    }
}

/// A server of one file, which has no room once and room again a moment later.
#[derive(Default)]
struct Tight {
    data: Mutex<Option<Vec<u8>>>,
    refused: AtomicBool,
}

/// Where the first write that is refused begins, at least.
const NO_ROOM: u64 = 1_000_000;

struct Shared(Arc<Tight>);

impl SFTPServerInterface for Shared {
    fn open(&self, _: &[u8], flags: OpenFlags, _: &SFTPAttributes) -> SFTPResult<Box<dyn SFTPHandle>> {
        let mut data = self.0.data.lock().unwrap();
        if flags.has(OpenFlags::TRUNCATE) || data.is_none() {
            *data = Some(Vec::new());
        }
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }

    fn stat(&self, _: &[u8]) -> SFTPResult<SFTPAttributes> {
        let data = self.0.data.lock().unwrap();
        let size = data.as_ref().ok_or(SFTPStatus::NO_SUCH_FILE)?.len();
        Ok(SFTPAttributes::new().with_mode(0o100_644).with_size(size as u64))
    }

    fn chattr(&self, _: &[u8], attributes: &SFTPAttributes) -> SFTPResult<()> {
        self.0.data.lock().unwrap().as_mut().unwrap().resize(attributes.size.unwrap() as usize, 0);
        Ok(())
    }
}

impl SFTPHandle for Shared {
    fn read(&self, offset: u64, buf: &mut [u8]) -> SFTPResult<usize> {
        let data = self.0.data.lock().unwrap();
        let rest = &data.as_ref().unwrap()[offset as usize..];
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> SFTPResult<()> {
        if offset >= NO_ROOM && !self.0.refused.swap(true, Ordering::SeqCst) {
            return Err(SFTPStatus::FAILURE.into());
        }
        let (mut data, begin) = (self.0.data.lock().unwrap(), offset as usize);
        let data = data.as_mut().unwrap();
        data.resize(data.len().max(begin + bytes.len()), 0);
        data[begin..begin + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

#[test]
fn what_follows_refused_bytes_is_no_part_to_go_on_with() {
    let here = Folder::new();
    let (from, data) = (here.file("from"), noise(1, 3_000_000));
    fs::write(&from, &data).unwrap();
    let tight = Arc::new(Tight::default());
    let (near, far) = UnixStream::pair().unwrap();
    let there = Shared(Arc::clone(&tight));
    std::thread::spawn(move || SFTPServer::new(there).serve(&far, far.try_clone().unwrap()));
    let sftp = SFTPClient::over(near).unwrap();
    let error = sftp.put(&from, "/to").unwrap_err();
    assert!(matches!(error, Error::Sftp(_)), "{error}");
    let kept = tight.data.lock().unwrap().clone().unwrap();
    assert!(kept.len() as u64 >= NO_ROOM && data.starts_with(&kept), "{} bytes, with a hole", kept.len());
    let done = sftp.transfer().resume(true).put(&from, "/to").unwrap();
    assert_eq!(done.bytes as usize, data.len() - kept.len());
    assert!(tight.data.lock().unwrap().as_deref() == Some(&data[..]));
}

#[test]
fn devices_and_writers_that_are_full() {
    let here = Folder::new();
    let from = here.file("from");
    fs::write(&from, noise(1, 500_000)).unwrap();
    let sftp = client(Whose::Ours);
    let name = from.to_str().unwrap();
    let error = sftp.get(name, "/dev/full").unwrap_err();
    assert!(is_full(&error), "{error}");
    assert!(Path::new("/dev/full").exists());
    let mut full = fs::File::create("/dev/full").unwrap();
    assert!(is_full(&sftp.getfo(name, &mut full).unwrap_err()));
    assert!(matches!(sftp.put(&from, "/dev/full").unwrap_err(), Error::Sftp(_)));
    // A reader that fails after a while.
    struct Fails(usize);
    impl io::Read for Fails {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(buf.len()).ok_or(io::ErrorKind::PermissionDenied)?;
            Ok(buf.len())
        }
    }
    let error = sftp.putfo(&mut Fails(3_000_000), here.file("to").to_str().unwrap()).unwrap_err();
    let denied = |source: &io::Error| source.kind() == io::ErrorKind::PermissionDenied;
    assert!(matches!(&error, Error::Io { source, .. } if denied(source)), "{error}");
    sftp.stat(name).unwrap();
}

/// What the file is at its end, or an error: never a mixture that passes for a copy.
fn changed(
    length: usize,
    change: impl Fn(&fs::File) + Copy,
    atomic: bool,
) -> (Result<u64>, Vec<u8>, Vec<u8>) {
    let here = Folder::new();
    let (from, to) = (here.file("from"), here.file("to"));
    fs::write(&from, noise(1, length)).unwrap();
    let file = fs::OpenOptions::new().append(true).open(&from).unwrap();
    let sftp = client(Whose::Ours);
    let mut once = Some(());
    let transfer = sftp.transfer().atomic(atomic).progress(|_| {
        if once.take().is_some() {
            change(&file);
        }
    });
    let outcome = transfer.get(from.to_str().unwrap(), &to).map(|done| done.files);
    (outcome, fs::read(&from).unwrap(), fs::read(&to).unwrap_or_default())
}

#[test]
fn files_that_change_while_they_are_got() {
    for length in [100, 200_000, 261_120, 3_000_000] {
        for atomic in [false, true] {
            let grow = |mut file: &fs::File| io::Write::write_all(&mut file, &noise(2, 700_000)).unwrap();
            let (outcome, from, to) = changed(length, grow, atomic);
            assert_eq!(outcome.unwrap(), 1);
            assert!(from == to, "{length}");
            for left in [0, 1, length as u64 / 2] {
                let (outcome, from, to) = changed(length, |file| file.set_len(left).unwrap(), atomic);
                match outcome {
                    Ok(files) => assert!(files == 1 && from == to, "{length} {left}: {files}"),
                    Err(error) => assert!(matches!(error, Error::Io { .. }), "{error}"),
                }
            }
        }
    }
}
