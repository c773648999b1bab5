//! A shell on a server, paramiko's `demo_simple`: `demo_simple [user@]host[:port]`.

mod support;

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use feramiko::{AcceptNewPolicy, PtyRequest, SSHClient};
use support::given::operands;
use support::output::{end, say};
use support::prompt::{Echo, ask};
use support::terminal::{Mode, size};

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let destination = operands()?.into_iter().next().ok_or("usage: demo_simple [user@]host[:port]")?;
    let client = SSHClient::builder()
        .missing_host_key(AcceptNewPolicy)
        .password_callback(|user| ask(&format!("Password for {user}: "), Echo::Off).ok().flatten())
        .connect(&destination)?;
    let (columns, rows) = size().map_or((80, 24), |size| (size.columns, size.rows));
    let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
    let shell = client.invoke_shell(&PtyRequest::new(&term, columns, rows))?;
    let raw = if io::stdin().is_terminal() { Some(Mode::raw(io::stdin())?) } else { None };
    let keyboard = shell.clone();
    std::thread::spawn(move || {
        let mut piece = [0; 1024];
        while let Ok(count @ 1..) = io::stdin().read(&mut piece) {
            if (&keyboard).write_all(&piece[..count]).is_err() {
                return;
            }
        }
        keyboard.shutdown(std::net::Shutdown::Write);
    });
    io::copy(&mut &shell, &mut io::stdout())?;
    drop(raw);
    Ok(say(shell.wait_exit(None)?)?)
}

fn main() -> ExitCode {
    end("demo_simple", run())
}
