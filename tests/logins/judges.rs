//! Both servers over the same files, what each makes of a login, and what it says of it in its log.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{Error, PKey, PtyRequest, SSHClient};

use crate::given;
use crate::peers::{Folder, Keys, Server, example, keeper, sshd, sshd_at_home, start, user};

/// A line of a log is there by then: it is written before the client is answered, and read by a thread of ours.
const LOGGED: Duration = Duration::from_secs(20);
/// What sshd says last of an attempt that it refuses.
const OVER: &str = "userauth_pubkey: authenticated 0";
/// What sshd says of keys that it refuses.
pub(crate) const REFUSED: &str = "Failed publickey for ";
/// How often it is looked for.
const STEP: Duration = Duration::from_millis(2);

/// What both must make of a login.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    /// They let it in, and what they show has this in it.
    In(&'static str),
    /// They refuse it, and these words, of sshd and of ours, stand in a line of the log.
    Out(&'static str, &'static str),
}

pub(crate) use Verdict::{In, Out};

pub(crate) const PLAIN: Verdict = In("plain");
pub(crate) const FORCED: Verdict = In("forced");
pub(crate) const TERMINAL: Verdict = In("\"tty\"");
pub(crate) const NO_TERMINAL: Verdict = In("tty refused");

/// Both servers and the files that they read at every login.
pub(crate) struct Judges {
    pub(crate) servers: [(&'static str, Server); 2],
    pub(crate) folder: Folder,
}

impl Judges {
    /// None without an sshd. `more`: lines of sshd_config; `FOLDER` in them is that of the files.
    pub(crate) fn new(more: &[&str]) -> Option<Self> {
        Self::of(Folder::new(), more, sshd)
    }

    /// The same where the folder of the files is the user's home, as only root can have sshd see it.
    pub(crate) fn at_home(more: &[&str]) -> Option<Self> {
        let folder = Folder::new();
        let home = folder.path().to_owned();
        Self::of(folder, more, |host, own, config| sshd_at_home(host, own, config, &home))
    }

    fn of(
        folder: Folder,
        more: &[&str],
        sshd: impl Fn(&Keys, &Keys, &str) -> Option<Server>,
    ) -> Option<Self> {
        let (host, own) = (Keys::named("host")?, Keys::named("user")?);
        fs::create_dir(folder.file(".ssh")).unwrap();
        for name in ["keys", "authorities", "revoked"] {
            fs::write(folder.file(name), "").unwrap();
        }
        let lines = [
            "TrustedUserCAKeys FOLDER/authorities",
            "RevokedKeys FOLDER/revoked",
            "PermitUserEnvironment yes",
            "CASignatureAlgorithms -ecdsa-sha2-nistp521",
        ];
        let path = folder.path().display().to_string();
        let lines: Vec<_> = lines.iter().chain(more).map(|line| line.replace("FOLDER", &path)).collect();
        // Of an option the first value counts.
        let config = format!(
            "AuthorizedKeysFile {path}/keys\nMaxAuthTries 20\n{}\nLogLevel DEBUG2\n",
            lines.join("\n")
        );
        let theirs = sshd(&host, &own, &config)?;
        let ours = start("our sshd", |_, port| {
            let mut command = keeper(r#""$@""#);
            command.env("HOME", folder.path());
            command.arg(example("sshd")).args(["-p", &port.to_string(), "--listen", "127.0.0.1", "-h"]);
            command.arg(host.private("ed25519")).arg("-a").arg(folder.file("keys"));
            lines.iter().map(String::as_str).chain(["LogLevel DEBUG"]).for_each(|line| {
                command.args(["-o", line]);
            });
            (command, "listening on".to_owned())
        });
        Some(Self { servers: [("sshd", theirs), ("ours", ours)], folder })
    }

    pub(crate) fn write(&self, name: &str, text: &(impl AsRef<[u8]> + ?Sized)) {
        fs::write(self.folder.file(name), text).unwrap();
    }

    /// Both must let in and then do the same, or refuse for the reasons expected.
    pub(crate) fn agree(&self, what: &str, key: &PKey, verdict: Verdict, failed: &mut Vec<String>) {
        let [(_, theirs), (_, ours)] = &self.servers;
        let (one, two) = thread::scope(|scope| {
            let theirs = scope.spawn(|| judged(theirs, key, verdict, 0));
            (judged(ours, key, verdict, 1), theirs.join().unwrap())
        });
        let agreed = match (&one, &two) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            _ => false,
        };
        if !agreed {
            failed.push(format!("{what}: expected {verdict:?}\n  sshd {two:?}\n  ours {one:?}"));
        }
    }
}

/// What a server shows, nothing when it refuses; an error when that is not as expected. `side`: whose words a
/// refusal is held against.
fn judged(server: &Server, key: &PKey, verdict: Verdict, side: usize) -> Result<Option<String>, String> {
    let before = server.log().len();
    let shown = connect(server, key).map(|client| effect(&client));
    match (shown, verdict) {
        (Some(shown), In(part)) if shown.contains(part) => Ok(Some(shown)),
        (None, Out(theirs, ours)) => {
            // What is written last of an attempt: nothing of this one is taken for the next one's.
            let words = if side == 0 { vec![theirs, OVER] } else { vec![ours] };
            words.iter().try_for_each(|words| logged(server, before, words)).map(|()| None)
        }
        (shown, _) => Err(format!("{shown:?}, and said {}", reasons(server, before))),
    }
}

/// A client of the server; none when it refuses the key.
pub(crate) fn connect(server: &Server, key: &PKey) -> Option<SSHClient> {
    let address = format!("127.0.0.1:{}", server.port());
    match given::client().username(&user()).key(key.clone()).connect(&address) {
        Ok(client) => Some(client),
        Err(Error::Auth { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Waits until a server has logged `words` since its log was so long.
pub(crate) fn logged(server: &Server, before: usize, words: &str) -> Result<(), String> {
    let deadline = Instant::now() + LOGGED;
    while !server.log()[before..].lines().any(|line| line.contains(words)) {
        if Instant::now() > deadline {
            return Err(format!("no reason {words:?} in {}", reasons(server, before)));
        }
        thread::sleep(STEP);
    }
    Ok(())
}

/// What may be reasons: the rest is about exchanges of keys and the like.
fn reasons(server: &Server, before: usize) -> String {
    const OTHERS: &[&str] = &["kex", "KEX", "NEWKEYS", "mm_", "monitor", "rekey", "uid", "host key", "fd "];
    let log = server.log();
    let lines = log[before..].lines().filter(|line| !OTHERS.iter().any(|word| line.contains(word)));
    lines.collect::<Vec<_>>().join("\n    ")
}

/// What two commands print, and whether a terminal is given.
fn effect(client: &SSHClient) -> String {
    let output = client.output("echo plain $V $W $SSH_ORIGINAL_COMMAND").unwrap();
    format!("{:?} tty {}", output.stdout_text().unwrap(), terminal(client))
}

/// What a command with a terminal says of it.
pub(crate) fn terminal(client: &SSHClient) -> String {
    match client.command("test -t 0 && echo tty").get_pty(PtyRequest::new("vt100", 80, 24)).output() {
        // The user's start-up files may complain before.
        Ok(output) => {
            format!("{:?}", output.stdout_text().unwrap().trim().lines().last().unwrap_or_default())
        }
        Err(Error::RequestRefused(_)) => "refused".to_owned(),
        Err(error) => panic!("{error}"),
    }
}

/// None of the rows failed.
pub(crate) fn all_agreed(failed: &[String]) {
    assert!(failed.is_empty(), "{}:\n{}", failed.len(), failed.join("\n"));
}
