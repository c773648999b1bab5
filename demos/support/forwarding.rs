//! What `forward` and `rforward` share: paramiko's options, and a connection that goes on until somebody ends
//! it. Each says only what it forwards.

use std::process::ExitCode;

use feramiko::{AcceptNewPolicy, Endpoint, Forward, SSHClient};

use super::args::Options;
use super::given::Given;
use super::output::{end, say};
use super::prompt::{Echo, ask};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// SSH's port; paramiko's demos take it for `-r` too, where none is named.
const SSH_PORT: u16 = 22;
/// The port that is forwarded unless another is named, as paramiko's demos have it.
const DEFAULT_PORT: u16 = 4000;

/// The long names of options, each with its letter.
pub(crate) type Letters = [(&'static str, char); 7];

/// The options; the one for the port has a name of its own in each program.
pub(crate) const fn letters(port: &'static str) -> Letters {
    [
        ("quiet", 'q'),
        (port, 'p'),
        ("user", 'u'),
        ("key", 'K'),
        ("no-key", 'N'),
        ("password", 'P'),
        ("remote", 'r'),
    ]
}

/// All of a program: connects, has `forward` forward the port, which is called `what`, to where it is to lead,
/// and waits for the end.
pub(crate) fn main_of(
    program: &str,
    letters: &'static Letters,
    what: &str,
    forward: impl FnOnce(&SSHClient, u16, &Endpoint) -> feramiko::Result<Forward>,
) -> ExitCode {
    let run = || {
        let wanted = Wanted::from_env(program, letters)?;
        let client = wanted.connect()?;
        let forward = forward(&client, wanted.port, &wanted.to)?;
        let port = forward.port().unwrap_or(wanted.port);
        wanted.tell(&format!("Now forwarding {what} {port} to {} ...", wanted.to))?;
        until_the_end(&client)
    };
    end(program, run())
}

/// What the user wants.
struct Wanted {
    args: Given,
    /// The port that is forwarded.
    port: u16,
    /// Where it leads.
    to: Endpoint,
}

impl Wanted {
    /// Reads the command line.
    fn from_env(program: &str, names: &'static Letters) -> Outcome<Self> {
        let options = Options { letters: "qp:u:K:NPr:", names };
        let usage = format!(
            "usage: {program} [-qP] [-p port] [-u user] [-K key] [--no-key] -r host[:port] server[:port]"
        );
        let args = Given::from_env(options).map_err(|wrong| format!("{wrong}\n{usage}"))?;
        if args.operands.len() != 1 {
            return Err(usage.into());
        }
        let port =
            args.last('p').map_or(Ok(DEFAULT_PORT), |port| port.parse().map_err(|_| "-p takes a port"))?;
        let to = place(args.last('r').ok_or("-r host:port is missing")?)?;
        Ok(Self { args, port, to })
    }

    /// Says something unless told to be quiet.
    fn tell(&self, text: &str) -> Outcome<()> {
        if !self.args.has('q') {
            say(text)?;
        }
        Ok(())
    }

    fn connect(&self) -> Outcome<SSHClient> {
        let [server] = &self.args.operands[..] else { return Err("no server".into()) };
        self.tell(&format!("Connecting to ssh host {server} ..."))?;
        let mut builder = SSHClient::builder().missing_host_key(AcceptNewPolicy);
        if let Some(user) = self.args.last('u') {
            builder = builder.username(user);
        }
        if self.args.has('N') {
            builder = builder.no_default_keys();
        }
        let password = if self.args.has('P') { ask("Enter SSH password: ", Echo::Off)? } else { None };
        if let Some(key) = self.args.last('K') {
            let passphrase = password.clone();
            builder = builder.key_file(key, None).passphrase_callback(move |_| passphrase.clone());
        }
        if let Some(password) = password {
            builder = builder.password(password);
        }
        Ok(builder.connect(server)?)
    }
}

/// `host:port` or `host`.
fn place(text: &str) -> Outcome<Endpoint> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| format!("{text}: no port"))?),
        None => (text, SSH_PORT),
    };
    Ok(Endpoint::tcp(host.trim_start_matches('[').trim_end_matches(']'), port))
}

/// Waits until the connection ends, which is an error.
fn until_the_end(client: &SSHClient) -> Outcome<()> {
    let _ = client.transport().wait_closed(None);
    Err(client.transport().closed_by().map_or_else(|| "the connection has ended".into(), Into::into))
}
