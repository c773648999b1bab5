//! Each extension, as its document has it.

use std::fs;
use std::os::unix::fs::FileExt;

use super::*;
use crate::crypto::hash::HashAlg;
use crate::sftp::packet::extension as ext;
use crate::sftp::packet::{SFTPLimits, SFTPVendor, StatVfs};
use crate::sftp::server::LocalServer;
use crate::sys::file::tests::Directory;

fn served() -> (Directory, Peer) {
    let directory = Directory::new();
    fs::write(directory.file("file"), TEXT).unwrap();
    let peer = Peer::new(LocalServer::rooted(&directory.0).unwrap());
    (directory, peer)
}

const TEXT: &str = "some text that is hashed, copied and looked at";
const BOTH: OpenFlags = OpenFlags(1 | 2 | 8);

/// Fields one after another.
macro_rules! fields {
    ($($field:expr),*) => {{
        let mut out = Vec::new();
        $( out.put($field); )*
        out
    }};
}

#[test]
fn all_are_announced() {
    let directory = Directory::new();
    let (peer, announced) = Peer::announced(LocalServer::rooted(&directory.0).unwrap());
    let pairs: Vec<(&str, &[u8])> =
        announced.iter().map(|(name, data)| (std::str::from_utf8(name).unwrap(), data.as_slice())).collect();
    for (name, version) in [
        (ext::POSIX_RENAME, "1"),
        (ext::STATVFS, "2"),
        (ext::FSTATVFS, "2"),
        (ext::HARDLINK, "1"),
        (ext::FSYNC, "1"),
        (ext::LSETSTAT, "1"),
        (ext::LIMITS, "1"),
        (ext::EXPAND_PATH, "1"),
        (ext::COPY_DATA, "1"),
        (ext::HOME_DIRECTORY, "1"),
        (ext::USERS_GROUPS, "1"),
        (ext::CHECK_FILE, "1"),
        (ext::RANGES, "1"),
    ] {
        assert!(pairs.contains(&(name, version.as_bytes())), "{name}");
    }
    assert_eq!(SFTPVendor::decode(pairs[0].1).unwrap().product, "feramiko");
    peer.end().unwrap();
}

#[test]
fn limits_and_vendors() {
    let (_directory, mut peer) = served();
    let answer = peer.extended(ext::LIMITS, b"").unwrap();
    let limits = SFTPLimits::decode(Rest(&answer)).unwrap();
    assert_eq!((limits.packet, limits.read, limits.write, limits.handles), (262_144, 261_120, 261_120, 128));
    assert_eq!(peer.extended(ext::LIMITS, b"x"), Err(SFTPStatus::BAD_MESSAGE));
    let vendor = fields!("maker", "product", "1.0", &7_u64);
    assert_eq!(peer.extended(ext::VENDOR_ID, &vendor), Err(SFTPStatus::OK));
    assert_eq!(peer.extended(ext::VENDOR_ID, b"x"), Err(SFTPStatus::BAD_MESSAGE));
    peer.end().unwrap();
}

#[test]
fn figures_of_the_file_system_and_syncing() {
    let (_directory, mut peer) = served();
    let handle = peer.open("file", BOTH).unwrap();
    let by_path = peer.extended(ext::STATVFS, &fields!("file")).unwrap();
    let by_handle = peer.extended(ext::FSTATVFS, &fields!(handle.as_slice())).unwrap();
    let by_path = StatVfs::decode(Rest(&by_path)).unwrap();
    let by_handle = StatVfs::decode(Rest(&by_handle)).unwrap();
    assert!(by_path.name_max >= 14 && by_path.blocks > 0 && by_path.blocks == by_handle.blocks);
    assert_eq!(peer.extended(ext::STATVFS, &fields!("none")), Err(SFTPStatus::NO_SUCH_FILE));
    assert_eq!(peer.extended(ext::FSYNC, &fields!(handle.as_slice())), Err(SFTPStatus::OK));
    assert_eq!(peer.extended(ext::FSYNC, &fields!("x")), Err(SFTPStatus::FAILURE));
    peer.end().unwrap();
}

#[test]
fn names_of_users_and_groups() {
    let (_directory, mut peer) = served();
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let asked = fields!(numbers(&[0, u32::MAX - 7]).as_slice(), numbers(&[0]).as_slice());
    let answer = peer.extended(ext::USERS_GROUPS, &asked).unwrap();
    let mut reader = Reader::new(&answer);
    assert_eq!(reader.string().unwrap(), fields!("root", ""));
    assert_ne!(reader.string().unwrap(), fields!(""));
    reader.finish().unwrap();
    let many = numbers(&[0; 1025]);
    assert_eq!(peer.extended(ext::USERS_GROUPS, &fields!(many.as_slice(), "")), Err(SFTPStatus::FAILURE));
    assert_eq!(peer.extended(ext::USERS_GROUPS, &fields!("abc", "")), Err(SFTPStatus::BAD_MESSAGE));
    peer.end().unwrap();
}

#[test]
fn files_are_hashed() {
    let (directory, mut peer) = served();
    fs::write(directory.file("long"), vec![7; 1000]).unwrap();
    fs::write(directory.file("empty"), "").unwrap();
    let handle = peer.open("file", OpenFlags::READ).unwrap();
    let digest = |hash: HashAlg, text: &[u8]| hash.digest(&[text]).unwrap().to_vec();
    let expected = |name: &str, digests: &[u8]| Ok([fields!("check-file", name), digests.to_vec()].concat());
    let hashes = [
        ("md5", HashAlg::Md5),
        ("sha1", HashAlg::Sha1),
        ("sha224", HashAlg::Sha224),
        ("sha256", HashAlg::Sha256),
        ("sha384", HashAlg::Sha384),
        ("sha512", HashAlg::Sha512),
    ];
    for (name, hash) in hashes {
        let list = format!("crc32,{name},md5");
        let whole = digest(hash, TEXT.as_bytes());
        for kind in [ext::CHECK_FILE, ext::CHECK_FILE_HANDLE] {
            let asked = fields!(handle.as_slice(), list.as_str(), &0_u64, &0_u64, &0_u32);
            assert_eq!(peer.extended(kind, &asked), expected(name, &whole), "{name}");
        }
        let asked = fields!("file", name, &5_u64, &4_u64, &256_u32);
        assert_eq!(peer.extended(ext::CHECK_FILE_NAME, &asked), expected(name, &digest(hash, b"text")));
    }
    // Blocks: three whole ones and the rest; a length beyond the end; no more than what was asked.
    let blocks = |sizes: &[usize]| {
        sizes.iter().flat_map(|size| digest(HashAlg::Sha1, &vec![7; *size])).collect::<Vec<u8>>()
    };
    for (length, sizes) in [
        (0_u64, &[256, 256, 256, 232][..]),
        (5000, &[256, 256, 256, 232]),
        (512, &[256, 256]),
        (300, &[256, 44]),
    ] {
        let asked = fields!("long", "sha1", &0_u64, &length, &256_u32);
        assert_eq!(peer.extended(ext::CHECK_FILE_NAME, &asked), expected("sha1", &blocks(sizes)), "{length}");
    }
    let asked = fields!("empty", "md5", &0_u64, &0_u64, &0_u32);
    let nothing = digest(HashAlg::Md5, b"");
    assert_eq!(peer.extended(ext::CHECK_FILE_NAME, &asked), expected("md5", &nothing));
    for (asked, refused) in [
        (fields!("file", "crc32", &0_u64, &0_u64, &0_u32), SFTPStatus::FAILURE),
        (fields!("file", "md5", &0_u64, &0_u64, &255_u32), SFTPStatus::FAILURE),
        (fields!("file", "md5", &(1_u64 << 63), &0_u64, &0_u32), SFTPStatus::FAILURE),
        (fields!("none", "md5", &0_u64, &0_u64, &0_u32), SFTPStatus::NO_SUCH_FILE),
        (fields!("file", "md5", &0_u64), SFTPStatus::BAD_MESSAGE),
    ] {
        assert_eq!(peer.extended(ext::CHECK_FILE_NAME, &asked), Err(refused), "{asked:?}");
    }
    // More hashes than an answer holds.
    fs::File::create(directory.file("sparse")).unwrap().set_len(2 << 20).unwrap();
    let asked = fields!("sparse", "sha512", &0_u64, &0_u64, &256_u32);
    assert_eq!(peer.extended(ext::CHECK_FILE_NAME, &asked), Err(SFTPStatus::FAILURE));
    peer.end().unwrap();
}

#[test]
fn data_is_copied_on_the_server() {
    let (directory, mut peer) = served();
    let from = peer.open("file", OpenFlags::READ).unwrap();
    let to = peer.open("copy", BOTH).unwrap();
    let append = peer.open("appended", OpenFlags(2 | 4 | 8)).unwrap();
    let both = peer.open("file", BOTH).unwrap();
    let mut copy = |from: &[u8], at: u64, length: u64, to: &[u8], to_at: u64| {
        peer.extended(ext::COPY_DATA, &fields!(from, &at, &length, to, &to_at)).unwrap_err()
    };
    let size = TEXT.len() as u64;
    let (ok, failure) = (SFTPStatus::OK, SFTPStatus::FAILURE);
    assert_eq!(copy(&from, 0, 0, &to, 0), ok);
    assert_eq!(copy(&from, 5, 4, &to, size), ok);
    assert_eq!(fs::read_to_string(directory.file("copy")).unwrap(), format!("{TEXT}text"));
    assert_eq!(copy(&from, 5, 4, &append, 1000), ok);
    assert_eq!(copy(&from, 5, 4, &append, 0), ok);
    assert_eq!(fs::read_to_string(directory.file("appended")).unwrap(), "texttext");
    // Less than asked for; nothing beyond the end.
    assert_eq!(copy(&from, 0, 1000, &to, 0), SFTPStatus::EOF);
    assert_eq!(copy(&from, 1000, 0, &to, 0), ok);
    // Within a file, but not over itself.
    assert_eq!(copy(&both, 0, 4, &both, 2), failure);
    assert_eq!(copy(&both, 0, 0, &both, 5), failure);
    assert_eq!(copy(&both, 0, 4, &both, 5), ok);
    assert_eq!(copy(&both, 0, 0, &both, size), ok);
    assert_eq!(copy(&to, 0, 4, &from, 0), failure);
    assert_eq!(copy(&from, 1 << 63, 4, &to, 0), failure);
    assert_eq!(copy(b"none", 0, 0, &to, 0), failure);
    // A file onto its own end by another handle ends too.
    assert_eq!(copy(&from, 0, 0, &both, 2 * size), ok);
    let text = fs::read_to_string(directory.file("file")).unwrap();
    assert_eq!(text.len() as u64, 4 * size);
    assert!(text.starts_with("some some"));
    peer.end().unwrap();
}

#[test]
fn holes_are_told() {
    let (directory, mut peer) = served();
    let file = fs::File::create(directory.file("sparse")).unwrap();
    file.set_len(8 << 20).unwrap();
    file.write_all_at(b"x", 1 << 20).unwrap();
    file.write_all_at(b"x", 5 << 20).unwrap();
    let handle = peer.open("sparse", OpenFlags::READ).unwrap();
    let mut ranges = |offset: u64, length: u64| {
        let answer = peer.extended(ext::RANGES, &fields!(handle.as_slice(), &offset, &length))?;
        Ok::<_, SFTPStatus>(ext::decode_ranges(Rest(&answer)).unwrap())
    };
    let (found, at_end) = ranges(0, u64::MAX).unwrap();
    assert!(at_end);
    for place in [1 << 20, 5 << 20] {
        assert!(found.iter().any(|range| range.offset <= place && place < range.offset + range.length));
    }
    let (part, _) = ranges(1 << 20, 1).unwrap();
    assert_eq!((part.len(), part[0].offset, part[0].length), (1, 1 << 20, 1));
    assert_eq!(ranges(8 << 20, 10), Err(SFTPStatus::EOF));
    assert_eq!(ranges(0, 0), Err(SFTPStatus::EOF));
    assert_eq!(ranges(1 << 63, 10), Err(SFTPStatus::FAILURE));
    peer.end().unwrap();
}
