//! The words of a line held against the shape of their keyword, and put as `ssh -G` shows them. OpenSSH's
//! readconf.c, process_config_line_depth.
//!
//! Pure. Errors are what is wrong with the value, without where.

use super::table::{FLAG, Own, Shape, Spec};
use crate::kex::Algorithms;
use crate::sys::traffic::TrafficClasses;

/// Words of one line: what a connection does with more of them OpenSSH does not say; lines have no more.
const WORDS: usize = 256;
/// A day's worth of milliseconds is no interval between keystrokes; OpenSSH's figure.
const KEYSTROKE_MILLISECONDS: u32 = 1000;
/// What OpenSSH takes at least for RekeyLimit, in bytes.
const REKEY_BYTES: u64 = 16;
const TUNNELS: u32 = i32::MAX.cast_unsigned() - 2;

type Checked = Result<Vec<String>, String>;

/// What a line says: its words, checked, in the words of `ssh -G`.
pub(super) fn value(spec: &Spec, rest: &str, words: &[String]) -> Checked {
    if words.len() > WORDS {
        return Err(format!("keyword {} has too many arguments", spec.name));
    }
    match spec.shape {
        Shape::Command => Ok(vec![rest.trim_start_matches([' ', '\t', '\r', '\n', '=']).to_owned()]),
        Shape::Text | Shape::Texts => single(spec, words).map(|word| vec![word.to_owned()]),
        Shape::Choice(known) => choice(single(spec, words)?, known),
        Shape::Number => number(single(spec, words)?),
        Shape::Seconds => seconds_or_none(single(spec, words)?),
        Shape::Algorithms => algorithms(spec.name, single(spec, words)?),
        Shape::Words => alone(spec, words, &["none"], |_| Ok(())),
        Shape::Pairs => pairs(words),
        Shape::Own(own) => own_value(spec, own, rest, words),
    }
}

fn own_value(spec: &Spec, own: Own, rest: &str, words: &[String]) -> Checked {
    match own {
        Own::AddKeys => add_keys(words),
        Own::Agent => agent(single(spec, words)?),
        Own::AgentOrFlag => {
            let word = single(spec, words)?;
            choice(word, FLAG).or_else(|_| agent(word))
        }
        Own::ChannelTimeouts => alone(spec, words, &["none"], |word| {
            let (kind, time) = word.split_once('=').unwrap_or_default();
            let fine = !kind.is_empty() && seconds(time).is_some();
            fine.then_some(()).ok_or_else(|| format!("invalid channel timeout {word}"))
        }),
        Own::Cnames => cnames(spec, words),
        Own::Domains => {
            let words: Vec<_> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
            let named = |word: &String| word.strip_suffix('.').unwrap_or(word).to_owned();
            alone(spec, &words, &["none"], domain).map(|words| words.iter().map(named).collect())
        }
        Own::Escape => escape(single(spec, words)?),
        Own::Facility => facility(single(spec, words)?),
        Own::Hash => choice(single(spec, words)?, HASHES),
        Own::Jump => super::jump::shown(rest).map(|shown| vec![shown]),
        Own::LogLevel => log_level(single(spec, words)?),
        Own::Mask => {
            let word = single(spec, words)?;
            let mask = u32::from_str_radix(word, 8).ok().filter(|mask| *mask <= 0o777);
            mask.map(|mask| vec![format!("0{mask:o}")]).ok_or_else(|| format!("bad mask {word}"))
        }
        Own::Obscure => obscure(single(spec, words)?),
        Own::Opens => alone(spec, words, &["none", "any"], opens),
        Own::Persist => persist(single(spec, words)?),
        Own::Port => {
            let word = single(spec, words)?;
            let port = word.parse::<u16>().ok().filter(|port| *port > 0);
            port.map(|port| vec![port.to_string()]).ok_or_else(|| format!("Bad port '{word}'"))
        }
        Own::Qos => quality(words),
        Own::Rekey => rekey(words),
        Own::Send => sent(words),
        Own::Tunnel => tunnel(single(spec, words)?),
        Own::Version => version(rest),
        Own::Refuse => single(spec, words).map(|word| vec![word.to_owned()]),
        // Read where the host and the environment are known.
        Own::Forward | Own::Hosts | Own::Match | Own::Include => Ok(words.to_vec()),
    }
}

const HASHES: &[(&str, &str)] =
    &[("md5", "MD5"), ("sha1", "SHA1"), ("sha256", "SHA256"), ("sha384", "SHA384"), ("sha512", "SHA512")];

/// VersionAddendum: all of the line but a comment.
fn version(rest: &str) -> Checked {
    let text = rest.split('#').next().unwrap_or_default().trim_end();
    if text.contains('\r') {
        return Err("a version has no carriage return".to_owned());
    }
    Ok(vec![if text.eq_ignore_ascii_case("none") { String::new() } else { text.to_owned() }])
}

/// The only word.
pub(super) fn single<'a>(spec: &Spec, words: &'a [String]) -> Result<&'a str, String> {
    match words {
        [] => Err("missing argument".to_owned()),
        [word, ..] if word.is_empty() => Err("missing argument".to_owned()),
        [word] => Ok(word),
        _ => Err(extra(spec)),
    }
}

fn extra(spec: &Spec) -> String {
    format!("keyword {} has extra arguments at the end of the line", spec.name)
}

fn choice(word: &str, known: &[(&str, &str)]) -> Checked {
    let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, shown)| vec![(*shown).to_owned()]).ok_or_else(|| {
        let known: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        format!("unsupported option \"{word}\", not one of {}", known.join(", "))
    })
}

/// Numbers are those of a C `int`.
fn number(word: &str) -> Checked {
    let number = word.parse::<u32>().ok().filter(|number| *number <= i32::MAX.cast_unsigned());
    number
        .map(|number| vec![number.to_string()])
        .ok_or_else(|| format!("\"{word}\" is no number, or one out of range"))
}

fn seconds_or_none(word: &str) -> Checked {
    if word == "none" {
        return Ok(vec!["none".to_owned()]);
    }
    seconds(word)
        .map(|seconds| vec![seconds.to_string()])
        .ok_or_else(|| format!("invalid time value \"{word}\""))
}

/// A time as sshd_config(5), "TIME FORMATS", has it, in whole seconds: `600`, `10m`, `1h30m`. Seconds, and
/// nothing else, may have a fraction, which is dropped.
pub(super) fn seconds(word: &str) -> Option<u32> {
    let (mut total, mut rest, mut plain) = (0_u32, word, false);
    while !rest.is_empty() || word.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        let (whole, fraction) =
            digits.split_once('.').map_or((digits, None), |(whole, part)| (whole, Some(part)));
        let mut letters = after.chars();
        let unit = match letters.next().map(|letter| letter.to_ascii_lowercase()) {
            None | Some('s') if plain => return None,
            None | Some('s') => {
                plain = true;
                1
            }
            Some('m') => 60,
            Some('h') => 60 * 60,
            Some('d') => 24 * 60 * 60,
            Some('w') => 7 * 24 * 60 * 60,
            Some(_) => return None,
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if fraction.is_some_and(|part| unit != 1 || !digits(part)) {
            return None;
        }
        total = whole.parse::<u32>().ok()?.checked_mul(unit)?.checked_add(total)?;
        rest = letters.as_str();
    }
    (total <= i32::MAX.cast_unsigned()).then_some(total)
}

/// The list that a keyword stands for, with what is not said filled in.
pub(super) fn algorithm_list(name: &str, spec: Option<&str>) -> String {
    let mut all = Algorithms::client_defaults();
    // What is wrong with a list was told where it was read.
    let _ = spec.map(|spec| all.set_list(name, spec));
    all.list(name).unwrap_or_default().join(",")
}

fn algorithms(name: &str, spec: &str) -> Checked {
    let set = Algorithms::client_defaults().set_list(name, spec);
    set.unwrap_or(Ok(())).map_err(|error| error.to_string())?;
    Ok(vec![spec.to_owned()])
}

/// At least one word, none empty; some words stand alone.
fn alone(
    spec: &Spec,
    words: &[String],
    lone: &[&str],
    check: impl Fn(&str) -> Result<(), String>,
) -> Checked {
    if words.is_empty() {
        return Err("missing argument".to_owned());
    }
    for word in words {
        if word.is_empty() {
            return Err(format!("keyword {} has an empty argument", spec.name));
        }
        if lone.iter().any(|name| name.eq_ignore_ascii_case(word)) {
            if words.len() > 1 {
                return Err(format!("keyword {}: \"{word}\" must stand alone", spec.name));
            }
        } else {
            check(word)?;
        }
    }
    Ok(words.to_vec())
}

/// SetEnv: of each name the first value.
fn pairs(words: &[String]) -> Checked {
    let mut pairs: Vec<String> = Vec::new();
    for word in words {
        let (name, _) = word.split_once('=').ok_or_else(|| format!("\"{word}\" is not NAME=VALUE"))?;
        let same = |pair: &String| pair.split_once('=').is_some_and(|(known, _)| known == name);
        if !pairs.iter().any(same) {
            pairs.push(word.clone());
        }
    }
    if pairs.is_empty() { Err("missing argument".to_owned()) } else { Ok(pairs) }
}

fn sent(words: &[String]) -> Checked {
    if words.is_empty() || words.iter().any(|word| word.is_empty() || word.contains('=')) {
        return Err("invalid environment name".to_owned());
    }
    Ok(words.to_vec())
}

/// `yes`, `no`, `ask`, `confirm`, each or `confirm` with the time that the agent keeps the key.
fn add_keys(words: &[String]) -> Checked {
    const KNOWN: &[(&str, &str)] = &[
        ("yes", "true"),
        ("no", "false"),
        ("true", "true"),
        ("false", "false"),
        ("ask", "ask"),
        ("confirm", "confirm"),
    ];
    let wrong = || "unsupported option: yes, no, ask, confirm or a time is wanted".to_owned();
    match words {
        [word] => choice(word, KNOWN).or_else(|_| {
            let time = seconds(word).ok_or_else(wrong)?;
            Ok(vec![if time == 0 { "true".to_owned() } else { time.to_string() }])
        }),
        [word, time] if word.eq_ignore_ascii_case("confirm") => {
            let time = seconds(time).ok_or_else(wrong)?;
            Ok(vec![if time == 0 { "confirm".to_owned() } else { format!("confirm {time}") }])
        }
        _ => Err(wrong()),
    }
}

/// A path, or the name of a variable behind `$`.
fn agent(word: &str) -> Checked {
    let name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if let Some(variable) = word.strip_prefix('$').filter(|rest| !rest.starts_with('{'))
        && (variable.is_empty() || !variable.chars().all(name))
    {
        return Err(format!("invalid environment name {word}"));
    }
    Ok(vec![word.to_owned()])
}

fn cnames(spec: &Spec, words: &[String]) -> Checked {
    let words: Vec<_> = words
        .iter()
        .map(|word| if word == "*" { "*:*".to_owned() } else { word.to_ascii_lowercase() })
        .collect();
    let words = alone(spec, &words, &["none"], |word| {
        let fine = word.split_once(':').is_some_and(|(_, target)| !target.is_empty());
        fine.then_some(()).ok_or_else(|| format!("invalid permitted CNAME \"{word}\""))
    })?;
    Ok(if words.iter().any(|word| word == "none") { Vec::new() } else { words })
}

/// A domain's name: OpenSSH's misc.c, valid_domain.
pub(super) fn domain(name: &str) -> Result<(), String> {
    let first = name.chars().next();
    if !first.is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
        return Err(format!("domain name \"{name}\" starts with an invalid character"));
    }
    if name.contains("..") {
        return Err(format!("domain name \"{name}\" contains consecutive separators"));
    }
    let fine = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    name.chars()
        .all(fine)
        .then_some(())
        .ok_or_else(|| format!("domain name \"{name}\" contains invalid characters"))
}

/// One character, `^` and a letter, or `none`; shown as vis(3) does.
fn escape(word: &str) -> Checked {
    let code = match word.as_bytes() {
        _ if word == "none" => return Ok(vec!["none".to_owned()]),
        [byte] => *byte,
        [b'^', byte @ 64..128] => byte & 31,
        _ => return Err("bad escape character".to_owned()),
    };
    Ok(vec![match code {
        b'\\' => "\\\\".to_owned(),
        0..32 => format!("\\^{}", char::from(code | 64)),
        127 => "\\^?".to_owned(),
        _ => char::from(code).to_string(),
    }])
}

fn log_level(word: &str) -> Checked {
    let known = &[
        ("SILENT", "SILENT"),
        ("QUIET", "SILENT"),
        ("FATAL", "FATAL"),
        ("ERROR", "ERROR"),
        ("INFO", "INFO"),
        ("VERBOSE", "VERBOSE"),
        ("DEBUG", "DEBUG"),
        ("DEBUG1", "DEBUG"),
        ("DEBUG2", "DEBUG2"),
        ("DEBUG3", "DEBUG3"),
    ];
    choice(word, known).map_err(|_| format!("unsupported log level '{word}'"))
}

fn facility(word: &str) -> Checked {
    let word = word.to_ascii_uppercase();
    let local = word.strip_prefix("LOCAL").is_some_and(|rest| matches!(rest.as_bytes(), [b'0'..=b'7']));
    if local || ["DAEMON", "USER", "AUTH", "AUTHPRIV"].contains(&word.as_str()) {
        Ok(vec![word])
    } else {
        Err(format!("unsupported log facility '{word}'"))
    }
}

fn obscure(word: &str) -> Checked {
    if let Some(time) = word.strip_prefix("interval:") {
        let time = time.parse::<u32>().ok().filter(|time| (1..=KEYSTROKE_MILLISECONDS).contains(time));
        // OpenSSH's own interval.
        return match time {
            Some(20) => Ok(vec!["yes".to_owned()]),
            Some(time) => Ok(vec![time.to_string()]),
            None => Err("interval out of range".to_owned()),
        };
    }
    choice(word, FLAG)
}

fn opens(word: &str) -> Result<(), String> {
    let (host, port) = word.rsplit_once(':').ok_or_else(|| format!("missing port in \"{word}\""))?;
    let port = port == "*" || port.parse::<u16>().is_ok_and(|port| port > 0);
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if !port {
        return Err(format!("bad port number in \"{word}\""));
    }
    if host.is_empty() || host.contains(':') && !bracketed {
        return Err(format!("missing host in \"{word}\""));
    }
    Ok(())
}

fn persist(word: &str) -> Checked {
    choice(word, FLAG).or_else(|_| match seconds(word) {
        Some(0) => Ok(vec!["yes".to_owned()]),
        Some(time) => Ok(vec![time.to_string()]),
        None => Err(format!("bad ControlPersist argument \"{word}\"")),
    })
}

/// RekeyLimit: bytes, or `default`, and perhaps a time.
fn rekey(words: &[String]) -> Checked {
    let (bytes, time) = match words {
        [bytes] => (bytes, None),
        [bytes, time] => (bytes, Some(time)),
        _ => return Err("a size and perhaps a time are wanted".to_owned()),
    };
    let bytes = if bytes == "default" { 0 } else { size(bytes)? };
    if bytes != 0 && bytes < REKEY_BYTES {
        return Err("RekeyLimit is too small".to_owned());
    }
    let mut shown = vec![bytes.to_string()];
    if let Some(time) = time.filter(|time| *time != "none") {
        let time = seconds(time).ok_or_else(|| format!("invalid time value \"{time}\""))?;
        shown.push(time.to_string());
    }
    Ok(shown)
}

/// `64K`, `1G`.
fn size(word: &str) -> Result<u64, String> {
    let wrong = || format!("bad number '{word}'");
    let units = [('k', 10), ('m', 20), ('g', 30), ('t', 40), ('p', 50)];
    let unit = units.into_iter().find(|(unit, _)| word.to_ascii_lowercase().ends_with(*unit));
    let digits =
        if unit.is_some() { word.get(..word.len().saturating_sub(1)).unwrap_or_default() } else { word };
    let number = digits.parse::<u64>().map_err(|_| wrong())?;
    let factor = 1_u64.checked_shl(unit.map_or(0, |(_, bits)| bits)).ok_or_else(wrong)?;
    number.checked_mul(factor).filter(|size| i64::try_from(*size).is_ok()).ok_or_else(wrong)
}

fn tunnel(word: &str) -> Checked {
    let device = |word: &str| match word {
        _ if word.eq_ignore_ascii_case("any") => Some("any".to_owned()),
        _ => word.parse::<u32>().ok().filter(|number| *number <= TUNNELS).map(|number| number.to_string()),
    };
    let (local, remote) = word.split_once(':').unwrap_or((word, "any"));
    match (device(local), device(remote)) {
        (Some(local), Some(remote)) => Ok(vec![format!("{local}:{remote}")]),
        _ => Err(format!("bad tun device '{word}'")),
    }
}

/// IPQoS: for interactive sessions and for the others.
fn quality(words: &[String]) -> Checked {
    let classes = words.join(" ").parse::<TrafficClasses>().map_err(|error| error.to_string())?;
    Ok(classes.to_string().split(' ').map(str::to_owned).collect())
}
