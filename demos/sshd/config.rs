//! sshd_config: lines of files and of the command line, what they include, and what holds for a connection.
//! sshd_config(5); OpenSSH's servconf.c.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use feramiko::glob_matches;

use crate::criteria::{self, Connection, Criterion};
use crate::keywords::{Built, Keyword, Scope, Shape};
use crate::support::given::{Statement, interval_of, number, statement, yes};

/// Files within files; OpenSSH's figure.
const DEPTH: u32 = 16;
/// No file is larger.
const FILE: u64 = 16 * 1024 * 1024;
/// Where files lie that are named without a directory.
const FOLDER: &str = "/etc/ssh";

/// Where lines stand that are in no file.
const COMMAND_LINE: &str = "command-line";

/// Where a line stands.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    file: &'a str,
    /// 0 on the command line.
    number: usize,
    /// The Match that the file is included behind.
    outer: Option<usize>,
    depth: u32,
}

impl Place<'_> {
    fn shown(&self) -> String {
        let Self { file, number, .. } = self;
        if *number == 0 { (*file).to_owned() } else { format!("{file} line {number}") }
    }

    fn wrong(&self, name: &str, why: &str) -> String {
        if self.number == 0 {
            format!("-o {name}: {why}")
        } else {
            format!("{}: {name}: {why}", self.shown())
        }
    }
}

/// One line, and the Match that it stands behind.
#[derive(Debug)]
struct Line {
    keyword: &'static Keyword,
    words: Vec<String>,
    behind: Option<usize>,
    /// The file and the number of the line.
    place: String,
}

/// All lines, in their order.
#[derive(Debug, Default)]
pub(crate) struct Config {
    lines: Vec<Line>,
    /// The criteria of every Match, with those of the one that its file is included behind.
    matches: Vec<Vec<Criterion>>,
}

impl Config {
    /// Takes a line of the command line.
    pub(crate) fn option(&mut self, line: &str) -> Result<(), String> {
        let place = Place { file: COMMAND_LINE, number: 0, outer: None, depth: 0 };
        self.line(line, place, &mut None)
    }

    /// Takes lines that are ours.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), String> {
        text.lines().try_for_each(|line| self.option(line))
    }

    /// Takes a file.
    pub(crate) fn file(&mut self, path: &Path) -> Result<(), String> {
        self.included(path, None, 0)
    }

    fn included(&mut self, path: &Path, outer: Option<usize>, depth: u32) -> Result<(), String> {
        if depth > DEPTH {
            return Err(format!("{}: too many files within files", path.display()));
        }
        let text = read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        // A Match ends with its file.
        let mut behind = outer;
        for (number, line) in (1..).zip(text.lines()) {
            let file = &path.display().to_string();
            self.line(line, Place { file, number, outer, depth }, &mut behind)?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str, place: Place<'_>, behind: &mut Option<usize>) -> Result<(), String> {
        let Some(Statement { name, rest, words }) =
            statement(line).map_err(|why| place.wrong(line.trim(), &why))?
        else {
            return Ok(());
        };
        let shown = if place.number == 0 { line.trim() } else { &name };
        let wrong = |why: String| place.wrong(shown, &why);
        if words.is_empty() {
            return Err(wrong("no value".to_owned()));
        }
        if name.eq_ignore_ascii_case("match") {
            let mut criteria = criteria::parse(&words).map_err(wrong)?;
            criteria.extend(place.outer.and_then(|at| self.matches.get(at)).cloned().unwrap_or_default());
            self.matches.push(criteria);
            *behind = Some(self.matches.len() - 1);
            return Ok(());
        }
        if name.eq_ignore_ascii_case("include") {
            for word in &words {
                for path in expanded(word).map_err(wrong)? {
                    self.included(&path, *behind, place.depth + 1)?;
                }
            }
            return Ok(());
        }
        let keyword = Keyword::named(&name).ok_or_else(|| wrong("no such option".to_owned()))?;
        let words = match keyword.shape {
            Shape::Rest | Shape::Commands => vec![rest.to_owned()],
            // A port alone is one of every address.
            Shape::List(_) if keyword.name == "permitlisten" => {
                words.into_iter().map(at_any_address).collect()
            }
            _ => words,
        };
        if behind.is_some() && keyword.scope == Scope::Global {
            return Err(wrong("is not allowed within a Match block".to_owned()));
        }
        keyword.check(&words).map_err(wrong)?;
        // Of what was said before nothing comes.
        let said = |line: &Line| line.keyword.name == keyword.name && line.behind.is_none();
        if behind.is_some() || keyword.adds_up() || !self.lines.iter().any(said) {
            built(keyword, &words).map_err(wrong)?;
        }
        self.lines.push(Line { keyword, words, behind: *behind, place: place.shown() });
        Ok(())
    }

    /// What holds for a connection; without one, what stands before the first Match.
    pub(crate) fn holds(self: &Arc<Self>, connection: Option<&Connection>) -> Effective {
        let active = |criteria: &Vec<Criterion>| {
            connection.is_some_and(|connection| criteria.iter().all(|criterion| criterion.holds(connection)))
        };
        Effective { config: Arc::clone(self), active: self.matches.iter().map(active).collect() }
    }

    /// Whether a Match asks for routing domains.
    pub(crate) fn asks_for_routing(&self) -> bool {
        self.matches.iter().flatten().any(|criterion| matches!(criterion, Criterion::Routing(_)))
    }

    /// Whether a line sets it, for whomever.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.lines.iter().any(|line| line.keyword.name == name)
    }

    /// LogLevel, if it is set.
    pub(crate) fn log_level(&self) -> Option<String> {
        let line = self.lines.iter().find(|line| line.keyword.name == "loglevel")?;
        line.words.first().cloned()
    }

    /// What was set and is not built, to be said once.
    pub(crate) fn idle(&self) -> impl Iterator<Item = String> {
        let idle = self.lines.iter().filter(|line| line.keyword.built == Built::Idle && !is_default(line));
        idle.map(|line| format!("{}: {} is not built", line.place, line.keyword.name))
    }
}

fn at_any_address(word: String) -> String {
    let whole = word.contains(':') || ["any", "none"].contains(&word.as_str());
    if whole { word } else { format!("*:{word}") }
}

fn is_default(line: &Line) -> bool {
    line.words.join(" ").eq_ignore_ascii_case(line.keyword.default)
}

/// What is not built is an error, but for a value that asks for nothing.
fn built(keyword: &Keyword, words: &[String]) -> Result<(), String> {
    let nothing = words.join(" ").eq_ignore_ascii_case(keyword.default) || words == ["none"];
    match keyword.built {
        Built::No if !nothing => Err("not built".to_owned()),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE {
        return Err("too large for a configuration".to_owned());
    }
    String::from_utf8(text).map_err(|_| "not UTF-8".to_owned())
}

/// The files that a pattern of Include means, in their order; none is no error.
fn expanded(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = Path::new(FOLDER).join(pattern);
    let mut found = vec![PathBuf::new()];
    for part in path.components() {
        let part = part.as_os_str();
        if !part.as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte)) {
            found.iter_mut().for_each(|folder| folder.push(part));
            continue;
        }
        let mut next = Vec::new();
        for folder in &found {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            let names = entries.flatten().map(|entry| entry.file_name());
            let fits = names.filter(|name| glob_matches(part.as_encoded_bytes(), name.as_encoded_bytes()));
            next.extend(fits.map(|name| folder.join(name)));
        }
        next.sort();
        found = next;
    }
    found.retain(|path| path.exists());
    Ok(found)
}

/// What holds for one connection, or for all.
#[derive(Debug, Clone)]
pub(crate) struct Effective {
    config: Arc<Config>,
    /// Which Match holds.
    active: Vec<bool>,
}

impl Effective {
    /// The lines with a keyword that count: those behind a Match that holds, else those before all.
    fn lines(&self, keyword: &Keyword) -> Vec<&Line> {
        let lines = self.config.lines.iter().filter(|line| line.keyword.name == keyword.name);
        let (matched, global): (Vec<_>, Vec<_>) = lines.partition(|line| line.behind.is_some());
        let holds = |line: &&Line| line.behind.is_some_and(|at| self.active.get(at) == Some(&true));
        let matched: Vec<_> = matched.into_iter().filter(holds).collect();
        let mut lines = if matched.is_empty() { global } else { matched };
        if !keyword.adds_up() {
            lines.truncate(1);
        }
        // Ports of the command line are not added to.
        if keyword.name == "port" && lines.first().is_some_and(|line| line.place == COMMAND_LINE) {
            lines.retain(|line| line.place == COMMAND_LINE);
        }
        lines
    }

    /// The first word of every line with the keyword, for whomever it counts.
    pub(crate) fn anywhere(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = self.config.lines.iter().filter(move |line| line.keyword.name == name);
        lines.filter_map(|line| line.words.first().map(String::as_str))
    }

    /// The words of every line that counts; without one, the default's.
    pub(crate) fn values(&self, name: &str) -> Vec<Vec<String>> {
        let Some(keyword) = Keyword::named(name) else { return Vec::new() };
        let lines = self.lines(keyword);
        if lines.is_empty() && !keyword.default.is_empty() {
            return vec![keyword.default.split(' ').map(str::to_owned).collect()];
        }
        lines.into_iter().map(|line| line.words.clone()).collect()
    }

    /// Whether a line sets it.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        Keyword::named(name).is_some_and(|keyword| !self.lines(keyword).is_empty())
    }

    /// All words.
    pub(crate) fn words(&self, name: &str) -> Vec<String> {
        self.values(name).concat()
    }

    /// The one word; empty where there is none.
    pub(crate) fn word(&self, name: &str) -> String {
        self.words(name).into_iter().next().unwrap_or_default()
    }

    /// The one word, unless it is `none`.
    pub(crate) fn some(&self, name: &str) -> Option<String> {
        Some(self.word(name)).filter(|word| !word.is_empty() && !word.eq_ignore_ascii_case("none"))
    }

    /// The one word in lower case, as choices are compared.
    pub(crate) fn choice(&self, name: &str) -> String {
        self.word(name).to_ascii_lowercase()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        yes(&self.word(name)) == Ok(true)
    }

    /// A number, which was looked at when its line was read.
    pub(crate) fn number<T: std::str::FromStr + Default>(&self, name: &str) -> T {
        number(&self.word(name)).unwrap_or_default()
    }

    /// A time; none for `none` and 0.
    pub(crate) fn time(&self, name: &str) -> Option<Duration> {
        interval_of(&self.word(name)).ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Arc<Config>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, text).unwrap();
        let mut config = Config::default();
        config.file(&path).map(|()| Arc::new(config))
    }

    #[test]
    fn the_first_value_counts_and_match_comes_before() {
        let config = config(
            "MaxAuthTries 3\nmaxauthtries=4\nAcceptEnv A B # comment\nAcceptEnv C\n\nForceCommand none\n\
             Match User robey\n ForceCommand echo \"a # b\"\n AcceptEnv D\nMatch User *\n MaxAuthTries 9\n",
        )
        .unwrap();
        let all = config.holds(None);
        assert_eq!((all.number::<u32>("maxauthtries"), all.words("acceptenv").len()), (3, 3));
        assert_eq!(all.some("forcecommand"), None);
        let robey = Connection { user: Some("robey".to_owned()), ..Connection::default() };
        let robey = config.holds(Some(&robey));
        assert_eq!(robey.some("forcecommand").unwrap(), "echo \"a # b\"");
        assert_eq!(
            (robey.words("acceptenv"), robey.number::<u32>("maxauthtries")),
            (vec!["D".to_owned()], 9)
        );
        assert!(all.flag("strictmodes") && !all.is_set("strictmodes"));
    }

    #[test]
    fn files_within_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, text) in [
            ("a.conf", "Match User robey\nPermitTTY no\n"),
            ("b.conf", "MaxSessions 7\n"),
            ("loop", "Include loop*\n"),
        ] {
            fs::write(path(name), text.replace("loop*", &path("loop").display().to_string())).unwrap();
        }
        let mut read = Config::default();
        read.option(&format!("Include {}", path("*.conf").display())).unwrap();
        read.option("Include /no/such/*.conf").unwrap();
        let read = Arc::new(read);
        assert_eq!(read.holds(None).number::<u32>("maxsessions"), 7);
        assert!(read.holds(None).flag("permittty"));
        let robey = Connection { user: Some("robey".to_owned()), ..Connection::default() };
        assert!(!read.holds(Some(&robey)).flag("permittty"));
        assert!(Config::default().file(&path("loop")).unwrap_err().contains("too many"));
    }

    #[test]
    fn errors_say_where() {
        for (text, why) in [
            ("Port 22\nBanana yes\n", "config line 2: Banana: no such option"),
            ("PermitTTY", "line 1: PermitTTY: no value"),
            ("PermitTTY maybe", "line 1: PermitTTY: not one of yes, no"),
            ("Match User a\nPort 22", "line 2: Port: is not allowed within a Match block"),
            ("Match", "line 1: Match: no value"),
            ("UsePAM yes", "line 1: UsePAM: not built"),
            ("Banner \"a", "a quote is not closed"),
            ("Port 70000", "no number, or one out of range"),
        ] {
            let error = config(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(config("UsePAM no\nUsePAM yes").is_ok(), "the first counts");
        assert!(config("UsePAM no\nKerberosAuthentication no\nX11Forwarding yes\n").is_ok());
        assert_eq!(config("PrintLastLog no\nPrintLastLog yes").unwrap().idle().count(), 1);
    }
}
