//! Shares a connection with other programs of the user, as `ssh -M` and ControlPersist do, and uses one that
//! is shared: OpenSSH's or our own.

#[path = "ssh/sharing.rs"]
mod sharing;
mod support;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use feramiko::{ControlMaster, Endpoint, ForwardKind, ForwardRequest, MuxCommand};
use sharing::{HIDDEN, Order, Sharing, Wanted};
use support::args::{Args, Options};
use support::connect::Connect;
use support::output::complain;

const USAGE: &str = "usage: control -S path [-P seconds] [-t] [-i identity] [-o option=value] [-p port]
               [user@]host [command ...]
       control -S path -O check|stop|exit|conninfo|channels
       control -S path -O forward|cancel -L port:host:hostport ...
Runs a command over the shared connection at a path. Where there is none, one is made in the
background and held until it had no client for as many seconds; 600 unless said, 0 for ever.";

const LETTERS: Options = Options { letters: "S:O:L:P:i:o:p:t", names: &[] };
/// How long a connection is held, in seconds.
const PERSIST: u64 = 600;
const FAILED: u8 = 255;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Default)]
struct Given {
    path: PathBuf,
    order: Option<Order>,
    forwards: Vec<ForwardRequest>,
    persist: Option<u64>,
    tty: bool,
    connect: Connect,
    port: Option<u16>,
    host: String,
    command: Vec<u8>,
}

impl Given {
    fn read(words: impl Iterator<Item = OsString>) -> Outcome<Self> {
        let (mut given, mut args) = (Self::default(), Args::new(LETTERS, words));
        while let Some((letter, value)) = args.option()? {
            let text = || value.to_str().ok_or("an option is not UTF-8");
            match letter {
                'S' => given.path = value.into(),
                'O' => given.order = Some(Order::named(text()?).ok_or("-O: there is no such order")?),
                'L' => given.forwards.push(local(text()?).ok_or("-L: port:host:hostport is wanted")?),
                'P' => given.persist = Some(text()?.parse()?),
                't' => given.tty = true,
                'i' => given.connect.identity(value.as_ref())?,
                'o' => given.connect.option(text()?)?,
                'p' => given.port = Some(text()?.parse()?),
                _ => return Err(USAGE.into()),
            }
        }
        let mut operands = Vec::new();
        while let Some(word) = args.operand() {
            operands.push(word.into_string().map_err(|_| "an argument is not UTF-8")?);
        }
        let mut operands = operands.into_iter();
        given.host = operands.next().unwrap_or_default();
        given.command = operands.collect::<Vec<_>>().join(" ").into_bytes();
        if given.path.as_os_str().is_empty() || (given.host.is_empty() && given.order.is_none()) {
            return Err(USAGE.into());
        }
        Ok(given)
    }

    /// Runs the command over the connection, if it is shared.
    fn over_shared(&self) -> Outcome<Option<i32>> {
        let mut command = MuxCommand::new(&self.command);
        let tty = self.tty || (self.command.is_empty() && io::stdin().is_terminal());
        if tty {
            command = command.tty(std::env::var("TERM").unwrap_or_else(|_| "dumb".into())).escape(b'~');
        }
        let (host, forwards) = (self.host.as_str(), self.forwards.as_slice());
        sharing::run(&self.path, &Wanted { host, command, tty, no_input: false, forwards })
    }

    /// Connects and holds the connection.
    fn hold(&self) -> Outcome<()> {
        let (user, host) = match self.host.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, self.host.as_str()),
        };
        let client = self.connect.connect(host, user, self.port)?;
        let sharing =
            Sharing { path: self.path.clone(), ask: false, send_env: vec!["LANG".into(), "LC_*".into()] };
        // Another may have been faster; then that one is used.
        let Some(master) = sharing.hold(&client, ControlMaster::builder())? else { return Ok(()) };
        sharing::detach()?;
        // As ControlPersist has it.
        let persist = Some(self.persist.unwrap_or(PERSIST)).filter(|seconds| *seconds > 0);
        sharing::wait(master, persist.map(Duration::from_secs))?;
        client.close();
        Ok(())
    }
}

/// `port:host:hostport`, from the loopback addresses.
fn local(text: &str) -> Option<ForwardRequest> {
    let (port, to) = text.split_once(':')?;
    let (host, to_port) = to.rsplit_once(':')?;
    Some(ForwardRequest {
        kind: ForwardKind::Local,
        listen: Endpoint::tcp("localhost", port.parse().ok()?),
        to: Some(Endpoint::tcp(host, to_port.parse().ok()?)),
    })
}

fn run() -> Outcome<i32> {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    if words.first().is_some_and(|word| word == HIDDEN) {
        Given::read(words.into_iter().skip(1))?.hold()?;
        return Ok(0);
    }
    let given = Given::read(words.clone().into_iter())?;
    if let Some(order) = given.order {
        sharing::order(&given.path, order, &given.forwards)?;
        return Ok(0);
    }
    if let Some(status) = given.over_shared()? {
        return Ok(status);
    }
    if !sharing::background(words)? {
        return Ok(FAILED.into());
    }
    Ok(given.over_shared()?.ok_or("the connection ended as soon as it was made")?)
}

fn main() -> ExitCode {
    match run() {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(FAILED)),
        Err(error) => {
            complain(format_args!("control: {error}"));
            ExitCode::from(FAILED)
        }
    }
}
