//! The line editor in sessions: with OpenSSH's and AsyncSSH's clients at a terminal, several callers, hostile
//! input; and `demo_server`.

#![cfg(unix)]

mod given;
mod peers;
#[path = "given/terminal.rs"]
mod terminal;

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use feramiko::{
    Answer, AuthAnswer, Channel, ExitStatus, Line, LineEditorOptions, LineEditorWriter, PtyRequest,
    SSHClient, SSHServer, ServerHandle, ServerInterface, Session, SessionRequest, TextReader,
};
use peers::{Folder, Keys, Python, Running, example, output, program, require};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use terminal::Terminal;

/// Writers of the sessions that have begun.
type Writers = Arc<Mutex<Vec<LineEditorWriter>>>;

/// Says what it reads; knows a few commands.
#[derive(Clone)]
struct Site {
    writers: Writers,
    /// What each session led to.
    ends: Sender<String>,
}

impl ServerInterface for Site {
    fn check_auth_none(&self, _: &str) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_pty_request(&self, _: &PtyRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_shell_request(&self, _: &SessionRequest) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        let led_to = self.read_lines(&session);
        let _ = self.ends.send(format!("{led_to:?}"));
        led_to.map(|()| ExitStatus::Code(7))
    }
}

impl Site {
    fn read_lines(&self, session: &Session) -> io::Result<()> {
        let mut editor = session.line_editor(LineEditorOptions::new());
        self.writers.lock().unwrap().push(editor.writer());
        loop {
            match editor.read_line("> ") {
                Ok(Line::Text(line)) if line == "password" => {
                    if let Line::Text(secret) = editor.read_password("Password: ")? {
                        writeln!(editor, "{}", if secret.matches("f\u{f6}o") { "right" } else { "wrong" })?;
                    }
                }
                Ok(Line::Text(line)) if line == "hurry" => {
                    editor.set_timeout(Some(Duration::from_millis(200)));
                }
                Ok(Line::Text(line)) if line == "go slowly" => {
                    editor.set_timeout(Some(Duration::from_secs(2)));
                }
                Ok(Line::Text(line)) => writeln!(editor, "got {line:?}")?,
                Ok(Line::Interrupted) => writeln!(editor, "interrupted")?,
                Ok(Line::End) => return writeln!(editor, "bye"),
                Err(error) if error.kind() == ErrorKind::InvalidData => writeln!(editor, "{error}")?,
                Err(error) => return Err(error),
            }
        }
    }
}

/// A server with that application.
struct Here {
    server: ServerHandle,
    writers: Writers,
    ends: std::sync::mpsc::Receiver<String>,
}

impl Here {
    fn new() -> Self {
        let writers = Writers::default();
        let (sender, ends) = channel();
        let site = Site { writers: Arc::clone(&writers), ends: sender };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server =
            SSHServer::builder().host_key(given::host_key()).serve(listener, move |_| site.clone()).unwrap();
        Self { server, writers, ends }
    }

    fn port(&self) -> u16 {
        self.server.address().rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// A session of ours; with a terminal of that size, if one is named.
    fn caller(&self, size: Option<(u32, u32)>) -> Caller {
        let client = given::client().username("me").connect(&self.server.address()).unwrap();
        let channel = client.open_session().unwrap();
        size.iter().for_each(|(columns, rows)| {
            channel.get_pty(&PtyRequest::new("xterm", *columns, *rows)).unwrap();
        });
        channel.invoke_shell().unwrap();
        Caller { channel, _client: client, shown: Vec::new() }
    }
}

struct Caller {
    channel: Channel,
    _client: SSHClient,
    shown: Vec<u8>,
}

impl Caller {
    fn types(&mut self, keys: impl AsRef<[u8]>) {
        self.channel.write_all(keys.as_ref()).unwrap();
    }

    /// What was shown, up to `wanted`, and forgets it.
    fn shows(&mut self, wanted: &str) -> String {
        let mut piece = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&self.shown).into_owned();
            if let Some(at) = text.find(wanted) {
                let (seen, rest) = text.split_at(at + wanted.len());
                self.shown = rest.as_bytes().to_vec();
                return seen.to_owned();
            }
            let count = self.channel.read(&mut piece).unwrap();
            assert!(count > 0, "{wanted} did not come: {text}");
            self.shown.extend_from_slice(&piece[..count]);
        }
    }
}

/// OpenSSH's client, that asks nothing.
fn ssh(known: &Folder, port: u16, options: &[&str]) -> Option<Command> {
    let ssh = require("ssh", program("ssh"))?;
    // A terminal is given to the program that has the session.
    let mut command = Command::new("setsid");
    command.arg("-w").args(options.contains(&"-tt").then_some("-c")).arg(ssh).args([
        "-F",
        "none",
        "-q",
        "-o",
        "StrictHostKeyChecking=no",
    ]);
    command.arg("-o").arg(format!("UserKnownHostsFile={}", known.file("known").display()));
    command.args(options).args(["-p", &port.to_string(), "robey@127.0.0.1"]);
    Some(command)
}

#[test]
fn openssh_edits_at_a_terminal() {
    let _watch = given::within(120);
    let (here, known) = (Here::new(), Folder::new());
    let Some(mut command) = ssh(&known, here.port(), &["-tt"]) else { return };
    let (mut terminal, far) = Terminal::open(20, 10);
    command.stdin(far.try_clone().unwrap()).stdout(far.try_clone().unwrap()).stderr(far);
    let mut child = Running::start(&mut command);
    drop(command);
    terminal.shows("> ");
    terminal.types("wrld\x1b[D\x1b[D\x1b[Do\x01hello \u{5b57}\u{e9} \r");
    terminal.shows("got \"hello \u{5b57}\u{e9} world\"\r\n> ");
    terminal.types("\x1b[A\x15again\x12hello\x05!\r");
    terminal.shows("got \"hello \u{5b57}\u{e9} world!\"\r\n> ");
    // Rows are ended where the terminal ends, also when it is another one.
    terminal.types("0123456789abcdefghi");
    terminal.shows("abcdefgh\r\ni");
    terminal.resize(12, 10);
    terminal.shows("> 0123456789\r\nabcdefghi");
    terminal.types("\x03");
    terminal.shows("abcdefghi^C\r\ninterrupted\r\n");
    terminal.types("password\r");
    terminal.shows("Password: ");
    terminal.types("f\u{f6}xx\x7f\x7fo\r");
    terminal.shows("right\r\n");
    terminal.types("\x04");
    let shown = terminal.shows_all();
    assert!(shown.ends_with("bye\r\n"), "{shown}");
    assert!(!shown.contains('x'), "the password was shown: {shown}");
    assert_eq!(child.ended().code(), Some(7));
}

#[test]
fn openssh_sends_lines_without_a_terminal() {
    let _watch = given::within(120);
    let (here, known) = (Here::new(), Folder::new());
    let Some(mut command) = ssh(&known, here.port(), &["-T"]) else { return };
    let input = format!("one\r\ntwo\x1b[2J\n{}\nthree\npassword\nf\u{f6}o\nlast", "x".repeat(100_000));
    let output = output(&mut command, input.as_bytes());
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        shown.replace("> ", ""),
        "got \"one\"\ngot \"two\"\nlimit max_line (1024) exceeded\ngot \"three\"\nPassword: right\ngot \"last\"\nbye\n"
    );
    assert_eq!((shown.matches("> ").count(), output.status.code()), (7, Some(7)));
}

#[test]
fn asyncssh_edits_at_a_terminal() {
    let _watch = given::within(120);
    let here = Here::new();
    let steps = json!([
        ["> ", "wrold\u{2}\u{2}\u{2}\u{14}\r", null],
        ["got \"world\"\r\n> ", "0123456789abcdef", null],
        ["abcdef", "", [10, 5]],
        ["> 01234567\r\n89abcdef", "\r", null],
        ["got \"0123456789abcdef\"\r\n> ", "\u{4}", null],
        ["bye\r\n", "", null],
    ]);
    let spec =
        json!({"host": "127.0.0.1", "port": here.port(), "user": "me", "action": "talk", "steps": steps});
    let Some(answer) = Python::AsyncSsh.client(&spec) else { return };
    assert_eq!(answer["exit"], 7, "{answer}");
}

#[test]
fn callers_write_to_each_other() {
    let _watch = given::within(60);
    let here = Here::new();
    let mut one = here.caller(Some((80, 24)));
    one.shows("> ");
    let mut two = here.caller(None);
    two.shows("> ");
    let writers = here.writers.lock().unwrap().clone();
    one.types("half a li");
    one.shows("half a li");
    writers[0].show("a message\nof two lines").unwrap();
    one.shows("\r\x1b[Ja message\r\nof two lines\r\n> half a li");
    one.types("ne\r");
    one.shows("got \"half a line\"\r\n> ");
    writers[1].show("another").unwrap();
    two.shows("another\n");
    // A signal and a break are `^C`, other signals are nothing.
    one.channel.send_signal("USR1").unwrap();
    one.channel.send_signal("INT").unwrap();
    one.shows("^C\r\ninterrupted\r\n> ");
    one.channel.send_break(Duration::from_millis(1)).unwrap();
    one.shows("^C\r\ninterrupted\r\n> ");
    two.types("password\n");
    two.shows("Password: ");
    writers[1].close();
    two.shows("bye\n");
    assert_eq!(two.channel.wait_exit(None).unwrap(), ExitStatus::Code(7));
    assert_eq!(writers[1].show("x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    one.channel.close();
    let ends = [here.ends.recv().unwrap(), here.ends.recv().unwrap()];
    assert_eq!(ends[0], "Ok(())");
    assert_eq!(writers[0].show("x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_caller_who_reads_nothing_holds_up_nobody() {
    let _watch = given::within(60);
    let here = Here::new();
    let mut stalled = here.caller(Some((80, 24)));
    stalled.shows("> ");
    let writer = here.writers.lock().unwrap()[0].clone();
    let line = "x".repeat(8000);
    let (begun, mut taken) = (Instant::now(), 0);
    let full = loop {
        match writer.show(&line) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(begun.elapsed() < Duration::from_secs(30));
    };
    // What the window and the buffers take, and 64 KiB.
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    assert!(taken >= 8, "{taken}");
    drop(stalled);
    assert_ne!(here.ends.recv().unwrap(), "");
}

#[test]
fn input_of_a_stranger_does_no_harm() {
    let _watch = given::within(60);
    let here = Here::new();
    let mut caller = here.caller(Some((80, 24)));
    caller.shows("> ");
    caller.types([b"\x1b[".to_vec(), vec![b';'; 1 << 20], b"\x1b]".to_vec()].concat());
    caller.types("\x1b".repeat(10_000));
    caller.types([b"\r\x15".to_vec(), vec![b'x'; 1 << 20], b"\x15".to_vec()].concat());
    caller.types(b"\xff\xc0a\xe5\xad\r");
    let shown = caller.shows("got \"\u{fffd}\u{fffd}a\u{fffd}\"\r\n");
    assert!(shown.len() < 20_000, "{} bytes are shown", shown.len());
    // All that is shown is ours: sequences that move and erase, and nothing that was typed.
    assert!(shown.split("\x1b[").skip(1).all(|rest| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        matches!(rest.as_bytes().get(digits), Some(b'A' | b'C' | b'J' | b'K'))
    }));
    for size in [(0, 0), (1, 1), (u32::MAX, u32::MAX)] {
        caller.channel.resize_pty(size.0, size.1, (0, 0)).unwrap();
    }
    caller.types("still here\r");
    caller.shows("got \"still here\"");
    caller.types("unfinished");
    caller.channel.shutdown(Shutdown::Write);
    caller.shows("bye");
    assert_eq!(here.ends.recv().unwrap(), "Ok(())");
}

#[test]
fn who_types_nothing_is_let_go() {
    let _watch = given::within(60);
    let here = Here::new();
    let mut caller = here.caller(Some((80, 24)));
    caller.types("hurry\r");
    caller.shows("> hurry");
    assert!(here.ends.recv().unwrap().contains("TimedOut"));
    // Who goes on typing is not, however long it takes.
    let mut caller = here.caller(Some((80, 24)));
    caller.types("go slowly\r");
    for key in ["s", "l", "o", "w", "\r"] {
        std::thread::sleep(Duration::from_millis(600));
        caller.types(key);
    }
    caller.shows("got \"slow\"");
    assert!(here.ends.recv().unwrap().contains("TimedOut"));
}

#[test]
fn a_script_waits_for_prompts() {
    let _watch = given::within(120);
    let here = Here::new();
    let caller = here.caller(None);
    let (mut typed, mut shown) = (&caller.channel, TextReader::new(&caller.channel));
    let prompts = ["Password: ", "> "];
    let patience = Duration::from_secs(30);
    assert_eq!(shown.read_until_within(&prompts, patience).unwrap().which, 1);
    writeln!(typed, "password").unwrap();
    assert_eq!(shown.read_until_within(&prompts, patience).unwrap().which, 0);
    let late = shown.read_until_within(&prompts, Duration::from_millis(50)).unwrap_err();
    assert_eq!((late.kind(), shown.buffered()), (ErrorKind::TimedOut, ""));
    writeln!(typed, "wrong").unwrap();
    assert_eq!(shown.read_until_within(&prompts, patience).unwrap().before, "wrong\n");

    // OpenSSH's server: both streams of a command, each with its own reader.
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let Some(server) = peers::sshd(&host, &own, "") else { return };
    let key = feramiko::PKey::from_file(own.private("ed25519"), None).unwrap();
    let client = given::client().key(key).username(&peers::user());
    let client = client.connect(&format!("127.0.0.1:{}", server.port())).unwrap();
    let command = r"printf 'n\303\244me: '; read -r x; printf 'it is %s\n' $x >&2; printf 'l\303'; sleep 0.1; printf '\244st'";
    let mut process = client.command(command).spawn().unwrap();
    let mut out = TextReader::new(process.stdout.take().unwrap());
    let mut err = TextReader::new(process.stderr.take().unwrap());
    assert_eq!(out.read_until_within(&["me: "], patience).unwrap().before, "n\u{e4}");
    writeln!(process.stdin.take().unwrap(), "Ada").unwrap();
    assert_eq!(err.read_line_within(patience).unwrap().unwrap(), "it is Ada");
    assert_eq!(out.read_line().unwrap().unwrap(), "l\u{e4}st");
    assert_eq!((out.read_line().unwrap(), err.read_line().unwrap()), (None, None));
}

#[test]
fn the_board_lets_callers_talk() {
    let _watch = given::within(120);
    let Some(own) = Keys::named("user") else { return };
    let folder = Folder::new();
    std::fs::write(folder.file("authorized"), own.public("ed25519")).unwrap();
    let port = peers::free_port().to_string();
    let mut command = Command::new(example("demo_server"));
    command.arg(&port).arg(folder.file("authorized")).stdout(Stdio::piped());
    let mut board = Running::start(&mut command);
    let mut said = String::new();
    BufReader::new(board.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("listening on "), "{said}");
    let call = |client: feramiko::SSHClientBuilder| {
        let client = client.username("robey").connect(&format!("127.0.0.1:{port}")).unwrap();
        let channel = client.open_session().unwrap();
        channel.get_pty(&PtyRequest::new("xterm", 80, 24)).unwrap();
        channel.invoke_shell().unwrap();
        let mut caller = Caller { channel, _client: client, shown: Vec::new() };
        caller.shows("> ");
        caller
    };
    let key = feramiko::PKey::from_file(own.private("ed25519"), None).unwrap();
    let mut one = call(given::client().password("foo"));
    let mut two = call(given::client().key(key));
    one.shows("* caller2 has come.\r\n");
    two.types("name \u{c5}se\rsay hello\rpo\tfirst\r");
    one.shows("* caller2 is now \u{c5}se.\r\n");
    one.shows("\u{c5}se: hello\r\n");
    two.shows("post first\r\nPosted.\r\n");
    one.types("read\rwho\r");
    one.shows("\u{c5}se: first\r\n");
    one.shows("caller1\r\n\u{c5}se\r\n");
    one.types("\x1bOP\x10\x10\r");
    one.shows("changes your name");
    one.shows("\u{c5}se: first\r\n");
    two.types("\x04");
    two.shows("Happy trails!\r\n");
    assert_eq!(two.channel.wait_exit(None).unwrap(), ExitStatus::Code(0));
    one.shows("has left.\r\n");
    let pid = Pid::from_child(&board.0);
    kill_process(pid, Signal::TERM).unwrap();
    one.shows("* The board closes.\r\n");
    one.shows("Happy trails!\r\n");
    assert_eq!(one.channel.wait_exit(None).unwrap(), ExitStatus::Code(0));
    assert_eq!(board.ended().code(), Some(0));
}
