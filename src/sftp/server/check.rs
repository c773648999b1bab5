//! `check-file`: hashes of a file, whole or in blocks (draft-ietf-secsh-filexfer-extensions-00 §3).

use super::answer::check_offset;
use super::interface::SFTPHandle;
use super::refusal::{SFTPRefusal, SFTPResult};
use crate::crypto::hash::{HashAlg, Running};
use crate::sftp::packet::extension::CHECK_FILE;
use crate::sftp::packet::{MAX_PACKET, SFTPStatus};
use crate::wire::{Reader, Writer};

/// The hashes by the draft's names.
const HASHES: &[(&str, HashAlg)] = &[
    ("md5", HashAlg::Md5),
    ("sha1", HashAlg::Sha1),
    ("sha224", HashAlg::Sha224),
    ("sha256", HashAlg::Sha256),
    ("sha384", HashAlg::Sha384),
    ("sha512", HashAlg::Sha512),
];
/// The smallest block, by the draft.
const SMALLEST_BLOCK: u32 = 256;
/// All hashes of an answer: what fits into a packet with its header and the name of the hash.
const DIGESTS: usize = MAX_PACKET - 64;
/// Bytes that one request has hashed: some minutes' work. A sparse file could keep us for years; of a
/// larger one, parts can be asked for.
const HASHED: u64 = 256 << 30;
/// Bytes read at once.
const PIECE: usize = 256 * 1024;

/// Answers a request: after the file, the names of hashes, the first byte, how many (0: to the end), how many
/// a block has (0: all).
pub(super) fn check_file(file: &dyn SFTPHandle, mut fields: Reader<'_>) -> SFTPResult<Vec<u8>> {
    let names = fields.string()?;
    let (offset, length, block) = (fields.get::<u64>()?, fields.get::<u64>()?, fields.get::<u32>()?);
    fields.finish()?;
    check_offset(offset)?;
    if block != 0 && block < SMALLEST_BLOCK {
        return Err(SFTPRefusal::new(SFTPStatus::FAILURE, "the blocks are too small"));
    }
    let found = names
        .split(|byte| *byte == b',')
        .find_map(|name| HASHES.iter().find(|(known, _)| known.as_bytes() == name));
    let (name, hash) =
        found.ok_or_else(|| SFTPRefusal::new(SFTPStatus::FAILURE, "none of the hashes is known"))?;
    let mut answer = Vec::new();
    answer.put(CHECK_FILE).put(*name);
    let asked = Asked {
        hash: *hash,
        offset,
        length: if length == 0 { u64::MAX } else { length },
        block: if block == 0 { u64::MAX } else { block.into() },
    };
    hash_blocks(file, &asked, &mut answer)?;
    Ok(answer)
}

struct Asked {
    hash: HashAlg,
    offset: u64,
    length: u64,
    block: u64,
}

/// Appends the hash of each block, the last of which may be shorter.
fn hash_blocks(file: &dyn SFTPHandle, asked: &Asked, answer: &mut Vec<u8>) -> SFTPResult<()> {
    let start = answer.len();
    let mut piece = vec![0; PIECE];
    let (mut at, mut left, mut hashed) = (asked.offset, asked.length, 0_u64);
    loop {
        let mut running = Running::new(asked.hash).map_err(|_| no_hash())?;
        let (mut wanted, mut ended) = (asked.block.min(left), false);
        let begun = wanted;
        while wanted > 0 {
            let most = usize::try_from(wanted).unwrap_or(usize::MAX).min(piece.len());
            let count = file.read(at, piece.get_mut(..most).unwrap_or_default())?.min(most);
            if count == 0 {
                ended = true;
                break;
            }
            running.update(piece.get(..count).unwrap_or_default()).map_err(|_| no_hash())?;
            let count = u64::try_from(count).unwrap_or_default();
            (at, wanted) = (at.saturating_add(count), wanted.saturating_sub(count));
            hashed = hashed.saturating_add(count);
            if hashed > HASHED {
                return Err(SFTPRefusal::new(SFTPStatus::FAILURE, "too much to hash at once"));
            }
        }
        // An empty file has the hash of nothing; a file that ends with a block has no further one.
        if wanted < begun || answer.len() == start {
            answer.extend_from_slice(&running.finish().map_err(|_| no_hash())?);
        }
        if answer.len().saturating_sub(start) > DIGESTS {
            return Err(SFTPRefusal::new(SFTPStatus::FAILURE, "too many blocks"));
        }
        left = left.saturating_sub(begun.saturating_sub(wanted));
        if ended || left == 0 {
            return Ok(());
        }
    }
}

/// A system may forbid some.
fn no_hash() -> SFTPRefusal {
    SFTPRefusal::new(SFTPStatus::FAILURE, "the hash is not to be had")
}
