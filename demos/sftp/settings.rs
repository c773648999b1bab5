//! The command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::support::args::{Args, Options};
use crate::support::connect::Connect;
use crate::support::destination::{self, Destination, port_of};
use crate::transfer::Manner;

pub(crate) const USAGE: &str = "\
usage: sftp [-46AaCfNpqrv] [-B buffer_size] [-b batchfile] [-c cipher]
          [-D sftp_server_command] [-F ssh_config] [-i identity_file]
          [-J destination] [-l limit] [-o ssh_option] [-P port]
          [-R num_requests] [-S program] [-s subsystem | sftp_server]
          [-X sftp_option] destination";
/// What is said after it of what is missing.
pub(crate) const NOT_BUILT: &str = "\
Without -S, -A is not built.
Without -B, -R and -X requests are as large and as many as suits the server and the link.";

/// As OpenSSH.
const MAX_LIMIT: u64 = 100 * 1024 * 1024;

/// Why there is nothing to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Usage(String),
    Fatal(String),
}

/// How the server is reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A connection of our own.
    Ours,
    /// A program on this machine that is the server.
    Direct(OsString),
    /// A program that is ssh.
    Program(OsString),
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) way: Way,
    pub(crate) destination: Destination,
    /// What is to be got, where to.
    pub(crate) to: Option<OsString>,
    pub(crate) connect: Connect,
    /// What a program that is ssh is given.
    pub(crate) ssh: Vec<OsString>,
    pub(crate) subsystem: Option<String>,
    pub(crate) batch: Option<OsString>,
    pub(crate) manner: Manner,
    /// `-q` itself, not only what -b makes of it.
    pub(crate) silent: bool,
    pub(crate) verbose: usize,
}

impl Settings {
    fn new() -> Self {
        let ssh = ["-oForwardX11 no", "-oPermitLocalCommand no", "-oClearAllForwardings yes"];
        Self {
            way: Way::Ours,
            destination: Destination::default(),
            to: None,
            connect: Connect::default(),
            ssh: ssh.map(OsString::from).into(),
            subsystem: None,
            batch: None,
            manner: Manner { progress: true, ..Manner::default() },
            silent: false,
            verbose: 0,
        }
    }

    pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, Wrong> {
        let options = Options { letters: "1246AafhNpqrvCc:D:i:l:o:s:S:b:B:F:J:P:R:X:", names: &[] };
        let mut this = Self::new();
        let mut args = Args::new(options, words);
        let (mut noisy, mut port, mut letters) = (false, None, Vec::new());
        while let Some((letter, value)) = args.option().map_err(|wrong| Wrong::Usage(wrong.to_string()))? {
            match letter {
                'N' => noisy = true,
                'P' => {
                    let bad = || Wrong::Fatal(format!("Bad port \"{}\"", value.display()));
                    port = Some(value.to_str().and_then(port_of).ok_or_else(bad)?);
                }
                'h' => return Err(Wrong::Usage(NOT_BUILT.to_owned())),
                _ => this.letter(letter, &value)?,
            }
            letters.push((letter, value));
        }
        this.ssh.push("-oForwardAgent no".into());
        if noisy {
            this.manner.quiet = false;
        }
        if this.way == Way::Ours {
            // What our own connection does not know, somebody's ssh may.
            for (letter, value) in &letters {
                destination::letter(&mut this.connect, *letter, value).map_err(Wrong::Fatal)?;
            }
        }
        if !matches!(this.way, Way::Direct(_)) {
            this.operands(args.rest(), port)?;
        }
        Ok(this)
    }

    fn letter(&mut self, letter: char, value: &OsString) -> Result<(), Wrong> {
        let fatal = |text: String| Err(Wrong::Fatal(text));
        let text = value.to_string_lossy();
        let number = || text.parse::<u64>().ok().filter(|number| *number > 0);
        match letter {
            'A' | '4' | '6' | 'C' => self.ssh.push(format!("-{letter}").into()),
            'F' | 'J' | 'c' | 'i' | 'o' => {
                self.ssh.extend([format!("-{letter}").into(), value.clone()]);
            }
            'q' => {
                self.silent = true;
                self.manner = Manner { quiet: true, progress: false, ..self.manner };
                self.ssh.push("-q".into());
            }
            'v' => {
                if self.verbose < 3 {
                    self.ssh.push("-v".into());
                }
                self.verbose += 1;
            }
            '1' => return fatal("SSH protocol v.1 is no longer supported".to_owned()),
            'a' => self.manner.resume = true,
            'B' => match number().and_then(|bytes| u32::try_from(bytes).ok()) {
                Some(bytes) => self.manner.buffer = Some(bytes),
                None => return fatal(format!("Invalid buffer size \"{text}\"")),
            },
            'R' => match number().and_then(|count| usize::try_from(count).ok()) {
                Some(count) => self.manner.requests = Some(count),
                None => return fatal(format!("Invalid number of requests \"{text}\"")),
            },
            'X' if !self.extra(&text) => return fatal(format!("Invalid -X option \"{text}\"")),
            'b' if self.batch.is_some() => return fatal("Batch file already specified.".to_owned()),
            'b' => {
                self.batch = Some(value.clone());
                self.manner = Manner { quiet: true, progress: false, ..self.manner };
                self.connect.set("BatchMode", "yes").map_err(Wrong::Fatal)?;
                self.ssh.push("-obatchmode yes".into());
            }
            'f' => self.manner.sync = true,
            'p' => self.manner.preserve = true,
            'r' => self.manner.recursive = true,
            'D' => self.way = Way::Direct(value.clone()),
            'S' if !matches!(self.way, Way::Direct(_)) => self.way = Way::Program(value.clone()),
            'l' => {
                let limit = number().filter(|limit| *limit <= MAX_LIMIT);
                let limit = limit.ok_or_else(|| Wrong::Usage(format!("-l {text}: no limit")))?;
                self.manner.bandwidth = Some(limit * 1024 / 8);
            }
            's' => self.subsystem = Some(text.into_owned()),
            _ => {}
        }
        Ok(())
    }

    /// `buffer=BYTES` or `nrequests=COUNT`; whether it is one of them.
    fn extra(&mut self, value: &str) -> bool {
        const MOST: u64 = 256 * 1024;
        let within = |number: u64| u32::try_from(number).ok().filter(|_| (1..=MOST).contains(&number));
        match value.split_once('=') {
            Some(("buffer", size)) => {
                self.manner.buffer = crate::support::given::size(size).ok().and_then(within);
                self.manner.buffer.is_some()
            }
            Some(("nrequests", count)) => {
                self.manner.requests = count.parse().ok().and_then(within).map(|count| count as usize);
                self.manner.requests.is_some()
            }
            _ => false,
        }
    }

    fn operands(&mut self, words: Vec<OsString>, port: Option<u16>) -> Result<(), Wrong> {
        let usage = |text: String| Wrong::Usage(text);
        let mut words = words.into_iter();
        let (Some(word), to, None) = (words.next(), words.next(), words.next()) else {
            return Err(usage(String::new()));
        };
        self.to = to;
        let destination = match Destination::from_uri("sftp", &word) {
            Some(destination) => destination,
            None => Destination::from_word(&word),
        };
        let destination = destination.map_err(usage)?;
        if destination.host.is_empty() || destination.host.starts_with('-') {
            return Err(usage("Missing hostname".to_owned()));
        }
        self.destination = Destination { port: destination.port.or(port), ..destination };
        if let Some(port) = self.destination.port {
            self.ssh.push(format!("-oPort {port}").into());
        }
        if let Some(user) = &self.destination.user {
            self.ssh.extend(["-l".into(), user.into()]);
        }
        let subsystem = self.subsystem.clone().unwrap_or_else(|| "sftp".to_owned());
        // A path is a program to be run.
        if !subsystem.contains('/') {
            self.ssh.push("-s".into());
        }
        self.ssh.extend(["--".into(), OsString::from(&self.destination.host), subsystem.into()]);
        Ok(())
    }
}

/// The words of -D, as the shell would take them apart.
pub(crate) fn program(line: &OsStr) -> Result<Vec<Vec<u8>>, String> {
    let words = crate::words::split(line.as_bytes(), false)?.words;
    let words: Vec<Vec<u8>> = words.iter().map(|word| crate::words::without_pattern(word)).collect();
    if words.is_empty() { Err("No sftp server specified via -D".to_owned()) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Settings, Wrong> {
        Settings::read(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn ssh_gets_what_openssh_gives_it() {
        let settings = read("-S /x/ssh -4 -F cfg -b - -q -v -P 22 -o A=b me@host:dir").unwrap();
        assert_eq!(settings.way, Way::Program("/x/ssh".into()));
        let expected = "-oForwardX11 no|-oPermitLocalCommand no|-oClearAllForwardings yes|-4|-F|cfg|-obatchmode yes|\
             -q|-v|-o|A=b|-oForwardAgent no|-oPort 22|-l|me|-s|--|host|sftp";
        assert_eq!(settings.ssh.join(OsStr::new("|")), expected);
        assert_eq!(settings.destination.path.as_deref(), Some(&b"dir"[..]));
        assert!(settings.manner.quiet && !settings.manner.progress);
    }

    #[test]
    fn what_is_wrong() {
        for line in ["", "a b c", "-z host", "sftp://", "-l 0 host", "-h", "@:x"] {
            assert!(matches!(read(line), Err(Wrong::Usage(_))), "{line}");
        }
        let lines = [
            "-P x host",
            "-B 0 host",
            "-R x host",
            "-1 host",
            "-b a -b b host",
            "-J x host",
            "-F cfg host",
            "-X y host",
        ];
        for line in lines {
            assert!(matches!(read(line), Err(Wrong::Fatal(_))), "{line}");
        }
        assert!(read("-X buffer=64K -X nrequests=5 -l 100 host file").is_ok());
    }
}
