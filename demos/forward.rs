//! A local port that leads to a host beyond a server, paramiko's demo `forward.py` with its options.

mod support;

use std::process::ExitCode;

use feramiko::Endpoint;
use support::forwarding::{Letters, letters, main_of};

const LETTERS: Letters = letters("local-port");

fn main() -> ExitCode {
    main_of("forward", &LETTERS, "port", |client, port, to| {
        client.forward_local(Endpoint::tcp("", port), to.clone())
    })
}
