//! Copies files between hosts, with the options of scp(1): by SFTP, or with `-O` by the old protocol, whose
//! other side it is too (`-t` and `-f`).

mod legacy;
mod links;
mod place;
mod sftp;
#[path = "../support/mod.rs"]
mod support;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use feramiko::{ExitStatus, SCPServer};
use links::Links;
use place::{Place, parse};
use support::args::{Args, Options as Letters};
use support::connect::Connect;
use support::given::text;
use support::home::expand;
use support::output::complain;
use support::stdio::both;

const USAGE: &str =
    "usage: scp [-346BCOpqRrsTv] [-c cipher] [-D sftp_server_path] [-F none] [-i identity_file]
           [-l limit] [-o ssh_option] [-P port] [-S program] [-X sftp_option]
           source ... target
Not built yet: -A, -J, and -F other than none: no configuration file is read, ~/.ssh/config neither.
What -X names is checked and chosen by the program itself.";
const LETTERS: Letters = Letters { letters: "346ABCOpqRrsTvdftc:D:F:i:J:l:o:P:S:X:", names: &[] };
/// As scp, when there is no connection to speak SFTP on.
const NO_CONNECTION: u8 = 255;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What the command line asks for.
#[derive(Debug, Default)]
struct Settings {
    connect: Connect,
    legacy: bool,
    recursive: bool,
    preserve: bool,
    quiet: bool,
    /// `-R`: hosts copy between them.
    direct: bool,
    /// `-T`: names are not held against what was asked for.
    trusting: bool,
    directory: bool,
    /// `-t` and `-f`: the other side of an scp.
    remote: bool,
    verbose: usize,
    /// Bytes in a second.
    limit: Option<u64>,
    buffer: Option<u32>,
    requests: Option<usize>,
    /// `-S`: what makes the connection instead of us.
    program: Option<PathBuf>,
    /// `-D`: a server of SFTP here.
    server: Option<PathBuf>,
}

impl Settings {
    fn letter(&mut self, letter: char, value: &OsString) -> Outcome<()> {
        let word = || text(value).map_err(|wrong| format!("-{letter} {wrong}"));
        match letter {
            '3' => self.direct = false,
            '4' => self.connect.family = Some(4),
            '6' => self.connect.family = Some(6),
            'A' | 'J' => return Err(format!("-{letter} is not built").into()),
            'B' => self.connect.set("BatchMode", "yes")?,
            'C' => self.connect.set("Compression", "yes")?,
            'c' => self.connect.set("Ciphers", word()?)?,
            'D' => self.server = Some(value.into()),
            'd' => self.directory = true,
            'F' if value == "none" => {}
            'F' => return Err("-F other than none is not built: no file is read".into()),
            'i' => self.connect.identity(expand(value)),
            'l' => {
                let limit =
                    word()?.parse::<u64>().ok().filter(|limit| (1..=100 * 1024 * 1024).contains(limit));
                self.limit = Some(limit.ok_or_else(usage)? * 1024 / 8);
            }
            'O' => self.legacy = true,
            'o' => self.connect.option(word()?)?,
            'P' => self.connect.set("Port", word()?)?,
            'p' => self.preserve = true,
            'q' => self.quiet = true,
            'R' => self.direct = true,
            'r' => self.recursive = true,
            'S' => self.program = Some(value.into()),
            's' => self.legacy = false,
            'T' => self.trusting = true,
            'v' => self.verbose += 1,
            'X' => self.tune(word()?)?,
            _ => self.remote = true,
        }
        Ok(())
    }

    /// `buffer=BYTES` or `nrequests=NUMBER` of SFTP.
    fn tune(&mut self, word: &str) -> Outcome<()> {
        let (name, number) = word.split_once('=').unwrap_or((word, ""));
        let number = support::given::size(number).ok().filter(|number| *number > 0);
        match (name, number) {
            ("buffer", Some(bytes)) => self.buffer = Some(u32::try_from(bytes)?),
            ("nrequests", Some(count)) => self.requests = Some(usize::try_from(count)?),
            _ => return Err(format!("-X {word}: buffer=N and nrequests=N are known").into()),
        }
        Ok(())
    }

    /// Options that would do nothing are not taken.
    fn agree(&self, places: &[Place], target: &Place) -> Outcome<()> {
        let remote = |place: &Place| matches!(place, Place::There(_));
        if self.limit.is_some() && remote(target) && places.iter().any(remote) {
            return Err("-l between two hosts is not built".into());
        }
        if self.legacy && (self.buffer.is_some() || self.requests.is_some()) {
            return Err("-X is of SFTP, and -O asks for the old protocol".into());
        }
        Ok(())
    }

    /// Whether bars are drawn.
    fn shows(&self) -> bool {
        !self.quiet && io::stdout().is_terminal()
    }
}

fn usage() -> Box<dyn std::error::Error> {
    USAGE.into()
}

/// Says what failed, as scp says it.
fn failed(what: impl std::fmt::Display) {
    let text = what.to_string();
    complain(if text.starts_with("scp: ") { text } else { format!("scp: {text}") });
}

fn run() -> Outcome<u8> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut args = Args::new(LETTERS, words.clone());
    let mut settings = Settings::default();
    while let Some((letter, value)) = args.option().map_err(|wrong| format!("{wrong}\n{USAGE}"))? {
        settings.letter(letter, &value)?;
    }
    if settings.remote {
        return be_remote(&words);
    }
    let level = settings.connect.level().unwrap_or_else(|| support::log::level(settings.verbose));
    support::log::start(if settings.quiet { log::LevelFilter::Off } else { level }, None)?;
    let mut places = args.rest().iter().map(|word| parse(word)).collect::<Result<Vec<_>, _>>()?;
    let target = places.pop().filter(|_| !places.is_empty()).ok_or_else(usage)?;
    let several = places.len() > 1 || settings.directory;
    settings.agree(&places, &target)?;
    let mut links = Links::new(settings);
    let mut good = true;
    match target {
        Place::There(target) => {
            let (mut here, mut there) = (Vec::new(), Vec::new());
            for place in places {
                match place {
                    Place::Here(path) => here.push(PathBuf::from(path)),
                    Place::There(remote) => there.push(remote),
                }
            }
            let several = several || here.len() + there.len() > 1;
            if links.settings.direct {
                for source in &there {
                    good &= legacy::direct(&mut links, source, &target)?;
                }
            } else if links.settings.legacy {
                for source in &there {
                    good &= legacy::through(&mut links, source, &target, several)?;
                }
            } else {
                for source in &there {
                    good &= sftp::through(&mut links, source, &target, several)?;
                }
            }
            if !here.is_empty() && links.settings.legacy {
                good &= legacy::put(&mut links, &here, &target, several)?;
            } else if !here.is_empty() {
                good &= sftp::put(&mut links, &here, &target, several)?;
            }
        }
        Place::Here(target) => {
            for place in places {
                good &= match &place {
                    Place::Here(path) => copy_here(&links.settings, path, &target)?,
                    Place::There(source) if links.settings.legacy => {
                        legacy::get(&mut links, source, target.as_ref(), several)?
                    }
                    Place::There(source) => sftp::get(&mut links, source, target.as_ref(), several)?,
                };
            }
        }
    }
    Ok(u8::from(!good))
}

/// Both are here: cp(1)'s work.
fn copy_here(settings: &Settings, from: &OsString, to: &OsString) -> Outcome<bool> {
    let mut command = Command::new("/bin/cp");
    command.args(settings.recursive.then_some("-r")).args(settings.preserve.then_some("-p"));
    Ok(command.arg("--").arg(from).arg(to).status()?.success())
}

/// The other side, which an scp elsewhere has started.
fn be_remote(words: &[OsString]) -> Outcome<u8> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    match SCPServer::unrestricted().serve_args(&words, both()?)? {
        ExitStatus::Code(code) => Ok(u8::try_from(code).unwrap_or(1)),
        _ => Ok(1),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code.into(),
        Err(error) => {
            let lost = error.downcast_ref::<links::NoConnection>().is_some();
            failed(error);
            if lost { NO_CONNECTION.into() } else { ExitCode::FAILURE }
        }
    }
}
