//! `ByteReader` and `TextReader`: a stream that is read up to one of several patterns.

use std::fmt;
use std::io::{self, Read};
use std::iter;
use std::time::{Duration, Instant};

use super::encoding::{Decoder, Encoding, NoText};
use super::pending::Pending;
use crate::channel::TimedRead;
use crate::error::Error;

/// How much is read at a time.
const PIECE: usize = 8 * 1024;
/// What may come before a pattern: more than any screen or log line, little enough for many streams at once.
const LIMIT: usize = 1 << 20;

/// What came before a pattern, and which pattern it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Until<T> {
    /// What came before.
    pub before: T,
    /// The pattern, as its place in the list.
    pub which: usize,
}

/// The stream, and what was read ahead.
struct Source<R> {
    inner: R,
    pending: Pending,
    /// None for bytes as they are.
    decoder: Option<Decoder>,
    ended: bool,
    /// What came cannot be decoded, and nothing after it.
    failed: Option<NoText>,
    limit: usize,
}

/// How a piece is read.
type ReadPiece<'a, R> = &'a mut dyn FnMut(&mut R, &mut [u8]) -> io::Result<usize>;

impl<R> Source<R> {
    fn new(inner: R, decoder: Option<Decoder>) -> Self {
        Self { inner, pending: Pending::default(), decoder, ended: false, failed: None, limit: LIMIT }
    }

    /// Reads a piece; false at the end.
    fn fill(&mut self, read: ReadPiece<'_, R>) -> io::Result<bool> {
        if self.failed.is_some() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the stream is not text in its encoding"));
        }
        if self.ended {
            return Ok(false);
        }
        let mut piece = [0; PIECE];
        let count = loop {
            match read(&mut self.inner, &mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.ended = count == 0;
        let piece = piece.get(..count).unwrap_or_default();
        match &mut self.decoder {
            Some(decoder) => self.failed = decoder.decode(piece, self.ended, self.pending.space()).err(),
            None => self.pending.space().extend_from_slice(piece),
        }
        // The last piece may have been the beginning of a character.
        Ok(true)
    }

    fn until(&mut self, patterns: &[&[u8]], read: ReadPiece<'_, R>) -> io::Result<Until<Vec<u8>>> {
        if patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_empty()) {
            return Err(Error::Misuse("a pattern to read up to is empty").into());
        }
        let mut searched = 0;
        loop {
            if let Some(found) = self.pending.find(patterns, searched) {
                return Ok(Until { which: found.which, before: self.pending.take(found) });
            }
            searched = self.pending.bytes().len();
            self.check_limit()?;
            if !self.fill(read)? {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the stream has ended before what was waited for",
                ));
            }
        }
    }

    fn check_limit(&self) -> io::Result<()> {
        if self.pending.bytes().len() < self.limit {
            return Ok(());
        }
        let limit = u64::try_from(self.limit).unwrap_or(u64::MAX);
        Err(Error::Limit { which: "read_until", limit }.into())
    }

    fn line(&mut self, read: ReadPiece<'_, R>) -> io::Result<Option<Vec<u8>>> {
        match self.until(&[b"\n"], read) {
            Ok(Until { mut before, .. }) => {
                if before.last() == Some(&b'\r') {
                    before.pop();
                }
                Ok(Some(before))
            }
            Err(_) if self.ended && self.failed.is_none() => {
                let rest = self.pending.take_all();
                Ok((!rest.is_empty()).then_some(rest))
            }
            Err(error) => Err(error),
        }
    }

    fn rest(&mut self, read: ReadPiece<'_, R>) -> io::Result<Vec<u8>> {
        loop {
            self.check_limit()?;
            if !self.fill(read)? {
                return Ok(self.pending.take_all());
            }
        }
    }
}

/// Reads with what is left of a time.
fn within<R: TimedRead>(timeout: Duration) -> impl FnMut(&mut R, &mut [u8]) -> io::Result<usize> {
    let deadline = Instant::now().checked_add(timeout);
    move |inner, buf| match deadline {
        Some(deadline) => inner.read_within(buf, deadline.saturating_duration_since(Instant::now())),
        None => inner.read(buf),
    }
}

fn slices(patterns: &[impl AsRef<[u8]>]) -> Vec<&[u8]> {
    patterns.iter().map(AsRef::as_ref).collect()
}

/// Reads bytes up to one of several patterns. Whatever goes wrong, what was read stays and can be read on.
///
/// Of several patterns the one counts that ends first, and of those that end there the longest.
///
/// ```
/// let mut reader = feramiko::ByteReader::new(&b"\x01\x02--\x03==rest"[..]);
/// let found = reader.read_until(&["==", "--"])?;
/// assert_eq!((found.before, found.which), (vec![1, 2], 1));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ByteReader<R>(Source<R>);

impl<R> ByteReader<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Self(Source::new(inner, None))
    }

    /// The most bytes that are kept while a pattern is waited for, which bounds the length of patterns too; 1 MiB
    /// unless told otherwise.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.0.limit = bytes;
        self
    }

    /// What was read from the stream and not given out yet.
    pub fn buffered(&self) -> &[u8] {
        self.0.pending.bytes()
    }

    /// The stream; what is buffered is lost.
    pub fn into_inner(self) -> R {
        self.0.inner
    }
}

impl<R: Read> ByteReader<R> {
    /// Reads up to one of the patterns and past it.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedEof`](io::ErrorKind::UnexpectedEof) when the stream ends before,
    /// [`ErrorKind::InvalidData`](io::ErrorKind::InvalidData) beyond the limit, and those of the stream.
    pub fn read_until(&mut self, patterns: &[impl AsRef<[u8]>]) -> io::Result<Until<Vec<u8>>> {
        self.0.until(&slices(patterns), &mut R::read)
    }
}

impl<R: TimedRead> ByteReader<R> {
    /// The same, all of it in that time.
    ///
    /// # Errors
    /// As [`read_until`](Self::read_until), and [`ErrorKind::TimedOut`](io::ErrorKind::TimedOut).
    pub fn read_until_within(
        &mut self,
        patterns: &[impl AsRef<[u8]>],
        timeout: Duration,
    ) -> io::Result<Until<Vec<u8>>> {
        self.0.until(&slices(patterns), &mut within(timeout))
    }
}

/// What is buffered comes first.
impl<R: Read> Read for ByteReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.pending.bytes().is_empty() {
            return self.0.inner.read(buf);
        }
        let count = self.0.pending.bytes().read(buf)?;
        self.0.pending.skip(count);
        Ok(count)
    }
}

impl<R> fmt::Debug for ByteReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteReader").field("buffered", &self.buffered().len()).finish_non_exhaustive()
    }
}

/// Reads text: lines, or up to one of several patterns. Strict UTF-8 unless told otherwise. Whatever goes wrong,
/// what was read stays and can be read on.
///
/// ```no_run
/// # fn example(channel: &feramiko::Channel) -> std::io::Result<()> {
/// use std::io::Write;
/// use std::time::Duration;
/// use feramiko::TextReader;
/// let mut shown = TextReader::new(channel).lossy();
/// let prompts = ["$ ", "# ", "assword: "];
/// let found = shown.read_until_within(&prompts, Duration::from_secs(10))?;
/// println!("{} before {}", found.before, prompts[found.which]);
/// { channel }.write_all(b"uptime\n")?;
/// # Ok(()) }
/// ```
pub struct TextReader<R> {
    source: Source<R>,
    encoding: Encoding,
    lossy: bool,
}

/// Made of what a decoder wrote, and cut where a whole pattern was: always text.
fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

impl<R> TextReader<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        let decoder = Decoder::new(Encoding::UTF_8, false);
        Self { source: Source::new(inner, Some(decoder)), encoding: Encoding::UTF_8, lossy: false }
    }

    /// The stream's encoding, for what was not read yet.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self.source.decoder = Some(Decoder::new(encoding, self.lossy));
        self
    }

    /// What is no text in the encoding becomes U+FFFD; otherwise it is an error, and nothing after it is read.
    #[must_use]
    pub fn lossy(mut self) -> Self {
        self.lossy = true;
        self.source.decoder = Some(Decoder::new(self.encoding, true));
        self
    }

    /// The most bytes, in UTF-8, that are kept while a pattern, a line's end or the end is waited for; 1 MiB
    /// unless told otherwise.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.source.limit = bytes;
        self
    }

    /// What was read from the stream and not given out yet.
    pub fn buffered(&self) -> &str {
        std::str::from_utf8(self.source.pending.bytes()).unwrap_or_default()
    }

    /// Gives out what is buffered; after a time that was over, what has come instead.
    pub fn take_buffered(&mut self) -> String {
        String::from_utf8(self.source.pending.take_all()).unwrap_or_default()
    }

    /// The stream; what is buffered is lost.
    pub fn into_inner(self) -> R {
        self.source.inner
    }
}

impl<R: Read> TextReader<R> {
    /// Reads up to one of the patterns and past it. Which one, [`ByteReader`] tells.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedEof`](io::ErrorKind::UnexpectedEof) when the stream ends before,
    /// [`ErrorKind::InvalidData`](io::ErrorKind::InvalidData) beyond the limit and for what is no text, and those
    /// of the stream.
    pub fn read_until(&mut self, patterns: &[impl AsRef<str>]) -> io::Result<Until<String>> {
        self.until(patterns, &mut R::read)
    }

    /// Reads a line, without its end (`\n` or `\r\n`); none at the end of the stream.
    ///
    /// # Errors
    /// As [`read_until`](Self::read_until), but for the end.
    pub fn read_line(&mut self) -> io::Result<Option<String>> {
        self.source.line(&mut R::read)?.map(text).transpose()
    }

    /// The lines; the first error is the last.
    pub fn lines(&mut self) -> impl Iterator<Item = io::Result<String>> {
        let mut failed = false;
        iter::from_fn(move || {
            let line = if failed { None } else { self.read_line().transpose() };
            failed = line.as_ref().is_some_and(io::Result::is_err);
            line
        })
    }

    /// Reads what is left of the stream.
    ///
    /// # Errors
    /// As [`read_line`](Self::read_line).
    pub fn read_to_end(&mut self) -> io::Result<String> {
        self.source.rest(&mut R::read).and_then(text)
    }
}

impl<R: TimedRead> TextReader<R> {
    /// As [`read_until`](Self::read_until), all of it in that time.
    ///
    /// # Errors
    /// As [`read_until`](Self::read_until), and [`ErrorKind::TimedOut`](io::ErrorKind::TimedOut).
    pub fn read_until_within(
        &mut self,
        patterns: &[impl AsRef<str>],
        timeout: Duration,
    ) -> io::Result<Until<String>> {
        self.until(patterns, &mut within(timeout))
    }

    /// As [`read_line`](Self::read_line), all of it in that time.
    ///
    /// # Errors
    /// As [`read_line`](Self::read_line), and [`ErrorKind::TimedOut`](io::ErrorKind::TimedOut).
    pub fn read_line_within(&mut self, timeout: Duration) -> io::Result<Option<String>> {
        self.source.line(&mut within(timeout))?.map(text).transpose()
    }
}

impl<R> TextReader<R> {
    fn until(&mut self, patterns: &[impl AsRef<str>], read: ReadPiece<'_, R>) -> io::Result<Until<String>> {
        let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_ref().as_bytes()).collect();
        let Until { before, which } = self.source.until(&patterns, read)?;
        Ok(Until { before: text(before)?, which })
    }
}

impl<R> fmt::Debug for TextReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextReader")
            .field("encoding", &self.encoding)
            .field("lossy", &self.lossy)
            .finish_non_exhaustive()
    }
}
