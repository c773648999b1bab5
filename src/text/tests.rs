//! Text and patterns in pieces of every size, and what is no text.

use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use super::{ByteReader, Encoding, TextReader, TextWriter};
use crate::channel::TimedRead;

/// Bytes that come in pieces of that size.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let size = self.1.min(buf.len());
        self.0.take(u64::try_from(size).unwrap()).read(buf).inspect(|count| self.0 = &self.0[*count..])
    }
}

/// As a stream that nothing more comes from.
impl TimedRead for Pieces<'_> {
    fn read_within(&mut self, buf: &mut [u8], _: Duration) -> io::Result<usize> {
        match self.read(buf)? {
            0 => Err(ErrorKind::TimedOut.into()),
            count => Ok(count),
        }
    }
}

#[test]
fn the_same_pattern_is_found_whatever_the_pieces() {
    let bytes = b"user@host:~$ sudo id\r\nPassword: \r\nroot@host:~# abcdabcdabce";
    for size in 1..=bytes.len() {
        let mut reader = ByteReader::new(Pieces(bytes, size));
        let mut until = |patterns: &[&str]| {
            let found = reader.read_until(patterns).unwrap();
            (String::from_utf8(found.before).unwrap(), found.which)
        };
        assert_eq!(until(&["# ", "$ "]), ("user@host:~".to_owned(), 1));
        assert_eq!(until(&["\n", "\r\n"]), ("sudo id".to_owned(), 1));
        assert_eq!(until(&["assword: ", "Password: ", "ssword:  "]), (String::new(), 1));
        assert_eq!(until(&["$ ", "$ ", "# "]), ("\r\nroot@host:~".to_owned(), 2));
        // One that begins before and ends after is not the first.
        assert_eq!(until(&["bcdabcda", "cd", "cd"]), ("ab".to_owned(), 1));
        assert_eq!(until(&["abcdabce", "abce"]), (String::new(), 0));
        let end = reader.read_until(&["x"]).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
    }
}

#[test]
fn lines_end_in_both_ways() {
    let bytes = "one\r\ntwo \u{5b57}\n\n\u{e9}t\u{e9}".as_bytes();
    for size in 1..=bytes.len() {
        let mut reader = TextReader::new(Pieces(bytes, size));
        let lines: Vec<String> = reader.lines().collect::<io::Result<_>>().unwrap();
        assert_eq!(lines, ["one", "two \u{5b57}", "", "\u{e9}t\u{e9}"]);
        assert_eq!(reader.read_line().unwrap(), None);
        let mut reader = TextReader::new(Pieces(bytes, size));
        assert_eq!(reader.read_until(&["\u{57}", "\u{5b57}"]).unwrap().before, "one\r\ntwo ");
        assert_eq!(reader.read_to_end().unwrap(), "\n\n\u{e9}t\u{e9}");
    }
}

#[test]
fn what_is_no_text_is_an_error_or_shown_as_such() {
    let bytes = b"good\nb\xffd \xe5\xad\nmore\xe5";
    for size in 1..=bytes.len() {
        let mut strict = TextReader::new(Pieces(bytes, size));
        assert_eq!(strict.read_line().unwrap().unwrap(), "good");
        for _ in 0..2 {
            assert_eq!(strict.read_line().unwrap_err().kind(), ErrorKind::InvalidData);
        }
        assert_eq!(strict.take_buffered(), "b");
        assert_eq!(strict.lines().count(), 1);
        let mut lossy = TextReader::new(Pieces(bytes, size)).lossy();
        assert_eq!(lossy.read_to_end().unwrap(), String::from_utf8_lossy(bytes));
    }
    // Cut anywhere, the end of a strict text is an error exactly inside a character.
    let text = "a\u{e9}\u{5b57}\u{1f600}";
    for end in 0..text.len() {
        let whole = text.is_char_boundary(end);
        let read = TextReader::new(&text.as_bytes()[..end]).read_to_end();
        assert_eq!(read.ok(), whole.then(|| text[..end].to_owned()));
    }
}

#[test]
fn what_is_waited_for_is_bounded() {
    let endless = || io::repeat(b'x');
    let error = TextReader::new(endless()).limit(100_000).read_line().unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::InvalidData, "limit read_until (100000) exceeded".into())
    );
    let mut reader = ByteReader::new(endless());
    assert_eq!(reader.read_until(&["y"]).unwrap_err().kind(), ErrorKind::InvalidData);
    assert!((1 << 20..1 << 21).contains(&reader.buffered().len()));
    assert_eq!(reader.read(&mut [0; 5]).unwrap(), 5);
    assert!(TextReader::new(endless()).read_to_end().is_err());
    for patterns in [&[][..], &["x", ""]] {
        assert_eq!(reader.read_until(patterns).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn nothing_is_lost_when_the_time_is_over() {
    let mut reader = TextReader::new(Pieces(b"login: and more", 4));
    let second = Duration::from_secs(1);
    assert_eq!(reader.read_until_within(&["in: "], second).unwrap().before, "log");
    assert_eq!(reader.read_until_within(&["$"], second).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(reader.read_line_within(second).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(reader.buffered(), "and more");
    assert_eq!(reader.read_until_within(&["more"], second).unwrap().before, "and ");
    let mut bytes = ByteReader::new(Pieces(b"ab", 1));
    assert_eq!(bytes.read_until_within(&[b"b"], second).unwrap().before, b"a");
    assert_eq!(bytes.read_until_within(&[b"b"], second).unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn a_signal_ends_no_reading() {
    struct Interrupted(bool);
    impl Read for Interrupted {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.0 = !self.0;
            if self.0 { Err(ErrorKind::Interrupted.into()) } else { Ok(0) }
        }
    }
    let stream = b"log".chain(Interrupted(false)).chain(&b"in: "[..]);
    assert_eq!(TextReader::new(stream).read_until(&[": "]).unwrap().before, "login");
}

#[test]
fn utf8_is_always_there() {
    assert_eq!(Encoding::named(" UTF8 ").unwrap(), Encoding::UTF_8);
    assert_eq!(Encoding::UTF_8.name(), "UTF-8");
    assert!(Encoding::named("rot13").is_err());
    #[cfg(not(feature = "encoding"))]
    assert!(Encoding::named("latin1").unwrap_err().to_string().contains("feature `encoding`"));
    let mut writer = TextWriter::new(Vec::new());
    write!(writer, "{} \u{5b57}", 1).unwrap();
    assert_eq!(writer.into_inner(), "1 \u{5b57}".as_bytes());
}

#[cfg(feature = "encoding")]
#[test]
fn encodings_have_names() {
    for (name, text, bytes) in [
        ("latin1", "\u{e9}t\u{e9}", &b"\xe9t\xe9"[..]),
        ("Shift_JIS", "\u{5b57}a", b"\x8e\x9aa"),
        ("iso-2022-jp", "\u{5b57}a", b"\x1b$B;z\x1b(Ba"),
        ("koi8-r", "\u{434}\u{430}", b"\xc4\xc1"),
        ("utf-16le", "a\u{1f600}", b"a\0\x3d\xd8\x00\xde"),
        ("utf-16be", "a\u{1f600}", b"\0a\xd8\x3d\xde\x00"),
        ("gb18030", "\u{1f600}", b"\x94\x39\xfc\x36"),
    ] {
        let encoding = Encoding::named(name).unwrap();
        let mut writer = TextWriter::new(Vec::new()).encoding(encoding);
        writer.write_str(text).unwrap();
        assert_eq!(writer.into_inner(), bytes, "{name}");
        for size in 1..=bytes.len() {
            let mut reader = TextReader::new(Pieces(bytes, size)).encoding(encoding);
            assert_eq!(reader.read_to_end().unwrap(), text, "{name}");
        }
    }
    let latin = Encoding::named("latin1").unwrap();
    let mut writer = TextWriter::new(Vec::new()).encoding(latin);
    assert_eq!(writer.write_str("a\u{5b57}").unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(writer.into_inner(), b"");
    let mut writer = TextWriter::new(Vec::new()).lossy().encoding(latin);
    writer.write_str(&"a\u{5b57}".repeat(5000)).unwrap();
    assert_eq!(writer.into_inner(), b"a?".repeat(5000));
    let japanese = Encoding::named("shift_jis").unwrap();
    let cut = || TextReader::new(&b"a\n\x8e"[..]).encoding(japanese);
    assert_eq!(cut().lossy().read_to_end().unwrap(), "a\n\u{fffd}");
    let mut strict = cut();
    assert!(strict.read_line().is_ok() && strict.read_line().is_err());
    assert!(Encoding::named("replacement").is_err());
}
