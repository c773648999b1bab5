//! A local port that leads to a host beyond a server, paramiko's demo `forward.py` with its options.

mod support;

use std::process::ExitCode;

use feramiko::Endpoint;
use support::forwarding::{Wanted, until_the_end};
use support::output::end;

const USAGE: &str =
    "usage: forward [-qP] [-p port] [-u user] [-K key] [--no-key] -r host[:port] server[:port]";
const NAMES: &[(&str, char)] = &[
    ("quiet", 'q'),
    ("local-port", 'p'),
    ("user", 'u'),
    ("key", 'K'),
    ("no-key", 'N'),
    ("password", 'P'),
    ("remote", 'r'),
];

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let wanted = Wanted::from_env(NAMES, USAGE)?;
    let client = wanted.connect()?;
    let forward = client.forward_local(Endpoint::tcp("", wanted.port), wanted.to.clone())?;
    let port = forward.port().unwrap_or(wanted.port);
    wanted.tell(&format!("Now forwarding port {port} to {} ...", wanted.to))?;
    until_the_end(&client)
}

fn main() -> ExitCode {
    end("forward", run())
}
