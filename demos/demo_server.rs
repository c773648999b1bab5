//! A bulletin board on port 2200, paramiko's `demo_server`: user `robey`, password `foo`, or a key of an
//! `authorized_keys` file. Several callers at once; they read what others posted, and talk with each other.
//! `demo_server [port [authorized_keys]]`.

mod support;

use std::io::{self, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use feramiko::{
    Answer, AuthAnswer, AuthorizedKeys, ExitStatus, Key, KeyAction, KeyKind, KeyLogin, Line, LineEditor,
    LineEditorOptions, LineEditorWriter, PKey, Peer, PtyRequest, PublicKey, SSHServer, Secret,
    ServerInterface, Session, SessionRequest,
};
use support::given::operands;
use support::home::expand;
use support::output::{end, say};

/// Posts that the board keeps.
const POSTS: usize = 100;
const COMMANDS: &[(&str, &str)] = &[
    ("help", "shows this"),
    ("read", "shows what was posted"),
    ("post", "posts the text behind it"),
    ("say", "tells it to all who are here"),
    ("who", "shows who is here"),
    ("name", "changes your name"),
    ("quit", "leaves, as Ctrl-D does"),
];

/// What all callers share.
#[derive(Default)]
struct Board {
    posts: Vec<String>,
    callers: Vec<Caller>,
    /// How many there have been.
    calls: u32,
    closing: bool,
}

struct Caller {
    number: u32,
    name: String,
    writer: LineEditorWriter,
}

type Shared = Arc<Mutex<Board>>;

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// Shows a line to all but one.
    fn tell(&self, but: u32, line: &str) {
        for caller in self.callers.iter().filter(|caller| caller.number != but) {
            // Who does not keep up misses it.
            let _ = caller.writer.show(line);
        }
    }

    fn name(&self, number: u32) -> &str {
        self.callers.iter().find(|caller| caller.number == number).map_or("somebody", |caller| &caller.name)
    }

    fn enter(&mut self, writer: LineEditorWriter) -> u32 {
        self.calls += 1;
        let (number, name) = (self.calls, format!("caller{}", self.calls));
        if self.closing {
            writer.close();
        }
        self.tell(number, &format!("* {name} has come."));
        self.callers.push(Caller { number, name, writer });
        number
    }

    fn leave(&mut self, number: u32) {
        let line = format!("* {} has left.", self.name(number));
        self.callers.retain(|caller| caller.number != number);
        self.tell(number, &line);
    }

    fn close(&mut self) {
        self.closing = true;
        self.tell(0, "* The board closes.");
        self.callers.iter().for_each(|caller| caller.writer.close());
    }
}

/// A caller who is here until this is dropped.
struct Here {
    board: Shared,
    number: u32,
}

impl Drop for Here {
    fn drop(&mut self) {
        lock(&self.board).leave(self.number);
    }
}

impl Here {
    /// Does what a line says; what is to be shown, none when the caller leaves.
    fn obey(&self, line: &str) -> Option<String> {
        let line = line.trim();
        let (command, text) = line.split_once(' ').unwrap_or((line, ""));
        let text = text.trim();
        let mut board = lock(&self.board);
        let name = board.name(self.number).to_owned();
        Some(match (command, text) {
            ("quit" | "bye" | "exit", _) => return None,
            ("", _) => String::new(),
            ("help", _) => COMMANDS.iter().map(|(name, does)| format!("{name:<6}{does}\n")).collect(),
            ("read", _) => board.posts.iter().map(|post| format!("{post}\n")).collect(),
            ("who", _) => board.callers.iter().map(|caller| format!("{}\n", caller.name)).collect(),
            ("post" | "say" | "name", "") => format!("{command} what?\n"),
            ("post", text) => {
                if board.posts.len() >= POSTS {
                    board.posts.remove(0);
                }
                board.posts.push(format!("{name}: {text}"));
                "Posted.\n".to_owned()
            }
            ("say", text) => {
                board.tell(self.number, &format!("{name}: {text}"));
                String::new()
            }
            ("name", text) => {
                board.tell(self.number, &format!("* {name} is now {text}."));
                let own = board.callers.iter_mut().filter(|caller| caller.number == self.number);
                own.for_each(|caller| text.clone_into(&mut caller.name));
                String::new()
            }
            _ => "I don't know that one; try help.\n".to_owned(),
        })
    }
}

struct Bbs {
    board: Shared,
    keys: Arc<PathBuf>,
    peer: Peer,
}

impl ServerInterface for Bbs {
    fn check_auth_password(&self, user: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(user == "robey" && password.matches("foo"))
    }

    fn check_auth_publickey(&self, user: &str, key: &PublicKey) -> AuthAnswer {
        match AuthorizedKeys::load(&*self.keys) {
            Ok(keys) if user == "robey" => {
                keys.check(&KeyLogin::new(user, key, self.peer.addresses.map(|(address, _)| address.ip())))
            }
            _ => AuthAnswer::Refuse,
        }
    }

    fn check_channel_pty_request(&self, _: &PtyRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_shell_request(&self, _: &SessionRequest) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        let mut editor = editor(&session);
        write!(editor, "\nWelcome to my dorky little BBS!\nType help.\n")?;
        let number = lock(&self.board).enter(editor.writer());
        let here = Here { board: Arc::clone(&self.board), number };
        loop {
            match editor.read_line("> ")? {
                Line::Interrupted => {}
                Line::Text(line) => match here.obey(&line) {
                    Some(answer) => editor.write_all(answer.as_bytes())?,
                    None => break,
                },
                Line::End => break,
            }
        }
        writeln!(editor, "Happy trails!")?;
        Ok(ExitStatus::Code(0))
    }
}

/// The editor of a caller: commands are completed, F1 helps.
fn editor(session: &Session) -> LineEditor {
    let mut editor = session.line_editor(LineEditorOptions::new());
    editor.set_completer(|before, word| {
        let known = COMMANDS.iter().filter(|(name, _)| before.trim().is_empty() && name.starts_with(word));
        known.map(|(name, _)| (*name).to_owned()).collect()
    });
    let help: String = COMMANDS.iter().map(|(name, does)| format!("{name:<6}{does}\n")).collect();
    editor.register_key(Key::Function(1), move |_, _| KeyAction::Show(help.clone()));
    editor
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let operands = operands()?;
    let port: u16 = operands.first().map_or(Ok(2200), |port| port.parse())?;
    let keys = Arc::new(expand(operands.get(1).map_or("~/.ssh/authorized_keys", String::as_str)));
    let board = Shared::default();
    let shared = Arc::clone(&board);
    // Before anybody learns that we are here: who ends us then is answered.
    let mut signals =
        signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?;
    let server = SSHServer::builder().host_key(PKey::generate(KeyKind::Ed25519)?).serve(
        TcpListener::bind(("0.0.0.0", port))?,
        move |peer| Bbs { board: Arc::clone(&shared), keys: Arc::clone(&keys), peer: peer.clone() },
    )?;
    say(format_args!("listening on {}; leave with Ctrl-C", server.address()))?;
    signals.forever().next();
    lock(&board).close();
    server.shutdown(Duration::from_secs(2));
    Ok(())
}

fn main() -> ExitCode {
    end("demo_server", run())
}
