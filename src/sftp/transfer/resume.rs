//! Going on with a file that is there in part, and making sure that a whole one is what it should be.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::Options;
use super::local::{Place, failed};
use super::stripes::whole_of_part;
use crate::crypto::hash::{HashAlg, Running};
use crate::error::{Error, Result};
use crate::sftp::client::{HashAlgorithm, SFTPClient};
use crate::sftp::packet::{RemoteName, SFTPAttributes, SFTPStatus};

/// How much at the end of a part is compared where the server has no hashes.
const TAIL: u64 = 64 * 1024;
/// Read at a time.
const PIECE: usize = 256 * 1024;

/// The hashes that servers are asked for, and ours.
const HASHES: &[(HashAlgorithm, HashAlg)] = &[
    (HashAlgorithm::Sha256, HashAlg::Sha256),
    (HashAlgorithm::Sha512, HashAlg::Sha512),
    (HashAlgorithm::Sha384, HashAlg::Sha384),
    (HashAlgorithm::Sha1, HashAlg::Sha1),
    (HashAlgorithm::Md5, HashAlg::Md5),
];

/// Where to begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begin {
    At(u64),
    /// All is there.
    Complete,
}

/// Where getting a file goes on.
pub(super) fn of_get(
    client: &SFTPClient,
    remote: &RemoteName,
    place: &Place,
    known: &SFTPAttributes,
    options: &Options,
) -> Result<Begin> {
    // What has its name is whole where it is given only to what is.
    if options.atomic && place.stat()?.is_some_and(|there| Some(there.size) == known.size) {
        return Ok(Begin::Complete);
    }
    let striped = options.is_striped(known.size);
    let place = if options.atomic { place.part(striped) } else { place.clone() };
    // A server that does not say has as much as is read.
    let size = known.size.unwrap_or(u64::MAX);
    let there = place.stat()?.map(|there| whole_of_part(there.size, size, striped)).unwrap_or_default();
    if there == 0 {
        return Ok(Begin::At(0));
    }
    if there > size {
        let text = "the file that is there is larger than the server's; remove it to begin anew";
        return Err(place.error(io::Error::new(io::ErrorKind::InvalidInput, text)));
    }
    same(client, remote, &mut place.open()?, there)?;
    Ok(if there == size && !options.atomic { Begin::Complete } else { Begin::At(there) })
}

/// Where putting a file goes on; `there` is the size of what the server has of it.
pub(super) fn of_put(
    client: &SFTPClient,
    remote: &RemoteName,
    local: &mut File,
    size: u64,
    there: u64,
) -> Result<Begin> {
    if there == 0 {
        return Ok(Begin::At(0));
    }
    if there > size {
        let text = "the file on the server is larger; remove it to begin anew";
        return Err(failed(remote.to_string(), io::Error::new(io::ErrorKind::InvalidInput, text)));
    }
    same(client, remote, local, there)?;
    Ok(if there == size { Begin::Complete } else { Begin::At(there) })
}

/// Both sides have the same `length` bytes at the beginning, as far as that can be told.
fn same(client: &SFTPClient, remote: &RemoteName, local: &mut File, length: u64) -> Result<()> {
    let equal = match hashed_alike(client, remote, local, length)? {
        Some(equal) => equal,
        None => tails_alike(client, remote, local, length)?,
    };
    if equal {
        return Ok(());
    }
    let text = "what is there in part is not the beginning of the file; remove it to begin anew";
    Err(failed(remote.to_string(), io::Error::new(io::ErrorKind::InvalidData, text)))
}

/// Whether the hashes are equal; none where the server has no hashes. A length of 0 means all.
fn hashed_alike(
    client: &SFTPClient,
    remote: &RemoteName,
    local: &mut File,
    length: u64,
) -> Result<Option<bool>> {
    let algorithms: Vec<HashAlgorithm> = HASHES.iter().map(|(theirs, _)| *theirs).collect();
    let checked = client.check_file(remote, &algorithms, (0, length), 0);
    let checked = match checked {
        // Some know open files only, paramiko for one, which announces nothing.
        Err(Error::Sftp(error))
            if error.status == SFTPStatus::OP_UNSUPPORTED && client.may_check_open_files() =>
        {
            let file = client.open(remote, "r")?;
            file.check(&algorithms, (0, length), 0)
        }
        other => other,
    };
    let (taken, hashes) = match checked {
        Ok(found) => found,
        Err(Error::Sftp(error))
            if matches!(error.status, SFTPStatus::OP_UNSUPPORTED | SFTPStatus::FAILURE) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let ours = HASHES.iter().find(|(theirs, _)| *theirs == taken).map(|(_, ours)| *ours);
    let Some(ours) = ours else { return Ok(None) };
    let mut running = Running::new(ours)?;
    let wanted = if length == 0 { u64::MAX } else { length };
    local.seek(SeekFrom::Start(0)).map_err(local_error)?;
    let mut rest = local.take(wanted);
    let mut piece = vec![0; PIECE];
    loop {
        match rest.read(&mut piece).map_err(local_error)? {
            0 => break,
            count => running.update(piece.get(..count).unwrap_or_default())?,
        }
        client.go_on()?;
    }
    Ok(Some(matches!(hashes.as_slice(), [one] if **one == *running.finish()?)))
}

/// Whether what stands before `length` is the same on both sides.
fn tails_alike(client: &SFTPClient, remote: &RemoteName, local: &mut File, length: u64) -> Result<bool> {
    let from = length.saturating_sub(TAIL);
    let mut ours = Vec::new();
    local.seek(SeekFrom::Start(from)).map_err(local_error)?;
    local.take(length.saturating_sub(from)).read_to_end(&mut ours).map_err(local_error)?;
    let file = client.open(remote, "r")?;
    let mut theirs = vec![0; ours.len()];
    let mut filled = 0;
    while let Some(room) = theirs.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, from.saturating_add(filled as u64))? {
            0 => return Ok(false),
            count => filled = filled.saturating_add(count),
        }
    }
    file.close()?;
    Ok(ours == theirs)
}

fn local_error(error: io::Error) -> Error {
    failed("reading the local file", error)
}

/// Compares a whole file with the server's.
pub(super) fn verify(client: &SFTPClient, remote: &RemoteName, local: &mut File) -> Result<()> {
    match hashed_alike(client, remote, local, 0)? {
        Some(true) => Ok(()),
        Some(false) => {
            let text = "the copy's hash is not the file's";
            Err(failed(remote.to_string(), io::Error::new(io::ErrorKind::InvalidData, text)))
        }
        None => {
            Err(Error::Unsupported("the SFTP server has no check-file, which verifying needs".to_owned()))
        }
    }
}
