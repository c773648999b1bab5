//! `Host` and `Match`: whether the lines that follow are about this host. OpenSSH's readconf.c,
//! match_cfg_line.

use super::environment::Environment;
use crate::pattern::{Letters, address_in_list, matches, matches_list};

/// What is known of the host so far.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// Its name as far as it is known: HostName's, if that was said.
    pub(super) host: &'a str,
    pub(super) original: &'a str,
    pub(super) user: &'a str,
    pub(super) local_user: &'a str,
    pub(super) tag: &'a str,
    pub(super) command: &'a str,
    pub(super) session: &'a str,
    pub(super) is_final: bool,
    /// Commands may be run.
    pub(super) may_run: bool,
    pub(super) environment: &'a dyn Environment,
}

/// What came of a Match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) matched: bool,
    /// The files are to be read once more, when all is known.
    pub(super) wants_final: bool,
}

/// Whether the patterns of a Host have the name that was asked for, and refuse it not.
pub(super) fn host(patterns: &[String], name: &str) -> Result<bool, String> {
    if patterns.is_empty() || patterns.iter().any(String::is_empty) {
        return Err("keyword host has an empty argument".to_owned());
    }
    let mut found = false;
    for pattern in patterns {
        let (refused, pattern) =
            pattern.strip_prefix('!').map_or((false, pattern.as_str()), |rest| (true, rest));
        if matches(pattern.as_bytes(), name.as_bytes(), Letters::Exact) {
            if refused {
                return Ok(false);
            }
            found = true;
        }
    }
    Ok(found)
}

/// Whether the criteria of a Match hold, where all before did; `expand` replaces the tokens of a command.
pub(super) fn holds(
    words: &[String],
    known: &Known<'_>,
    expand: &dyn Fn(&str) -> Result<String, String>,
    so_far: bool,
) -> Result<Verdict, String> {
    let mut verdict = Verdict { matched: so_far, wants_final: false };
    let mut words = words.iter().map(String::as_str);
    let mut count = 0_usize;
    while let Some(word) = words.next() {
        let (negated, name) = word.strip_prefix('!').map_or((false, word), |rest| (true, rest));
        if name.eq_ignore_ascii_case("all") {
            if count > 1 || words.next().is_some() {
                return Err("'all' cannot be combined with other Match attributes".to_owned());
            }
            verdict.matched &= !negated;
            return Ok(verdict);
        }
        count = count.saturating_add(1);
        let is_final = name.eq_ignore_ascii_case("final");
        let holds = if is_final || name.eq_ignore_ascii_case("canonical") {
            verdict.wants_final |= is_final && !negated;
            known.is_final
        } else {
            let (name, value) = match name.split_once('=') {
                Some(found) => found,
                None => (name, words.next().ok_or_else(|| format!("missing argument for Match '{name}'"))?),
            };
            one(&name.to_ascii_lowercase(), value, known, expand, verdict.matched)?
        };
        verdict.matched &= holds != negated;
    }
    if count == 0 { Err("Match wants one or more attributes".to_owned()) } else { Ok(verdict) }
}

/// Whether one criterion holds. A command is run only where all before it held.
fn one(
    name: &str,
    value: &str,
    known: &Known<'_>,
    expand: &dyn Fn(&str) -> Result<String, String>,
    so_far: bool,
) -> Result<bool, String> {
    let list = |subject: &str| matches_list(value.as_bytes(), subject.as_bytes(), Letters::Exact);
    let lower = |subject: &str| {
        matches_list(value.as_bytes(), subject.to_ascii_lowercase().as_bytes(), Letters::Lower)
    };
    // Nothing is matched by nothing.
    let or_none = |subject: &str| if subject.is_empty() { value.is_empty() } else { list(subject) };
    if value.is_empty() && !matches!(name, "tagged" | "command") {
        return Err(format!("missing Match criteria for {name}"));
    }
    Ok(match name {
        "host" => lower(known.host),
        "originalhost" => lower(known.original),
        "user" => list(known.user),
        "localuser" => list(known.local_user),
        "localnetwork" => local_network(value, known.environment)?,
        // The name of the program that these files are written for would match only by accident.
        "version" => list(concat!("feramiko_", env!("CARGO_PKG_VERSION"))),
        "tagged" => or_none(known.tag),
        "command" => or_none(known.command),
        "sessiontype" => list(known.session),
        "exec" => so_far && run(&expand(value)?, known)?,
        _ => return Err(format!("unsupported Match attribute {name}")),
    })
}

fn run(command: &str, known: &Known<'_>) -> Result<bool, String> {
    if !known.may_run {
        log::warn!(
            target: "feramiko::config",
            "Match exec is taken for false: configurations that are no files of the user's run no commands"
        );
        return Ok(false);
    }
    known.environment.succeeds(command).map_err(|error| format!("match exec '{command}': {error}"))
}

fn local_network(list: &str, environment: &dyn Environment) -> Result<bool, String> {
    let bad = || format!("localnetwork: '{list}' is no list of addresses and networks");
    // The list is judged even where there is no address.
    address_in_list(list.as_bytes(), std::net::Ipv4Addr::UNSPECIFIED.into()).ok_or_else(bad)?;
    let addresses = environment.addresses().map_err(|error| format!("localnetwork: {error}"))?;
    Ok(addresses.into_iter().any(|address| address_in_list(list.as_bytes(), address) == Some(true)))
}
