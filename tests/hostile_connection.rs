//! What a client that is let in may do to our server: rows A13, A14 and A26 to A37 of the security
//! notes, from floods to random messages.

mod given;
mod raw;

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use raw::{Case, Field, REKEY, Raw, Stage, THINKING, Take, message, run};

/// A verdict that needs no waiting, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);
const WINDOW: u32 = 2 << 20;
const PACKET: u32 = 32 * 1024;

fn raw(stage: &Stage) -> Raw {
    Raw::logged_in(&stage.address, "robey", "foo")
}

/// A session that runs `command`; the server's number for it.
fn running(stage: &Stage, command: &str) -> (Raw, u32) {
    let mut raw = raw(stage);
    let channel = raw.open_session(0, WINDOW, PACKET);
    raw.exec(channel, command);
    (raw, channel)
}

/// The connection still does what it is for.
fn still_works(raw: &mut Raw) {
    let channel = raw.open_session(7, WINDOW, PACKET);
    raw.exec(channel, "echo still");
    assert!(raw.expect(94).ends_with(b"still"));
}

/// Closed with that code.
fn closed_with(raw: &mut Raw, code: u32, what: &str) {
    let closed = raw.closed(AT_ONCE);
    assert_eq!(closed.code, Some(code), "{what}: {closed:?}");
}

/// The same, unless what was still written reset the connection first.
fn closed_under_a_flood(raw: &mut Raw, code: u32, what: &str) {
    let closed = raw.closed(AT_ONCE);
    assert!(closed.code.is_none_or(|got| got == code), "{what}: {closed:?}");
}

fn a13_ignore(stage: &Stage) {
    let mut raw = raw(stage);
    let ignore = message(2).string(vec![0; 32 * 1024]);
    for _ in 0..2000 {
        assert!(raw.send(&ignore));
    }
    still_works(&mut raw);
}

fn a13_unknown_messages_unread(stage: &Stage) {
    let mut raw = raw(stage);
    flood(&mut raw, 60_000, &message(199).string("x"), 3);
}

fn a13_keepalives_unread(stage: &Stage) {
    let mut raw = raw(stage);
    flood(&mut raw, 100_000, &message(80).string("keepalive@openssh.com").bool(true), 82);
}

/// While the application thinks about one, a modest number waits, all answered in order afterwards;
/// more than that ends the connection, and at once.
fn a13_requests_while_one_is_thought_about(stage: &Stage) {
    let think = message(80).string("think").bool(true);
    let other = message(80).string("other").bool(true);
    let mut peer = raw(stage);
    assert!(peer.send(&think) && (0..1000).all(|_| peer.send(&other)));
    for _ in 0..1001 {
        peer.expect(82);
    }
    still_works(&mut peer);
    let mut peer = raw(stage);
    peer.send(&think);
    let started = Instant::now();
    assert!((0..100_000).any(|_| !peer.send(&other)), "nothing stops the flood");
    closed_under_a_flood(&mut peer, 2, "requests");
    assert!(started.elapsed() < THINKING, "it waited for the application");
}

/// Sends without reading. Either the connection is ended by a limit, with a goodbye if it gets through in its second,
/// or each is answered by that message.
fn flood(raw: &mut Raw, count: usize, payload: &[u8], answer: u8) {
    if (0..count).any(|_| !raw.send(payload)) {
        return closed_under_a_flood(raw, 2, "a flood");
    }
    let mut answers = 0;
    while answers < count {
        match raw.next(Instant::now() + AT_ONCE) {
            Ok(Some(payload)) if payload.starts_with(&message(1).u32(2)) => return,
            // The sockets take in a good part before the limit is met: who hangs up sooner has another reason.
            Ok(None) if answers > count / 10 => return,
            Ok(Some(payload)) => answers += usize::from(payload[0] == answer),
            end => panic!("{answers} answers to {count}: {end:?}"),
        }
    }
}

fn a14_pings_in_an_exchange(stage: &Stage) {
    let mut raw = raw(stage);
    raw.send_kexinit();
    flood(&mut raw, 100_000, &message(192).string([0; 1000]), 193);
}

fn a26_thirty_new_keys(stage: &Stage) {
    let mut raw = raw(stage);
    for _ in 0..30 {
        raw.exchange();
    }
    still_works(&mut raw);
}

/// Counts data up to a message of that number.
fn data_until(raw: &mut Raw, number: u8) -> (usize, Vec<u8>) {
    let mut total = 0;
    loop {
        let payload = raw.recv();
        match payload[0] {
            94 => total += Take::new(&payload[1..]).skip_u32().u32() as usize,
            got if got == number => return (total, payload),
            93 | 96 | 98 => {}
            got => panic!("message {got} after {total} bytes"),
        }
    }
}

fn a26_new_keys_under_output(stage: &Stage) {
    const WHOLE: usize = 4_000_000;
    // The window holds the end back, however late our KEXINIT is heard.
    const HELD_BACK: u32 = 1_000_000;
    let mut raw = raw(stage);
    let channel = raw.open_session(0, WHOLE as u32 - HELD_BACK, PACKET);
    raw.exec(channel, &format!("flood {WHOLE}"));
    raw.send_kexinit();
    let (before, kexinit) = data_until(&mut raw, 20);
    raw.take_kexinit(kexinit);
    // Nothing but the exchange comes now: anything else is a panic there.
    raw.finish_client();
    raw.send(&message(93).u32(channel).u32(HELD_BACK));
    let (after, _) = data_until(&mut raw, 97);
    assert_eq!(before + after, WHOLE);
}

fn a26_an_exchange_that_never_ends(stage: &Stage) {
    for waiting in [0, 10_000_000] {
        let (mut raw, channel) = running(stage, &format!("flood {waiting}"));
        raw.send(&message(93).u32(channel).u32(1 << 30));
        raw.send_kexinit();
        let started = Instant::now();
        assert!(raw.closes(REKEY + AT_ONCE), "{waiting}");
        assert!(started.elapsed() > REKEY / 2, "{waiting}: {:?}", started.elapsed());
    }
}

fn a27_newkeys_alone(stage: &Stage) {
    let mut alone = raw(stage);
    alone.send(&[21]);
    closed_with(&mut alone, 2, "NEWKEYS");
    let mut zero = raw(stage);
    zero.send_kexinit();
    zero.await_kexinit();
    zero.send(&message(30).string([0; 32]));
    closed_with(&mut zero, 3, "a zero point");
}

fn a28_channels_that_are_not_there(stage: &Stage) {
    for channel in [5, u32::MAX] {
        for payload in [
            message(94).u32(channel).string("x"),
            message(95).u32(channel).u32(1).string("x"),
            message(93).u32(channel).u32(1),
            message(96).u32(channel),
            message(97).u32(channel),
            message(98).u32(channel).string("exec").bool(true).string("echo x"),
        ] {
            let mut raw = raw(stage);
            raw.send(&payload);
            closed_with(&mut raw, 2, &format!("{payload:?}"));
        }
    }
}

fn a28_after_the_end(stage: &Stage) {
    for (what, end, then) in [
        ("data after EOF", 96, message(94)),
        ("data after CLOSE", 97, message(94)),
        ("CLOSE twice", 97, message(97)),
    ] {
        let (mut raw, channel) = running(stage, "deaf");
        raw.send(&message(end).u32(channel));
        let then = then.u32(channel);
        raw.send(&if then[0] == 94 { then.string("x") } else { then });
        closed_with(&mut raw, 2, what);
    }
}

fn a29_windows(stage: &Stage) {
    let (mut overflow, channel) = running(stage, "hold");
    overflow.send(&message(93).u32(channel).u32(u32::MAX));
    overflow.send(&message(93).u32(channel).u32(u32::MAX));
    closed_with(&mut overflow, 2, "a window of 2^32");

    let (mut over, channel) = running(stage, "deaf");
    let data = message(94).u32(channel).string(vec![0; PACKET as usize]);
    (0..2000).take_while(|_| over.send(&data)).count();
    closed_under_a_flood(&mut over, 2, "64 MB over the window");

    let (mut large, channel) = running(stage, "hold");
    large.send(&message(94).u32(channel).string(vec![0; 250 * 1024]));
    closed_with(&mut large, 2, "250 KB of data");

    let (mut lying, channel) = running(stage, "hold");
    lying.send(&message(94).u32(channel).u32(1000).raw("x"));
    closed_with(&mut lying, 2, "a lying length");

    let (mut huge, _) = running(stage, "hold");
    let mut packet = Vec::new();
    huge.outgoing.seal_body((2_u32 << 20).to_be_bytes(), &[4; 28], &mut packet);
    huge.bytes(&packet);
    closed_with(&mut huge, 5, "a packet of 2 MB");
}

/// Asks in batches and reads the answers; their numbers.
fn ask_many(raw: &mut Raw, count: u32, request: impl Fn(u32) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut answers = Vec::new();
    for batch in 0..count / 100 {
        for at in 0..100 {
            assert!(raw.send(&request(batch * 100 + at)));
        }
        while answers.len() < (batch as usize + 1) * 100 {
            let payload = raw.recv();
            if matches!(payload[0], 91 | 92) {
                answers.push(payload[..payload.len().min(9)].to_vec());
            }
        }
    }
    answers
}

fn a30_many_opens(stage: &Stage) {
    let mut greedy = raw(stage);
    let open = |kind: &'static str| move |at| message(90).string(kind).u32(at).u32(WINDOW).u32(PACKET);
    let answers = ask_many(&mut greedy, 5000, open("session"));
    let granted = answers.iter().filter(|answer| answer[0] == 91).count();
    assert_eq!(granted, 10, "sessions at once");
    let short = |answer: &&Vec<u8>| answer[0] == 92 && answer[5..] == [0, 0, 0, 4];
    assert_eq!(answers.iter().filter(short).count(), 4990, "resource shortage");

    let mut refused = raw(stage);
    let answers = ask_many(&mut refused, 20_000, open("nonsense@example.org"));
    // An unknown type, or a resource shortage when too many wait for the application.
    assert!(answers.iter().all(|answer| answer[0] == 92 && matches!(answer[8], 3 | 4)));
    still_works(&mut refused);

    let mut cycle = raw(stage);
    for at in 0..400 {
        let channel = cycle.open_session(at, WINDOW, PACKET);
        cycle.send(&message(97).u32(channel));
        cycle.expect(97);
    }
    still_works(&mut cycle);
}

fn a31_requests(stage: &Stage) {
    let request = |channel: u32, kind: &str| message(98).u32(channel).string(kind).bool(true);
    let before = stage.sessions();
    let (mut raw, channel) = running(stage, "hold");
    for kind in ["exec", "subsystem"] {
        raw.send(&request(channel, kind).string("echo x"));
        raw.expect(100);
    }
    raw.send(&request(channel, "shell"));
    raw.expect(100);
    // Granted is not yet begun: the session has a thread of its own.
    let deadline = Instant::now() + AT_ONCE;
    while stage.sessions() == before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(stage.sessions(), before + 1);

    let granted = stage.marks.granted.load(Ordering::SeqCst);
    let second = raw.open_session(1, WINDOW, PACKET);
    for garbage in [
        request(second, "env").string("LD_PRELOAD").string("/tmp/x.so"),
        request(second, "env").string("A\0B").string("x"),
        request(second, "pty-req").string("xterm"),
        request(second, "pty-req").string("xterm").u32(1).u32(1).u32(1).u32(1).u32(1000),
        request(second, "signal").string("KILL"),
        request(second, "window-change").u32(1).u32(1).u32(1).u32(1),
        request(second, "exec"),
        request(second, "exec").u32(u32::MAX),
        request(second, "nonsense"),
    ] {
        raw.send(&garbage);
        raw.expect(100);
    }
    assert_eq!(stage.marks.granted.load(Ordering::SeqCst), granted);
    still_works(&mut raw);
}

/// User and system time of the process, in ticks of 10 ms.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

fn a32_small_windows(stage: &Stage) {
    let mut raw = raw(stage);
    raw.send(&message(90).string("session").u32(0).u32(WINDOW).u32(0));
    raw.expect(92);
    let channel = raw.open_session(1, 0, PACKET);
    raw.exec(channel, "echo bytes");
    let before = ticks();
    let quiet = raw.next(Instant::now() + Duration::from_millis(500));
    assert!(quiet.is_err(), "nothing may come: {quiet:?}");
    assert!(ticks() - before < 25, "{} ticks of work for a closed window", ticks() - before);
    for byte in b"bytes" {
        raw.send(&message(93).u32(channel).u32(1));
        assert_eq!(raw.expect(94)[9..], [*byte]);
    }
}

fn a33_never_read(stage: &Stage) {
    let before = stage.marks.cut.load(Ordering::SeqCst);
    let mut raw = raw(stage);
    let channel = raw.open_session(0, u32::MAX, PACKET);
    raw.exec(channel, "flood 300000000");
    std::thread::sleep(Duration::from_millis(500));
    // And gone in the middle of it.
    drop(raw);
    let deadline = Instant::now() + Duration::from_secs(10);
    while stage.marks.cut.load(Ordering::SeqCst) == before {
        assert!(Instant::now() < deadline, "the command was not told");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn a34_unasked_answers(stage: &Stage) {
    for payload in [
        message(81),
        message(82),
        message(91).u32(0).u32(0).u32(WINDOW).u32(PACKET),
        message(92).u32(0).u32(1).string("").string(""),
        message(99).u32(0),
        message(100).u32(0),
    ] {
        let (mut raw, _) = running(stage, "hold");
        (0..3000).take_while(|_| raw.send(&payload)).count();
        closed_under_a_flood(&mut raw, 2, &format!("{payload:?}"));
    }
}

fn a34_cut_messages(stage: &Stage) {
    for number in (80..=82).chain(90..=100) {
        for body in [&[][..], &[0], &[0, 0, 0]] {
            // 81 and 82 are whole without a body, and answers that nobody asked for.
            let (mut raw, _) = running(stage, "hold");
            raw.send(&message(number).raw(body));
            closed_with(&mut raw, 2, &format!("{number} {body:?}"));
        }
    }
}

fn a35_forwards(stage: &Stage) {
    let mut raw = raw(stage);
    let host = "h".repeat(100_000);
    for (host, port) in [("127.0.0.1", 70_000), (&host[..], 22), ("127.0.0.1", 22)] {
        let open = message(90).string("direct-tcpip").u32(0).u32(WINDOW).u32(PACKET);
        raw.send(&open.string(host).u32(port).string("127.0.0.1").u32(1));
        raw.expect(92);
    }
    for (kind, host, port) in
        [("tcpip-forward", "127.0.0.1", 70_000), ("tcpip-forward", "", 0), ("cancel-tcpip-forward", "x", 1)]
    {
        raw.send(&message(80).string(kind).bool(true).string(host).u32(port));
        raw.expect(82);
    }
    let channel = raw.open_session(0, WINDOW, PACKET);
    let x11 = message(98).u32(channel).string("x11-req").bool(true).bool(false);
    raw.send(&x11.string("MIT-MAGIC-COOKIE-1").string("; touch /tmp/x").u32(0));
    raw.expect(100);
    still_works(&mut raw);
}

/// The same numbers each time, xorshift64.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// A message of a random number and up to 63 random bytes.
fn random(state: &mut u64) -> Vec<u8> {
    let length = next(state) % 64;
    let payload = message((next(state) % 256) as u8);
    payload.raw((0..length).map(|_| (next(state) % 256) as u8).collect::<Vec<_>>())
}

/// Before it is let in, each message of a client is answered or ends the connection.
fn a37_random_messages_before_a_login(stage: &Stage) {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let phases: [fn(&Stage) -> Raw; 3] = [
        |stage| {
            let mut raw = Raw::client(&stage.address);
            raw.version().send_kexinit();
            raw.await_kexinit();
            raw
        },
        |stage| Raw::keyed(&stage.address),
        |stage| Raw::at_auth(&stage.address),
    ];
    for (phase, connect) in phases.iter().enumerate() {
        let before = stage.sessions();
        let mut peer = connect(stage);
        for _ in 0..700 {
            let payload = random(&mut state);
            let sent = peer.send(&payload);
            // IGNORE, UNIMPLEMENTED, DEBUG and EXT_INFO, and a shut door.
            if sent && matches!(payload[0], 2..=4 | 7) {
                continue;
            }
            match peer.next(Instant::now() + AT_ONCE) {
                Ok(Some(answer)) if answer[0] != 1 => {
                    assert!(![52, 91, 99].contains(&answer[0]), "phase {phase}: {payload:?}: {answer:?}");
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("phase {phase}: nothing comes after {payload:?}")
                }
                _ => peer = connect(stage),
            }
        }
        // Logging in by chance did not happen.
        assert_eq!(stage.sessions(), before, "phase {phase}");
    }
}

fn a37_random_messages(stage: &Stage) {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for (phase, sessions) in [(raw as fn(&Stage) -> Raw, 0), (|stage| running(stage, "cat").0, 1)] {
        let (before, mut started) = (stage.sessions(), sessions);
        let mut peer = phase(stage);
        for _ in 0..700 {
            // Most end the connection at once: then another comes.
            std::thread::yield_now();
            if !peer.send(&random(&mut state)) || peer.is_closed() {
                peer = phase(stage);
                started += sessions;
            }
        }
        assert!(stage.sessions() <= before + started, "a session that nobody asked for");
    }
}

const CASES: &[Case<Stage>] = &[
    ("A13 IGNORE", 4096, a13_ignore),
    ("A13 unknown messages, unread", 4096, a13_unknown_messages_unread),
    ("A13 keepalives, unread", 4096, a13_keepalives_unread),
    ("A13 requests while one is thought about", 2048, a13_requests_while_one_is_thought_about),
    ("A14 pings in an exchange", 4096, a14_pings_in_an_exchange),
    ("A26 thirty new keys", 8192, a26_thirty_new_keys),
    ("A26 new keys under output", 8192, a26_new_keys_under_output),
    ("A26 an exchange that never ends", 8192, a26_an_exchange_that_never_ends),
    ("A27 NEWKEYS alone", 1024, a27_newkeys_alone),
    ("A28 channels that are not there", 1024, a28_channels_that_are_not_there),
    ("A28 after the end", 1024, a28_after_the_end),
    ("A29 windows", 2048 + 256, a29_windows),
    ("A30 many opens", 4096, a30_many_opens),
    ("A31 requests", 1024, a31_requests),
    ("A32 small windows", 1024, a32_small_windows),
    ("A33 never read", 8192, a33_never_read),
    ("A34 unasked answers", 1024, a34_unasked_answers),
    ("A34 cut messages", 1024, a34_cut_messages),
    ("A35 forwards", 1024, a35_forwards),
    ("A37 random messages before a login", 4096, a37_random_messages_before_a_login),
    ("A37 random messages", 4096, a37_random_messages),
];

#[test]
fn a_server_survives_clients_that_are_let_in() {
    let _watch = given::within(600);
    let stage = Stage::with(|algorithms, _| algorithms.set_macs("hmac-sha2-256").unwrap());
    stage.serves();
    run(&stage, Stage::serves, CASES);
}
