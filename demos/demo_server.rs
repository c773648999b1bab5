//! A bulletin board on port 2200, paramiko's `demo_server`: user `robey`, password `foo`. Several
//! callers at once; what one says all can read. `demo_server [port]`.

mod support;

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use feramiko::{
    Answer, AuthAnswer, ExitStatus, KeyKind, PKey, PtyRequest, SSHServer, Secret, ServerInterface, Session,
    SessionRequest,
};
use support::given::operands;
use support::output::{end, say};

/// What the board remembers.
type Board = Arc<Mutex<Vec<String>>>;

struct Bbs(Board);

impl ServerInterface for Bbs {
    fn check_auth_password(&self, user: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(user == "robey" && password.matches("foo"))
    }

    fn check_channel_pty_request(&self, _: &PtyRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_shell_request(&self, _: &SessionRequest) -> Answer {
        Answer::Yes
    }

    fn session(&self, mut session: Session) -> io::Result<ExitStatus> {
        let echo = session.request().pty.is_some();
        write!(session, "\r\nWelcome to my dorky little BBS!\r\nread, post TEXT, bye\r\n")?;
        loop {
            write!(session, "> ")?;
            let Some(line) = read_line(&mut session, echo)? else { return Ok(ExitStatus::Code(0)) };
            match line.split_once(' ').unwrap_or((line.as_str(), "")) {
                ("bye" | "quit" | "exit", _) => {
                    write!(session, "Happy trails!\r\n")?;
                    return Ok(ExitStatus::Code(0));
                }
                ("read", _) => {
                    let posts = self.0.lock().map_or_else(|_| Vec::new(), |posts| posts.clone());
                    for post in posts {
                        write!(session, "* {post}\r\n")?;
                    }
                }
                ("post", text) if !text.is_empty() => {
                    if let Ok(mut posts) = self.0.lock() {
                        posts.push(text.to_owned());
                    }
                    write!(session, "Posted.\r\n")?;
                }
                ("", _) => {}
                _ => write!(session, "I don't know that one.\r\n")?,
            }
        }
    }
}

/// A line as it is typed: echoed on a terminal, backspace takes back, Ctrl-C and Ctrl-D leave.
fn read_line(session: &mut Session, echo: bool) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        if session.read(&mut byte)? == 0 {
            return Ok(None);
        }
        match byte[0] {
            b'\r' | b'\n' => break,
            3 | 4 => return Ok(None),
            8 | 127 if line.pop().is_some() && echo => {
                session.write_all(b"\x08 \x08")?;
            }
            printable if printable >= b' ' && line.len() < 1000 => {
                line.push(printable);
                if echo {
                    session.write_all(&byte)?;
                }
            }
            _ => {}
        }
    }
    if echo {
        session.write_all(b"\r\n")?;
    }
    Ok(Some(String::from_utf8_lossy(&line).trim().to_owned()))
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = operands()?.first().map_or(Ok(2200), |port| port.parse())?;
    let board = Board::default();
    let server = SSHServer::builder()
        .host_key(PKey::generate(KeyKind::Ed25519)?)
        .serve(TcpListener::bind(("0.0.0.0", port))?, move |_| Bbs(Arc::clone(&board)))?;
    say(format_args!("listening on {}; leave with Ctrl-C", server.address()))?;
    let mut signals =
        signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?;
    signals.forever().next();
    server.shutdown(Duration::from_secs(2));
    Ok(())
}

fn main() -> ExitCode {
    end("demo_server", run())
}
