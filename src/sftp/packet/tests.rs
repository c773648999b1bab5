//! Packets there and back, cut anywhere, and as others send them.

use super::message::*;
use super::*;
use crate::wire::{Decode, Encode, Malformed, Reader, Rest, Writer};

fn read<'a, T: Decode<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    let mut reader = Reader::new(bytes);
    let value = reader.get()?;
    reader.finish()?;
    Ok(value)
}

fn full() -> SFTPAttributes {
    let mut attributes = SFTPAttributes::new()
        .with_size(1 << 40)
        .with_owner(1000, 100)
        .with_mode(0o100_644)
        .with_times(SFTPTime::from_seconds(1), SFTPTime::from_seconds(u32::MAX.into()));
    attributes.extended.push((b"name@example.org".to_vec(), b"value".to_vec()));
    attributes
}

#[test]
fn attributes_come_back_and_end_nowhere_else() {
    let (nothing, all) = (SFTPAttributes::new(), full());
    let each = [
        nothing.clone(),
        nothing.clone().with_size(u64::MAX),
        nothing.clone().with_owner(0, u32::MAX),
        nothing.clone().with_mode(0),
        nothing.with_times(SFTPTime::from_seconds(0), SFTPTime::from_seconds(5)),
        all,
    ];
    for attributes in each {
        let bytes = attributes.to_vec();
        assert_eq!(read::<SFTPAttributes>(&bytes).as_ref(), Ok(&attributes));
        for cut in 0..bytes.len() {
            assert_eq!(read::<SFTPAttributes>(&bytes[..cut]), Err(Malformed::Truncated), "{attributes:?}");
        }
    }
}

#[test]
fn attributes_that_cannot_be_read_are_refused() {
    // A flag of a later version; a count that would be allocated.
    assert_eq!(read::<SFTPAttributes>(&0x10_u32.to_be_bytes()), Err(Malformed::Value));
    let mut many = 0x8000_0000_u32.to_be_bytes().to_vec();
    many.put(&u32::MAX);
    assert_eq!(read::<SFTPAttributes>(&many), Err(Malformed::Value));
}

#[test]
fn times_that_the_wire_has_not_are_the_nearest() {
    let sent = |seconds| {
        let time = SFTPTime { seconds, nanoseconds: 999_999_999 };
        let bytes = SFTPAttributes::new().with_times(time, time).to_vec();
        read::<SFTPAttributes>(&bytes).unwrap().times.unwrap().0
    };
    assert_eq!(sent(-5).seconds, 0);
    assert_eq!(sent(i64::MAX).seconds, i64::from(u32::MAX));
    assert_eq!(sent(77), SFTPTime::from_seconds(77));
}

#[test]
fn times_are_those_of_the_system() {
    // Windows counts in tenths of a microsecond.
    for (seconds, nanoseconds) in [(0, 0), (1, 500), (-1, 0), (-2, 750_000_000), (1 << 39, 999_999_900)] {
        let time = SFTPTime { seconds, nanoseconds };
        assert_eq!(SFTPTime::from(std::time::SystemTime::from(time)), time);
    }
}

#[test]
fn modes_are_shown_as_ls_shows_them() {
    for (mode, shown) in [
        (0o100_644, "-rw-r--r--"),
        (0o040_755, "drwxr-xr-x"),
        (0o041_777, "drwxrwxrwt"),
        (0o041_776, "drwxrwxrwT"),
        (0o120_777, "lrwxrwxrwx"),
        (0o104_755, "-rwsr-xr-x"),
        (0o102_640, "-rw-r-S---"),
        (0o020_620, "crw--w----"),
        (0o644, "?rw-r--r--"),
    ] {
        assert_eq!(SFTPAttributes::new().with_mode(mode).mode_string(), shown);
    }
    assert_eq!(SFTPAttributes::new().mode_string(), "?---------");
    assert!(SFTPAttributes::new().with_mode(0o040_000).is_dir());
    assert_eq!(SFTPAttributes::new().with_mode(0o644).kind(), None);
}

#[test]
fn a_long_line_has_ls_s_columns() {
    let long = long::Long { links: Some(2), user: "robey", group: "staff", recent: Some(0..=10) };
    let attributes = full().with_size(1234);
    let line = long.show(&attributes);
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[..5], ["-rw-r--r--", "2", "robey", "staff", "1234"]);
    assert_eq!(words.len(), 8, "{line}");
    let entry = SFTPEntry::new("a b", SFTPAttributes::new());
    assert_eq!(entry.to_string(), "?---------   ? ?        ?               ? ? a b");
    assert_eq!(entry.with_longname("its own").to_string(), "its own");
}

#[test]
fn messages_are_what_the_draft_says() {
    let attributes = SFTPAttributes::new().with_mode(0o600).to_vec();
    let flags = (OpenFlags::WRITE | OpenFlags::CREATE).0;
    let open = framed(&Open { id: 7, path: b"/x", flags, attributes: Rest(&attributes) });
    assert_eq!(open, b"\0\0\0\x17\x03\0\0\0\x07\0\0\0\x02/x\0\0\0\x0a\0\0\0\x04\0\0\x01\x80");
    let read = framed(&Read { id: 1, handle: b"h", offset: 5, length: 9 });
    assert_eq!(read, b"\0\0\0\x16\x05\0\0\0\x01\0\0\0\x01h\0\0\0\0\0\0\0\x05\0\0\0\x09");
    let decoded = Read::decode_packet(&read[4..]).unwrap();
    assert_eq!((decoded.id, decoded.handle, decoded.offset, decoded.length), (1, &b"h"[..], 5, 9));
}

#[test]
fn a_status_may_lack_its_words() {
    let words = |rest: &[u8]| Status { id: 1, code: 4, text: Rest(rest) }.words().map(<[u8]>::to_vec);
    assert_eq!(words(b""), Ok(b"".to_vec()));
    assert_eq!(words(b"\0\0\0\x02no"), Ok(b"no".to_vec()));
    assert_eq!(words(b"\0\0\0\x02no\0\0\0\x02en"), Ok(b"no".to_vec()));
    assert_eq!(words(b"\0\0\0\x02n"), Err(Malformed::Truncated));
    assert_eq!(words(b"\0\0\0\x02no\0\0\0\x02enx"), Err(Malformed::Trailing));
}

#[test]
fn announcements_are_read_and_bounded() {
    let mut bytes = Vec::new();
    bytes.put("posix-rename@openssh.com").put("1").put("x").put("");
    assert_eq!(
        extension::announced(Rest(&bytes)).unwrap(),
        [(b"posix-rename@openssh.com".to_vec(), b"1".to_vec()), (b"x".to_vec(), Vec::new())]
    );
    assert_eq!(extension::announced(Rest(&bytes[..bytes.len() - 1])), Err(Malformed::Truncated));
    assert_eq!(extension::announced(Rest(&[0; 8 * 129])), Err(Malformed::Value));
}

#[test]
fn what_extensions_carry_comes_back() {
    let figures = StatVfs { block_size: 1, name_max: 255, flags: StatVfs::READ_ONLY, ..StatVfs::default() };
    assert_eq!(StatVfs::decode(Rest(&figures.to_vec())), Ok(figures));
    let limits = SFTPLimits { packet: 1, read: 2, write: 3, handles: 4 };
    assert_eq!(SFTPLimits::decode(Rest(&limits.to_vec())), Ok(limits));
    let ranges = [SFTPRange { offset: 0, length: 5 }, SFTPRange { offset: 1 << 40, length: 1 }];
    let bytes = extension::encode_ranges(&ranges, true);
    assert_eq!(extension::decode_ranges(Rest(&bytes)), Ok((ranges.to_vec(), true)));
    assert_eq!(extension::decode_ranges(Rest(&u32::MAX.to_be_bytes())), Err(Malformed::Value));
    let vendor = SFTPVendor { vendor: "a".into(), product: "b".into(), version: "1".into(), build: 9 };
    assert_eq!(SFTPVendor::decode(&vendor.to_vec()), Ok(vendor));
}
