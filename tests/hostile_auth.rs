//! What a client may do to our server before it is let in: rows A15 to A25 of the security notes.

mod given;
mod raw;

use std::time::{Duration, Instant};

use raw::{Case, Field, HostKey, Raw, Stage, auth_request, message, run};

/// A verdict that needs no waiting, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

/// What must not have happened: nobody was let in, nothing ran.
fn refused(stage: &Stage, raw: &mut Raw, payload: &[u8]) {
    let before = stage.sessions();
    raw.send(payload);
    let closed = raw.closed(AT_ONCE);
    let opened = closed.numbers.iter().any(|number| [52, 91, 99].contains(number));
    assert!(!opened, "{payload:?}: {closed:?}");
    assert!(closed.code.is_some_and(|code| [2, 7, 14].contains(&code)), "{payload:?}: {closed:?}");
    assert_eq!(stage.sessions(), before, "{payload:?}");
}

fn a15_bombs(stage: &Stage) {
    let mut deflate = flate2::Compress::new(flate2::Compression::best(), true);
    let mut bomb = Vec::with_capacity(200 * 1024);
    let piece = vec![2; 1 << 20];
    for _ in 0..99 {
        deflate.compress_vec(&piece, &mut bomb, flate2::FlushCompress::None).unwrap();
    }
    deflate.compress_vec(&piece, &mut bomb, flate2::FlushCompress::Sync).unwrap();
    assert_eq!(deflate.total_in(), 100 << 20);
    for (what, payload) in [("100 MB", bomb), ("no stream", vec![0xff; 1000])] {
        let mut raw = Raw::client(&stage.address);
        raw.lists.compression = "zlib@openssh.com".to_owned();
        raw.version().exchange();
        raw.send(&message(5).string("ssh-userauth"));
        raw.expect(6);
        raw.send(&auth_request("robey", "password").bool(false).string("foo"));
        raw.expect(52);
        raw.inflate = Some(flate2::Decompress::new(true));
        raw.send(&payload);
        assert_eq!(raw.closed(AT_ONCE).code, Some(6), "{what}");
    }
}

fn a16_services(stage: &Stage) {
    for service in ["ssh-connection", "ssh-nonsense", ""] {
        refused(stage, &mut Raw::keyed(&stage.address), &message(5).string(service));
    }
    for service in ["ssh-nonsense", "ssh-userauth"] {
        let request = message(50).string("robey").string(service).string("password");
        refused(stage, &mut Raw::at_auth(&stage.address), &request.bool(false).string("foo"));
    }
}

/// Everything of the connection, and what only servers send.
fn a17_before_authentication(stage: &Stage) {
    let session = message(90).string("session").u32(0).u32(1 << 20).u32(1 << 15);
    let strangers = [
        session,
        message(80).string("tcpip-forward").bool(true).string("").u32(0),
        message(98).u32(0).string("exec").bool(true).string("echo x"),
        message(94).u32(0).string("x"),
        message(52),
        message(51).string("password").bool(true),
        message(53).string("x").string(""),
        message(60).string("").string("").string("").u32(0),
        message(6).string("ssh-connection"),
        message(31).string("").string("").string(""),
    ];
    for stranger in &strangers {
        let mut clear = Raw::client(&stage.address);
        clear.version();
        refused(stage, &mut clear, stranger);
        refused(stage, &mut Raw::keyed(&stage.address), stranger);
        refused(stage, &mut Raw::at_auth(&stage.address), stranger);
    }
}

/// A request signed by `key`; what is signed may say something else.
fn signed(user: &str, key: &HostKey, sign: &HostKey, says: &[u8]) -> Vec<u8> {
    let request = auth_request(user, "publickey").bool(true).string("ssh-ed25519").string(key.blob());
    request.string(sign.sign(says))
}

fn to_sign(session_id: &[u8], user: &str, service: &str, algorithm: &str, key: &HostKey) -> Vec<u8> {
    let text = Vec::new().string(session_id).u8(50).string(user).string(service).string("publickey");
    text.bool(true).string(algorithm).string(key.blob())
}

fn a18_signatures(stage: &Stage) {
    let (good, evil) = (&stage.raw_key, HostKey::new());
    let honest = |raw: &Raw| to_sign(&raw.session_id, "robey", "ssh-connection", "ssh-ed25519", good);
    let mut raw = Raw::at_auth(&stage.address);
    let right = signed("robey", good, good, &honest(&raw));
    raw.send(&right);
    raw.expect(52);

    type Forge<'a> = Box<dyn Fn(&Raw) -> Vec<u8> + 'a>;
    let says = |session: &[u8], user: &str, service: &str, algorithm: &str, key: &HostKey| {
        signed("robey", good, good, &to_sign(session, user, service, algorithm, key))
    };
    let forgeries: Vec<(&str, Forge<'_>)> = vec![
        ("none", Box::new(|_| auth_request("robey", "none"))),
        ("an unknown key", Box::new(|raw| signed("robey", &evil, &evil, &honest(raw)))),
        ("another's signature", Box::new(|raw| signed("robey", good, &evil, &honest(raw)))),
        ("another session", Box::new(|_| says(&[1; 32], "robey", "ssh-connection", "ssh-ed25519", good))),
        (
            "another user",
            Box::new(|raw| says(&raw.session_id, "root", "ssh-connection", "ssh-ed25519", good)),
        ),
        ("another service", Box::new(|raw| says(&raw.session_id, "robey", "ssh-x", "ssh-ed25519", good))),
        ("another algorithm", Box::new(|raw| says(&raw.session_id, "robey", "ssh-connection", "x", good))),
        (
            "another key",
            Box::new(|raw| says(&raw.session_id, "robey", "ssh-connection", "ssh-ed25519", &evil)),
        ),
        ("for another user", Box::new(|raw| signed("nobody", good, good, &honest(raw)))),
    ];
    for (what, forge) in forgeries {
        let mut raw = Raw::at_auth(&stage.address);
        let request = forge(&raw);
        raw.send(&request);
        assert_eq!(raw.recv()[0], 51, "{what}");
    }
    // Asked about one key, signed with another.
    let mut raw = Raw::at_auth(&stage.address);
    raw.send(&auth_request("robey", "publickey").bool(false).string("ssh-ed25519").string(good.blob()));
    raw.expect(60);
    let text = to_sign(&raw.session_id, "robey", "ssh-connection", "ssh-ed25519", &evil);
    raw.send(&signed("robey", &evil, &evil, &text));
    assert_eq!(raw.recv()[0], 51, "another key after PK_OK");
}

fn a19_blobs(stage: &Stage) {
    let good = stage.raw_key.blob();
    let huge = [1; 25_000];
    let blobs = [
        ("empty", "ssh-ed25519", Vec::new()),
        ("cut", "ssh-ed25519", good[..30].to_vec()),
        ("a lying length", "ssh-ed25519", [&good[..15], &[0xff; 4], &good[19..]].concat()),
        ("trailing", "ssh-ed25519", [&good[..], b"x"].concat()),
        ("another type", "ssh-ed25519", Vec::new().string("ssh-rsa").mpint(&[3]).mpint(&huge[..256])),
        ("RSA of 200000 bits", "rsa-sha2-256", Vec::new().string("ssh-rsa").mpint(&[1, 0, 1]).mpint(&huge)),
        ("RSA with e = 1", "rsa-sha2-256", Vec::new().string("ssh-rsa").mpint(&[1]).mpint(&huge[..256])),
        ("a huge e", "rsa-sha2-256", Vec::new().string("ssh-rsa").mpint(&huge).mpint(&huge[..256])),
        (
            "a certificate in a certificate",
            "ssh-ed25519-cert-v01@openssh.com",
            Vec::new()
                .string("ssh-ed25519-cert-v01@openssh.com")
                .string([7; 32])
                .string(Vec::new().string("ssh-ed25519-cert-v01@openssh.com").string(&good)),
        ),
        (
            "a point at infinity",
            "ecdsa-sha2-nistp256",
            Vec::new().string("ecdsa-sha2-nistp256").string("nistp256").string([0]),
        ),
    ];
    for (what, algorithm, blob) in blobs {
        for signature in [None, Some(Vec::new()), Some(vec![0xff; 100]), Some(stage.raw_key.sign(b"x"))] {
            let mut raw = Raw::at_auth(&stage.address);
            let request = auth_request("robey", "publickey").bool(signature.is_some()).string(algorithm);
            let request = request.string(&blob);
            let started = Instant::now();
            raw.send(&match signature {
                None => request,
                Some(signature) => request.string(signature),
            });
            assert!(matches!(raw.recv()[0], 51 | 1), "{what}");
            assert!(started.elapsed() < AT_ONCE, "{what}: {:?}", started.elapsed());
        }
    }
}

fn a19_prefixes(stage: &Stage) {
    let whole =
        auth_request("robey", "publickey").bool(true).string("ssh-ed25519").string(stage.raw_key.blob());
    let whole = whole.string(stage.raw_key.sign(b"x"));
    for end in (1..whole.len()).step_by(3) {
        let mut raw = Raw::at_auth(&stage.address);
        raw.send(&whole[..end]);
        assert!(matches!(raw.recv()[0], 51 | 1), "cut at {end}");
    }
}

/// The nth attempt.
type Attempt<'a> = &'a dyn Fn(usize) -> Vec<u8>;

fn a20_tries(stage: &Stage) {
    let evil = HostKey::new();
    let query = |_| auth_request("robey", "publickey").bool(false).string("ssh-ed25519").string(evil.blob());
    let known = stage.raw_key.blob();
    // The sixth refusal is the end; the first `none` asks what there is.
    let attempts: [(&str, usize, Attempt<'_>); 4] = [
        ("passwords", 5, &|at| auth_request("robey", "password").bool(false).string(format!("wrong {at}"))),
        ("keys", 5, &query),
        ("none", 6, &|_| auth_request("robey", "none")),
        ("a key that would do, never used", 20, &|_| {
            auth_request("robey", "publickey").bool(false).string("ssh-ed25519").string(&known)
        }),
    ];
    for (what, expected, attempt) in attempts {
        let mut raw = Raw::at_auth(&stage.address);
        let mut answers = 0;
        for at in 0..2000 {
            if !raw.send(&attempt(at)) {
                break;
            }
            match raw.next(Instant::now() + AT_ONCE).unwrap() {
                Some(payload) if matches!(payload[0], 51 | 60) => answers += 1,
                Some(payload) => {
                    assert_eq!(payload[..5], message(1).u32(14), "{what}");
                    break;
                }
                None => break,
            }
        }
        assert_eq!(answers, expected, "{what}");
        assert!(raw.closes(AT_ONCE), "{what}");
    }
}

fn a21_users_cannot_be_told_apart(stage: &Stage) {
    let evil = HostKey::new();
    type Request<'a> = &'a dyn Fn(&str) -> Vec<u8>;
    let requests: [Request<'_>; 3] = [
        &|user| auth_request(user, "password").bool(false).string("wrong"),
        &|user| auth_request(user, "publickey").bool(false).string("ssh-ed25519").string(evil.blob()),
        &|user| auth_request(user, "none"),
    ];
    for (at, request) in requests.iter().enumerate() {
        let [real, unknown] = ["robey", "nobody"].map(|user| {
            let mut times = Vec::new();
            let mut replies = Vec::new();
            for _ in 0..5 {
                let mut raw = Raw::at_auth(&stage.address);
                let started = Instant::now();
                raw.send(&request(user));
                replies.push(raw.recv());
                times.push(started.elapsed());
            }
            times.sort();
            (replies, times[2])
        });
        assert_eq!(real.0, unknown.0, "request {at}");
        let (less, more) = (real.1.min(unknown.1), real.1.max(unknown.1));
        assert!(
            more - less < Duration::from_millis(50) || more < less * 4,
            "request {at}: {less:?} {more:?}"
        );
    }
}

fn a22_names(stage: &Stage) {
    let long = "x".repeat(200 * 1024);
    for user in [&long[..], "a\0b", "$(touch /tmp/x)", "`id`", "-oProxyCommand=x", "\x1b[31m", "a\nb", ""] {
        for password in ["foo", &long[..50_000], "a\0b"] {
            let mut raw = Raw::at_auth(&stage.address);
            raw.send(&auth_request(user, "password").bool(false).string(password));
            assert!(matches!(raw.recv()[0], 51 | 1), "{:?}", &user[..user.len().min(20)]);
        }
    }
    for password in [&long[..50_000], "foo\0"] {
        let mut raw = Raw::at_auth(&stage.address);
        raw.send(&auth_request("robey", "password").bool(false).string(password));
        assert!(matches!(raw.recv()[0], 51 | 1));
    }
}

fn a23_answers(stage: &Stage) {
    refused(stage, &mut Raw::at_auth(&stage.address), &message(61).u32(1).string("42"));
    for (what, answers) in [
        ("too many", message(61).u32(u32::MAX).string("42")),
        ("none", message(61).u32(0)),
        ("two", message(61).u32(2).string("42").string("42")),
        ("cut", message(61).u32(1).u32(100)),
        ("wrong", message(61).u32(1).string("43")),
    ] {
        let mut raw = Raw::at_auth(&stage.address);
        raw.send(&auth_request("robey", "keyboard-interactive").string("").string(""));
        raw.expect(60);
        raw.send(&answers);
        assert!(matches!(raw.recv()[0], 51 | 1), "{what}");
    }
}

fn a24_in_one_write(stage: &Stage) {
    let before = stage.sessions();
    let mut raw = Raw::at_auth(&stage.address);
    let mut both = raw.seal(&auth_request("robey", "password").bool(false).string("wrong"));
    both.extend(raw.seal(&message(90).string("session").u32(0).u32(1 << 20).u32(1 << 15)));
    both.extend(raw.seal(&message(98).u32(0).string("exec").bool(true).string("echo x")));
    raw.bytes(&both);
    let closed = raw.closed(AT_ONCE);
    assert!(!closed.numbers.iter().any(|number| [52, 91, 99].contains(number)), "{closed:?}");
    assert_eq!(stage.sessions(), before);
}

fn a25_after_success(stage: &Stage) {
    let mut raw = Raw::logged_in(&stage.address, "robey", "foo");
    for _ in 0..3 {
        raw.send(&auth_request("root", "password").bool(false).string("wrong"));
    }
    let channel = raw.open_session(0, 1 << 20, 1 << 15);
    raw.exec(channel, "echo as-before");
    assert!(raw.expect(94).ends_with(b"as-before"));
}

const CASES: &[Case<Stage>] = &[
    ("A15 bombs", 1024, a15_bombs),
    ("A16 services", 1024, a16_services),
    ("A17 before authentication", 1024, a17_before_authentication),
    ("A18 signatures", 1024, a18_signatures),
    ("A19 blobs", 1024, a19_blobs),
    ("A19 prefixes", 1024, a19_prefixes),
    ("A20 tries", 1024, a20_tries),
    ("A21 users", 1024, a21_users_cannot_be_told_apart),
    ("A22 names", 2048, a22_names),
    ("A23 answers", 1024, a23_answers),
    ("A24 in one write", 1024, a24_in_one_write),
    ("A25 after success", 1024, a25_after_success),
];

#[test]
fn a_server_survives_clients_that_are_not_let_in() {
    let _watch = given::within(600);
    let stage = Stage::with(|algorithms, limits| {
        algorithms.set_macs("hmac-sha2-256").unwrap();
        algorithms.set_compressions("none,zlib@openssh.com").unwrap();
        // The attacks wait for their verdicts; the grace time is tested elsewhere.
        limits.login_grace = Duration::from_secs(30);
    });
    stage.serves();
    run(&stage, Stage::serves, CASES);
}
