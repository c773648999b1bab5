//! What is known of a file, §5 of the draft, in version 3.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::MAX_PATH;
use super::long::Long;
use crate::wire::{Decode, Encode, Malformed, Reader};

const SIZE: u32 = 0x0000_0001;
const UIDGID: u32 = 0x0000_0002;
const PERMISSIONS: u32 = 0x0000_0004;
const ACMODTIME: u32 = 0x0000_0008;
const EXTENDED: u32 = 0x8000_0000;

/// The bits of a mode that tell the kind of file (POSIX `S_IFMT`).
const KIND: u32 = 0o170_000;
/// Extended attributes of one file; nobody is known to send any.
const MAX_EXTENDED: u32 = 64;

/// A time: seconds since 1970 and nanoseconds. Version 3 carries whole seconds from 1970 to 2106.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SFTPTime {
    /// Seconds since 1970, UTC.
    pub seconds: i64,
    /// Nanoseconds beyond them, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl SFTPTime {
    /// Whole seconds since 1970.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }

    /// What version 3 can say of it: the nearest second that it has.
    fn to_wire(self) -> u32 {
        u32::try_from(self.seconds.clamp(0, u32::MAX.into())).unwrap_or_default()
    }
}

impl From<SystemTime> for SFTPTime {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self {
                seconds: since.as_secs().try_into().unwrap_or(i64::MAX),
                nanoseconds: since.subsec_nanos(),
            },
            Err(before) => {
                // -1.25 s is second -2 and 750 million nanoseconds.
                let before = before.duration();
                let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                let part = before.subsec_nanos();
                Self {
                    seconds: whole.saturating_neg().saturating_sub(i64::from(part > 0)),
                    nanoseconds: if part == 0 { 0 } else { 1_000_000_000_u32.saturating_sub(part) },
                }
            }
        }
    }
}

impl From<SFTPTime> for SystemTime {
    fn from(time: SFTPTime) -> Self {
        let whole = Duration::from_secs(time.seconds.unsigned_abs());
        let epoch = Self::UNIX_EPOCH;
        let base = if time.seconds < 0 { epoch.checked_sub(whole) } else { epoch.checked_add(whole) };
        base.and_then(|base| base.checked_add(Duration::from_nanos(time.nanoseconds.into()))).unwrap_or(epoch)
    }
}

/// The kind of a file, as its mode tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A socket.
    Socket,
}

/// The kinds by their bits, with the letter `ls -l` has for them.
const KINDS: &[(u32, FileKind, char)] = &[
    (0o100_000, FileKind::File, '-'),
    (0o040_000, FileKind::Directory, 'd'),
    (0o120_000, FileKind::Symlink, 'l'),
    (0o010_000, FileKind::Fifo, 'p'),
    (0o020_000, FileKind::CharDevice, 'c'),
    (0o060_000, FileKind::BlockDevice, 'b'),
    (0o140_000, FileKind::Socket, 's'),
];

impl FileKind {
    /// The bits of the mode that stand for it.
    #[must_use]
    pub fn mode_bits(self) -> u32 {
        KINDS.iter().find(|(_, kind, _)| *kind == self).map_or(0, |(bits, ..)| *bits)
    }
}

/// What is known of a file, or what is to be set. What is not known, or is to stay, is none.
///
/// `Display` shows it as `ls -l` does, up to the name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SFTPAttributes {
    /// Bytes.
    pub size: Option<u64>,
    /// The numbers of the user and the group that it belongs to.
    pub owner: Option<(u32, u32)>,
    /// The POSIX mode: the kind of file and its permissions. Some servers leave the kind out.
    pub mode: Option<u32>,
    /// When it was last read and last written.
    pub times: Option<(SFTPTime, SFTPTime)>,
    /// Pairs of names and values, §5: whoever sends them knows what they mean.
    pub extended: Vec<(Vec<u8>, Vec<u8>)>,
}

impl SFTPAttributes {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with that many bytes.
    #[must_use]
    pub fn with_size(self, size: u64) -> Self {
        Self { size: Some(size), ..self }
    }

    /// The same with that user and group.
    #[must_use]
    pub fn with_owner(self, uid: u32, gid: u32) -> Self {
        Self { owner: Some((uid, gid)), ..self }
    }

    /// The same with that mode.
    #[must_use]
    pub fn with_mode(self, mode: u32) -> Self {
        Self { mode: Some(mode), ..self }
    }

    /// The same, last read and last written then.
    #[must_use]
    pub fn with_times(self, accessed: impl Into<SFTPTime>, modified: impl Into<SFTPTime>) -> Self {
        Self { times: Some((accessed.into(), modified.into())), ..self }
    }

    /// The permissions with the setuid, setgid and sticky bits, without the kind of file.
    #[must_use]
    pub fn permissions(&self) -> Option<u32> {
        self.mode.map(|mode| mode & 0o7777)
    }

    /// The kind of file, if the mode is known and says it.
    #[must_use]
    pub fn kind(&self) -> Option<FileKind> {
        let bits = self.mode? & KIND;
        KINDS.iter().find(|(known, ..)| *known == bits).map(|(_, kind, _)| *kind)
    }

    /// Whether it is known to be a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind() == Some(FileKind::Directory)
    }

    /// Whether it is known to be a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind() == Some(FileKind::File)
    }

    /// Whether it is known to be a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.kind() == Some(FileKind::Symlink)
    }

    /// When it was last written.
    #[must_use]
    pub fn modified(&self) -> Option<SystemTime> {
        self.times.map(|(_, modified)| modified.into())
    }

    /// When it was last read.
    #[must_use]
    pub fn accessed(&self) -> Option<SystemTime> {
        self.times.map(|(accessed, _)| accessed.into())
    }

    /// The mode as `ls -l` shows it, as in `drwxr-xr-x`; question marks when unknown.
    #[must_use]
    pub fn mode_string(&self) -> String {
        let Some(mode) = self.mode else { return "?---------".to_owned() };
        let bits = mode & KIND;
        let kind = KINDS.iter().find(|(known, ..)| *known == bits).map_or('?', |(.., letter)| *letter);
        let mut shown = String::from(kind);
        // Read, write, execute, and the letter of the special bit, for user, group and others.
        for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
            let may = |bit: u32| mode & (bit << shift) != 0;
            shown.push(if may(4) { 'r' } else { '-' });
            shown.push(if may(2) { 'w' } else { '-' });
            shown.push(match (mode & special != 0, may(1)) {
                (true, true) => letter,
                (true, false) => letter.to_ascii_uppercase(),
                (false, true) => 'x',
                (false, false) => '-',
            });
        }
        shown
    }
}

impl fmt::Display for SFTPAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |number: Option<u32>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
        let (uid, gid) = (shown(self.owner.map(|(uid, _)| uid)), shown(self.owner.map(|(_, gid)| gid)));
        let long = Long { links: None, user: &uid, group: &gid, recent: None };
        f.write_str(&long.show(self))
    }
}

impl Encode for SFTPAttributes {
    fn encode(&self, out: &mut Vec<u8>) {
        let flags = [
            (self.size.is_some(), SIZE),
            (self.owner.is_some(), UIDGID),
            (self.mode.is_some(), PERMISSIONS),
            (self.times.is_some(), ACMODTIME),
            (!self.extended.is_empty(), EXTENDED),
        ];
        flags.iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag).encode(out);
        if let Some(size) = self.size {
            size.encode(out);
        }
        if let Some((uid, gid)) = self.owner {
            uid.encode(out);
            gid.encode(out);
        }
        if let Some(mode) = self.mode {
            mode.encode(out);
        }
        if let Some((accessed, modified)) = self.times {
            accessed.to_wire().encode(out);
            modified.to_wire().encode(out);
        }
        if !self.extended.is_empty() {
            u32::try_from(self.extended.len()).unwrap_or(u32::MAX).encode(out);
            for (name, value) in &self.extended {
                name.as_slice().encode(out);
                value.as_slice().encode(out);
            }
        }
    }
}

impl<'a> Decode<'a> for SFTPAttributes {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let flags = reader.get::<u32>()?;
        // What an unknown flag stands for has a length that nobody knows.
        if flags & !(SIZE | UIDGID | PERMISSIONS | ACMODTIME | EXTENDED) != 0 {
            return Err(Malformed::Value);
        }
        let mut attributes = Self::new();
        if flags & SIZE != 0 {
            attributes.size = Some(reader.get()?);
        }
        if flags & UIDGID != 0 {
            attributes.owner = Some((reader.get()?, reader.get()?));
        }
        if flags & PERMISSIONS != 0 {
            attributes.mode = Some(reader.get()?);
        }
        if flags & ACMODTIME != 0 {
            let mut time = || reader.get::<u32>().map(|seconds| SFTPTime::from_seconds(seconds.into()));
            attributes.times = Some((time()?, time()?));
        }
        if flags & EXTENDED != 0 {
            let count = reader.get::<u32>()?;
            if count > MAX_EXTENDED {
                return Err(Malformed::Value);
            }
            for _ in 0..count {
                let (name, value) = (reader.string()?, reader.string()?);
                if name.len() > MAX_PATH {
                    return Err(Malformed::Value);
                }
                attributes.extended.push((name.to_vec(), value.to_vec()));
            }
        }
        Ok(attributes)
    }
}
