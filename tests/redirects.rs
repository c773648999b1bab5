//! Streams of commands and of sessions that lead elsewhere; commands with a time limit.

#![cfg(unix)]

mod given;
mod peers;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use feramiko::{
    Answer, AuthAnswer, Error, ExitStatus, Limits, Peer, Phase, Redirect, SSHClient, SSHServer, Secret,
    ServerHandle, ServerInterface, Session, SessionEvent, SessionKind, SessionRequest, relay,
};
use peers::{Folder, Keys, run_shell, sshd, user};

/// Runs commands by a shell, but for those that name something done in Rust.
struct Shell;

impl ServerInterface for Shell {
    fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_env_request(&self, name: &str, _: &str) -> Answer {
        Answer::when(name == "LC_GOOD")
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        let SessionKind::Exec(command) = session.request().kind.clone() else {
            return Ok(ExitStatus::Missing);
        };
        let line = String::from_utf8(command).unwrap();
        match line.split_once(' ') {
            Some(("keep", path)) => {
                session.redirect(File::create(path)?, Redirect::null(), Redirect::null())?
            }
            Some(("give", path)) => {
                session.redirect(Redirect::null(), File::open(path)?, Redirect::reader(&b"given\n"[..]))?;
            }
            Some(("sort", _)) => {
                let mut sort = std::process::Command::new("sort")
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()?;
                let (stdin, stdout) = (sort.stdin.take().unwrap(), sort.stdout.take().unwrap());
                session.redirect(stdin, stdout, sort.stderr.take().unwrap())?;
                sort.wait()?;
            }
            Some(("deaf", _)) => session.redirect(
                Redirect::writer(Broken(100_000)),
                Redirect::reader(io::repeat(b'x')),
                Redirect::null(),
            )?,
            Some(("wrong", _)) => {
                session.redirect(Redirect::null(), Redirect::writer(io::sink()), File::open("/")?)?
            }
            _ => return run_shell(session),
        }
        Ok(ExitStatus::Code(0))
    }
}

fn ours() -> (ServerHandle, SSHClient) {
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| Shell)
        .unwrap();
    let client = given::client().username("me").password("x").connect(&server.address()).unwrap();
    (server, client)
}

/// OpenSSH's server where it is, and ours.
fn clients() -> Vec<(&'static str, Box<dyn std::any::Any>, SSHClient)> {
    let (server, client) = ours();
    let mut found: Vec<(_, Box<dyn std::any::Any>, _)> = vec![("ours", Box::new(server), client)];
    if let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user"))
        && let Some(server) = sshd(&host, &own, "")
    {
        let key = feramiko::PKey::from_file(own.private("ed25519"), None).unwrap();
        let at = format!("127.0.0.1:{}", server.port());
        let client = given::client().username(&user()).key(key).connect(&at).unwrap();
        found.push(("OpenSSH", Box::new(server), client));
    }
    found
}

#[test]
fn streams_lead_to_files_and_nowhere() {
    let _watch = given::within(120);
    let folder = Folder::new();
    let (from, to, errors) = (folder.file("from"), folder.file("to"), folder.file("errors"));
    let data: Vec<u8> = (0..3_000_000_u32).map(|at| (at >> 3) as u8).collect();
    fs::write(&from, &data).unwrap();
    for (name, _server, client) in clients() {
        let status = client
            .command("cat; echo error >&2; exit 4")
            .stdin(File::open(&from).unwrap())
            .stdout(File::create(&to).unwrap())
            .stderr(File::create(&errors).unwrap())
            .status()
            .unwrap();
        // What was copied is there when the wait is over.
        assert!(fs::read(&to).unwrap() == data, "{name}");
        assert_eq!(
            (fs::read(&errors).unwrap(), status),
            (b"error\n".to_vec(), ExitStatus::Code(4)),
            "{name}"
        );
        let output = client.command("cat; yes | head -c 20000000; echo x >&2").stdout(Redirect::null());
        let output = output.output().unwrap();
        assert_eq!((output.stdout, output.stderr, output.status.success()), (vec![], b"x\n".to_vec(), true));
        // A stream that is piped still is, beside one that is not.
        let mut process = client.command("cat; cat /dev/null >&2").stderr(Redirect::null()).spawn().unwrap();
        process.stdin.take().unwrap().write_all(b"piped").unwrap();
        assert!(process.stderr.is_none());
        assert_eq!(process.wait_with_output().unwrap().stdout, b"piped", "{name}");
    }
}

#[test]
fn commands_feed_each_other() {
    let _watch = given::within(120);
    for (name, _server, client) in clients() {
        let mut first = client.exec_command("yes feramiko | head -c 30000000").unwrap();
        let second = client.command("sha256sum").stdin(first.stdout.take().unwrap()).spawn().unwrap();
        let mut local = std::process::Command::new("cut")
            .args(["-c", "1-8"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let third = client
            .command("cat")
            .stdin(second.stdout.unwrap())
            .stdout(local.stdin.take().unwrap())
            .status()
            .unwrap();
        let mut sum = String::new();
        local.stdout.take().unwrap().read_to_string(&mut sum).unwrap();
        local.wait().unwrap();
        assert_eq!((sum.len(), third.success(), first.wait().unwrap().success()), (9, true, true), "{name}");
        // A channel is one end as well as any.
        let sink = client.open_session().unwrap();
        sink.exec_command("wc -c").unwrap();
        let status = client.command("head -c 12345 /dev/zero").stdout(sink.clone()).status().unwrap();
        sink.shutdown(Shutdown::Write);
        let mut count = String::new();
        (&sink).read_to_string(&mut count).unwrap();
        assert_eq!((count.trim(), status.success()), ("12345", true), "{name}");
    }
}

#[test]
fn input_and_errors_in_their_order() {
    let _watch = given::within(120);
    for (name, _server, client) in clients() {
        let output = client.command("sort").input("b\na\n").output().unwrap();
        assert_eq!(output.stdout, b"a\nb\n", "{name}");
        let line = "for i in 1 2 3; do echo out $i; sleep 0.1; echo err $i >&2; sleep 0.1; done";
        let output = client.command(line).stderr_to_stdout().output().unwrap();
        assert_eq!(output.stdout, b"out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n", "{name}");
        assert!(output.stderr.is_empty());
        let twice = client.command(line).stderr_to_stdout().stderr(Redirect::null()).output();
        assert!(matches!(twice, Err(Error::Misuse(_))), "{twice:?}");
    }
    // More than is kept of what nobody reads: it is dropped, whichever of the outputs there are.
    let (_server, client) = ours();
    let much = "yes | head -c 20000000; yes | head -c 20000000 >&2; exit 7";
    assert_eq!(client.command(much).stderr_to_stdout().spawn().unwrap().wait().unwrap(), ExitStatus::Code(7));
    let one = client.command(much).stdout(Redirect::writer(io::sink())).spawn();
    assert_eq!(one.unwrap().wait().unwrap(), ExitStatus::Code(7));
    // In the middle: what has come is moved, and the window with it.
    let channel = client.open_session().unwrap();
    channel.exec_command("echo err >&2; read x; head -c 9000000 /dev/zero >&2").unwrap();
    let mut poll = feramiko::Poll::new();
    poll.add(&channel);
    while !poll.readable(None)[0].1.stderr_readable {}
    assert!(!channel.set_combine_stderr(true));
    (&channel).write_all(b"go\n").unwrap();
    let mut all = Vec::new();
    (&channel).read_to_end(&mut all).unwrap();
    assert!(all.starts_with(b"err\n") && all.len() == 9_000_004, "{}", all.len());
    assert!(channel.set_combine_stderr(false));
}

#[test]
fn a_command_whose_time_is_over_is_ended() {
    let _watch = given::within(120);
    let (_server, client) = ours();
    let folder = Folder::new();
    let command = |line: &str| client.command(line).timeout(Duration::from_millis(600));
    let started = Instant::now();
    let output = command("echo begun; echo error >&2; sleep 600").output().unwrap();
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"begun\n"[..], &b"error\n"[..]));
    assert!(output.timed_out && output.status == ExitStatus::Missing);
    assert!(matches!(output.check(), Err(Error::Timeout(Phase::Exit))));
    let mut waited = command("sleep 600").spawn().unwrap();
    assert!(matches!(waited.wait(), Err(Error::Timeout(Phase::Exit))));
    let copied = command("echo begun; sleep 600").spawn().unwrap();
    let mut begun = Vec::new();
    assert!(matches!(copied.copy_to(&mut begun, &mut io::sink()), Err(Error::Timeout(Phase::Exit))));
    assert_eq!(begun, b"begun\n");
    let to = folder.file("to");
    let redirected = command("echo begun; sleep 600").stdout(File::create(&to).unwrap()).status();
    assert!(matches!(redirected, Err(Error::Timeout(Phase::Exit))), "{redirected:?}");
    // Its end is an end there: the process is gone; after five seconds where it was a shell still that lost the signal.
    let pid = folder.file("pid");
    let _ = command(&format!("echo $$ >{}; exec sleep 600", pid.display())).output().unwrap();
    assert!(started.elapsed() < Duration::from_secs(60));
    let pid = fs::read_to_string(pid).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while fs::metadata(format!("/proc/{}", pid.trim())).is_ok() {
        assert!(Instant::now() < until, "process {pid} runs on");
        std::thread::sleep(Duration::from_millis(20));
    }
    // One that keeps to its time is not touched, and a limit of the wait alone ends nothing.
    assert!(client.command("true").timeout(Duration::from_secs(60)).output().unwrap().status.success());
    let mut patient = client.command("sleep 0.5; exit 3").timeout(Duration::from_secs(60)).spawn().unwrap();
    let early = patient.wait_timeout(Some(Duration::from_millis(50)));
    assert!(matches!(early, Err(Error::Timeout(Phase::Exit))), "{early:?}");
    assert_eq!(patient.wait().unwrap(), ExitStatus::Code(3));
}

#[test]
fn variables_that_must_be_set() {
    let _watch = given::within(120);
    let (_server, client) = ours();
    assert!(client.command("true").require_env("LC_GOOD", "1").output().unwrap().status.success());
    assert!(client.command("true").env("LC_BAD", "1").output().unwrap().status.success());
    let refused = client.command("true").require_env("LC_BAD", "1").output();
    assert!(matches!(&refused, Err(Error::RequestRefused(what)) if what == "env"), "{refused:?}");
}

/// Fails after so many bytes.
struct Broken(usize);

impl Read for Broken {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.0.min(buf.len());
        self.0 -= count;
        if count == 0 { Err(io::Error::other("the disk is broken")) } else { Ok(count) }
    }
}

impl Write for Broken {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.read(&mut vec![0; buf.len()])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_breaks_is_told_and_half_an_input_is_not_taken_for_all() {
    let _watch = given::within(120);
    let (_server, client) = ours();
    let folder = Folder::new();
    let whole = folder.file("whole");
    let line = format!("cat >/dev/null && echo whole >{}", whole.display());
    let result = client.command(line).stdin(Redirect::reader(Broken(100_000))).status();
    let error = result.unwrap_err().to_string();
    assert!(error.contains("the disk is broken"), "{error}");
    let full =
        client.command("head -c 30000000 /dev/zero").stdout(Redirect::writer(Broken(100_000))).status();
    assert!(full.unwrap_err().to_string().contains("the disk is broken"));
    // A command that reads no more is no error of the input's.
    let status = client.command("head -c 5").stdin(Redirect::reader(io::repeat(1))).stdout(Redirect::null());
    assert!(status.status().unwrap().success());
    let wrong = client.command("true").stdin(Redirect::writer(io::sink())).spawn();
    assert!(matches!(wrong, Err(Error::Misuse(_))), "{wrong:?}");
    assert!(client.output("true").unwrap().status.success());
}

/// A reader that never comes back keeps neither the command nor the connection.
#[test]
fn a_source_that_is_never_read_to_its_end_holds_nothing() {
    let _watch = given::within(120);
    let (server, client) = ours();
    let (silent, _writer) = io::pipe().unwrap();
    let process = client.command("cat").stdin(silent).spawn().unwrap();
    assert_eq!(server.connections(), 1);
    drop((process, client));
    let until = Instant::now() + Duration::from_secs(20);
    while server.connections() > 0 {
        assert!(Instant::now() < until, "the connection stays");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Nor does a copy of output whose command says nothing.
    let (server, client) = ours();
    let process = client.command("sleep 600").stdout(Redirect::writer(io::sink())).spawn().unwrap();
    drop((process, client));
    while server.connections() > 0 {
        assert!(Instant::now() < until + Duration::from_secs(20), "the connection stays");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_process_is_copied_as_it_comes() {
    let _watch = given::within(120);
    let (_server, client) = ours();
    let process = client.exec_command("head -c 9000000 /dev/zero; echo error >&2; exit 2").unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(process.copy_to(&mut out, &mut err).unwrap(), ExitStatus::Code(2));
    assert_eq!((out.len(), &err[..]), (9_000_000, &b"error\n"[..]));
    let process = client.exec_command("head -c 9000000 /dev/zero").unwrap();
    let error = process.copy_to(&mut Broken(10), &mut err).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn sessions_lead_to_files_and_programs() {
    let _watch = given::within(120);
    let (_server, client) = ours();
    let folder = Folder::new();
    let kept = folder.file("kept");
    let data: Vec<u8> = (0..5_000_000_u32).map(|at| (at >> 3) as u8).collect();
    let output = client.command(format!("keep {}", kept.display())).input(data.clone()).output().unwrap();
    assert!(output.status.success() && fs::read(&kept).unwrap() == data);
    let output = client.output(format!("give {}", kept.display())).unwrap();
    assert!(output.stdout == data && output.stderr == b"given\n" && output.status.success());
    let output = client.command("sort it").input("b\nc\na\n").output().unwrap();
    assert_eq!(output.stdout, b"a\nb\nc\n");
    assert_eq!(client.output("wrong way").unwrap().status, ExitStatus::Missing);
    // Whoever sends what nobody takes any more is told, though output still comes.
    let channel = client.open_session().unwrap();
    channel.exec_command("deaf ears").unwrap();
    let error = io::copy(&mut io::repeat(1), &mut &channel).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    (&channel).read_exact(&mut [0; 100]).unwrap();
}

/// Opening and asking are within the time too.
#[test]
fn a_server_that_does_not_answer_is_waited_for_no_longer() {
    let _watch = given::within(120);
    struct Slow;
    impl ServerInterface for Slow {
        fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
            AuthAnswer::Accept
        }

        fn check_channel_env_request(&self, _: &str, _: &str) -> Answer {
            std::thread::sleep(Duration::from_millis(300));
            Answer::Yes
        }

        fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
            std::thread::sleep(Duration::from_secs(2));
            Answer::No
        }
    }
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .limits(Limits::default())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| Slow)
        .unwrap();
    let client = given::client().username("me").password("x").connect(&server.address()).unwrap();
    let result = client.command("x").timeout(Duration::from_millis(200)).output();
    assert!(matches!(result, Err(Error::Timeout(Phase::Request))), "{result:?}");
    // All requests together have that time.
    let client = given::client().username("me").password("x").connect(&server.address()).unwrap();
    let started = Instant::now();
    let many = client.command("x").timeout(Duration::from_millis(900));
    let many = (0..20).fold(many, |command, number| command.require_env(&format!("N{number}"), "1"));
    let result = many.output();
    assert!(matches!(result, Err(Error::Timeout(Phase::Request))), "{result:?}");
    assert!(started.elapsed() < Duration::from_millis(3000), "{:?}", started.elapsed());
}

/// The test starts itself: as a program whose streams it has.
#[test]
fn a_command_has_the_streams_of_the_process() {
    const ADDRESS: &str = "FERAMIKO_TEST_ADDRESS";
    let _watch = given::within(120);
    if let Ok(address) = std::env::var(ADDRESS) {
        let client = given::client().username("me").password("x").connect(&address).unwrap();
        let status = client.command("cat; echo error >&2; exit 6").status().unwrap();
        std::process::exit(status.code().and_then(|code| i32::try_from(code).ok()).unwrap());
    }
    let (server, _client) = ours();
    let mut own = std::process::Command::new(std::env::current_exe().unwrap());
    own.args(["--exact", "--nocapture", "a_command_has_the_streams_of_the_process"]);
    let answer = peers::output(own.env(ADDRESS, server.address()), "inherited");
    assert!(answer.stdout.ends_with(b"inherited"), "{answer:?}");
    assert!(answer.stderr.ends_with(b"error\n"), "{answer:?}");
    assert_eq!(answer.status.code(), Some(6));
}

/// A session whose channel an application joins to a stream goes on being told what happens to it, after the end of
/// one direction too.
#[test]
fn a_relayed_session_still_has_its_events() {
    struct Relays(u16, Sender<Option<SessionEvent>>);
    impl ServerInterface for Relays {
        fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
            AuthAnswer::Accept
        }
        fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
            Answer::Yes
        }
        fn session(&self, session: Session) -> io::Result<ExitStatus> {
            let (channel, stream) = (session.channel().clone(), TcpStream::connect(("127.0.0.1", self.0))?);
            let relayed = std::thread::spawn(move || relay(&channel, stream));
            let _ = self.1.send(session.events().recv());
            relayed.join().unwrap()?;
            Ok(ExitStatus::Code(0))
        }
    }
    let _watch = given::within(60);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, events) = channel();
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), move |_: &Peer| Relays(port, told.clone()))
        .unwrap();
    let client = given::client().username("robey").password("foo").connect(&server.address()).unwrap();
    let channel = client.open_session().unwrap();
    channel.exec_command("x").unwrap();
    let (mut far, _) = listener.accept().unwrap();
    { &channel }.write_all(b"x").unwrap();
    channel.shutdown(Shutdown::Write);
    let mut read = Vec::new();
    far.read_to_end(&mut read).unwrap();
    assert_eq!(read, b"x");
    channel.send_signal("USR1").unwrap();
    let event = events.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(matches!(&event, Some(SessionEvent::Signal(name)) if name == "USR1"), "{event:?}");
    // The other direction goes on.
    far.write_all(b"back").unwrap();
    { &channel }.read_exact(&mut [0; 4]).unwrap();
    drop(far);
    assert_eq!({ &channel }.read(&mut [0]).unwrap(), 0);
}
