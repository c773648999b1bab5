//! Options in the manner of getopt: clustered flags, `-p22` or `-p 22`, repeated, `--name value`.

use std::collections::HashMap;

/// Which options a program knows.
pub(crate) struct Spec {
    /// Letters without a value.
    pub(crate) flags: &'static str,
    /// Letters with a value.
    pub(crate) values: &'static str,
    /// Long names with a value.
    pub(crate) long_values: &'static [&'static str],
}

/// What was given.
#[derive(Debug, Default)]
pub(crate) struct Args {
    given: HashMap<char, Vec<String>>,
    long: HashMap<String, String>,
    /// What is no option, in order.
    pub(crate) rest: Vec<String>,
}

#[allow(dead_code, reason = "each program uses what it needs")]
impl Args {
    /// Sorts the arguments. With `host_then_command`, options may also follow the first argument that
    /// is none (the host); everything from the second on is left alone (the command).
    pub(crate) fn parse(args: impl Iterator<Item = String>, spec: &Spec, host_then_command: bool) -> Result<Self, String> {
        let mut this = Self::default();
        let mut args = args;
        while let Some(arg) = args.next() {
            let full = this.rest.len() >= if host_then_command { 2 } else { usize::MAX };
            if full || !arg.starts_with('-') || arg == "-" {
                this.rest.push(arg);
                if this.rest.len() >= 2 && host_then_command {
                    this.rest.extend(args);
                    break;
                }
                continue;
            }
            if arg == "--" {
                this.rest.extend(args);
                break;
            }
            if let Some(name) = arg.strip_prefix("--") {
                if !spec.long_values.contains(&name) {
                    return Err(format!("unknown option --{name}"));
                }
                let value = args.next().ok_or(format!("option --{name} takes a value"))?;
                this.long.insert(name.to_owned(), value);
                continue;
            }
            let mut letters = arg[1..].chars();
            while let Some(letter) = letters.next() {
                if spec.flags.contains(letter) {
                    this.given.entry(letter).or_default().push(String::new());
                } else if spec.values.contains(letter) {
                    let attached: String = letters.by_ref().collect();
                    let value = if attached.is_empty() { args.next() } else { Some(attached) };
                    let value = value.ok_or(format!("option -{letter} takes a value"))?;
                    this.given.entry(letter).or_default().push(value);
                } else {
                    return Err(format!("unknown option -{letter}"));
                }
            }
        }
        Ok(this)
    }

    /// Whether the option was given.
    pub(crate) fn has(&self, letter: char) -> bool {
        self.given.contains_key(&letter)
    }

    /// How often it was given.
    pub(crate) fn count(&self, letter: char) -> usize {
        self.given.get(&letter).map_or(0, Vec::len)
    }

    /// Its last value.
    pub(crate) fn last(&self, letter: char) -> Option<&str> {
        self.given.get(&letter)?.last().map(String::as_str)
    }

    /// All its values.
    pub(crate) fn all(&self, letter: char) -> impl Iterator<Item = &str> {
        self.given.get(&letter).into_iter().flatten().map(String::as_str)
    }

    /// A long option's value.
    pub(crate) fn long(&self, name: &str) -> Option<&str> {
        self.long.get(name).map(String::as_str)
    }
}
