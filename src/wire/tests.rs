//! Round trips, truncation at every byte, RFC 4251 §5's own examples; patterns.

use std::time::{Duration, Instant};

use super::pattern::{Letters, matches, matches_list};
use super::*;

messages! {
    /// Every kind of field once.
    Sample<'a> = 200 { flag: bool, small: u32, large: u64, text: &'a [u8], number: Mpint<'a>, names: NameList<'a>, cookie: [u8; 4], secret: Hidden<'a>, rest: Rest<'a> }
    Empty = 201 {}
}

fn sample() -> Vec<u8> {
    Sample {
        flag: true,
        small: 7,
        large: 1 << 40,
        text: b"text",
        number: Mpint::from_unsigned(&[0, 0x80, 1]),
        names: NameList::from_joined("a,b@c"),
        cookie: [1, 2, 3, 4],
        secret: Hidden(b"hunter2"),
        rest: Rest(b""),
    }
    .to_vec()
}

#[test]
fn a_message_comes_back_as_it_was() {
    let bytes = sample();
    let message = Sample::decode_packet(&bytes).unwrap();
    assert_eq!(message.to_vec(), bytes);
    assert_eq!(message.number.magnitude(), [0x80, 1]);
    assert_eq!(message.number.bits(), 16);
    assert_eq!(message.names.names().collect::<Vec<_>>(), ["a", "b@c"]);
    assert!(!format!("{message:?}").contains("hunter2"));
}

#[test]
fn every_prefix_is_truncated() {
    let bytes = sample();
    for length in 0..bytes.len() {
        assert_eq!(Sample::decode_packet(&bytes[..length]).unwrap_err(), Malformed::Truncated, "{length}");
    }
}

#[test]
fn trailing_bytes_and_wrong_numbers_are_refused() {
    assert_eq!(Empty::decode_packet(&[201, 0]).unwrap_err(), Malformed::Trailing);
    assert_eq!(Empty::decode_packet(&[200]).unwrap_err(), Malformed::Number { found: 200, expected: 201 });
}

#[test]
fn mpints_of_rfc_4251() {
    let cases: [(&[u8], &[u8]); 3] = [
        (&[], &[0, 0, 0, 0]),
        (
            &[0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7],
            &[0, 0, 0, 8, 0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7],
        ),
        (&[0x80], &[0, 0, 0, 2, 0, 0x80]),
    ];
    for (magnitude, wire) in cases {
        let number = Mpint::from_unsigned(magnitude);
        assert_eq!(number.to_vec(), wire);
        assert_eq!(Reader::new(wire).get::<Mpint<'_>>().unwrap(), number);
    }
    for bad in [&[0, 0, 0, 1, 0x80][..], &[0, 0, 0, 1, 0], &[0, 0, 0, 2, 0, 0x7f]] {
        assert_eq!(Reader::new(bad).get::<Mpint<'_>>().unwrap_err(), Malformed::Mpint);
    }
}

#[test]
fn name_lists_are_bounded() {
    let long = "x".repeat(65);
    let many = "x,".repeat(1025);
    for bad in [long.as_str(), many.as_str(), "a b", "a\0b"] {
        let wire = string_of(bad.as_bytes());
        assert_eq!(Reader::new(&wire).get::<NameList<'_>>().unwrap_err(), Malformed::NameList);
    }
    let wire = string_of(b"");
    assert_eq!(Reader::new(&wire).get::<NameList<'_>>().unwrap().names().count(), 0);
}

#[test]
fn a_length_beyond_the_packet_allocates_nothing() {
    assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 1]).string().unwrap_err(), Malformed::Truncated);
}

#[test]
fn text_of_a_peer_is_harmless() {
    assert_eq!(Escaped(b"\x1b[2J ok\n\xff").to_string(), "\\u{1b}[2J ok\\n\\xff");
    assert!(Escaped(&[b'x'; 1000]).to_string().len() < 300);
}

#[test]
fn patterns_match_as_a_plain_recursion_would() {
    fn slow(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=name.len()).any(|skip| slow(rest, &name[skip..])),
            ([b'?', rest @ ..], [_, left @ ..]) => slow(rest, left),
            ([a, rest @ ..], [b, left @ ..]) if a == b => slow(rest, left),
            _ => false,
        }
    }
    let mut state = 7_u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut found = 0;
    for _ in 0..20_000 {
        let mut word = |letters: &[u8], longest| -> Vec<u8> {
            (0..below(longest)).map(|_| letters[below(letters.len())]).collect()
        };
        let (pattern, name) = (word(b"ab*?", 8), word(b"ab", 10));
        let expected = slow(&pattern, &name);
        found += usize::from(expected);
        for letters in [Letters::Exact, Letters::Lower] {
            let shown = (pattern.escape_ascii(), name.escape_ascii());
            assert_eq!(matches(&pattern, &name, letters), expected, "{} {}", shown.0, shown.1);
        }
    }
    assert!((1_000..19_000).contains(&found), "{found} of the cases matched");
}

#[test]
fn lists_of_patterns_refuse_before_they_allow() {
    let long = "x".repeat(1025);
    for (list, name, exact, lower) in [
        ("*@a.org,!mallory@a.org", "me@a.org", true, true),
        ("!mallory@a.org,*@a.org", "mallory@a.org", false, false),
        ("!MALLORY@a.org,*@a.org", "mallory@a.org", true, false),
        ("Me", "me", false, true),
        ("!me", "you", false, false),
        ("", "me", false, false),
        (&format!("me,!{long}"), "me", false, false),
    ] {
        let answer = |letters| matches_list(list.as_bytes(), name.as_bytes(), letters);
        assert_eq!((answer(Letters::Exact), answer(Letters::Lower)), (exact, lower), "{list} {name}");
    }
}

#[test]
fn hostile_patterns_end_soon() {
    let started = Instant::now();
    let name = "a".repeat(1000);
    let stars = "*a".repeat(511) + "b";
    let matches = |pattern: &str| matches(pattern.as_bytes(), name.as_bytes(), Letters::Exact);
    assert!(!matches(&stars));
    assert!(matches(&"*".repeat(1024)));
    assert!(!matches(&"*".repeat(1025)), "as long as no name is");
    assert!(!matches_list(format!("{stars},").repeat(100).as_bytes(), name.as_bytes(), Letters::Exact));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
