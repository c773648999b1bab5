//! What a server may do to our client: rows B38 to B52 of the security notes.

mod given;
mod raw;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{
    Algorithms, Error, ExitStatus, KeyError, KeyKind, Limits, PKey, PublicKey, Result, SSHClient,
    SSHClientBuilder, Secret, Signer,
};
use raw::{Case, Cipher, Deviation, Field, HostKey, Lists, Raw, Role, Stage, Take, message, run};

/// The client's deadline for everything up to its login.
const DEADLINE: Duration = Duration::from_secs(2);
/// A verdict that needs no waiting, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

fn client() -> SSHClientBuilder {
    let mut limits = Limits::default();
    (limits.rekey_timeout, limits.request_timeout) = (Duration::from_secs(2), Duration::from_secs(20));
    let mut algorithms = Algorithms::client_defaults();
    algorithms.set_kex("curve25519-sha256,diffie-hellman-group-exchange-sha256").unwrap();
    given::client().limits(limits).algorithms(algorithms).deadline(DEADLINE).username("robey").password("foo")
}

/// The client meets a server that does `attack`; what came of the connect, and of `attack`.
fn meets<T: Send>(
    builder: SSHClientBuilder,
    attack: impl FnOnce(&mut Raw) -> T + Send,
    then: impl FnOnce(Result<SSHClient>),
) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::scope(|scope| {
        let server = scope.spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            attack(&mut Raw::on(stream, Role::Server))
        });
        then(builder.connect(&address));
        server.join().unwrap()
    })
}

/// The connect must fail, within its deadline; how.
fn fails(what: &str, attack: impl FnOnce(&mut Raw) + Send) -> Error {
    let mut error = None;
    let started = Instant::now();
    meets(client(), attack, |result| error = Some(result.map(drop)));
    assert!(started.elapsed() < DEADLINE + AT_ONCE, "{what}: {:?}", started.elapsed());
    error.unwrap().expect_err(what)
}

/// What the client sent until it closed; nothing of it may be a secret or a wish.
fn saw_nothing(raw: &mut Raw, what: &str) {
    let closed = raw.closed(AT_ONCE);
    let wishes = closed.numbers.iter().any(|number| [5, 50, 61, 90].contains(number));
    assert!(!wishes, "{what}: {closed:?}");
}

fn b38_versions(_: &Stage) {
    let closed = fails("close", |_| {});
    assert!(matches!(closed, Error::Io { .. }), "{closed}");
    let silent = fails("silence", |raw| assert!(raw.closes(DEADLINE + AT_ONCE)));
    assert!(matches!(silent, Error::Timeout(_)), "{silent}");
    let slow = fails("a byte at a time", |raw| {
        let started = Instant::now();
        for byte in b"SSH-2.0-slow_slow_slow_slow_slow_slow".iter().cycle() {
            if !raw.bytes(&[*byte]) || started.elapsed() > DEADLINE * 2 {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
    });
    assert!(matches!(slow, Error::Timeout(_) | Error::Protocol { .. }), "{slow}");
    let line = [b'x'; 1 << 16];
    let lines = b"a line before the version\r\n".repeat(2000);
    for (what, piece) in [("one line", &line[..]), ("many lines", &lines)] {
        let error = fails(what, |raw| {
            let count = (40 << 20) / piece.len();
            (0..count).take_while(|_| raw.bytes(piece)).count();
        });
        assert!(matches!(error, Error::Protocol { .. }), "{what}: {error}");
    }
    for text in [&b"SSH-1.5-old\r\n"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n\0"] {
        let error = fails("another protocol", |raw| {
            raw.bytes(text);
            raw.closes(AT_ONCE);
        });
        assert!(matches!(error, Error::Protocol { .. } | Error::Timeout(_)), "{error}");
    }
}

fn b39_packets(_: &Stage) {
    for length in [0, 1, 13, 1 << 20, 1 << 31, u32::MAX] {
        fails("a length", |raw| {
            raw.version();
            raw.bytes(&length.to_be_bytes());
            raw.bytes(&[4; 16]);
            saw_nothing(raw, "a length");
        });
    }
    let good = Lists::default().kexinit(Cipher::Ctr);
    let mut overrun = good.clone();
    overrun[17..21].copy_from_slice(&u32::MAX.to_be_bytes());
    let markers = Lists { kex: "kex-strict-s-v00@openssh.com,ext-info-s".to_owned(), ..Lists::default() };
    for payload in [good[..40].to_vec(), overrun, markers.kexinit(Cipher::Ctr), [&good[..], b"x"].concat()] {
        fails("a KEXINIT", |raw| {
            raw.version().send(&payload);
            saw_nothing(raw, "a KEXINIT");
        });
    }
}

fn b40_host_keys(_: &Stage) {
    for deviation in [
        Deviation::OtherHash,
        Deviation::OtherSigner,
        Deviation::EmptySignature,
        Deviation::OtherLabel,
        Deviation::OtherType,
        Deviation::LyingBlob,
    ] {
        fails("a signature", |raw| {
            raw.version();
            raw.serve_exchange(&HostKey::new(), deviation);
            let closed = raw.closed(AT_ONCE);
            assert!(
                !closed.numbers.iter().any(|number| [21, 5, 50].contains(number)),
                "{deviation:?} {closed:?}"
            );
        });
    }
    // SHA-1 signatures are not taken unasked.
    let error = fails("ssh-rsa", |raw| {
        raw.lists.host_key = "ssh-rsa".to_owned();
        raw.version();
        raw.send_kexinit();
        saw_nothing(raw, "ssh-rsa");
    });
    assert!(matches!(error, Error::NoCommon { .. }), "{error}");
    let mut unknown = None;
    let strict = client().missing_host_key(feramiko::RejectPolicy);
    meets(
        strict,
        |raw| {
            raw.version();
            raw.send_kexinit();
            raw.await_kexinit();
            // The signature is right, and nobody knows the key.
            raw.reply(&HostKey::new(), Deviation::None);
            let closed = raw.closed(AT_ONCE);
            assert!(!closed.numbers.iter().any(|number| [21, 5, 50].contains(number)), "{closed:?}");
        },
        |result| unknown = result.err(),
    );
    assert!(matches!(unknown, Some(Error::HostKey { .. })), "{unknown:?}");
}

fn b41_shares(_: &Stage) {
    for deviation in [Deviation::ZeroShare, Deviation::ShortShare, Deviation::LongShare] {
        fails("a share", |raw| {
            raw.version();
            raw.send_kexinit();
            raw.await_kexinit();
            raw.reply(&HostKey::new(), deviation);
            let closed = raw.closed(AT_ONCE);
            assert!(
                !closed.numbers.iter().any(|number| [21, 5, 50].contains(number)),
                "{deviation:?} {closed:?}"
            );
        });
    }
    let prime = openssl::bn::BigNum::get_rfc3526_prime_3072().unwrap().to_vec();
    let mut even = prime.clone();
    *even.last_mut().unwrap() -= 1;
    let huge = vec![0xff; 60_000 / 8];
    let groups: [(&str, &[u8], &[u8]); 7] = [
        ("p = 0", &[], &[2]),
        ("a tiny p", &[23], &[2]),
        ("a p of 1024 bits", &prime[..128], &[2]),
        ("an even p", &even, &[2]),
        ("a p of 60000 bits", &huge, &[2]),
        ("g = 1", &prime, &[1]),
        ("g = p - 1", &prime, &even),
    ];
    for (what, p, g) in groups {
        fails(what, |raw| {
            raw.lists.kex = "diffie-hellman-group-exchange-sha256".to_owned();
            raw.version();
            raw.send_kexinit();
            raw.await_kexinit();
            raw.expect(34);
            raw.send(&message(31).mpint(p).mpint(g));
            let closed = raw.closed(AT_ONCE);
            assert!(!closed.numbers.contains(&32), "{what}: {closed:?}");
        });
    }
}

fn b42_strict(_: &Stage) {
    let strangers =
        [message(2).string("x"), message(4).bool(false).string("x").string(""), message(7).u32(0)];
    for stranger in strangers.iter().chain([&message(52), &message(6).string("ssh-userauth"), &message(21)]) {
        for first in [true, false] {
            fails("a stranger", |raw| {
                raw.lists = Lists::strict(Role::Server);
                raw.version();
                if first {
                    raw.send(stranger);
                    raw.send_kexinit();
                } else {
                    raw.send_kexinit();
                    raw.send(stranger);
                }
                saw_nothing(raw, &format!("{stranger:?} {first}"));
            });
        }
    }
}

fn b43_extensions(_: &Stage) {
    for count in [u32::MAX, 1025] {
        fails("EXT_INFO", |raw| {
            raw.version();
            raw.serve_exchange(&HostKey::new(), Deviation::None);
            let mut extensions = message(7).u32(count);
            for _ in 0..2000 {
                extensions = extensions.string("x").string("");
            }
            raw.send(&extensions);
            raw.closes(AT_ONCE);
        });
    }
}

fn b44_never_enough(_: &Stage) {
    let keys: Vec<_> = (0..100).map(|_| PKey::generate(KeyKind::Ed25519).unwrap()).collect();
    let many = keys.into_iter().fold(client(), SSHClientBuilder::key);
    // What answers by itself is not worn out by being asked.
    let answering = client().interactive(|_| Ok(Vec::new()));
    for (builder, methods) in [(many, "publickey,password"), (answering, "keyboard-interactive")] {
        let mut error = None;
        let asked = meets(
            builder,
            |raw| {
                raw.up_to_login(&HostKey::new());
                let mut asked = 0;
                while let Ok(Some(payload)) = raw.next(Instant::now() + AT_ONCE) {
                    if payload[0] == 50 {
                        asked += 1;
                        raw.send(&message(51).string(methods).bool(true));
                    }
                }
                asked
            },
            |result| error = result.err(),
        );
        assert!((2..=64).contains(&asked), "{asked} attempts by {methods}");
        assert!(error.is_some());
    }
}

fn b45_banners(_: &Stage) {
    let text = "\x1b[2Jspam".repeat(8000);
    let error = fails("banners", |raw| {
        raw.up_to_login(&HostKey::new());
        let banner = message(53).string(&text).string("");
        (0..(60 << 20) / text.len()).take_while(|_| raw.send(&banner)).count();
        raw.closes(AT_ONCE);
    });
    assert!(!error.to_string().contains('\x1b'), "{error}");
}

fn b46_prompts(_: &Stage) {
    for prompts in [
        message(60).string("").string("").string("").u32(u32::MAX),
        message(60).string("").string("").string("").u32(101).raw(vec![0; 600]),
        message(60).string("").string("").string("").u32(0),
    ] {
        let rounds = AtomicUsize::new(0);
        fails("prompts", |raw| {
            raw.up_to_login(&HostKey::new());
            while let Ok(Some(payload)) = raw.next(Instant::now() + AT_ONCE) {
                let answer = match payload[0] {
                    50 if payload.ends_with(b"\0\0\0\0\0\0\0\0") => prompts.clone(),
                    50 => message(51).string("keyboard-interactive").bool(false),
                    61 => prompts.clone(),
                    _ => continue,
                };
                rounds.fetch_add(1, Ordering::SeqCst);
                raw.send(&answer);
            }
        });
        let rounds = rounds.load(Ordering::SeqCst);
        assert!(rounds <= 30, "{rounds} rounds");
    }
}

/// A key held elsewhere, which counts what it signs.
struct Counting(PKey, Arc<AtomicUsize>);

impl Signer for Counting {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn sign(&self, algorithm: &str, data: &[u8]) -> std::result::Result<Vec<u8>, KeyError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.sign(algorithm, data)
    }
}

fn b47_another_key_would_do(_: &Stage) {
    let signed = Arc::new(AtomicUsize::new(0));
    let key = PKey::from_signer(Counting(PKey::generate(KeyKind::Ed25519).unwrap(), Arc::clone(&signed)));
    let mut error = None;
    meets(
        client().key(key),
        |raw| {
            raw.up_to_login(&HostKey::new());
            raw.expect(50);
            raw.send(&message(60).string("ssh-ed25519").string(HostKey::new().blob()));
            raw.closes(AT_ONCE);
        },
        |result| error = result.err(),
    );
    assert!(error.is_some());
    assert_eq!(signed.load(Ordering::SeqCst), 0, "something was signed");
}

fn b48_opens_nobody_asked_for(_: &Stage) {
    meets(
        client(),
        |raw| {
            raw.admit();
            for batch in 0..200 {
                for at in 0..100 {
                    let kind = ["forwarded-tcpip", "x11", "auth-agent@openssh.com", "session"][at % 4];
                    raw.send(&message(90).string(kind).u32(batch).u32(2 << 20).u32(32 * 1024));
                }
                for _ in 0..100 {
                    assert_eq!(raw.expect(92)[5..9], [0, 0, 0, 1]);
                }
            }
        },
        |result| {
            // Held until the server has gone through with it.
            let client = result.unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            while client.transport().is_active() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
        },
    );
}

fn b49_channels(_: &Stage) {
    type Attack = fn(&mut Raw);
    let attacks: [(&str, Attack); 6] = [
        ("a confirmation for nobody", |raw| {
            raw.expect(90);
            raw.send(&message(91).u32(77).u32(0).u32(1).u32(1));
        }),
        ("a largest packet of 0", |raw| {
            let open = raw.expect(90);
            let mut open = Take::new(&open[1..]);
            open.string();
            let theirs = open.u32();
            raw.send(&message(91).u32(theirs).u32(0).u32(1 << 20).u32(0));
        }),
        ("lying data", |raw| {
            let theirs = raw.accept_session();
            raw.expect(98);
            raw.send(&message(94).u32(theirs).u32(1 << 31).raw("x"));
        }),
        ("120 MB over the window", |raw| {
            let theirs = raw.accept_session();
            raw.expect(98);
            raw.send(&message(99).u32(theirs));
            let data = message(94).u32(theirs).string(vec![0; 32 * 1024]);
            (0..4000).take_while(|_| raw.send(&data)).count();
        }),
        ("a short exit status", |raw| {
            let theirs = raw.accept_session();
            raw.expect(98);
            raw.send(&message(99).u32(theirs));
            raw.send(&message(98).u32(theirs).string("exit-status").bool(false).u8(0));
        }),
        ("a window of 2^32", |raw| {
            let theirs = raw.accept_session();
            raw.send(&message(93).u32(theirs).u32(u32::MAX));
        }),
    ];
    for (what, attack) in attacks {
        meets(
            client(),
            |raw| {
                raw.admit();
                attack(raw);
                assert!(raw.closes(AT_ONCE), "{what}: not closed");
            },
            |result| {
                let client = result.unwrap();
                // Nobody reads: the window is all that may come.
                let ended = client.open_session().and_then(|channel| {
                    channel.exec_command("x")?;
                    channel.wait_exit(Some(AT_ONCE))
                });
                assert!(ended.is_err(), "{what}: {ended:?}");
            },
        );
    }
}

fn b50_ends_without_a_status(_: &Stage) {
    let output = |cut: bool| {
        let mut status = None;
        meets(
            client(),
            |raw| {
                raw.admit();
                let theirs = raw.accept_session();
                raw.expect(98);
                raw.send(&message(99).u32(theirs));
                raw.send(&message(94).u32(theirs).string("half of"));
                if !cut {
                    raw.send(&message(97).u32(theirs));
                    raw.closes(AT_ONCE);
                }
            },
            |result| {
                let client = result.unwrap();
                status = Some(client.output("x").and_then(|output| output.check()));
            },
        );
        status.unwrap()
    };
    let missing = output(false).unwrap_err();
    assert!(matches!(missing, Error::Exit(ExitStatus::Missing)), "{missing}");
    assert!(output(true).is_err(), "a connection that was cut is no success");
}

/// paramiko's server may answer a request after it has closed the channel; an answer for a channel that
/// never was is another matter.
fn answers_after_the_end(_: &Stage) {
    for (never_was, ends) in [(false, false), (true, true)] {
        meets(
            client(),
            |raw| {
                raw.admit();
                let theirs = raw.accept_session();
                raw.expect(98);
                raw.send(&message(94).u32(theirs).string("all"));
                raw.send(&message(98).u32(theirs).string("exit-status").bool(false).u32(0));
                raw.send(&message(97).u32(theirs));
                raw.send(&message(99).u32(if never_was { 77 } else { theirs }));
                if ends {
                    assert!(raw.closes(AT_ONCE));
                } else {
                    while raw.recv()[0] != 97 {}
                    raw.accept_session();
                    raw.closes(AT_ONCE);
                }
            },
            |result| {
                let client = result.unwrap();
                let output = client.output("x");
                if !ends {
                    assert_eq!(output.unwrap().check().unwrap().stdout, b"all");
                    client.open_session().unwrap();
                }
                client.close();
            },
        );
    }
}

fn b51_new_keys(_: &Stage) {
    for other in [true, false] {
        let mut ended = None;
        meets(
            client(),
            |raw| {
                let key = HostKey::new();
                raw.up_to_login(&key);
                raw.expect(50);
                raw.send(&[52]);
                raw.accept_session();
                raw.expect(98);
                raw.send_kexinit();
                if other {
                    raw.await_kexinit();
                    raw.reply(&HostKey::new(), Deviation::None);
                }
                assert!(raw.closes(Duration::from_secs(2) + AT_ONCE), "other key: {other}");
            },
            |result| {
                let client = result.unwrap();
                let channel = client.open_session().unwrap();
                ended = Some(channel.exec_command("x"));
            },
        );
        assert!(ended.unwrap().is_err(), "other key: {other}");
    }
}

fn b52_escape_codes(_: &Stage) {
    let error = fails("DISCONNECT", |raw| {
        raw.version();
        raw.serve_exchange(&HostKey::new(), Deviation::None);
        raw.send(&message(4).bool(true).string("\x1b[31mdebug").string(""));
        raw.send(&message(1).u32(2).string("\x1b[2J\r\nall is well").string(""));
        raw.closes(AT_ONCE);
    });
    let text = error.to_string();
    assert!(matches!(error, Error::Disconnected { .. }), "{text}");
    assert!(text.contains("all is well") && !text.contains('\x1b') && !text.contains('\n'), "{text:?}");
    let error = fails("methods", |raw| {
        raw.up_to_login(&HostKey::new());
        raw.expect(50);
        raw.send(&message(51).string("\x1b[31mred,pass\nword").bool(false));
        raw.closes(AT_ONCE);
    });
    assert!(!error.to_string().contains('\x1b'), "{error}");
}

/// A secret that was asked for is read, so that the password callback stays in use.
fn serves(stage: &Stage) {
    let client = client().password_callback(|_| Some(Secret::from("foo"))).connect(&stage.address).unwrap();
    let mut process = client.exec_command("cat").unwrap();
    process.stdin.take().unwrap().write_all(b"still here").unwrap();
    let mut text = String::new();
    process.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "still here");
}

const CASES: &[Case<Stage>] = &[
    ("B38 versions", 1024, b38_versions),
    ("B39 packets", 1024, b39_packets),
    ("B40 host keys", 1024, b40_host_keys),
    ("B41 shares", 1024, b41_shares),
    ("B42 strict", 1024, b42_strict),
    ("B43 extensions", 1024, b43_extensions),
    ("B44 never enough", 1024, b44_never_enough),
    ("B45 banners", 8192, b45_banners),
    ("B46 prompts", 1024, b46_prompts),
    ("B47 another key would do", 1024, b47_another_key_would_do),
    ("B48 opens nobody asked for", 4096, b48_opens_nobody_asked_for),
    // A window, grown once, and a packet.
    ("B49 channels", 4096 + 256, b49_channels),
    ("B50 ends without a status", 1024, b50_ends_without_a_status),
    ("answers after the end", 1024, answers_after_the_end),
    ("B51 new keys", 1024, b51_new_keys),
    ("B52 escape codes", 1024, b52_escape_codes),
];

#[test]
fn a_client_survives_servers() {
    let _watch = given::within(600);
    let stage = Stage::new();
    serves(&stage);
    run(&stage, serves, CASES);
}
