//! What was said so far: of each keyword the first value, but for those that add up.
//!
//! Pure.

use std::collections::BTreeMap;

use super::forwarding::{Way, Written};
use super::table::{Own, Shape, Spec};
use super::value;
use crate::pattern::{Letters, matches};

/// Files of keys, and of certificates, that may be named; OpenSSH's figure.
const IDENTITIES: usize = 100;
/// Files of known hosts; OpenSSH's figure.
const HOSTS_FILES: usize = 32;
/// Forwardings and patterns of SendEnv: files of 1 MiB could name tens of thousands.
const MANY: usize = 4096;

/// Values by the names of their keywords, in the words of `ssh -G`.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    said: BTreeMap<&'static str, Vec<String>>,
    pub(super) forwards: Vec<Written>,
}

impl Values {
    /// What was said of a keyword.
    pub(super) fn all(&self, name: &str) -> Option<&[String]> {
        self.said.get(name).map(Vec::as_slice)
    }

    /// The first word that was said.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.all(name)?.first().map(String::as_str)
    }

    /// The first word that was said, if that is not `none`.
    pub(super) fn some(&self, name: &str) -> Option<&str> {
        self.one(name).filter(|word| !word.eq_ignore_ascii_case("none"))
    }

    /// Puts words in the place of what was said.
    pub(super) fn replace(&mut self, name: &'static str, words: Vec<String>) {
        self.said.insert(name, words);
    }

    /// Says a word where nothing was said.
    pub(super) fn say(&mut self, name: &'static str, word: &str) {
        self.said.entry(name).or_insert_with(|| vec![word.to_owned()]);
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.said.remove(name);
    }

    /// Takes a line of a keyword in; `active` tells whether it is about this host. The error is what is wrong
    /// with it.
    pub(super) fn take(
        &mut self,
        spec: &'static Spec,
        rest: &str,
        words: &[String],
        active: bool,
    ) -> Result<(), String> {
        let words = value::value(spec, rest, words)?;
        if !active {
            return Ok(());
        }
        match (spec.name, spec.shape) {
            (_, Shape::Texts) => return self.add(spec.name, words),
            ("sendenv", _) => return self.send(words),
            ("rekeylimit", _) => return self.rekey(words),
            ("proxyjump", _) => self.jump(words),
            // Which agent may be said after it was said that one is.
            ("forwardagent", _) if self.one("forwardagent") == Some("yes") => {
                let socket = words.iter().any(|word| word != "yes" && word != "no");
                if socket {
                    self.replace("forwardagent", words);
                }
            }
            (_, Shape::Words) if words.len() > HOSTS_FILES => {
                return Err(format!("too many {} entries", spec.name));
            }
            (_, Shape::Own(Own::Refuse)) => {
                return Err(format!("RefuseConnection: {}", words.join(" ")));
            }
            (name, _) => _ = self.said.entry(name).or_insert(words),
        }
        Ok(())
    }

    fn add(&mut self, name: &'static str, words: Vec<String>) -> Result<(), String> {
        let said = self.said.entry(name).or_default();
        for word in words {
            if said.len() >= IDENTITIES {
                return Err(format!("too many {name} entries; at most {IDENTITIES} are taken"));
            }
            if !said.contains(&word) {
                said.push(word);
            }
        }
        Ok(())
    }

    /// Adds patterns of SendEnv; one that begins with `-` takes those away that it matches.
    fn send(&mut self, words: Vec<String>) -> Result<(), String> {
        let said = self.said.entry("sendenv").or_default();
        for word in words {
            match word.strip_prefix('-') {
                Some(away) => said.retain(|it| !matches(away.as_bytes(), it.as_bytes(), Letters::Exact)),
                None if said.len() >= MANY => return Err("too many sendenv entries".to_owned()),
                None => said.push(word),
            }
        }
        Ok(())
    }

    /// Bytes and time are two values.
    fn rekey(&mut self, words: Vec<String>) -> Result<(), String> {
        let said = self.said.entry("rekeylimit").or_default();
        let known = said.len();
        said.extend(words.into_iter().skip(known));
        Ok(())
    }

    /// ProxyJump and ProxyCommand exclude each other: what comes first counts.
    fn jump(&mut self, words: Vec<String>) {
        let none = words.iter().any(|word| word == "none");
        if self.said.contains_key("proxyjump") || !none && self.said.contains_key("proxycommand") {
            return;
        }
        if !none {
            self.said.insert("proxycommand", vec!["none".to_owned()]);
        }
        self.said.insert("proxyjump", words);
    }

    /// Adds a forwarding; equal ones count once.
    pub(super) fn forward(&mut self, forward: Written) -> Result<(), String> {
        if self.forwards.len() >= MANY {
            return Err("too many forwardings".to_owned());
        }
        if !self.forwards.contains(&forward) {
            self.forwards.push(forward);
        }
        Ok(())
    }

    /// The forwardings of these kinds.
    pub(super) fn forwards_of(&self, ways: &[Way]) -> impl Iterator<Item = &Written> {
        self.forwards.iter().filter(|forward| ways.contains(&forward.way))
    }
}
