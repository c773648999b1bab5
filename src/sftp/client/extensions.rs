//! What servers do beyond version 3, each by its extension. Where the server does not announce it, it is
//! not asked: the error says so.

use super::exchange::SMALL_ANSWER;
use super::{Answer, Asked, SFTPClient};
use crate::error::{Error, Result};
use crate::sftp::packet::{MAX_PACKET, RemoteName, SFTPRange, StatVfs, extension};
use crate::wire::{Malformed, Reader, Rest, Writer};

/// Users and groups that are asked for at once.
const MAX_NUMBERS: usize = 1024;

/// Hashes that `check-file` can be asked for, by their names there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// MD5: broken; for servers that have nothing else.
    Md5,
    /// SHA-1: broken; for servers that have nothing else.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// Names on the wire, and the lengths of the hashes.
const HASHES: &[(HashAlgorithm, &str, usize)] = &[
    (HashAlgorithm::Md5, "md5", 16),
    (HashAlgorithm::Sha1, "sha1", 20),
    (HashAlgorithm::Sha224, "sha224", 28),
    (HashAlgorithm::Sha256, "sha256", 32),
    (HashAlgorithm::Sha384, "sha384", 48),
    (HashAlgorithm::Sha512, "sha512", 64),
];

impl HashAlgorithm {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        HASHES.iter().find(|(known, ..)| *known == self).map_or("", |(_, name, _)| name)
    }

    /// The algorithm of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        HASHES.iter().find(|(_, known, _)| *known == name).map(|(hash, ..)| *hash)
    }

    /// How many bytes a hash has.
    #[must_use]
    pub fn length(self) -> usize {
        HASHES.iter().find(|(known, ..)| *known == self).map_or(0, |(.., length)| *length)
    }
}

impl SFTPClient {
    /// Sends an extended request of one's own: its name, what follows it, and how many bytes the answer may
    /// have. None for an answer that is no more than success.
    ///
    /// # Errors
    /// [`Error::Sftp`] when the server refuses or does not know it, [`Error::Timeout`], [`Error::Closed`].
    pub fn extended(&self, name: &str, fields: &[u8], answer: usize) -> Result<Option<Vec<u8>>> {
        let asked = Asked { operation: "extended", path: name.as_bytes() };
        match self.ask(extension::request(0, name, fields), answer.saturating_add(SMALL_ANSWER), asked)? {
            Answer::Done => Ok(None),
            Answer::Extended(body) => Ok(Some(body)),
            other => Err(self.wrong(&other, asked)),
        }
    }

    /// An extension's request that succeeds or not.
    pub(super) fn extended_done(&self, name: &'static str, fields: &[u8], path: &[u8]) -> Result<()> {
        self.require(name)?;
        let asked = Asked { operation: name, path };
        match self.ask(extension::request(0, name, fields), SMALL_ANSWER, asked)? {
            Answer::Done => Ok(()),
            other => Err(self.wrong(&other, asked)),
        }
    }

    /// An extension's request that is answered by what `decode` reads.
    pub(super) fn extended_reply<T>(
        &self,
        name: &'static str,
        fields: &[u8],
        path: &[u8],
        expected: usize,
        decode: impl FnOnce(Rest<'_>) -> std::result::Result<T, Malformed>,
    ) -> Result<T> {
        let asked = Asked { operation: name, path };
        match self.ask(extension::request(0, name, fields), expected, asked)? {
            Answer::Extended(body) => {
                decode(Rest(&body)).map_err(|error| self.shared.exchange.broken_by_peer(error.into()))
            }
            other => Err(self.wrong(&other, asked)),
        }
    }

    fn require(&self, name: &str) -> Result<()> {
        if self.has_extension(name) {
            return Ok(());
        }
        Err(Error::Unsupported(format!("the SFTP server does not announce {name}, which this needs")))
    }

    /// The figures of the file system that the path is on.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the server does not have it; as [`stat`](Self::stat).
    pub fn statvfs(&self, path: impl AsRef<[u8]>) -> Result<StatVfs> {
        self.require(extension::STATVFS)?;
        let path = self.absolute(path);
        let mut fields = Vec::new();
        fields.put(path.as_bytes());
        self.extended_reply(extension::STATVFS, &fields, path.as_bytes(), SMALL_ANSWER, StatVfs::decode)
    }

    /// The path with `~` and `~user` put in place, as the server's shell has it, and then as
    /// [`normalize`](Self::normalize).
    ///
    /// # Errors
    /// As [`statvfs`](Self::statvfs).
    pub fn expand_path(&self, path: impl AsRef<[u8]>) -> Result<RemoteName> {
        self.require(extension::EXPAND_PATH)?;
        let path = path.as_ref();
        // What begins with ~ begins where the server says, not where we are.
        let path = if path.starts_with(b"~") { path.into() } else { self.absolute(path) };
        self.extended_name(extension::EXPAND_PATH, path.as_bytes())
    }

    /// A user's home directory; of the user who is logged in for an empty name.
    ///
    /// # Errors
    /// As [`statvfs`](Self::statvfs).
    pub fn home_directory(&self, user: &str) -> Result<RemoteName> {
        self.require(extension::HOME_DIRECTORY)?;
        self.extended_name(extension::HOME_DIRECTORY, user.as_bytes())
    }

    fn extended_name(&self, name: &'static str, argument: &[u8]) -> Result<RemoteName> {
        let mut fields = Vec::new();
        fields.put(argument);
        self.name(extension::request(0, name, &fields), Asked { operation: name, path: argument })
    }

    /// The names of users and groups, by their numbers; empty for those that have none.
    ///
    /// # Errors
    /// As [`statvfs`](Self::statvfs); [`Error::Limit`] for more than 1,024 of either.
    pub fn users_groups_by_id(
        &self,
        users: &[u32],
        groups: &[u32],
    ) -> Result<(Vec<RemoteName>, Vec<RemoteName>)> {
        self.require(extension::USERS_GROUPS)?;
        if users.len().max(groups.len()) > MAX_NUMBERS {
            return Err(Error::Limit { which: "users or groups of one request", limit: MAX_NUMBERS as u64 });
        }
        let numbers = |list: &[u32]| list.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
        let mut fields = Vec::new();
        fields.put(numbers(users).as_slice()).put(numbers(groups).as_slice());
        self.extended_reply(extension::USERS_GROUPS, &fields, b"", MAX_PACKET, |rest| {
            let mut reader = Reader::new(rest.0);
            let found = (names(reader.string()?, users.len())?, names(reader.string()?, groups.len())?);
            reader.finish()?;
            Ok(found)
        })
    }

    /// The hashes of a file's `length` bytes from `offset`, one for each `block` bytes, or one for all with
    /// 0; a `length` of 0 reaches to the end. The server takes the first of `algorithms` that it has.
    ///
    /// # Errors
    /// [`Error::Sftp`] with [`SFTPStatus::OP_UNSUPPORTED`](crate::SFTPStatus::OP_UNSUPPORTED) where the
    /// server does not have it, which many do not announce.
    pub fn check_file(
        &self,
        path: impl AsRef<[u8]>,
        algorithms: &[HashAlgorithm],
        range: (u64, u64),
        block: u32,
    ) -> Result<(HashAlgorithm, Vec<Vec<u8>>)> {
        let path = self.absolute(path);
        self.check_by(
            extension::CHECK_FILE_NAME,
            (path.as_bytes(), path.as_bytes()),
            algorithms,
            range,
            block,
        )
    }

    /// Whether the server may know `check-file` of open files: it says so, or says nothing of what it knows.
    pub(in crate::sftp) fn may_check_open_files(&self) -> bool {
        let said = [extension::CHECK_FILE, extension::CHECK_FILE_HANDLE];
        self.extensions().next().is_none() || said.iter().any(|name| self.has_extension(name))
    }

    /// `subject` is the path or the handle, and the path for errors.
    pub(super) fn check_by(
        &self,
        name: &'static str,
        subject: (&[u8], &[u8]),
        algorithms: &[HashAlgorithm],
        (offset, length): (u64, u64),
        block: u32,
    ) -> Result<(HashAlgorithm, Vec<Vec<u8>>)> {
        let wanted: Vec<&str> = algorithms.iter().map(|hash| hash.name()).collect();
        let mut fields = Vec::new();
        fields.put(subject.0).put(wanted.join(",").as_str()).put(&offset).put(&length).put(&block);
        self.extended_reply(name, &fields, subject.1, MAX_PACKET, |rest| {
            let mut reader = Reader::new(rest.0);
            // The draft has the hash first, but servers, paramiko's and ours among them, say `check-file` before it.
            let first = reader.string()?;
            let taken = if first == extension::CHECK_FILE.as_bytes() { reader.string()? } else { first };
            let taken = std::str::from_utf8(taken).map_err(|_| Malformed::Value)?;
            let taken = HashAlgorithm::by_name(taken).filter(|taken| algorithms.contains(taken));
            let taken = taken.ok_or(Malformed::Value)?;
            let mut hashes = Vec::new();
            while !reader.is_empty() {
                hashes.push(reader.take(taken.length())?.to_vec());
            }
            Ok((taken, hashes))
        })
    }
}

impl super::SFTPFile {
    /// The figures of the file system that the file is on.
    ///
    /// # Errors
    /// As [`SFTPClient::statvfs`].
    pub fn statvfs(&self) -> Result<StatVfs> {
        self.client().require(extension::FSTATVFS)?;
        let fields = self.handle_field();
        let path = self.path().as_bytes();
        self.client().extended_reply(extension::FSTATVFS, &fields, path, SMALL_ANSWER, StatVfs::decode)
    }

    /// Has the server write the file to its disk.
    ///
    /// # Errors
    /// As [`SFTPClient::statvfs`].
    pub fn sync_all(&self) -> Result<()> {
        self.finish_writes()?;
        self.client().extended_done(extension::FSYNC, &self.handle_field(), self.path().as_bytes())
    }

    /// Has the server copy `length` bytes, or all to the end with 0, into another of its files that is open
    /// for writing: nothing crosses the network.
    ///
    /// # Errors
    /// As [`SFTPClient::statvfs`]; [`Error::Misuse`] for files of two connections.
    pub fn copy_to(&self, offset: u64, length: u64, target: &Self, target_offset: u64) -> Result<()> {
        if !self.same_connection(target) {
            return Err(Error::Misuse("a server copies between its own files only"));
        }
        let mut fields = self.handle_field();
        fields.put(&offset).put(&length).put(target.handle()).put(&target_offset);
        self.client().extended_done(extension::COPY_DATA, &fields, self.path().as_bytes())
    }

    /// The hashes of the open file, as [`SFTPClient::check_file`].
    ///
    /// # Errors
    /// As there.
    pub fn check(
        &self,
        algorithms: &[HashAlgorithm],
        range: (u64, u64),
        block: u32,
    ) -> Result<(HashAlgorithm, Vec<Vec<u8>>)> {
        self.finish_writes()?;
        // paramiko's name for it, and the draft's.
        let announced = self.client().has_extension(extension::CHECK_FILE_HANDLE);
        let name = if announced { extension::CHECK_FILE_HANDLE } else { extension::CHECK_FILE };
        self.client().check_by(name, (self.handle(), self.path().as_bytes()), algorithms, range, block)
    }

    /// The parts of the file that hold data, from `offset` on, and whether they reach its end; a server
    /// without the extension of AsyncSSH is not asked, and has none to tell.
    ///
    /// # Errors
    /// As [`SFTPClient::statvfs`].
    pub fn ranges(&self, offset: u64, length: u64) -> Result<(Vec<SFTPRange>, bool)> {
        self.client().require(extension::RANGES)?;
        let mut fields = self.handle_field();
        fields.put(&offset).put(&length);
        let path = self.path().as_bytes();
        self.client().extended_reply(extension::RANGES, &fields, path, MAX_PACKET, extension::decode_ranges)
    }
}

/// As many names as were asked for.
fn names(bytes: &[u8], count: usize) -> std::result::Result<Vec<RemoteName>, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut found = Vec::new();
    for _ in 0..count {
        found.push(reader.string()?.into());
    }
    reader.finish()?;
    Ok(found)
}
