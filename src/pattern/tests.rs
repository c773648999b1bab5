//! Patterns against a plain recursion, lists, and what only costs time.

use std::time::{Duration, Instant};

use super::*;

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
