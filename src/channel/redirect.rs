//! Where a stream of a command leads when it is not its caller's: files, pipes, other channels, readers and
//! writers. Copies run on threads of their own. It must not know which side of a connection it is on.

use std::fmt;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};

use super::{Channel, ChannelStderr};
use crate::error::{Error, Result};
use crate::sys::standard::Standard;

/// How much is copied at a time; a pipe holds as much.
const PIECE: usize = 64 * 1024;

/// Something that is read and written.
trait Both: Read + Write + Send {}

impl<T: Read + Write + Send> Both for T {}

/// Where a stream of a command comes from or goes to, as `std::process::Stdio` is for local ones.
///
/// ```no_run
/// use std::fs::File;
/// use feramiko::{Redirect, SSHClient};
/// let client = SSHClient::connect("build.example.org")?;
/// let dump = client.command("pg_dump site").spawn()?;
/// let other = SSHClient::connect("store.example.org")?;
/// let status = other
///     .command("xz > site.xz")
///     .stdin(dump.stdout.expect("it is piped"))
///     .stderr(File::create("log")?)
///     .status()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Redirect(Kind);

enum Kind {
    Piped,
    Null,
    Inherit,
    From(Box<dyn Read + Send>),
    To(Box<dyn Write + Send>),
    Both(Box<dyn Both>),
}

impl fmt::Debug for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Piped => "Redirect::piped",
            Kind::Null => "Redirect::null",
            Kind::Inherit => "Redirect::inherit",
            Kind::From(_) => "Redirect::reader",
            Kind::To(_) => "Redirect::writer",
            Kind::Both(_) => "Redirect::stream",
        })
    }
}

impl Redirect {
    /// The caller's, to be read or written.
    #[must_use]
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }

    /// Nothing: input is empty, output is dropped.
    #[must_use]
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// The same stream of this process.
    #[must_use]
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// Input that is read from there to its end. The thread that reads lasts until then, though not the
    /// connection: it does not keep what has ended.
    pub fn reader(from: impl Read + Send + 'static) -> Self {
        Self(Kind::From(Box::new(from)))
    }

    /// Output that is written there, and flushed at its end.
    pub fn writer(to: impl Write + Send + 'static) -> Self {
        Self(Kind::To(Box::new(to)))
    }

    /// Input or output, as it is used.
    pub fn stream(stream: impl Read + Write + Send + 'static) -> Self {
        Self(Kind::Both(Box::new(stream)))
    }

    /// Where input comes from.
    pub(crate) fn source(self) -> Result<End<Box<dyn Read + Send>>> {
        Ok(match self.0 {
            Kind::Piped => End::Piped,
            Kind::Null => End::Null,
            Kind::Inherit => End::There(Box::new(Standard::input().map_err(unopened)?)),
            Kind::From(from) => End::There(from),
            Kind::Both(both) => End::There(Box::new(both)),
            Kind::To(_) => return Err(Error::Misuse("input cannot come from what is only written")),
        })
    }

    /// Where output goes to; what `inherited` opens when it is the process's own.
    pub(crate) fn sink(self, inherited: fn() -> io::Result<Standard>) -> Result<End<Box<dyn Write + Send>>> {
        Ok(match self.0 {
            Kind::Piped => End::Piped,
            Kind::Null => End::Null,
            Kind::Inherit => End::There(Box::new(inherited().map_err(unopened)?)),
            Kind::To(to) => End::There(to),
            Kind::Both(both) => End::There(Box::new(both)),
            Kind::From(_) => return Err(Error::Misuse("output cannot go to what is only read")),
        })
    }
}

fn unopened(error: io::Error) -> Error {
    Error::io("opening a stream of this process", error)
}

/// One end of a redirected stream.
pub(crate) enum End<T> {
    Piped,
    Null,
    There(T),
}

/// Copies to the end of input.
pub(crate) fn copy(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return to.flush(),
            Ok(count) => to.write_all(piece.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl From<File> for Redirect {
    fn from(file: File) -> Self {
        Self::stream(file)
    }
}

impl From<Channel> for Redirect {
    fn from(channel: Channel) -> Self {
        Self::stream(channel)
    }
}

impl From<ChannelStderr> for Redirect {
    fn from(stderr: ChannelStderr) -> Self {
        Self::stream(stderr)
    }
}

impl From<PipeReader> for Redirect {
    fn from(pipe: PipeReader) -> Self {
        Self::reader(pipe)
    }
}

impl From<PipeWriter> for Redirect {
    fn from(pipe: PipeWriter) -> Self {
        Self::writer(pipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_one_way() {
        let empty = || Redirect::reader(io::empty());
        assert!(matches!(empty().sink(Standard::output), Err(Error::Misuse(_))));
        assert!(matches!(empty().source(), Ok(End::There(_))));
        assert!(matches!(Redirect::writer(io::sink()).source(), Err(Error::Misuse(_))));
        assert!(matches!(Redirect::stream(io::empty()).sink(Standard::error), Ok(End::There(_))));
        assert!(matches!(Redirect::inherit().source(), Ok(End::There(_))));
    }

    #[test]
    fn a_copy_ends_with_its_input_and_with_the_first_error() {
        let mut to = Vec::new();
        copy(&mut io::repeat(7).take(200_000), &mut to).unwrap();
        assert_eq!(to.len(), 200_000);
        // A signal ends nothing, and what is buffered behind it is not left there.
        struct Interrupted(bool);
        impl Read for Interrupted {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                self.0 = !self.0;
                if self.0 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(0) }
            }
        }
        let mut buffered = io::BufWriter::new(Vec::new());
        copy(&mut (&b"all"[..]).chain(Interrupted(false)), &mut buffered).unwrap();
        assert_eq!(buffered.get_ref(), b"all");
        let mut small = [0_u8; 10];
        let error = copy(&mut io::repeat(7), &mut &mut small[..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}
