//! What `sftp_get` and `sftp_put` share: the command line, the connection, a bar for what comes.

use std::ffi::OsString;
use std::path::Path;

use feramiko::{RemoteName, SFTPClient, SFTPTransfer, SSHClient, TransferSummary};

use super::args::{Args, Options};
use super::connect::Connect;
use super::destination::{Destination, letter};
use super::progress::Progress as Bar;

const OPTIONS: Options = Options {
    letters: "46CF:J:P:X:c:i:o:hn:pqRrVv",
    names: &[
        ("help", 'h'),
        ("port", 'P'),
        ("preserve", 'p'),
        ("quiet", 'q'),
        ("recursive", 'r'),
        ("resume", 'R'),
        ("verify", 'V'),
        ("limit", 'X'),
        ("connections", 'n'),
    ],
};

/// More connections at once are not worth what they cost the server, and may be more than it takes.
const MAX_CONNECTIONS: usize = 8;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What the command line asks for.
#[derive(Debug, Default)]
pub(crate) struct Copying {
    connect: Connect,
    recursive: bool,
    resume: bool,
    verify: bool,
    preserve: bool,
    quiet: bool,
    /// Bytes in a second.
    limit: Option<u64>,
    /// Connections besides the first.
    others: usize,
    verbose: usize,
    pub(crate) words: Vec<OsString>,
}

/// Connections to one server, each with a session.
pub(crate) struct Connected {
    first: (SSHClient, SFTPClient),
    others: Vec<(SSHClient, SFTPClient)>,
}

impl Connected {
    fn close(self) {
        for (client, _) in std::iter::once(self.first).chain(self.others) {
            client.close();
        }
    }
}

impl Copying {
    /// Reads the program's command line; without two words and no wrong ones it is `usage` that is told.
    pub(crate) fn from_env(usage: &str) -> Outcome<Self> {
        let mut args = Args::from_env(OPTIONS);
        let mut this = Self::default();
        loop {
            while let Some((option, value)) = args.option().map_err(|wrong| format!("{wrong}\n{usage}"))? {
                match option {
                    'h' => return Err(usage.into()),
                    'P' => this.connect.set("Port", &value.to_string_lossy())?,
                    'p' => this.preserve = true,
                    'q' => this.quiet = true,
                    'r' => this.recursive = true,
                    'R' => this.resume = true,
                    'V' => this.verify = true,
                    'v' => this.verbose += 1,
                    'n' => this.others = connections(&value.to_string_lossy())? - 1,
                    'X' => this.limit = Some(super::given::size(&value.to_string_lossy())?),
                    _ => letter(&mut this.connect, option, &value)?,
                }
            }
            // Options may stand anywhere.
            let Some(word) = args.operand() else { break };
            this.words.push(word);
        }
        if this.words.len() != 2 {
            return Err(usage.into());
        }
        super::log::start(super::log::level(this.verbose), None)?;
        Ok(this)
    }

    /// The server and the path that a word names: `[user@]host:path` or `sftp://[user@]host[:port]/path`.
    pub(crate) fn connect(&self, word: &OsString) -> Outcome<(Connected, Vec<u8>)> {
        let destination =
            Destination::from_uri("sftp", word).unwrap_or_else(|| Destination::from_word(word))?;
        let path = destination.path.clone();
        let path = path.ok_or_else(|| format!("{}: no host:path", word.display()))?;
        let connect = || -> Outcome<(SSHClient, SFTPClient)> {
            let user = destination.user.as_deref();
            let client = self.connect.connect(&destination.host, user, destination.port)?;
            let session = client.open_sftp()?;
            Ok((client, session))
        };
        let first = connect()?;
        let others = (0..self.others).map(|_| connect()).collect::<Outcome<_>>()?;
        Ok((Connected { first, others }, path))
    }

    /// Copies as was asked, with a bar for each file; what failed is told.
    pub(crate) fn run(
        &self,
        connected: Connected,
        copy: impl FnOnce(SFTPTransfer<'_>) -> feramiko::Result<TransferSummary>,
    ) -> Outcome<()> {
        let mut bar: Option<(RemoteName, Bar)> = None;
        let quiet = self.quiet;
        let (_, session) = &connected.first;
        let mut transfer = session
            .transfer()
            .recursive(self.recursive)
            .resume(self.resume)
            .verify(self.verify)
            .preserve(self.preserve)
            .permissions(true)
            .on_error(|failure| {
                eprintln!("{failure}");
                true
            })
            .progress(|at| {
                let fresh = || {
                    let bar = Bar::new(String::from_utf8_lossy(at.remote.file_name()), at.began, at.total);
                    if quiet { bar.quiet() } else { bar }
                };
                match &mut bar {
                    _ if quiet => {}
                    Some((name, bar)) if name == at.remote => bar.update(at.done),
                    Some(_) if at.finished => return fresh().finish(at.done),
                    Some(_) => return,
                    None => bar = Some((at.remote.clone(), fresh())),
                }
                if at.finished
                    && let Some((_, bar)) = bar.take()
                {
                    bar.finish(at.done);
                }
            });
        if let Some(limit) = self.limit {
            transfer = transfer.bandwidth(limit);
        }
        for (_, session) in &connected.others {
            transfer = transfer.atomic(true).stripe(session);
        }
        let done = copy(transfer)?;
        connected.close();
        if !quiet {
            let same = if self.verify { ", verified" } else { "" };
            println!("{} files, {} bytes{same}; {} left as they were", done.files, done.bytes, done.skipped);
        }
        match done.failures.len() {
            0 => Ok(()),
            count => Err(format!("{count} files were not copied").into()),
        }
    }
}

/// How many connections a word asks for.
fn connections(word: &str) -> Result<usize, String> {
    let wrong = || format!("{word} is no number of connections from 1 to {MAX_CONNECTIONS}");
    word.parse().ok().filter(|count| (1..=MAX_CONNECTIONS).contains(count)).ok_or_else(wrong)
}

/// A path of this machine.
pub(crate) fn local(word: &OsString) -> &Path {
    Path::new(word)
}
