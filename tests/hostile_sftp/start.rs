//! The server's first packet (C58, C57), and what it says of its limits.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;

use feramiko::{Error, Result, SFTPClient};

use super::wire::{EXTENDED, Peer, is_protocol, packet, string, version, within};

/// What comes of a server that sends this after INIT and then nothing any more.
fn starts(what: &'static str, bytes: Vec<u8>) -> Result<SFTPClient> {
    within(what, move || {
        let (near, far) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || {
            let mut peer = Peer(far);
            assert_eq!(peer.next().unwrap().body, b"");
            peer.send(&bytes);
            peer.0.shutdown(Shutdown::Write).unwrap();
            while peer.next().is_some() {}
        });
        let outcome = SFTPClient::over(near);
        if let Ok(sftp) = &outcome {
            sftp.close();
        }
        server.join().unwrap();
        outcome
    })
}

#[test]
fn the_first_packet_may_be_anything() {
    let lengths = [0_u32, 1, 4, 256 * 1024 + 1, 1 << 31, u32::MAX];
    for length in lengths {
        let error = starts("length", [&length.to_be_bytes()[..], &[2; 64]].concat()).unwrap_err();
        assert!(is_protocol(&error), "{length}: {error}");
    }
    for number in [0_u32, 1, 2, 4, 6, u32::MAX] {
        let error = starts("version", packet(2, number, b"")).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{number}: {error}");
    }
    for kind in [0_u8, 1, 3, 101, 104, 255] {
        let error = starts("kind", packet(kind, 3, b"")).unwrap_err();
        assert!(is_protocol(&error), "{kind}: {error}");
    }
    let lying = [&string(b"name")[..], &[0, 0, 1, 0], b"short"].concat();
    for rest in [&b"\0"[..], &string(b"alone"), &lying, &[0xff; 40]] {
        let error = starts("extensions", packet(2, 3, rest)).unwrap_err();
        assert!(is_protocol(&error), "{rest:?}: {error}");
    }
}

#[test]
fn a_shell_that_talks_is_said_to() {
    for text in ["Welcome to the machine\n", "stty: standard input: Inappropriate ioctl for device\n"] {
        let error = starts("shell", [text.as_bytes(), &version(&[])].concat()).unwrap_err();
        assert!(is_protocol(&error) && error.to_string().contains("shell"), "{error}");
    }
}

#[test]
fn the_start_may_end_anywhere() {
    let whole = version(&["limits@openssh.com", "statvfs@openssh.com"]);
    for cut in 0..whole.len() {
        let error = starts("cut", whole[..cut].to_vec()).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{cut}: {error}");
    }
}

#[test]
fn many_extensions_are_too_many() {
    for (count, right) in [(100, true), (8000, false)] {
        let names: Vec<String> = (0..count).map(|number| format!("x{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let outcome = starts("many", version(&names));
        assert_eq!(outcome.is_ok_and(|sftp| sftp.extensions().count() == count), right, "{count}");
    }
}

/// A server that announces limits and answers with these.
fn limited(body: Vec<u8>) -> Result<SFTPClient> {
    starts("limits", [version(&["limits@openssh.com"]), packet(EXTENDED, 0, &body)].concat())
}

#[test]
fn limits_may_lie() {
    let told = |packet: u64, read: u64, write: u64| {
        [packet, read, write, 10].iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>()
    };
    let limits = limited(told(u64::MAX, u64::MAX, u64::MAX)).unwrap().limits();
    assert!(limits.read <= 256 * 1024 && limits.write <= 256 * 1024 && limits.packet <= 256 * 1024);
    let limits = limited(told(0, 0, 0)).unwrap().limits();
    assert_eq!((limits.read, limits.write), (32 * 1024, 32 * 1024));
    let limits = limited(told(1, 1, 1)).unwrap().limits();
    assert!(limits.read >= 1 && limits.write >= 1);
    for cut in [0, 1, 31] {
        let error = limited(told(1, 1, 1)[..cut].to_vec()).unwrap_err();
        assert!(is_protocol(&error), "{cut}: {error}");
    }
}
