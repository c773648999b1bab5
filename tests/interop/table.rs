//! The table of `doc/algorithms.md` that says with whom each row of ours was tried, and what came of it. Tests try
//! every row with every peer and hold what came of it against the table; `FERAMIKO_TABLE=write` has them write it.

#![allow(dead_code, reason = "no test uses everything")]

use std::fs;
use std::io::{self, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use feramiko::Algorithms;

/// A peer that has not said what it is by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// The heading of the table's section; nothing but the table has lines with bars between it and the next.
const SECTION: &str = "## Tried with";
/// The heading of the list of rows, which a test beside the code holds against it.
const LIST: &str = "## Table";
/// What a peer has, and what it has not.
const MARKS: [&str; 2] = ["✓", "—"];
/// What was not tried yet: only in a table that is being written.
const UNTRIED: &str = "?";

/// The peers, by the names that their versions begin with, and whose side of a connection they take.
pub(crate) const COLUMNS: [(&str, &str); 9] = [
    ("OpenSSH", "server"),
    ("OpenSSH", "client"),
    ("AsyncSSH", "server"),
    ("AsyncSSH", "client"),
    ("paramiko", "server"),
    ("paramiko", "client"),
    ("dropbear", "server"),
    ("dropbear", "client"),
    ("PuTTY", "client"),
];

/// Our rows, each with the number of its marks: what signs does so for hosts and for users. Their order is that of
/// the list of rows, which depends on no processor.
fn ours() -> Vec<(&'static str, usize)> {
    let all = Algorithms::client_defaults().legacy();
    let lists = [all.kex(), all.ciphers(), all.macs(), all.compressions()].concat();
    let signatures = all.host_keys().iter().map(|name| (*name, 2));
    let mut rows: Vec<_> = lists.into_iter().map(|name| (name, 1)).chain(signatures).collect();
    let text = fs::read_to_string(path()).unwrap();
    let list = text.split(LIST).nth(1).unwrap();
    rows.sort_by_key(|(name, _)| list.find(&format!("| `{name}` |")));
    rows
}

/// The table: a heading, with the version of each peer, and the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    versions: Vec<String>,
    rows: Vec<(String, Vec<Vec<String>>)>,
}

impl Table {
    pub(crate) fn read() -> Self {
        Self::parse(&fs::read_to_string(path()).unwrap())
    }

    fn parse(text: &str) -> Self {
        let section = text.split(SECTION).nth(1).unwrap_or_default();
        let section = section.split("\n## ").next().unwrap_or_default();
        let cells = |line: &str| -> Vec<String> {
            line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
        };
        let mut lines = section.lines().filter(|line| line.starts_with('|')).map(cells);
        let versions = lines.next().unwrap_or_default().into_iter().skip(1).collect();
        let rows = lines.skip(1).map(|mut line| {
            let name = line.remove(0);
            (name, line.iter().map(|cell| cell.split(' ').map(str::to_owned).collect()).collect())
        });
        Self { versions, rows: rows.collect() }
    }

    /// The same with our rows and columns, whatever was there before.
    fn whole(&self) -> Self {
        let versions = COLUMNS.iter().map(|column| self.version(*column)).collect();
        let marks = |name: &str, column, at| self.mark(name, column, at).unwrap_or(UNTRIED).to_owned();
        let rows = ours().into_iter().map(|(name, count)| {
            let cell = |column| (0..count).map(|at| marks(name, column, at)).collect();
            (name.to_owned(), COLUMNS.into_iter().map(cell).collect())
        });
        Self { versions, rows: rows.collect() }
    }

    fn at(&self, (peer, role): (&str, &str)) -> Option<usize> {
        let is = |version: &String| {
            let begins = version.get(..peer.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(peer));
            begins && version.ends_with(role)
        };
        self.versions.iter().position(is)
    }

    fn version(&self, column: (&str, &str)) -> String {
        let known = self.at(column).map(|at| self.versions[at].clone());
        known.unwrap_or_else(|| format!("{} {}", column.0, column.1))
    }

    fn mark(&self, name: &str, column: (&str, &str), at: usize) -> Option<&str> {
        let (_, cells) = self.rows.iter().find(|(row, _)| row == name)?;
        cells.get(self.at(column)?)?.get(at).map(String::as_str)
    }

    /// Whether a peer has a row; of a signature, for a host (0) or a user (1).
    pub(crate) fn has(&self, name: &str, column: (&str, &str), at: usize) -> bool {
        self.mark(name, column, at) == Some(MARKS[0])
    }

    fn set(&mut self, name: &str, column: (&str, &str), at: usize, mark: &str) {
        let place = self.at(column).unwrap();
        let (_, cells) = self.rows.iter_mut().find(|(row, _)| row == name).unwrap();
        mark.clone_into(&mut cells[place][at]);
    }

    fn to_text(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&[&["name".to_owned()], &self.versions[..]].concat());
        text += &format!("|---|{}\n", ":-:|".repeat(self.versions.len()));
        for (name, cells) in &self.rows {
            let cells: Vec<_> = cells.iter().map(|marks| marks.join(" ")).collect();
            text += &line(&[&[format!("`{name}`")], &cells[..]].concat());
        }
        text
    }

    /// Puts the table into a text in place of the one that is there.
    fn write(&self, text: &str) -> String {
        let start = text.find(SECTION).expect("the section is there");
        let end = text[start + 1..].find("\n## ").map_or(text.len(), |end| start + 1 + end);
        let bar = |line: &&str| line.starts_with('|');
        let prose: Vec<&str> = text[start..end].lines().collect();
        let before = prose.iter().position(bar).unwrap_or(prose.len());
        let after = prose.iter().rposition(bar).map_or(before, |last| last + 1);
        let join = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let (before, after) = (join(&prose[..before]), join(&prose[after..]));
        format!("{}{before}{}{after}{}", &text[..start], self.to_text(), &text[end..])
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/algorithms.md")
}

/// The line with which a peer says what it is, left where it was.
pub(crate) fn first_line(stream: &TcpStream) -> String {
    let (mut bytes, deadline) = ([0; 255], Instant::now() + PATIENCE);
    loop {
        let count = stream.peek(&mut bytes).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[..count]);
        if let Some((line, _)) = text.split_once("\r\n") {
            return line.to_owned();
        }
        if count == 0 || Instant::now() > deadline {
            return String::new();
        }
        thread::yield_now();
    }
}

/// What came of a row: a peer has it, or why not.
pub(crate) type Outcome = Result<(), String>;

/// Holds what came of rows with a peer, which said what it is, against the table, or writes it there.
pub(crate) fn hold(column: (&str, &str), ident: &str, at: usize, outcomes: &[(&str, Outcome)]) {
    /// Held while one test writes.
    static WRITING: Mutex<()> = Mutex::new(());
    if outcomes.is_empty() {
        return;
    }
    assert!(ident.starts_with("SSH-2.0-"), "{column:?} never came so far as to say what it is: {outcomes:?}");
    let version = ident.trim_start_matches("SSH-2.0-").split(' ').next().unwrap_or_default();
    let heading = format!("{version} {}", column.1);
    let mark = |outcome: &Outcome| MARKS[usize::from(outcome.is_err())];
    if std::env::var_os("FERAMIKO_TABLE").is_some_and(|wanted| wanted == "write") {
        let _writing = WRITING.lock().expect("no other test failed to write");
        let text = fs::read_to_string(path()).unwrap();
        let mut table = Table::parse(&text).whole();
        let place = table.at(column).unwrap();
        table.versions[place] = heading;
        outcomes.iter().for_each(|(name, outcome)| table.set(name, column, at, mark(outcome)));
        fs::write(path(), table.write(&text)).unwrap();
        return;
    }
    let table = Table::read();
    if table.version(column) != heading {
        // Another version has other rows; each has worked or was refused all the same.
        let _ = writeln!(io::stderr(), "the table is of {}, not of {heading}", table.version(column));
        return;
    }
    let wrong: Vec<_> = outcomes
        .iter()
        .map(|(name, outcome)| (name, outcome, table.mark(name, column, at).unwrap_or("nothing")))
        .filter(|(_, outcome, said)| mark(outcome) != *said)
        .map(|(name, outcome, said)| format!("{name}: {outcome:?}, and doc/algorithms.md says {said}"))
        .collect();
    assert!(
        wrong.is_empty(),
        "{heading}:\n{}\nFERAMIKO_TABLE=write cargo test --test interop --test signatures writes the table",
        wrong.join("\n")
    );
}

/// Every row of ours is there, in our order, tried with everybody; somebody else has it.
pub(crate) fn is_whole() {
    let text = fs::read_to_string(path()).unwrap();
    let table = Table::parse(&text);
    assert_eq!(table, table.whole(), "rows or columns are missing");
    assert_eq!(table.write(&text), text, "the table is written otherwise");
    for (name, cells) in &table.rows {
        let marks: Vec<_> = cells.iter().flatten().map(String::as_str).collect();
        assert!(marks.iter().all(|mark| MARKS.contains(mark)), "{name}: {marks:?}");
        assert!(marks.contains(&MARKS[0]), "no peer has {name}");
    }
}
