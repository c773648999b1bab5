//! Open descriptors passed from one process to another over a UNIX socket: SCM_RIGHTS of unix(7), one with
//! each byte, as OpenSSH's monitor_fdpass.c does it.
//!
//! What was passed shares its flags and its position with whoever passed it. So nothing is set on it, and it
//! is still never waited for in a read or a write.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SocketType, recvmsg, sendmsg,
};
use rustix::termios::{isatty, tcgetwinsize};

use super::socket;

/// What POSIX has every pipe take without waiting once it takes anything.
const PIPE_PIECE: usize = 512;

/// Passes `descriptor` on.
pub(crate) fn send(
    socket: impl AsFd,
    descriptor: BorrowedFd<'_>,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(&[0])], &mut control, socket::WITHOUT_WAITING) {
            Ok(_) => return Ok(()),
            Err(Errno::AGAIN) => socket::wait_writable(&socket, deadline)?,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes a descriptor that was passed with the next byte, close-on-exec. More than one is an error, and none
/// of them stays open.
pub(crate) fn receive(socket: impl AsFd, deadline: Option<Instant>) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = loop {
        socket::wait_readable(&socket, deadline)?;
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RECEIVING) {
            Ok(received) => break received,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let mut passed: Vec<OwnedFd> = descriptors.by_ref().flatten().collect();
    match (received.bytes, passed.pop()) {
        (1, Some(descriptor)) if passed.is_empty() => close_on_exec(descriptor),
        (0, _) => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "one descriptor was to be passed")),
    }
}

/// A stream socket that was passed.
#[derive(Debug)]
pub(crate) enum PassedStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Says which kind of stream socket it is; anything else is an error.
pub(crate) fn stream(descriptor: OwnedFd) -> io::Result<PassedStream> {
    let socket = rustix::net::sockopt::socket_type(&descriptor);
    if socket != Ok(SocketType::STREAM) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "what was passed is no stream socket"));
    }
    match rustix::net::getsockname(&descriptor)?.address_family() {
        AddressFamily::INET | AddressFamily::INET6 => Ok(PassedStream::Tcp(descriptor.into())),
        AddressFamily::UNIX => Ok(PassedStream::Unix(descriptor.into())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "what was passed is a socket of another kind")),
    }
}

#[cfg(not(target_vendor = "apple"))]
const RECEIVING: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::CMSG_CLOEXEC);
#[cfg(target_vendor = "apple")]
const RECEIVING: RecvFlags = RecvFlags::DONTWAIT;

#[cfg(not(target_vendor = "apple"))]
fn close_on_exec(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    Ok(descriptor)
}

#[cfg(target_vendor = "apple")]
fn close_on_exec(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)?;
    Ok(descriptor)
}

/// Which way a passed descriptor is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Read,
    Write,
}

/// How it is kept from waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Each call says that it does not wait.
    Socket,
    /// It was opened once more and does not wait; the flags of the one that was passed are as they were.
    Reopened,
    /// It is looked at before each call, which moves a little.
    Looked,
    /// It never waits: files, /dev/null.
    Ready,
}

/// A descriptor that was passed, used one way.
#[derive(Debug)]
pub(crate) struct Passed {
    descriptor: OwnedFd,
    kind: Kind,
    way: Way,
}

impl Passed {
    pub(crate) fn new(descriptor: OwnedFd, way: Way) -> io::Result<Self> {
        let stat = rustix::fs::fstat(&descriptor)?;
        let (descriptor, kind) = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => (descriptor, Kind::Socket),
            FileType::Fifo => reopened(descriptor, way),
            FileType::CharacterDevice if is_pseudo_terminal(&stat) => reopened(descriptor, way),
            FileType::CharacterDevice if isatty(&descriptor) => (descriptor, Kind::Looked),
            FileType::RegularFile | FileType::CharacterDevice | FileType::BlockDevice => {
                (descriptor, Kind::Ready)
            }
            _ => (descriptor, Kind::Looked),
        };
        Ok(Self { descriptor, kind, way })
    }

    /// Reads what is there; `WouldBlock` when nothing is.
    pub(crate) fn read_now(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self.kind {
            Kind::Socket => socket::read_now(&self.descriptor, buf),
            Kind::Looked if !self.is_ready()? => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(rustix::io::retry_on_intr(|| rustix::io::read(&self.descriptor, &mut *buf))?),
        }
    }

    /// Writes what fits; `WouldBlock` when nothing does.
    pub(crate) fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = match self.kind {
            Kind::Socket => return socket::write_now(&self.descriptor, bytes),
            Kind::Looked if !self.is_ready()? => return Err(io::ErrorKind::WouldBlock.into()),
            Kind::Looked => bytes.get(..PIPE_PIECE).unwrap_or(bytes),
            _ => bytes,
        };
        Ok(rustix::io::retry_on_intr(|| rustix::io::write(&self.descriptor, bytes))?)
    }

    fn is_ready(&self) -> io::Result<bool> {
        let mut look = [PollFd::new(&self.descriptor, self.events())];
        Ok(poll(&mut look, Some(&Timespec::default()))? > 0)
    }

    fn events(&self) -> PollFlags {
        match self.way {
            Way::Read => PollFlags::IN,
            Way::Write => PollFlags::OUT,
        }
    }

    /// Waits until something can be read or written, or has failed; false as soon as `stop` can be read or
    /// has ended.
    pub(crate) fn wait(&self, stop: BorrowedFd<'_>) -> io::Result<bool> {
        let mut both =
            [PollFd::new(&self.descriptor, self.events()), PollFd::from_borrowed_fd(stop, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut both, None))?;
        let [_, stop] = &both;
        Ok(stop.revents().is_empty())
    }
}

/// The major numbers of what terminal windows are on Linux. Other terminals are not opened once more:
/// /dev/tty and its like would be ours then, not the client's.
const PSEUDO_TERMINALS: RangeInclusive<u32> = 136..=143;

fn is_pseudo_terminal(stat: &rustix::fs::Stat) -> bool {
    let linux = cfg!(any(target_os = "linux", target_os = "android"));
    linux && PSEUDO_TERMINALS.contains(&rustix::fs::major(stat.st_rdev))
}

/// The same pipe or terminal with flags of its own, where the system opens it by its descriptor.
fn reopened(descriptor: OwnedFd, way: Way) -> (OwnedFd, Kind) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::fs::{Mode, OFlags, open};
        use std::os::fd::AsRawFd;

        let how = match way {
            Way::Read => OFlags::RDONLY,
            Way::Write => OFlags::WRONLY,
        };
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        let flags = how | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if let Ok(own) = open(path, flags, Mode::empty()) {
            return (own, Kind::Reopened);
        }
    }
    let _ = way;
    (descriptor, Kind::Looked)
}

/// Columns, rows, width and height in pixels of a terminal.
pub(crate) fn terminal_size(terminal: impl AsFd) -> Option<[u32; 4]> {
    let size = tcgetwinsize(terminal).ok()?;
    Some([size.ws_col, size.ws_row, size.ws_xpixel, size.ws_ypixel].map(u32::from))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(10))
    }

    #[test]
    fn a_descriptor_arrives_and_is_not_inherited() {
        let (near, far) = UnixStream::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        send(&near, writer.as_fd(), soon()).unwrap();
        drop(writer);
        let passed = receive(&far, soon()).unwrap();
        assert!(rustix::io::fcntl_getfd(&passed).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        File::from(passed).write_all(b"hello").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn nothing_else_is_taken_for_one() {
        let (near, far) = UnixStream::pair().unwrap();
        (&near).write_all(b"x").unwrap();
        assert_eq!(receive(&far, soon()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let brief = Some(Instant::now() + Duration::from_millis(20));
        assert_eq!(receive(&far, brief).unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(near);
        assert_eq!(receive(&far, soon()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn two_with_one_byte_are_none_and_do_not_stay_open() {
        let (near, far) = UnixStream::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let both = [writer.as_fd(), writer.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&both)));
        let byte = [IoSlice::new(&[0])];
        sendmsg(&near, &byte, &mut control, rustix::net::SendFlags::empty()).unwrap();
        drop(writer);
        assert_eq!(receive(&far, soon()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        // Its end comes only when nobody has the other side any more.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    /// A pipe whose flags are another's is full, then empty: nobody waits, and the flags stay.
    fn never_waits(far: Passed, near: Passed, flags: impl AsFd) {
        let mut piece = vec![7; 4096];
        let mut written = 0;
        let error = loop {
            match far.write_now(&piece) {
                Ok(count) => written += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let (stop, ends) = UnixStream::pair().unwrap();
        drop(ends);
        assert!(!far.wait(stop.as_fd()).unwrap());
        let mut read = 0;
        while read < written {
            read += near.read_now(&mut piece).unwrap();
        }
        assert_eq!(near.read_now(&mut piece).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let set = rustix::fs::fcntl_getfl(flags).unwrap();
        assert!(!set.contains(rustix::fs::OFlags::NONBLOCK));
    }

    #[test]
    fn pipes_and_sockets_are_never_waited_for() {
        let (reader, writer) = io::pipe().unwrap();
        let kept = writer.try_clone().unwrap();
        let (reader, writer): (OwnedFd, OwnedFd) = (reader.into(), writer.into());
        let looked = |descriptor, way| Passed { descriptor, kind: Kind::Looked, way };
        let again = (reader.try_clone().unwrap(), writer.try_clone().unwrap());
        never_waits(looked(again.1, Way::Write), looked(again.0, Way::Read), &kept);
        let (writer, reader) =
            (Passed::new(writer, Way::Write).unwrap(), Passed::new(reader, Way::Read).unwrap());
        never_waits(writer, reader, &kept);
        let (near, far) = UnixStream::pair().unwrap();
        let kept = near.try_clone().unwrap();
        let (near, far) =
            (Passed::new(near.into(), Way::Write).unwrap(), Passed::new(far.into(), Way::Read).unwrap());
        never_waits(near, far, kept);
    }
}
