//! What a client may do to our server before it has keys: rows A1 to A12 of the security notes, from
//! silence to shares that are no keys.

mod given;
mod raw;

use std::time::{Duration, Instant};

use raw::{Case, Cipher, Field, GRACE, Lists, Raw, Role, STARTUPS, Stage, message, run};

/// A verdict that needs no waiting, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);
/// The grace time is over, and a bit.
const AFTER_GRACE: Duration = GRACE.saturating_add(Duration::from_secs(3));

/// Closed by the grace time and not before.
fn cut_by_grace(raw: &mut Raw, started: Instant) {
    raw.closes(AFTER_GRACE);
    assert!(started.elapsed() >= GRACE.mul_f32(0.9), "closed early: {:?}", started.elapsed());
    assert!(started.elapsed() < AFTER_GRACE, "closed late: {:?}", started.elapsed());
}

fn a01_silence(stage: &Stage) {
    let started = Instant::now();
    cut_by_grace(&mut Raw::client(&stage.address), started);
}

fn a01_a_byte_at_a_time(stage: &Stage) {
    let started = Instant::now();
    let mut raw = Raw::client(&stage.address);
    for byte in b"SSH-2.0-slow_slow_slow_slow_slow_slow_slow" {
        if !raw.bytes(&[*byte]) || started.elapsed() > AFTER_GRACE {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    cut_by_grace(&mut raw, started);
}

fn a01_ignore_for_ever(stage: &Stage) {
    let started = Instant::now();
    let mut raw = Raw::client(&stage.address);
    raw.version().exchange();
    while raw.send(&message(2).string("x")) && started.elapsed() < AFTER_GRACE {
        std::thread::sleep(Duration::from_millis(50));
    }
    cut_by_grace(&mut raw, started);
}

fn a01_keys_and_nothing_more(stage: &Stage) {
    let started = Instant::now();
    cut_by_grace(&mut Raw::keyed(&stage.address), started);
}

fn a02_what_is_no_version_line(stage: &Stage) {
    let long = vec![b'A'; 4 << 20];
    let lines = b"hello\r\n".repeat(20_000);
    for text in
        [&long[..], &lines, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-1.5-old\r\n", b"\r\n", b"\0\n"]
    {
        let mut raw = Raw::client(&stage.address);
        raw.bytes(text);
        assert!(raw.closes(AT_ONCE), "{:?}", String::from_utf8_lossy(&text[..text.len().min(20)]));
    }
}

fn a03_a_crowd(stage: &Stage) {
    let mut crowd: Vec<_> = (0..120).map(|_| Raw::client(&stage.address)).collect();
    // Each is told the version, or is closed without it.
    let greeted = crowd.iter_mut().map(|raw| raw.greeted(AT_ONCE)).filter(|greeted| *greeted).count();
    assert!((1..=STARTUPS).contains(&greeted), "{greeted} of 120 are served");
    wait_for_connections(stage, greeted);
    drop(crowd);
    for _ in 0..200 {
        let raw = Raw::client(&stage.address);
        socket2::SockRef::from(raw.stream()).set_linger(Some(Duration::ZERO)).unwrap();
    }
    wait_for_connections(stage, 0);
}

/// Connections that have ended are gone when the server has seen it.
fn wait_for_connections(stage: &Stage, most: usize) {
    let deadline = Instant::now() + AFTER_GRACE;
    while stage.connections() > most {
        assert!(Instant::now() < deadline, "{} connections instead of {most}", stage.connections());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Lengths that no packet has.
const LENGTHS: [u32; 7] = [0, 1, 3, 13, 1 << 20, 1 << 31, u32::MAX];

fn a04_lengths_in_the_clear(stage: &Stage) {
    for length in LENGTHS {
        let mut raw = Raw::client(&stage.address);
        raw.version();
        raw.bytes(&length.to_be_bytes());
        // Enough for the smaller ones to be judged; the larger ones are before anything follows.
        raw.bytes(&[4; 16]);
        assert_eq!(raw.closed(AT_ONCE).code, Some(2), "{length}");
    }
}

fn a04_lengths_under_a_cipher(stage: &Stage) {
    for cipher in Cipher::ALL {
        for length in LENGTHS {
            let mut raw = Raw::client(&stage.address);
            raw.cipher = cipher;
            raw.version().exchange();
            let mut packet = Vec::new();
            raw.outgoing.seal_body(length.to_be_bytes(), &[4; 28], &mut packet);
            raw.bytes(&packet);
            let closed = raw.closed(AT_ONCE);
            assert_eq!(closed.code, Some(5), "{cipher:?} {length}");
        }
    }
}

fn a05_padding(stage: &Stage) {
    for padding in [0_u8, 1, 3, 12, 13, 255] {
        let mut raw = Raw::client(&stage.address);
        raw.version();
        let mut body = vec![padding];
        body.resize(12, 2);
        let mut packet = Vec::new();
        raw.outgoing.seal_body(12_u32.to_be_bytes(), &body, &mut packet);
        raw.bytes(&packet);
        assert_eq!(raw.closed(AT_ONCE).code, Some(2), "{padding}");
    }
}

fn a06_kexinits(stage: &Stage) {
    let good = Lists::default().kexinit(Cipher::Ctr);
    let mut overrun = good.clone();
    overrun[17..21].copy_from_slice(&u32::MAX.to_be_bytes());
    let lists = |kex: &str, cipher: Option<&str>| {
        let mut lists = Lists { kex: kex.to_owned(), ..Lists::default() };
        lists.host_key = cipher.map_or_else(|| lists.host_key.clone(), str::to_owned);
        lists.kexinit(Cipher::Ctr)
    };
    let markers = "kex-strict-c-v00@openssh.com,ext-info-c";
    let huge = "a,".repeat(100_000);
    for (what, payload) in [
        ("a cut one", good[..40].to_vec()),
        ("a list that overruns", overrun),
        ("200 KB", lists(&huge, None)),
        ("empty lists", lists("", Some(""))),
        ("none", lists("none", Some("none"))),
        ("markers only", lists(markers, None)),
        ("trailing bytes", [&good[..], b"x"].concat()),
    ] {
        let mut raw = Raw::client(&stage.address);
        raw.version().send(&payload);
        let closed = raw.closed(AT_ONCE);
        assert!(matches!(closed.code, Some(2 | 3)), "{what}: {closed:?}");
        assert!(!closed.numbers.contains(&31), "{what}: {closed:?}");
    }
}

fn a07_kexinit_again(stage: &Stage) {
    for strict in [false, true] {
        let mut raw = Raw::client(&stage.address);
        if strict {
            raw.lists = Lists::strict(Role::Client);
        }
        raw.version();
        let init = raw.lists.kexinit(Cipher::Ctr);
        for _ in 0..3000 {
            if !raw.send(&init) {
                break;
            }
        }
        // What we still wrote may have reset the connection before the reason was read.
        let closed = raw.closed(AT_ONCE);
        assert!(closed.code.is_none_or(|code| code == 2), "strict: {strict} {closed:?}");
    }
}

fn a08_a_wrong_guess_is_dropped(stage: &Stage) {
    let mut raw = Raw::client(&stage.address);
    raw.lists.kex = "ecdh-sha2-nistp521,curve25519-sha256".to_owned();
    raw.lists.follows = true;
    raw.version();
    raw.send_kexinit();
    raw.send(&message(30).string("a share of another method"));
    raw.await_kexinit();
    // And the real one.
    raw.lists.follows = false;
    raw.finish_exchange_and_log_in();
}

fn a09_strict(stage: &Stage) {
    let strangers: [(&str, Vec<u8>); 7] = [
        ("IGNORE", message(2).string("x")),
        ("DEBUG", message(4).bool(false).string("x").string("")),
        ("UNIMPLEMENTED", message(3).u32(0)),
        ("EXT_INFO", message(7).u32(0)),
        ("SERVICE_REQUEST", message(5).string("ssh-userauth")),
        ("193", message(193).string("x")),
        ("NEWKEYS", message(21)),
    ];
    for (what, stranger) in &strangers {
        let mut raw = Raw::client(&stage.address);
        raw.lists = Lists::strict(Role::Client);
        raw.version();
        raw.send_kexinit();
        raw.send(stranger);
        let closed = raw.closed(AT_ONCE);
        assert_eq!((closed.code, closed.numbers.contains(&21)), (Some(2), false), "{what} {closed:?}");
    }
    let mut raw = Raw::client(&stage.address);
    raw.lists = Lists::strict(Role::Client);
    raw.version();
    raw.send(&strangers[0].1);
    raw.send_kexinit();
    let closed = raw.closed(AT_ONCE);
    assert_eq!((closed.code, closed.numbers.contains(&21)), (Some(2), false), "IGNORE first {closed:?}");
}

/// Shares that lead to a secret everybody knows, or that are none.
fn a10_shares_of_curve25519(stage: &Stage) {
    let order_8 = [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ];
    let mut one = [0; 32];
    one[0] = 1;
    let mut less_one = [0xff; 32];
    (less_one[0], less_one[31]) = (0xec, 0x7f);
    let shares = [&[0; 32][..], &one, &less_one, &order_8, &[9; 31], &[9; 33], &[]];
    refuse_shares(&stage.address, "curve25519-sha256", shares.map(|share| message(30).string(share)));
}

fn a10_shares_of_p256(stage: &Stage) {
    let mut off = [7; 65];
    off[0] = 4;
    let shares = [&off[..], &[0], &[4; 64], &[], &[2; 33]];
    refuse_shares(&stage.address, "ecdh-sha2-nistp256", shares.map(|share| message(30).string(share)));
}

fn a10_shares_of_group14(stage: &Stage) {
    // RFC 3526 §3.
    let p = openssl::bn::BigNum::get_rfc3526_prime_2048().unwrap().to_vec();
    let mut less_one = p.clone();
    *less_one.last_mut().unwrap() -= 1;
    let above = [&p[..], &[1]].concat();
    let numbers = [&[][..], &[1], &less_one, &p, &above];
    let mut shares: Vec<_> = numbers.iter().map(|number| message(30).mpint(number)).collect();
    // Negative: the highest bit is set.
    shares.push(message(30).string([0xff]));
    refuse_shares(&stage.address, "diffie-hellman-group14-sha256", shares);
}

fn refuse_shares(address: &str, kex: &str, shares: impl IntoIterator<Item = Vec<u8>>) {
    for share in shares {
        let mut raw = Raw::client(address);
        raw.lists.kex = kex.to_owned();
        raw.version();
        raw.send_kexinit();
        raw.await_kexinit();
        raw.send(&share);
        let closed = raw.closed(AT_ONCE);
        assert_eq!(closed.code, Some(3), "{kex} {share:?}: {closed:?}");
        assert!(!closed.numbers.contains(&31), "{kex} {share:?}: {closed:?}");
    }
}

fn a11_group_exchange(stage: &Stage) {
    let requests = [
        ("least above most", message(34).u32(4096).u32(3072).u32(2048)),
        ("wanted above most", message(34).u32(2048).u32(8192).u32(4096)),
        ("too small", message(34).u32(1024).u32(1024).u32(1024)),
        ("too large", message(34).u32(u32::MAX).u32(u32::MAX).u32(u32::MAX)),
        ("a server's group", message(31).mpint(&[5; 256]).mpint(&[2])),
        ("a server's answer", message(33).string("k").mpint(&[5]).string("s")),
    ];
    for (what, request) in requests {
        let started = Instant::now();
        let mut raw = Raw::client(&stage.address);
        raw.lists.kex = "diffie-hellman-group-exchange-sha256".to_owned();
        raw.version();
        raw.send_kexinit();
        raw.await_kexinit();
        raw.send(&request);
        let closed = raw.closed(AT_ONCE);
        assert!(matches!(closed.code, Some(2 | 3)), "{what}: {closed:?}");
        // 31 would be a group, 33 a reply.
        assert!(!closed.numbers.iter().any(|number| [31, 33].contains(number)), "{what}: {closed:?}");
        assert!(started.elapsed() < AT_ONCE, "{what}");
    }
}

fn a12_a_flipped_bit(stage: &Stage) {
    let before = stage.sessions();
    for cipher in Cipher::ALL {
        let request = message(5).string("ssh-userauth");
        // In the length, the body, the tag; and the packet twice.
        for flip in [0, 3, 5, 9, 31, usize::MAX, usize::MAX - 1] {
            let mut raw = Raw::client(&stage.address);
            raw.cipher = cipher;
            raw.version().exchange();
            let mut packet = raw.seal(&request);
            let length = packet.len();
            match flip {
                usize::MAX => packet[length - 1] ^= 1,
                at if at == usize::MAX - 1 => {
                    raw.bytes(&packet);
                    raw.expect(6);
                }
                at => packet[at] ^= 1,
            }
            raw.bytes(&packet);
            // What a flipped length waits for.
            raw.bytes(&vec![0; 64 * 1024]);
            let closed = raw.closed(AT_ONCE);
            assert!(!closed.numbers.contains(&6), "{cipher:?} {flip}: {closed:?}");
            assert!(closed.code == Some(5), "{cipher:?} {flip}: {closed:?}");
        }
    }
    assert_eq!(stage.sessions(), before);
}

const CASES: &[Case<Stage>] = &[
    ("A1 silence", 1024, a01_silence),
    ("A1 a byte at a time", 1024, a01_a_byte_at_a_time),
    ("A1 IGNORE for ever", 1024, a01_ignore_for_ever),
    ("A1 keys and nothing more", 1024, a01_keys_and_nothing_more),
    ("A2 version lines", 1024, a02_what_is_no_version_line),
    ("A3 a crowd", 120 * 64, a03_a_crowd),
    ("A4 lengths in the clear", 1024, a04_lengths_in_the_clear),
    ("A4 lengths under a cipher", 1024, a04_lengths_under_a_cipher),
    ("A5 padding", 1024, a05_padding),
    ("A6 KEXINITs", 1024, a06_kexinits),
    ("A7 KEXINIT again", 1024, a07_kexinit_again),
    ("A8 a wrong guess", 1024, a08_a_wrong_guess_is_dropped),
    ("A9 strict", 1024, a09_strict),
    ("A10 curve25519", 1024, a10_shares_of_curve25519),
    ("A10 P-256", 1024, a10_shares_of_p256),
    ("A10 group14", 1024, a10_shares_of_group14),
    ("A11 group exchange", 1024, a11_group_exchange),
    ("A12 a flipped bit", 1024, a12_a_flipped_bit),
];

#[test]
fn a_server_survives_clients_without_keys() {
    let _watch = given::within(600);
    let stage = Stage::with(|algorithms, _| {
        algorithms
            .set_kex(
                "curve25519-sha256,ecdh-sha2-nistp256,diffie-hellman-group14-sha256,diffie-hellman-group-exchange-sha256",
            )
            .unwrap();
        algorithms.set_macs("hmac-sha2-256").unwrap();
    });
    stage.serves();
    run(&stage, Stage::serves, CASES);
}
