//! Masters that keep to no protocol, and messages cut at every byte.

use std::os::unix::net::UnixStream;
use std::thread;

use super::frame::{self, FRAME_BYTES, until};
use super::message::{
    Alive, Done, ExitMessage, ExtInfoAnswer, Failure, Hello, OpenForward, PermissionDenied, ProxyBegins,
    RemotePort, SessionOpened, TtyAllocFail, VERSION, strings,
};
use super::*;
use crate::engine::ExitStatus;
use crate::pattern::endpoint::Endpoint;
use crate::wire::{Encode, Escaped, Malformed, Rest, Writer};

/// A client of a master that sends these frames, whatever it is asked, and hangs up.
fn served(frames: Vec<Vec<u8>>) -> Result<MuxClient> {
    let (near, far) = UnixStream::pair().unwrap();
    thread::spawn(move || {
        for frame in frames {
            // The client may have had enough.
            let _ = frame::write_bytes(&far, &frame, None);
        }
        // Until the client has gone.
        while let Ok(Some(_)) = frame::read(&far, None) {}
    });
    MuxClient::greet(near)
}

fn hello() -> Vec<u8> {
    let mut extensions = Vec::new();
    extensions.put("info").put("0");
    Hello { version: VERSION, extensions: Rest(&extensions) }.to_vec()
}

fn answered(answer: impl Encode) -> MuxClient {
    served(vec![hello(), answer.to_vec()]).unwrap()
}

fn request() -> ForwardRequest {
    ForwardRequest { kind: ForwardKind::Remote, listen: Endpoint::tcp("", 0), to: None }
}

fn null() -> std::fs::File {
    std::fs::File::open("/dev/null").unwrap()
}

fn session(mut frames: Vec<Vec<u8>>) -> Result<MuxSession> {
    frames.splice(..0, [hello(), SessionOpened { id: 0, session: 9 }.to_vec()]);
    served(frames)?.start(&MuxCommand::new("true"), null(), null(), null())
}

#[test]
fn honest_answers_are_taken() {
    assert_eq!(answered(Alive { id: 0, pid: 77 }).check().unwrap(), 77);
    assert_eq!(answered(RemotePort { id: 0, port: 4711 }).forward(&request()).unwrap(), Some(4711));
    assert_eq!(answered(Done { id: 0 }).forward(&request()).unwrap(), None);
    let text = ExtInfoAnswer { id: 0, status: 1, text: b"so" };
    assert_eq!(answered(text).info("connection").unwrap(), "so");
    answered(ProxyBegins { id: 0 }).proxy().unwrap();
    let mut failed = 0;
    let frames = vec![TtyAllocFail { session: 9 }.to_vec(), ExitMessage { session: 9, status: 300 }.to_vec()];
    let (near, far) = UnixStream::pair().unwrap();
    for frame in [hello(), SessionOpened { id: 0, session: 9 }.to_vec()].iter().chain(&frames) {
        frame::write_bytes(&far, frame, None).unwrap();
    }
    let client = MuxClient::greet(near).unwrap();
    let session = client.start(&MuxCommand::new("true"), null(), null(), null()).unwrap();
    drop(far);
    assert_eq!(session.wait(|| failed += 1).unwrap(), ExitStatus::Code(300));
    assert_eq!(failed, 1);
}

#[test]
fn refusals_are_shown_harmless() {
    for answer in [
        PermissionDenied { id: 0, reason: Escaped(b"no\x1b[2J") }.to_vec(),
        Failure { id: 0, reason: Escaped(b"no\x1b[2J") }.to_vec(),
    ] {
        let error = served(vec![hello(), answer]).unwrap().stop().unwrap_err();
        assert_eq!(error.to_string(), "the master of the connection refused to stop listening: no\\u{1b}[2J");
    }
    let refused = ExtInfoAnswer { id: 0, status: 0, text: b"\x07" };
    assert!(answered(refused).info("x").unwrap_err().to_string().ends_with("\\u{7}"));
}

#[test]
fn answers_to_something_else_are_errors() {
    assert!(answered(Alive { id: 1, pid: 7 }).check().is_err());
    assert!(answered(Done { id: 0 }).check().is_err());
    assert!(answered(Alive { id: 0, pid: 7 }).stop().is_err());
    assert!(answered(RemotePort { id: 0, port: 65536 }).forward(&request()).is_err());
    assert!(answered(RemotePort { id: 0, port: 1 }).cancel_forward(&request()).is_err());
    assert!(answered(Done { id: 0 }).proxy().is_err());
    assert!(answered(Done { id: 0 }).start(&MuxCommand::new(""), null(), null(), null()).is_err());
    let old = Hello { version: 3, extensions: Rest(b"") }.to_vec();
    assert!(matches!(served(vec![old]), Err(Error::Unsupported(_))));
    let plain = Hello { version: VERSION, extensions: Rest(b"") }.to_vec();
    assert!(matches!(served(vec![plain]).unwrap().info("connection"), Err(Error::Unsupported(_))));

    let exit = |session, status| ExitMessage { session, status }.to_vec();
    for frames in [
        vec![exit(8, 0)],
        vec![TtyAllocFail { session: 8 }.to_vec()],
        vec![exit(9, 0), exit(9, 1)],
        vec![Done { id: 0 }.to_vec()],
        vec![Vec::new()],
        vec![exit(9, 0)[..9].to_vec()],
    ] {
        assert!(session(frames).unwrap().wait(|| ()).is_err());
    }
}

#[test]
fn everything_a_master_says_is_an_error_when_it_is_cut() {
    let hello = hello();
    for cut in (0..hello.len()).filter(|cut| *cut != 8) {
        assert!(served(vec![hello[..cut].to_vec()]).is_err(), "{cut}");
    }
    let cuts = |answer: Vec<u8>, ask: &dyn Fn(MuxClient) -> Result<()>| {
        for cut in 0..answer.len() {
            let client = served(vec![hello.clone(), answer[..cut].to_vec()]).unwrap();
            assert!(ask(client).is_err(), "{cut} of {answer:?}");
        }
        let longer = [answer.as_slice(), b"\0"].concat();
        assert!(ask(served(vec![hello.clone(), longer]).unwrap()).is_err(), "{answer:?}");
    };
    cuts(Alive { id: 0, pid: 7 }.to_vec(), &|mut client| client.check().map(drop));
    cuts(Done { id: 0 }.to_vec(), &|mut client| client.stop());
    cuts(RemotePort { id: 0, port: 7 }.to_vec(), &|mut client| client.forward(&request()).map(drop));
    cuts(ProxyBegins { id: 0 }.to_vec(), &|client| client.proxy().map(drop));
    let text = ExtInfoAnswer { id: 0, status: 1, text: b"so" }.to_vec();
    cuts(text, &|mut client| client.info("connection").map(drop));
    cuts(SessionOpened { id: 0, session: 7 }.to_vec(), &|client| {
        client.start(&MuxCommand::new(""), null(), null(), null()).map(drop)
    });
    for cut in 0..hello.len() {
        let mut frame = Vec::new();
        frame.put(hello.as_slice());
        let (near, far) = UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &far, &frame[..cut]).unwrap();
        drop(far);
        assert!(MuxClient::greet(near).is_err());
    }
}

#[test]
fn frames_have_a_limit() {
    let (near, far) = UnixStream::pair().unwrap();
    let limit = |error| matches!(error, Err(Error::Limit { which: "FRAME_BYTES", .. }));
    assert!(limit(frame::write_bytes(&near, &vec![0; FRAME_BYTES + 1], None)));
    std::io::Write::write_all(&mut &near, &(FRAME_BYTES as u32 + 1).to_be_bytes()).unwrap();
    assert!(limit(frame::read(&far, until(std::time::Duration::from_secs(10))).map(drop)));
    let command = MuxCommand::new(vec![b'x'; FRAME_BYTES]);
    assert!(limit(answered(Done { id: 0 }).start(&command, null(), null(), null()).map(drop)));
}

#[test]
fn forwardings_come_back() {
    let (local, remote) = (ForwardKind::Local, ForwardKind::Remote);
    let to = || Some(Endpoint::tcp("elsewhere", 80));
    for (kind, listen, to) in [
        (local, Endpoint::tcp("", 1), to()),
        (local, Endpoint::tcp("localhost", 0), to()),
        (local, Endpoint::tcp("::1", 65535), None),
        (remote, Endpoint::tcp("", 0), None),
        (remote, Endpoint::unix("/a"), Some(Endpoint::unix(b"/\xff"))),
        (local, Endpoint::unix("/a"), to()),
    ] {
        let request = ForwardRequest { kind, listen, to };
        let message = request.message(3, true);
        let message = OpenForward::decode_packet(&message).unwrap();
        // What speaks SOCKS here has a number of its own.
        assert_eq!(ForwardRequest::from_message(&message).unwrap(), Some(request.clone()), "{message:?}");
        let close = request.message(3, false);
        let close = message::CloseForward::decode_packet(&close).unwrap().opened_by();
        assert_eq!(ForwardRequest::from_message(&close).unwrap(), Some(request));
    }
}

#[test]
fn what_is_no_forwarding() {
    let plain = OpenForward { id: 1, kind: 1, listen: b"", listen_port: 1, connect: b"a", connect_port: 2 };
    let read = |message: OpenForward<'_>| ForwardRequest::from_message(&message);
    let request = read(plain).unwrap().unwrap();
    assert_eq!(request.listen, Endpoint::tcp("localhost", 1));
    assert_eq!(read(OpenForward { kind: 4, ..plain }), Ok(None));
    assert_eq!(read(OpenForward { connect: b"", ..plain }), Ok(None));
    assert_eq!(read(OpenForward { connect_port: 0, ..plain }), Ok(None));
    assert_eq!(read(OpenForward { kind: 3, listen_port: u32::MAX - 1, ..plain }), Ok(None));
    assert_eq!(read(OpenForward { listen_port: 65536, ..plain }), Err(Malformed::Value));
    assert_eq!(read(OpenForward { connect_port: u32::MAX, ..plain }), Err(Malformed::Value));
    assert_eq!(read(OpenForward { connect: b"a\0", ..plain }), Err(Malformed::Value));
    assert_eq!(read(OpenForward { connect: b"\xff", ..plain }), Err(Malformed::Value));
    assert_eq!(
        strings(Rest(b"\0\0\0\x01a\0\0")).collect::<Vec<_>>(),
        [Ok(&b"a"[..]), Err(Malformed::Truncated)]
    );
}
