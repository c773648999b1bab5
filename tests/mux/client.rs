//! Our client on OpenSSH's master.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use feramiko::{Endpoint, Error, ExitStatus, ForwardKind, ForwardRequest, MuxClient, MuxCommand};

use super::*;

#[test]
fn commands_run_over_openssh() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let Some(mut master) = host.openssh_master() else { return };
    assert_eq!(host.mux().check().unwrap(), master.0.id());

    let command = MuxCommand::new("cat; echo there >&2; exit 7");
    let file = host.folder.file("input");
    std::fs::write(&file, "here").unwrap();
    let (status, output, errors) = run(host.mux(), &command, &File::open(&file).unwrap());
    assert_eq!((status, &*output, &*errors), (ExitStatus::Code(7), &b"here"[..], &b"there\n"[..]));
    // A signal is not told.
    let (status, ..) = run(host.mux(), &MuxCommand::new("kill -9 $$"), &null());
    assert_eq!(status, ExitStatus::Missing);
    // Several over one master, one after the other on each connection to it.
    let mut one = host.mux();
    for _ in 0..3 {
        one.check().unwrap();
    }
    let (status, output, _) = run(one, &MuxCommand::new("echo $((6 * 7))"), &null());
    assert_eq!((status, &*output), (ExitStatus::Code(0), &b"42\n"[..]));
    let (status, ..) = run(host.mux(), &MuxCommand::subsystem("nowhere"), &null());
    assert!(!status.success());

    // Masters of that age do not tell.
    assert!(matches!(host.mux().info("connection"), Err(Error::Unsupported(_)) | Ok(_)));
    host.mux().exit().unwrap();
    assert!(master.ended().code().is_some());
    assert!(matches!(MuxClient::connect(host.path()), Err(Error::Io { .. })));
}

/// OpenSSH's master closes the channel when both directions have ended, and waits for the status that follows.
#[test]
fn a_status_is_told_after_the_master_has_closed() {
    let _watch = given::within(120);
    let Some(theirs) = Host::start() else { return };
    let server = our_sshd(&Keys::named("host").unwrap(), &theirs.keys);
    for host in [Host { server, folder: Folder::new(), keys: Keys::named("user").unwrap() }, theirs] {
        let Some(_master) = host.openssh_master() else { return };
        // It ends its output and runs on; that its channel is closed must not end it first.
        let command = MuxCommand::new("trap '' HUP; exec >&- 2>&-; sleep 0.3; exit 3");
        let (status, ..) = run(host.mux(), &command, &null());
        assert_eq!(status, ExitStatus::Code(3));
    }
}

#[test]
fn a_dropped_session_ends_and_its_master_does_not() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let Some(_master) = host.openssh_master() else { return };
    let file = host.folder.file("pid");
    let command = MuxCommand::new(format!("echo $$ > {0}.new; mv {0}.new {0}; exec cat", file.display()));
    let (input, kept) = std::io::pipe().unwrap();
    let session = host.mux().start(&command, &input, null(), null()).unwrap();
    soon("the command runs", || file.exists());
    let pid = std::fs::read_to_string(&file).unwrap();
    drop(session);
    soon("the command has ended", || !Path::new(&format!("/proc/{}", pid.trim())).exists());
    drop(kept);
    host.mux().check().unwrap();
}

#[test]
fn forwardings_are_opened_and_closed_over_openssh() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let Some(_master) = host.openssh_master() else { return };
    let echo = echoing();
    let mut mux = host.mux();

    let port = peers::free_port();
    let local = ForwardRequest {
        kind: ForwardKind::Local,
        listen: Endpoint::tcp("127.0.0.1", port),
        to: Some(echo.clone()),
    };
    assert_eq!(mux.forward(&local).unwrap(), None);
    assert_eq!(through(port), b"hello");
    mux.cancel_forward(&local).unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    let again = mux.cancel_forward(&local).unwrap_err();
    assert!(
        again.to_string().contains("refused to close a forwarding") && again.to_string().contains("port"),
        "{again}"
    );

    // The server's side, on a port that it chooses.
    let remote = ForwardRequest {
        kind: ForwardKind::Remote,
        listen: Endpoint::tcp("localhost", 0),
        to: Some(echo.clone()),
    };
    let chosen = mux.forward(&remote).unwrap().unwrap();
    assert_eq!(through(chosen), b"hello");
    mux.cancel_forward(&remote).unwrap();

    // By SOCKS, and to UNIX sockets.
    let dynamic =
        ForwardRequest { kind: ForwardKind::Local, listen: Endpoint::tcp("127.0.0.1", port), to: None };
    mux.forward(&dynamic).unwrap();
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    mux.cancel_forward(&dynamic).unwrap();
    let path = host.folder.file("forwarded");
    let unix = ForwardRequest {
        kind: ForwardKind::Local,
        listen: Endpoint::unix(path.as_os_str().as_encoded_bytes()),
        to: Some(echo),
    };
    mux.forward(&unix).unwrap();
    assert_eq!(
        says_hello(std::os::unix::net::UnixStream::connect(&path).unwrap(), |it| {
            it.shutdown(Shutdown::Write).unwrap();
        }),
        b"hello"
    );
    mux.cancel_forward(&unix).unwrap();
}

/// What comes back from a port of this machine.
fn through(port: u16) -> Vec<u8> {
    says_hello(TcpStream::connect(("127.0.0.1", port)).unwrap(), |it| it.shutdown(Shutdown::Write).unwrap())
}

fn says_hello<S: Read + Write>(mut stream: S, end: impl Fn(&S)) -> Vec<u8> {
    stream.write_all(b"hello").unwrap();
    end(&stream);
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    back
}

#[test]
fn streams_lead_to_a_host_over_openssh() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let Some(_master) = host.openssh_master() else { return };
    assert_eq!(host.by_streams(&echoing()), b"hello");
}

impl Host {
    /// What comes back from behind the server, by a master.
    pub(crate) fn by_streams(&self, to: &Endpoint) -> Vec<u8> {
        let ((input, mut ours), (output, their_output)) =
            (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let session = self.mux().stdio_forward(to, &input, &their_output).unwrap();
        drop((input, their_output));
        ours.write_all(b"hello").unwrap();
        drop(ours);
        let back = all(output).join().unwrap();
        assert_eq!(session.wait(|| ()).unwrap(), ExitStatus::Missing);
        back
    }
}
