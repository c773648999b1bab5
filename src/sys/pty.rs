//! Pseudo-terminals: the pair that a server makes for a session (RFC 4254 §6.2).
//!
//! Descriptors are close-on-exec and never become our own controlling terminal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

use super::modes::TerminalModes;
use super::terminal;

/// The size of a terminal; a zero means unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    /// Width in pixels.
    pub(crate) width: u32,
    /// Height in pixels.
    pub(crate) height: u32,
}

/// The near side (master) of a pseudo-terminal. Dropping it hangs the far side up.
#[derive(Debug)]
pub(crate) struct Pty {
    master: File,
    path: PathBuf,
}

impl Pty {
    /// Makes a new pair.
    pub(crate) fn open() -> io::Result<Self> {
        let master = open_master()?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let path = PathBuf::from(std::ffi::OsString::from_vec(name.into_bytes()));
        Ok(Self { master: master.into(), path })
    }

    /// The name of the far side, as in `SSH_TTY`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the far side (slave).
    ///
    /// While nobody has it open, reading the near side says end of file: keep one until the
    /// program that will live on it was started.
    pub(crate) fn open_far_side(&self) -> io::Result<OwnedFd> {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&self.path, flags, Mode::empty())?)
    }

    /// Gives the far side to a user, as `login` does: the user's own, and of group `tty` so that
    /// `write` and `wall` reach it. Needs root when the user is not the one we run as.
    pub(crate) fn give_to(&self, uid: u32, gid: u32) -> io::Result<()> {
        use rustix::fs::{Gid, Mode, Uid};
        let tty = nix::unistd::Group::from_name("tty").ok().flatten();
        let (gid, mode) = match tty {
            Some(group) => (group.gid.as_raw(), Mode::from_raw_mode(0o620)),
            None => (gid, Mode::from_raw_mode(0o600)),
        };
        let far = self.open_far_side()?;
        rustix::fs::fchown(&far, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        Ok(rustix::fs::fchmod(&far, mode)?)
    }

    /// Sets the size; whoever is on the far side learns it by SIGWINCH.
    pub(crate) fn set_size(&self, size: Size) -> io::Result<()> {
        // The system counts in sixteen bits.
        let short = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        Ok(tcsetwinsize(
            &self.master,
            Winsize {
                ws_row: short(size.rows),
                ws_col: short(size.columns),
                ws_xpixel: short(size.width),
                ws_ypixel: short(size.height),
            },
        )?)
    }

    /// The size as it is set.
    pub(crate) fn size(&self) -> io::Result<Size> {
        let size = tcgetwinsize(&self.master)?;
        Ok(Size {
            columns: size.ws_col.into(),
            rows: size.ws_row.into(),
            width: size.ws_xpixel.into(),
            height: size.ws_ypixel.into(),
        })
    }

    /// Sets the terminal as a client's `pty-req` wants it.
    pub(crate) fn apply_modes(&self, modes: &TerminalModes) -> io::Result<()> {
        terminal::apply_modes(&self.master, modes)
    }

    /// Reads what was written on the far side; `Ok(0)` when nobody has it open any more, or as
    /// soon as `stop` becomes readable or is hung up. A program that keeps the terminal open in
    /// the background would hold a plain `read` for ever.
    pub(crate) fn read_unless(&self, stop: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
        let mut fds =
            [PollFd::new(&self.master, PollFlags::IN), PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN)];
        loop {
            match poll(&mut fds, None) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        let [_, stop] = fds;
        if stop.revents().is_empty() { (&*self).read(buffer) } else { Ok(0) }
    }
}

impl Pty {
    /// Reads what is there now; `Ok(0)` when nothing is.
    pub(crate) fn read_available(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&none))?;
        let [master] = fds;
        if master.revents().contains(PollFlags::IN) { (&*self).read(buffer) } else { Ok(0) }
    }
}

impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}

/// The far side's last close reads as end of file; Linux reports it as an error.
impl Read for &Pty {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (&self.master).read(buffer) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => Ok(0),
            read => read,
        }
    }
}

impl Write for &Pty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.master).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd"))]
fn open_master() -> io::Result<OwnedFd> {
    Ok(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?)
}

/// Systems that cannot do both at once leave an instant in which a child could inherit it.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "netbsd")))]
fn open_master() -> io::Result<OwnedFd> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
    Ok(master)
}

#[cfg(test)]
mod tests {
    use super::super::modes::opcode;
    use super::*;
    use rustix::termios::{LocalModes, tcgetattr};

    #[test]
    fn a_pair_carries_bytes_and_ends() {
        let pty = Pty::open().unwrap();
        let mut far = File::from(pty.open_far_side().unwrap());
        assert!(pty.path().starts_with("/dev"));
        assert!(rustix::io::fcntl_getfd(&pty).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        assert!(rustix::io::fcntl_getfd(&far).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        far.write_all(b"one\n").unwrap();
        let mut buffer = [0; 64];
        let count = (&pty).read(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"one\r\n");
        (&pty).write_all(b"two\n").unwrap();
        let count = far.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"two\n");
        let count = (&pty).read(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"two\r\n", "the echo");
        drop(far);
        assert_eq!((&pty).read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn reading_can_be_stopped() {
        let pty = Pty::open().unwrap();
        let mut far = File::from(pty.open_far_side().unwrap());
        let (stop, stopper) = std::os::unix::net::UnixStream::pair().unwrap();
        far.write_all(b"x").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(pty.read_unless(&stop, &mut buffer).unwrap(), 1);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| pty.read_unless(&stop, &mut [0; 8]).unwrap());
            drop(stopper);
            assert_eq!(reader.join().unwrap(), 0);
        });
    }

    #[test]
    fn sizes() {
        let pty = Pty::open().unwrap();
        let size = Size { columns: 132, rows: 50, width: 1000, height: 700 };
        pty.set_size(size).unwrap();
        assert_eq!(pty.size().unwrap(), size);
        pty.set_size(Size { columns: 70_000, rows: u32::MAX, ..size }).unwrap();
        assert_eq!(pty.size().unwrap(), Size { columns: 65_535, rows: 65_535, ..size });
    }

    #[test]
    fn modes_reach_the_terminal_and_come_back() {
        let pty = Pty::open().unwrap();
        let far = pty.open_far_side().unwrap();
        let mut modes = terminal::read_modes(&far).unwrap();
        assert_eq!(modes.get(opcode::VINTR), Some(3));
        assert_eq!(modes.get(opcode::ECHO), Some(1));
        assert_eq!((modes.get(opcode::CS7), modes.get(opcode::CS8)), (Some(0), Some(1)));
        modes.set(opcode::ECHO, 0);
        modes.set(opcode::IUTF8, 1);
        modes.set(opcode::VINTR, 255);
        modes.set(opcode::VQUIT, 7);
        modes.set(opcode::CS7, 1);
        modes.set(opcode::CS8, 0);
        modes.set(opcode::TTY_OP_ISPEED, 9600);
        modes.set(opcode::TTY_OP_OSPEED, 9600);
        pty.apply_modes(&modes).unwrap();
        assert!(!tcgetattr(&far).unwrap().local_modes.contains(LocalModes::ECHO));
        assert_eq!(tcgetattr(&far).unwrap().special_codes[rustix::termios::SpecialCodeIndex::VINTR], 0);
        let read = terminal::read_modes(&far).unwrap();
        for mode in [opcode::ECHO, opcode::IUTF8, opcode::VINTR, opcode::VQUIT, opcode::TTY_OP_OSPEED] {
            assert_eq!(read.get(mode), modes.get(mode), "{mode}");
        }
    }

    #[test]
    fn modes_without_meaning_are_passed_over() {
        let pty = Pty::open().unwrap();
        let far = pty.open_far_side().unwrap();
        let before = terminal::read_modes(&far).unwrap();
        let mut modes = TerminalModes::default();
        modes.set(159, 1);
        modes.set(opcode::VINTR, 70_000);
        modes.set(opcode::TTY_OP_ISPEED, 0);
        modes.set(opcode::CS7, 0);
        pty.apply_modes(&modes).unwrap();
        assert_eq!(terminal::read_modes(&far).unwrap(), before);
    }

    #[test]
    fn the_far_side_can_be_given_to_us() {
        use std::os::unix::fs::MetadataExt;
        let pty = Pty::open().unwrap();
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        pty.give_to(uid, gid).unwrap();
        let metadata = pty.path().metadata().unwrap();
        assert_eq!(metadata.uid(), uid);
        assert_eq!(metadata.mode() & 0o057, 0);
    }
}
