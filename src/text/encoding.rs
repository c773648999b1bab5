//! Encodings by their names, and text made of bytes that come in pieces.
//!
//! Pure. UTF-8 is always there and decoded here; the others, with the feature `encoding`, by the crate
//! `encoding_rs`, in the sense of the WHATWG's standard.

use crate::error::{Error, Result};

/// An encoding of text.
///
/// ```
/// use feramiko::Encoding;
/// assert_eq!(Encoding::named("utf8")?, Encoding::UTF_8);
/// # Ok::<(), feramiko::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Utf8,
    #[cfg(feature = "encoding")]
    Other(&'static encoding_rs::Encoding),
}

impl Encoding {
    /// UTF-8.
    pub const UTF_8: Self = Self(Kind::Utf8);

    /// The encoding of that name, in any of the usual spellings: `utf-8`, and with the feature `encoding` all of
    /// the WHATWG's Encoding Standard, such as `iso-8859-1` (there the same as `windows-1252`), `shift_jis`, `gbk`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for others.
    pub fn named(name: &str) -> Result<Self> {
        let name = name.trim();
        if ["utf-8", "utf8"].iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Ok(Self::UTF_8);
        }
        #[cfg(feature = "encoding")]
        {
            let found = encoding_rs::Encoding::for_label_no_replacement(name.as_bytes());
            found.map(Self::of).ok_or_else(|| Error::Unsupported(format!("the encoding {name}")))
        }
        #[cfg(not(feature = "encoding"))]
        Err(Error::Unsupported(format!("the encoding {name} without the feature `encoding`")))
    }

    #[cfg(feature = "encoding")]
    fn of(found: &'static encoding_rs::Encoding) -> Self {
        if found == encoding_rs::UTF_8 { Self::UTF_8 } else { Self(Kind::Other(found)) }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Utf8 => "UTF-8",
            #[cfg(feature = "encoding")]
            Kind::Other(encoding) => encoding.name(),
        }
    }

    pub(super) fn kind(self) -> Kind {
        self.0
    }
}

/// Bytes that are no text in their encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoText;

/// Makes text of bytes that come in pieces.
pub(super) struct Decoder {
    way: Way,
    /// What is no text becomes U+FFFD and is no error.
    lossy: bool,
}

enum Way {
    /// With the beginning of a character.
    Utf8(Vec<u8>),
    #[cfg(feature = "encoding")]
    Other(Box<encoding_rs::Decoder>),
}

impl Decoder {
    pub(super) fn new(encoding: Encoding, lossy: bool) -> Self {
        let way = match encoding.kind() {
            Kind::Utf8 => Way::Utf8(Vec::new()),
            #[cfg(feature = "encoding")]
            Kind::Other(encoding) => Way::Other(Box::new(encoding.new_decoder_without_bom_handling())),
        };
        Self { way, lossy }
    }

    /// Adds the text of `bytes` to `text`, as UTF-8; on an error, what came before it. `last` says that no
    /// more will come, so that a character that was begun is an error.
    pub(super) fn decode(
        &mut self,
        bytes: &[u8],
        last: bool,
        text: &mut Vec<u8>,
    ) -> std::result::Result<(), NoText> {
        match &mut self.way {
            Way::Utf8(begun) => {
                begun.extend_from_slice(bytes);
                decode_utf8(begun, last, self.lossy, text)
            }
            #[cfg(feature = "encoding")]
            Way::Other(decoder) => decode_other(decoder, bytes, last, self.lossy, text),
        }
    }
}

/// Takes text off the front of `bytes`; what may become a character stays there.
fn decode_utf8(
    bytes: &mut Vec<u8>,
    last: bool,
    lossy: bool,
    text: &mut Vec<u8>,
) -> std::result::Result<(), NoText> {
    let mut rest = bytes.as_slice();
    loop {
        let error = match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.extend_from_slice(valid.as_bytes());
                bytes.clear();
                return Ok(());
            }
            Err(error) => error,
        };
        let (valid, invalid) = rest.split_at_checked(error.valid_up_to()).unwrap_or_default();
        text.extend_from_slice(valid);
        if error.error_len().is_none() && !last {
            *bytes = invalid.to_vec();
            return Ok(());
        }
        if !lossy {
            bytes.clear();
            return Err(NoText);
        }
        text.extend_from_slice(char::REPLACEMENT_CHARACTER.encode_utf8(&mut [0; 4]).as_bytes());
        rest = error.error_len().and_then(|length| invalid.get(length..)).unwrap_or_default();
    }
}

#[cfg(feature = "encoding")]
fn decode_other(
    decoder: &mut encoding_rs::Decoder,
    mut bytes: &[u8],
    last: bool,
    lossy: bool,
    text: &mut Vec<u8>,
) -> std::result::Result<(), NoText> {
    /// How much is decoded at a time; more than the longest character.
    const PIECE: usize = 4096;
    let mut piece = [0; PIECE];
    loop {
        use encoding_rs::DecoderResult;
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(bytes, &mut piece, last);
        text.extend_from_slice(piece.get(..written).unwrap_or_default());
        bytes = bytes.get(read..).unwrap_or_default();
        match result {
            DecoderResult::InputEmpty => return Ok(()),
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) if lossy => {
                text.extend_from_slice(char::REPLACEMENT_CHARACTER.encode_utf8(&mut [0; 4]).as_bytes());
            }
            DecoderResult::Malformed(..) => return Err(NoText),
        }
    }
}
