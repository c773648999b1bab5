//! Our client and our server with each other, in memory and over sockets: the complaints that other
//! libraries live with, each as a test.

mod given;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use feramiko::{
    Answer, AuthAnswer, Cancel, Error, ExitStatus, HostKeys, InteractiveAnswer, InteractiveQuery, KeyKind,
    Limits, MemoryStream, PKey, Peer, Phase, Poll, PublicKey, SSHClient, SSHClientBuilder, SSHServer, Secret,
    ServerHandle, ServerInterface, Session, SessionKind, SessionRequest,
};

/// A verdict that needs no waiting, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A server with a few commands of its own.
struct Shop;

impl ServerInterface for Shop {
    fn check_auth_password(&self, user: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(user == "robey" && password.matches("foo"))
    }

    fn check_auth_publickey(&self, user: &str, _: &PublicKey) -> AuthAnswer {
        if user == "two-factor" { AuthAnswer::Partial } else { AuthAnswer::Refuse }
    }

    fn check_auth_interactive(&self, _: &str) -> InteractiveAnswer {
        InteractiveAnswer::Ask(InteractiveQuery::new("", "who is there?").prompt("Code: ", false))
    }

    fn check_auth_interactive_response(&self, _: &str, answers: &[Secret]) -> InteractiveAnswer {
        match answers {
            [code] if code.matches("more") => {
                InteractiveAnswer::Ask(InteractiveQuery::new("", "").prompt("Again: ", true))
            }
            [code] => InteractiveAnswer::Done(AuthAnswer::when(code.matches("42"))),
            _ => InteractiveAnswer::Done(AuthAnswer::Refuse),
        }
    }

    fn banner(&self) -> Option<String> {
        Some("mind the \x1b[31mgap\n".to_owned())
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, command: &[u8]) -> Answer {
        Answer::when(command != b"forbidden")
    }

    fn session(&self, mut session: Session) -> io::Result<ExitStatus> {
        let SessionKind::Exec(command) = session.request().kind.clone() else {
            return Ok(ExitStatus::Missing);
        };
        match String::from_utf8_lossy(&command)
            .split_once(' ')
            .unwrap_or((&String::from_utf8_lossy(&command), ""))
        {
            ("exit", code) => return Ok(ExitStatus::Code(code.parse().unwrap())),
            ("killed", name) => {
                return Ok(ExitStatus::Signal {
                    name: name.to_owned(),
                    core_dumped: false,
                    message: "boom".to_owned(),
                });
            }
            ("stderr", bytes) => session.stderr().write_all(&vec![b'e'; bytes.parse().unwrap()])?,
            ("stdout", bytes) => session.write_all(&vec![b'o'; bytes.parse().unwrap()])?,
            ("both", bytes) => {
                session.stderr().write_all(&vec![b'e'; bytes.parse().unwrap()])?;
                session.write_all(&vec![b'o'; bytes.parse().unwrap()])?;
            }
            ("cat", _) => drop(io::copy(&mut session.channel(), &mut session.channel().clone())?),
            ("hold", _) => drop(session.events().recv()),
            ("sleep", _) => drop(session.read(&mut [0])?),
            _ => return Ok(ExitStatus::Code(127)),
        }
        Ok(ExitStatus::Code(0))
    }
}

fn builder() -> SSHClientBuilder {
    given::client().username("robey").password("foo")
}

fn server_with(limits: Limits) -> (ServerHandle, String) {
    let handle = SSHServer::builder()
        .host_key(given::host_key())
        .limits(limits)
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| Shop)
        .unwrap();
    let address = handle.address();
    (handle, address)
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.sessions, limits.startups_begin, limits.startups_per_source) = (100, 100, 100);
    limits
}

fn connect() -> (ServerHandle, SSHClient) {
    let (handle, address) = server_with(limits());
    (handle, builder().connect(&address).unwrap())
}

#[test]
fn a_command_with_both_streams_and_a_code() {
    let _watch = given::within(120);
    let (_server, client) = connect();
    let output = client.output("both 1000").unwrap();
    assert_eq!((output.stdout, output.stderr), (vec![b'o'; 1000], vec![b'e'; 1000]));
    assert!(output.status.success());
    assert!(matches!(client.output("exit 7").unwrap().check(), Err(Error::Exit(ExitStatus::Code(7)))));
    assert!(matches!(client.output("forbidden"), Err(Error::RequestRefused(_))));
    assert_eq!(client.banners(), ["mind the \\u{1b}[31mgap\n"]);
}

#[test]
fn three_megabytes_on_stderr_while_stdout_is_read() {
    let _watch = given::within(120);
    let (_server, client) = connect();
    let mut process = client.exec_command("both 3000000").unwrap();
    let mut stdout = Vec::new();
    process.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    let mut stderr = Vec::new();
    process.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    assert_eq!((stdout.len(), stderr.len()), (3_000_000, 3_000_000));
}

#[test]
fn the_exit_status_before_the_output() {
    let _watch = given::within(120);
    let (_server, client) = connect();
    let channel = client.open_session().unwrap();
    channel.exec_command("stdout 3000000").unwrap();
    assert_eq!(channel.wait_exit(Some(AT_ONCE)).unwrap(), ExitStatus::Code(0));
    let mut output = Vec::new();
    (&channel).read_to_end(&mut output).unwrap();
    assert_eq!(output.len(), 3_000_000);
}

#[test]
fn more_unread_output_than_is_kept_is_an_error_that_says_so() {
    let _watch = given::within(120);
    let (_server, client) = connect();
    let channel = client.open_session().unwrap();
    channel.exec_command("stderr 20000000").unwrap();
    let error = (&channel).read(&mut [0; 10]).unwrap_err();
    assert!(error.to_string().contains("unread_stream"), "{error}");
}

#[test]
fn every_wait_honours_its_timeout() {
    let _watch = given::within(120);
    let (_server, client) = connect();
    let channel = client.open_session().unwrap();
    channel.exec_command("sleep").unwrap();
    channel.set_read_timeout(Some(Duration::from_millis(100)));
    channel.set_write_timeout(Some(Duration::from_millis(100)));
    let started = Instant::now();
    assert_eq!((&channel).read(&mut [0]).unwrap_err().kind(), io::ErrorKind::TimedOut);
    let status = channel.wait_exit(Some(Duration::from_millis(100)));
    assert!(matches!(status, Err(Error::Timeout(Phase::Exit))), "{status:?}");
    // Nobody reads there: the window fills, then writing waits.
    let deaf = client.open_session().unwrap();
    deaf.exec_command("hold").unwrap();
    deaf.set_write_timeout(Some(Duration::from_millis(300)));
    let full = (&deaf).write_all(&vec![0; 20_000_000]).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::TimedOut);
    assert!(started.elapsed() < AT_ONCE);
}

#[test]
fn a_signal_that_ended_the_command_arrives() {
    let _watch = given::within(120);
    let (_server, client) = connect();
    let status = client.output("killed TERM").unwrap().status;
    assert_eq!(status.to_string(), "killed by signal TERM");
}

#[test]
fn one_client_in_sixteen_threads() {
    let _watch = given::within(120);
    let (_server, client) = connect();
    let threads: Vec<_> = (0..16)
        .map(|thread| {
            let client = client.clone();
            std::thread::spawn(move || {
                for round in 0..60 {
                    let size = thread * 1000 + round;
                    let output = client.output(format!("both {size}")).unwrap();
                    assert_eq!((output.stdout.len(), output.stderr.len()), (size, size));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn an_unread_channel_does_not_slow_the_others() {
    let _watch = given::within(120);
    let (_server, client) = connect();
    let lazy = client.open_session().unwrap();
    lazy.exec_command("stdout 50000000").unwrap();
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(client.output("stdout 1000000").unwrap().stdout.len(), 1_000_000);
    }
    assert!(started.elapsed() < AT_ONCE);
    let mut rest = Vec::new();
    (&lazy).read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 50_000_000);
}

#[test]
fn half_close_and_a_dropped_channel() {
    let _watch = given::within(120);
    let (_server, client) = connect();
    let channel = client.open_session().unwrap();
    channel.exec_command("cat").unwrap();
    (&channel).write_all(b"hello").unwrap();
    channel.shutdown(Shutdown::Write);
    let mut echo = String::new();
    (&channel).read_to_string(&mut echo).unwrap();
    assert_eq!(echo, "hello");
    channel.close();
    channel.close();
    drop(channel);
    drop(client.exec_command("stdout 100000000").unwrap());
    assert!(client.output("exit 0").unwrap().status.success());
}

#[test]
fn closing_from_another_thread_ends_every_wait() {
    let _watch = given::within(120);
    let (_server, client) = connect();
    let channel = client.open_session().unwrap();
    channel.exec_command("sleep").unwrap();
    let closer = client.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        closer.close();
    });
    assert_eq!((&channel).read(&mut [0]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    thread.join().unwrap();
    assert!(matches!(client.open_session(), Err(Error::Closed(_))));
}

#[test]
fn many_channels_polled_at_once() {
    let _watch = given::within(120);
    let (_server, client) = connect();
    let mut poll = Poll::new();
    let channels: Vec<_> = (0..50).map(|_| client.open_session().unwrap()).collect();
    for channel in &channels {
        channel.exec_command("cat").unwrap();
        poll.add(channel);
    }
    assert!(poll.readable(Some(Duration::from_millis(50))).is_empty());
    (&channels[33]).write_all(b"x").unwrap();
    let ready = poll.readable(Some(AT_ONCE));
    assert_eq!(ready.iter().map(|(channel, _)| channel.id()).collect::<Vec<_>>(), [channels[33].id()]);
    let waker = poll.waker();
    std::thread::spawn(move || waker.wake());
    (&channels[33]).read_exact(&mut [0]).unwrap();
    assert!(poll.readable(Some(AT_ONCE)).is_empty());
    channels[7].shutdown(Shutdown::Write);
    assert_eq!(poll.readable(Some(AT_ONCE)).len(), 1);
}

#[test]
fn new_keys_all_the_time_under_load_both_ways_through_tiny_buffers() {
    let _watch = given::within(120);
    for capacity in [100, 5_000, 100_000] {
        let (near, far) = MemoryStream::pair(capacity);
        let mut small = limits();
        small.rekey_bytes = 50_000;
        let server = SSHServer::builder().host_key(given::host_key()).limits(small.clone()).build().unwrap();
        let serving = std::thread::spawn(move || server.serve_stream(far, &Peer::named("test"), Shop));
        let client = builder().limits(small).connect_over(near, "robey@memory").unwrap();
        let size = if capacity < 1000 { 300_000 } else { 3_000_000 };
        let channel = client.open_session().unwrap();
        channel.exec_command("cat").unwrap();
        std::thread::scope(|scope| {
            let echo = scope.spawn(|| given::echoed(&channel, &vec![7; size]).unwrap());
            for _ in 0..5 {
                let before = client.transport().exchanges();
                client.transport().renegotiate_keys().unwrap();
                while client.transport().exchanges() == before {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            assert!(echo.join().unwrap() == vec![7; size]);
        });
        client.close();
        serving.join().unwrap().unwrap();
    }
}

#[test]
fn a_dead_peer_is_noticed() {
    let _watch = given::within(120);
    let (near, far) = MemoryStream::pair(1 << 20);
    let server = SSHServer::builder().host_key(given::host_key()).build().unwrap();
    std::thread::spawn(move || {
        server.serve_stream(Freezing { inner: far, frozen: Arc::clone(&FROZEN) }, &Peer::named("test"), Shop)
    });
    let client = builder().keepalive(Duration::from_secs(1), 3).connect_over(near, "robey@memory").unwrap();
    let channel = client.open_session().unwrap();
    channel.exec_command("sleep").unwrap();
    // Longer than it takes to be given up.
    std::thread::sleep(Duration::from_secs(5));
    assert!(client.transport().is_active(), "a live peer answers keepalives");
    FROZEN.store(true, Ordering::SeqCst);
    let started = Instant::now();
    let error = (&channel).read(&mut [0]).unwrap_err();
    assert!(error.to_string().contains("keepalives"), "{error}");
    assert!(started.elapsed() < AT_ONCE);
}

static FROZEN: std::sync::LazyLock<Arc<AtomicBool>> = std::sync::LazyLock::new(Arc::default);

/// A stream whose writes are lost once it is frozen.
struct Freezing {
    inner: MemoryStream,
    frozen: Arc<AtomicBool>,
}

struct FreezingWrite(Box<dyn feramiko::WriteHalf>, Arc<AtomicBool>);

impl feramiko::WriteHalf for FreezingWrite {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.1.load(Ordering::SeqCst) { Ok(buf.len()) } else { self.0.write_now(buf) }
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.0.wait(deadline)
    }
}

impl feramiko::Stream for Freezing {
    fn split(self: Box<Self>) -> io::Result<feramiko::Halves> {
        let mut halves = Box::new(self.inner).split()?;
        halves.write = Box::new(FreezingWrite(halves.write, self.frozen));
        Ok(halves)
    }
}

#[test]
fn several_factors_and_rounds() {
    let _watch = given::within(120);
    let (_server, address) = server_with(limits());
    let key = PKey::generate(KeyKind::EcdsaP256).unwrap();
    let mut asked = 0;
    let client = given::client()
        .username("two-factor")
        .key(key)
        .interactive(move |query| {
            asked += 1;
            assert_eq!(query.prompts[0].text, if asked == 1 { "Code: " } else { "Again: " });
            Ok(vec![Secret::from(if asked == 1 { "more" } else { "42" })])
        })
        .connect(&address)
        .unwrap();
    assert!(client.transport().is_authenticated());
}

#[test]
fn the_error_lists_every_attempt() {
    let _watch = given::within(120);
    let (_server, address) = server_with(limits());
    let key = given::host_key();
    let fingerprint = key.public_key().fingerprint();
    let error =
        builder().key(key).key_file("/does/not/exist", None).password("wrong").connect(&address).unwrap_err();
    let Error::Auth { attempts, .. } = &error else { panic!("{error}") };
    let methods: Vec<_> = attempts.iter().map(|attempt| attempt.method.as_str()).collect();
    assert_eq!(methods, ["publickey", "publickey", "password", "keyboard-interactive"]);
    assert_eq!(attempts[0].key.as_deref(), Some(fingerprint.as_str()));
    assert!(error.to_string().contains("/does/not/exist"), "{error}");
}

#[test]
fn an_unknown_and_a_changed_host_are_refused_with_what_to_do() {
    let _watch = given::within(120);
    let (_server, address) = server_with(limits());
    let unknown = SSHClient::builder()
        .no_ssh_config()
        .no_agent()
        .no_default_keys()
        .host_keys(HostKeys::new())
        .connect(&address);
    assert!(unknown.unwrap_err().to_string().contains("nothing is known about this host"));
    let (host, port) = address.split_once(':').unwrap();
    let mut keys = HostKeys::new();
    keys.add(host, port.parse().unwrap(), given::host_key().public_key()).unwrap();
    let changed = builder().host_keys(keys).connect(&address).unwrap_err();
    assert!(changed.to_string().contains("CHANGED"), "{changed}");
}

#[test]
fn someone_who_speaks_http_is_told_so() {
    let _watch = given::within(120);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    let error = builder().connect(&address).unwrap_err();
    assert!(error.to_string().contains("HTTP"), "{error}");
}

#[test]
fn a_silent_server_is_given_up_at_the_deadline() {
    let _watch = given::within(120);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let started = Instant::now();
    let error = builder().deadline(Duration::from_millis(300)).connect(&address).unwrap_err();
    assert!(matches!(error, Error::Timeout(Phase::Handshake)), "{error}");
    assert!(started.elapsed() < AT_ONCE);
}

#[test]
fn a_silent_client_is_cut_at_the_grace_time_and_others_are_served() {
    let _watch = given::within(120);
    let mut short = limits();
    short.login_grace = Duration::from_millis(300);
    let (_server, address) = server_with(short);
    let mut silent = std::net::TcpStream::connect(&address).unwrap();
    let started = Instant::now();
    silent.read_to_end(&mut Vec::new()).unwrap();
    assert!(started.elapsed() < AT_ONCE);
    assert!(builder().connect(&address).is_ok());
}

/// A token ends a connect at each of its stages.
#[test]
fn a_connect_is_cancelled_from_another_thread() {
    let _watch = given::within(120);
    // Nobody accepts, and the queue fills: the connection is never made. And one that is made, with
    // a server that says nothing.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _queued: Vec<_> = (0..8)
        .filter_map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok())
        .collect();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for destination in [address.to_string(), silent.local_addr().unwrap().to_string()] {
        let cancel = Cancel::new();
        let started = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(200));
                cancel.cancel();
            });
            let result = builder().cancel(&cancel).connect(&destination);
            assert!(matches!(result, Err(Error::Cancelled)), "{destination}: {result:?}");
        });
        assert!(started.elapsed() < AT_ONCE, "{destination}");
    }
}

/// A program's standard streams carry a connection; its death is told.
#[cfg(unix)]
#[test]
fn a_child_process_carries_a_connection() {
    let _watch = given::within(120);
    use feramiko::ProxyCommand;

    let (_server, address) = server_with(limits());
    let port = address.rsplit_once(':').unwrap().1;
    // bash has a socket of its own: what comes from it goes out, what comes in goes to it.
    let line = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3 & cat >&3; kill $!");
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &line]);
    let client = builder().connect_over(ProxyCommand::spawn(command).unwrap(), "robey@inner").unwrap();
    assert_eq!(client.output("stdout 100000").unwrap().stdout.len(), 100_000);
    client.close();

    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exit 7"]);
    let result = builder().connect_over(ProxyCommand::spawn(command).unwrap(), "robey@inner");
    let error = result.unwrap_err().to_string();
    assert!(error.contains("the proxy command sh ended: exit status 7"), "{error}");
}

/// Wants every password changed, once.
struct Strict(AtomicBool);

impl ServerInterface for Strict {
    fn check_auth_password(&self, _: &str, password: &Secret) -> AuthAnswer {
        match self.0.load(Ordering::SeqCst) {
            true => AuthAnswer::when(password.matches("new")),
            false => AuthAnswer::ChangePassword("choose another".to_owned()),
        }
    }

    fn check_auth_password_change(&self, _: &str, old: &Secret, new: &Secret) -> AuthAnswer {
        self.0.store(old.matches("foo") && new.matches("new"), Ordering::SeqCst);
        AuthAnswer::when(self.0.load(Ordering::SeqCst))
    }

    fn allowed_auths(&self, _: &str) -> Vec<&'static str> {
        vec!["password"]
    }
}

#[test]
fn a_password_that_must_be_changed_is_changed() {
    let _watch = given::within(120);
    let interface = Arc::new(Strict(AtomicBool::new(false)));
    let server = SSHServer::builder().host_key(given::host_key()).build().unwrap();
    let serve = |client: SSHClientBuilder| {
        let (ours, theirs) = MemoryStream::pair(1 << 16);
        let (server, interface) = (server.clone(), Arc::clone(&interface));
        let thread =
            std::thread::spawn(move || server.serve_stream(theirs, &Peer::named("test"), Shared(interface)));
        let result = client.connect_over(ours, "me@here").map(|client| client.close());
        drop(thread.join().unwrap());
        result
    };
    let error = serve(builder()).unwrap_err().to_string();
    assert!(error.contains("the password must be changed: choose another"), "{error}");
    serve(builder().change_password(|prompt| {
        assert_eq!(prompt, "choose another");
        Some(Secret::from("new"))
    }))
    .unwrap();
    serve(builder().password("new")).unwrap();
}

/// An interface that several connections share.
struct Shared(Arc<Strict>);

impl ServerInterface for Shared {
    fn check_auth_password(&self, user: &str, password: &Secret) -> AuthAnswer {
        self.0.check_auth_password(user, password)
    }

    fn check_auth_password_change(&self, user: &str, old: &Secret, new: &Secret) -> AuthAnswer {
        self.0.check_auth_password_change(user, old, new)
    }

    fn allowed_auths(&self, user: &str) -> Vec<&'static str> {
        self.0.allowed_auths(user)
    }
}

/// Says that it was asked, and answers when it may.
struct Slow(crossbeam_channel::Sender<()>, crossbeam_channel::Receiver<()>);

impl ServerInterface for Slow {
    fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        self.0.send(()).unwrap();
        let _released = self.1.recv();
        Answer::No
    }
}

#[test]
fn requests_that_nobody_answers_are_counted() {
    let _watch = given::within(120);
    let (release, held) = crossbeam_channel::bounded(0);
    let (ask, asked) = crossbeam_channel::bounded(1);
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), move |_| Slow(ask.clone(), held.clone()))
        .unwrap();
    let mut limits = limits();
    limits.unanswered_requests = 1;
    let client = builder().limits(limits).connect(&server.address()).unwrap();
    let channel = client.open_session().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| channel.exec_command("a"));
        asked.recv_timeout(AT_ONCE).unwrap();
        let refused = channel.exec_command("b").unwrap_err();
        assert!(refused.to_string().contains("unanswered_requests"), "{refused}");
        drop(release);
        assert!(matches!(waiting.join().unwrap(), Err(Error::RequestRefused(_))));
    });
}
