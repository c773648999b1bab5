//! `TextWriter`: text that is written in an encoding.

use std::fmt;
use std::io::{self, Write};

use super::encoding::{Encoding, Kind};

/// Writes text in an encoding, UTF-8 unless told otherwise. Nothing is kept: what is written leaves at once.
///
/// ```
/// let mut writer = feramiko::TextWriter::new(Vec::new());
/// writeln!(writer, "{} items", 3)?;
/// writer.write_str("done")?;
/// assert_eq!(writer.into_inner(), b"3 items\ndone");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TextWriter<W> {
    inner: W,
    encoding: Encoding,
    lossy: bool,
}

impl<W> TextWriter<W> {
    /// Writes to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, encoding: Encoding::UTF_8, lossy: false }
    }

    /// The stream's encoding.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// What the encoding does not have becomes `?`; otherwise it is an error.
    #[must_use]
    pub fn lossy(mut self) -> Self {
        self.lossy = true;
        self
    }

    /// The stream.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> TextWriter<W> {
    /// Writes a text; all of it or, if the encoding does not have it, nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`](io::ErrorKind::InvalidData) for a character that the encoding does not have, and
    /// those of the stream.
    pub fn write_str(&mut self, text: &str) -> io::Result<()> {
        match self.encoding.kind() {
            Kind::Utf8 => self.inner.write_all(text.as_bytes()),
            #[cfg(feature = "encoding")]
            Kind::Other(encoding) => {
                let bytes = encode(encoding, text, self.lossy)?;
                self.inner.write_all(&bytes)
            }
        }
    }

    /// What `write!` calls.
    ///
    /// # Errors
    /// As [`write_str`](Self::write_str).
    pub fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        self.write_str(&text.to_string())
    }

    /// As [`Write::flush`].
    ///
    /// # Errors
    /// Those of the stream.
    pub fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Each text by itself: where an encoding has states, it ends in the first one.
#[cfg(feature = "encoding")]
fn encode(encoding: &'static encoding_rs::Encoding, mut text: &str, lossy: bool) -> io::Result<Vec<u8>> {
    /// How much is encoded at a time.
    const PIECE: usize = 4096;
    use encoding_rs::{EncoderResult, UTF_16BE, UTF_16LE};
    // The standard only reads them.
    if encoding == UTF_16LE {
        return Ok(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    }
    if encoding == UTF_16BE {
        return Ok(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    }
    let (mut encoder, mut bytes) = (encoding.new_encoder(), Vec::new());
    let mut piece = [0; PIECE];
    loop {
        let (result, read, written) = encoder.encode_from_utf8_without_replacement(text, &mut piece, true);
        bytes.extend_from_slice(piece.get(..written).unwrap_or_default());
        text = text.get(read..).unwrap_or_default();
        match result {
            EncoderResult::InputEmpty => return Ok(bytes),
            EncoderResult::OutputFull => {}
            EncoderResult::Unmappable(_) if lossy => bytes.push(b'?'),
            EncoderResult::Unmappable(c) => {
                let text = format!("{} has no character U+{:04X}", encoding.name(), u32::from(c));
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
    }
}
