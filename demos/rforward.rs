//! A port of a server that leads to a host on our side, paramiko's demo `rforward.py` with its options.

mod support;

use std::process::ExitCode;

use feramiko::Endpoint;
use support::forwarding::{Wanted, until_the_end};
use support::output::end;

const USAGE: &str =
    "usage: rforward [-qP] [-p port] [-u user] [-K key] [--no-key] -r host[:port] server[:port]";
const NAMES: &[(&str, char)] = &[
    ("quiet", 'q'),
    ("remote-port", 'p'),
    ("user", 'u'),
    ("key", 'K'),
    ("no-key", 'N'),
    ("password", 'P'),
    ("remote", 'r'),
];

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let wanted = Wanted::from_env(NAMES, USAGE)?;
    let client = wanted.connect()?;
    let forward = client.forward_remote(Endpoint::tcp("", wanted.port), wanted.to.clone())?;
    let port = forward.port().unwrap_or(wanted.port);
    wanted.tell(&format!("Now forwarding remote port {port} to {} ...", wanted.to))?;
    until_the_end(&client)
}

fn main() -> ExitCode {
    end("rforward", run())
}
