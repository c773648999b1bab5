//! An entry of a directory, and how `ls -l` shows it.

use std::fmt;

use super::attributes::SFTPAttributes;
use super::name::RemoteName;
use crate::wire::{Decode, Encode, Malformed, Reader};

/// One file of a directory. `Display` is its line of `ls -l`: the server's own if it sent one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SFTPEntry {
    /// The name in its directory.
    pub name: RemoteName,
    /// The line that the server shows for it; a server's own matter, and empty with some.
    pub longname: RemoteName,
    /// What the server says of the file, links not followed.
    pub attributes: SFTPAttributes,
}

impl SFTPEntry {
    /// An entry with the attributes that `lstat` gives; the long form is made of them.
    #[must_use]
    pub fn new(name: impl Into<RemoteName>, attributes: SFTPAttributes) -> Self {
        Self { name: name.into(), longname: RemoteName::default(), attributes }
    }

    /// The same with a long form of one's own.
    #[must_use]
    pub fn with_longname(self, longname: impl Into<RemoteName>) -> Self {
        Self { longname: longname.into(), ..self }
    }
}

impl fmt::Display for SFTPEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.longname.as_bytes().is_empty() {
            write!(f, "{} {}", self.attributes, self.name)
        } else {
            self.longname.fmt(f)
        }
    }
}

impl Encode for SFTPEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        self.name.as_bytes().encode(out);
        self.longname.as_bytes().encode(out);
        self.attributes.encode(out);
    }
}

impl<'a> Decode<'a> for SFTPEntry {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            name: reader.string()?.into(),
            longname: reader.string()?.into(),
            attributes: reader.get()?,
        })
    }
}
