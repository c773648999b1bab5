//! The packets by their numbers, in the draft's order. Each but the first two begins with the number of
//! the request.

use std::fmt;
use std::ops::BitOr;

use crate::wire::{Encode, Malformed, Reader, Rest, messages};

messages! {
    /// §4
    Init<'a> = 1 { version: u32, extensions: Rest<'a> }
    /// §4
    Version<'a> = 2 { version: u32, extensions: Rest<'a> }
    /// §6.3
    Open<'a> = 3 { id: u32, path: &'a [u8], flags: u32, attributes: Rest<'a> }
    /// §6.3
    Close<'a> = 4 { id: u32, handle: &'a [u8] }
    /// §6.4
    Read<'a> = 5 { id: u32, handle: &'a [u8], offset: u64, length: u32 }
    /// §6.4. Programs in Go send packets that are longer than what they say of the data (pkg/sftp of 2022,
    /// as rclone has it): the rest means nothing.
    Write<'a> = 6 { id: u32, handle: &'a [u8], offset: u64, data: &'a [u8], rest: Rest<'a> }
    /// §6.8
    Lstat<'a> = 7 { id: u32, path: &'a [u8] }
    /// §6.8
    Fstat<'a> = 8 { id: u32, handle: &'a [u8] }
    /// §6.9
    Setstat<'a> = 9 { id: u32, path: &'a [u8], attributes: Rest<'a> }
    /// §6.9
    Fsetstat<'a> = 10 { id: u32, handle: &'a [u8], attributes: Rest<'a> }
    /// §6.7
    Opendir<'a> = 11 { id: u32, path: &'a [u8] }
    /// §6.7
    Readdir<'a> = 12 { id: u32, handle: &'a [u8] }
    /// §6.5
    Remove<'a> = 13 { id: u32, path: &'a [u8] }
    /// §6.6
    Mkdir<'a> = 14 { id: u32, path: &'a [u8], attributes: Rest<'a> }
    /// §6.6
    Rmdir<'a> = 15 { id: u32, path: &'a [u8] }
    /// §6.11
    Realpath<'a> = 16 { id: u32, path: &'a [u8] }
    /// §6.8
    Stat<'a> = 17 { id: u32, path: &'a [u8] }
    /// §6.5
    Rename<'a> = 18 { id: u32, from: &'a [u8], to: &'a [u8] }
    /// §6.10
    Readlink<'a> = 19 { id: u32, path: &'a [u8] }
    /// §6.10. The draft puts the link first; OpenSSH, and with it nearly all, the target.
    Symlink<'a> = 20 { id: u32, first: &'a [u8], second: &'a [u8] }
    /// §7. Some servers leave out the text, which the draft does not allow.
    Status<'a> = 101 { id: u32, code: u32, text: Rest<'a> }
    /// §7
    Handle<'a> = 102 { id: u32, handle: &'a [u8] }
    /// §7
    Data<'a> = 103 { id: u32, data: &'a [u8] }
    /// §7
    Name<'a> = 104 { id: u32, count: u32, entries: Rest<'a> }
    /// §7
    Attrs<'a> = 105 { id: u32, attributes: Rest<'a> }
    /// §8
    Extended<'a> = 200 { id: u32, name: &'a [u8], rest: Rest<'a> }
    /// §8
    ExtendedReply<'a> = 201 { id: u32, rest: Rest<'a> }
}

impl<'a> Status<'a> {
    /// The words of the server, if there are any.
    pub(in crate::sftp) fn words(&self) -> Result<&'a [u8], Malformed> {
        let mut reader = Reader::new(self.text.0);
        if reader.is_empty() {
            return Ok(b"");
        }
        let words = reader.string()?;
        // What language they are in; some leave it out.
        if !reader.is_empty() {
            reader.string()?;
        }
        reader.finish()?;
        Ok(words)
    }
}

/// The packet that carries a message: its length, then the message.
pub(in crate::sftp) fn framed(message: &impl Encode) -> Vec<u8> {
    let mut packet = vec![0; 4];
    message.encode(&mut packet);
    frame(&mut packet);
    packet
}

/// Writes the length of a packet into the four bytes that were left for it at its front.
pub(in crate::sftp) fn frame(packet: &mut [u8]) {
    let length = u32::try_from(packet.len().saturating_sub(4)).unwrap_or(u32::MAX);
    if let Some(front) = packet.first_chunk_mut() {
        *front = length.to_be_bytes();
    }
}

/// How a file is opened, §6.3: POSIX's `O_…` under SFTP's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    /// For reading.
    pub const READ: Self = Self(0x01);
    /// For writing.
    pub const WRITE: Self = Self(0x02);
    /// Writes go to the end of the file, wherever they say.
    pub const APPEND: Self = Self(0x04);
    /// The file is made if it is not there.
    pub const CREATE: Self = Self(0x08);
    /// The file is emptied.
    pub const TRUNCATE: Self = Self(0x10);
    /// With `CREATE`: fails if the file is there.
    pub const EXCLUSIVE: Self = Self(0x20);

    /// Whether all of `flags` are set.
    #[must_use]
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl BitOr for OpenFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for OpenFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["READ", "WRITE", "APPEND", "CREATE", "TRUNCATE", "EXCLUSIVE"];
        let set: Vec<&str> = names
            .iter()
            .zip(0..)
            .filter(|(_, bit)| self.0 & (1 << bit) != 0)
            .map(|(name, _)| *name)
            .collect();
        write!(f, "OpenFlags({})", set.join("|"))
    }
}
