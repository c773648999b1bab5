//! A port of a server that leads to a host on our side, paramiko's demo `rforward.py` with its options.

mod support;

use std::process::ExitCode;

use feramiko::Endpoint;
use support::forwarding::{Letters, letters, main_of};

const LETTERS: Letters = letters("remote-port");

fn main() -> ExitCode {
    main_of("rforward", &LETTERS, "remote port", |client, port, to| {
        client.forward_remote(Endpoint::tcp("", port), to.clone())
    })
}
