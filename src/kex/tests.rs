//! Two machines with each other, every method; and everything a bad peer may try.

use super::table::{Kind, METHODS};
use super::*;
use crate::key::{KeyKind, PKey};
use crate::msg::kex::{
    KexDhInit, KexEcdhInit, KexGexGroup, KexGexRequest, KexGexRequestOld, KexInit, NewKeys,
};
use crate::packet::{Opened, Opener, Sealer};
use crate::wire::{Encode, Mpint, NameList};
use std::sync::Arc;

fn setup(role: Role, kex: &str, key: &PKey) -> Setup {
    let mut algorithms = Algorithms::client_defaults();
    algorithms.set_kex(kex).unwrap();
    let (client, server) = (b"SSH-2.0-client".to_vec(), b"SSH-2.0-server".to_vec());
    let (our_ident, peer_ident) = if role == Role::Client { (client, server) } else { (server, client) };
    let host_keys = if role == Role::Server { vec![key.public_key().clone()] } else { Vec::new() };
    Setup { role, algorithms, our_ident, peer_ident, host_keys, moduli: Arc::default() }
}

/// One side: the machine, what it was told to do, the switched halves.
struct Side {
    kex: Kex,
    setup: Setup,
    key: PKey,
    out: Vec<Vec<u8>>,
    sealer: Sealer,
    opener: Opener,
    finished: bool,
}

impl Side {
    fn new(setup: Setup, key: &PKey) -> Self {
        let kexinit = Kex::kexinit(&setup, true).unwrap();
        let mut kex = Kex::new(setup.clone());
        kex.begin(kexinit.clone());
        Self {
            kex,
            setup,
            key: key.clone(),
            out: vec![kexinit],
            sealer: Sealer::plain(),
            opener: Opener::plain(),
            finished: false,
        }
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(payload) => self.out.push(payload),
                Action::CheckHostKey(key) => {
                    let more = self.kex.host_key_accepted(key).unwrap();
                    self.act(more);
                }
                Action::Sign { algorithm, data, .. } => {
                    let signature = self.key.sign(algorithm, &data).unwrap();
                    let more = self.kex.signed(signature).unwrap();
                    self.act(more);
                }
                Action::NewKeys { keys, reset_sequence } => {
                    self.out.push(NewKeys {}.to_vec());
                    self.sealer.replace(keys, reset_sequence);
                }
                Action::Install { keys, reset_sequence } => self.opener.replace(keys, reset_sequence),
                Action::Finished => self.finished = true,
            }
        }
    }

    fn feed(&mut self, payload: &[u8]) -> Result<(), KexError> {
        let actions = self.kex.feed(payload)?;
        self.act(actions);
        Ok(())
    }
}

fn run(client: &mut Side, server: &mut Side) -> Result<(), KexError> {
    while !(client.out.is_empty() && server.out.is_empty()) {
        for payload in std::mem::take(&mut client.out) {
            server.feed(&payload)?;
        }
        for payload in std::mem::take(&mut server.out) {
            client.feed(&payload)?;
        }
    }
    Ok(())
}

/// What one seals the other opens.
fn talk(from: &mut Side, to: &mut Side) {
    let mut sealed = Vec::new();
    from.sealer.seal(&[b"hello"], &mut sealed).unwrap();
    let Opened::Packet { payload, .. } = to.opener.open(&mut sealed).unwrap() else { panic!("unfinished") };
    assert_eq!(to.opener.payload(&sealed, &payload), b"hello");
}

fn pair(kex: &str, key: &PKey) -> (Side, Side) {
    (Side::new(setup(Role::Client, kex, key), key), Side::new(setup(Role::Server, kex, key), key))
}

#[test]
fn every_method_first_and_again() {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    for spec in METHODS {
        let (mut client, mut server) = pair(spec.name, &key);
        run(&mut client, &mut server).unwrap();
        assert!(client.finished && server.finished, "{}", spec.name);
        assert!(client.kex.strict() && client.kex.session_id() == server.kex.session_id());
        talk(&mut client, &mut server);
        talk(&mut server, &mut client);
        let session_id = client.kex.session_id().to_vec();
        for side in [&mut client, &mut server] {
            let kexinit = Kex::kexinit(&side.setup, false).unwrap();
            assert!(!String::from_utf8_lossy(&kexinit).contains("kex-strict"));
            side.kex.begin(kexinit.clone());
            side.out.push(kexinit);
        }
        run(&mut client, &mut server).unwrap();
        talk(&mut client, &mut server);
        assert_eq!(client.kex.session_id(), session_id);
    }
}

/// One shared secret in 256 begins with a zero byte, every second has its highest bit set: whoever
/// encodes them wrongly fails now and then only. `tests/run` asks for 2,000 of each method.
#[test]
fn many_exchanges_meet_leading_zeros_and_high_bits() {
    let count = std::env::var("FERAMIKO_EXCHANGES").map_or(40, |count| count.parse().unwrap());
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let exchange = |name: &str| {
        let (mut client, mut server) = pair(name, &key);
        run(&mut client, &mut server).unwrap();
        assert!(client.finished && server.finished, "{name}");
    };
    // Two halves at a time: the slow methods are most of the work. The slowest two differ in size only.
    for method in METHODS.iter().filter(|method| !matches!(method.kind, Kind::Group(6144))) {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..count / 2).for_each(|_| exchange(method.name)));
            }
        });
    }
}

/// A server that has read the client's KEXINIT.
fn server_at_share(kex: &str) -> Side {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let (client, mut server) = pair(kex, &key);
    server.feed(&client.out[0]).unwrap();
    server.out.clear();
    server
}

#[test]
fn shares_that_must_not_be_used() {
    let point_of_order_8 = [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ];
    let mut one = [0; 32];
    one[0] = 1;
    for share in [&[0; 32][..], &one, &point_of_order_8, &[9; 31], &[9; 33], &[]] {
        let result = server_at_share("curve25519-sha256").feed(&KexEcdhInit { share }.to_vec());
        assert!(result.is_err(), "{share:?}");
    }
    let mut off_curve = vec![4];
    off_curve.extend([7; 64]);
    for share in [&off_curve[..], &[0], &[4; 64], &[2; 33], &[]] {
        assert!(server_at_share("ecdh-sha2-nistp256").feed(&KexEcdhInit { share }.to_vec()).is_err());
    }
    let mut one_448 = [0; 56];
    one_448[0] = 1;
    for share in [&[0; 56][..], &one_448, &[9; 55], &[9; 57], &[9; 32], &[]] {
        assert!(server_at_share("curve448-sha512").feed(&KexEcdhInit { share }.to_vec()).is_err());
    }
    // Both parts of a hybrid must have their length, and the numbers of an ML-KEM key be reduced.
    for (name, length) in [
        ("mlkem768x25519-sha256", 1184 + 32),
        ("mlkem768nistp256-sha256", 1184 + 65),
        ("mlkem1024nistp384-sha384", 1568 + 97),
    ] {
        for share in [&vec![0xff; length][..], &vec![1; length - 1], &vec![1; length + 1], &[1; 32], &[]] {
            let result = server_at_share(name).feed(&KexEcdhInit { share }.to_vec());
            assert!(result.is_err(), "{name} {}", share.len());
        }
    }
    // A good key beside a point that is not on the curve.
    let (_, mut share) = crate::crypto::pq::Kem::MlKem768.generate().unwrap();
    share.extend(&off_curve);
    let result = server_at_share("mlkem768nistp256-sha256").feed(&KexEcdhInit { share: &share }.to_vec());
    assert!(matches!(result, Err(KexError::Crypto(_))), "{result:?}");
    for (name, bits) in [("diffie-hellman-group14-sha256", 2048), ("diffie-hellman-group1-sha1", 1024)] {
        let p = crate::crypto::dh::fixed(bits).unwrap().p;
        let mut p_less_one = p.clone();
        *p_less_one.last_mut().unwrap() -= 1;
        let mut above = p.clone();
        above.push(0);
        for e in [&[][..], &[1], &p_less_one, &p, &above] {
            let init = KexDhInit { e: Mpint::from_unsigned(e) }.to_vec();
            assert!(server_at_share(name).feed(&init).is_err());
        }
    }
}

#[test]
fn group_exchange_old_new_and_bad_sizes() {
    let name = "diffie-hellman-group-exchange-sha256";
    for (request, good) in [
        (KexGexRequest { min: 2048, preferred: 3072, max: 8192 }.to_vec(), true),
        (KexGexRequest { min: 1024, preferred: 1024, max: 8192 }.to_vec(), true),
        (KexGexRequestOld { bits: 1024 }.to_vec(), true),
        (KexGexRequest { min: 1024, preferred: 1024, max: 1024 }.to_vec(), false),
        (KexGexRequest { min: 4096, preferred: 3072, max: 8192 }.to_vec(), false),
        (KexGexRequest { min: 2048, preferred: 3072, max: 2049 }.to_vec(), false),
        (KexGexRequest { min: 9000, preferred: u32::MAX, max: u32::MAX }.to_vec(), false),
        (KexGexGroup { p: Mpint::from_unsigned(&[7]), g: Mpint::from_unsigned(&[2]) }.to_vec(), false),
    ] {
        let mut server = server_at_share(name);
        let result = server.feed(&request);
        assert_eq!(result.is_ok(), good, "{request:?} {result:?}");
        if good {
            let group = server.out.pop().unwrap();
            assert!(KexGexGroup::decode_packet(&group).unwrap().p.bits() >= 2048);
        }
    }
    // What a client accepts.
    let good = crate::crypto::dh::fixed(2048).unwrap();
    let mut even = good.p.clone();
    *even.last_mut().unwrap() &= 0xfe;
    let mut top = good.p.clone();
    *top.last_mut().unwrap() -= 1;
    let check = |p: &[u8], g: &[u8]| gex::check(Mpint::from_unsigned(p), Mpint::from_unsigned(g)).is_ok();
    assert!(check(&good.p, &[2]));
    assert!(!check(&even, &[2]) && !check(&[0xff; 64], &[2]) && !check(&vec![0xff; 7500], &[2]));
    assert!(
        !check(&good.p, &[1]) && !check(&good.p, &[]) && !check(&good.p, &top) && !check(&good.p, &good.p)
    );
}

#[test]
fn groups_are_as_strong_as_the_ciphers() {
    let strength = |name| crate::packet::cipher(name).unwrap().strength();
    for (name, bits) in [
        ("3des-cbc", 3072),
        ("aes128-gcm@openssh.com", 3072),
        ("aes192-ctr", 7680),
        ("aes256-gcm@openssh.com", 8192),
        ("chacha20-poly1305@openssh.com", 8192),
    ] {
        assert_eq!(gex::preferred(strength(name), b"SSH-2.0-OpenSSH_9.2"), bits, "{name}");
        assert_eq!(gex::preferred(strength(name), b"SSH-2.0-Cisco-1.25"), bits.min(4096), "{name}");
    }
    let group = crate::crypto::dh::fixed(3072).unwrap();
    assert_eq!(gex::bits_set(&[0xf0, 0x01], &group), (5, 3072));
}

#[test]
fn moduli_files_are_read_with_care() {
    let p: String =
        crate::crypto::dh::fixed(2048).unwrap().p.iter().map(|byte| format!("{byte:02X}")).collect();
    let line = |kind: &str, tests: &str, size: &str| format!("20230101 {kind} {tests} 100 {size} 2 {p}\n");
    let moduli = Moduli::parse(&line("2", "6", "2047"));
    assert_eq!(moduli.choose(2048, 2048, 8192, 5).unwrap().p.len(), 256);
    for bad in [
        line("4", "6", "2047"),
        line("2", "1", "2047"),
        line("2", "6", "1023"),
        "# comment\n2 x\n".to_owned(),
    ] {
        // Nothing usable in it: a built-in group is handed out.
        assert_eq!(Moduli::parse(&bad).choose(2048, 3072, 8192, 0).unwrap().p.len(), 384);
    }
}

#[test]
fn a_wrong_guess_is_skipped_once() {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let (mut client, mut server) = pair("curve25519-sha256", &key);
    let mut guessing = client.out[0].clone();
    let theirs = KexInit::decode_packet(&client.out[0]).unwrap();
    let kex = format!("ecdh-sha2-nistp256,{}", theirs.kex.names().collect::<Vec<_>>().join(","));
    guessing.clear();
    KexInit { kex: NameList::from_joined(&kex), first_kex_packet_follows: true, ..theirs }
        .encode(&mut guessing);
    client.kex.begin(guessing.clone());
    server.feed(&guessing).unwrap();
    // The guess, made for the other method, and then the right message.
    server.feed(&KexEcdhInit { share: &[4; 65] }.to_vec()).unwrap();
    client.out.clear();
    for payload in std::mem::take(&mut server.out) {
        client.feed(&payload).unwrap();
    }
    run(&mut client, &mut server).unwrap();
    assert!(client.finished && server.finished);
}

#[test]
fn whatever_comes_out_of_order_is_an_error() {
    for number in [20, 21, 30, 31, 32, 33, 34] {
        let key = PKey::generate(KeyKind::Ed25519).unwrap();
        let (client, mut server) = pair("curve25519-sha256", &key);
        if number != 20 {
            assert_eq!(server.feed(&[number]), Err(KexError::Unexpected(number)), "before KEXINIT");
        }
        let (_, mut server) = pair("curve25519-sha256", &key);
        server.feed(&client.out[0]).unwrap();
        if number != 30 && number != 32 {
            assert_eq!(server.feed(&[number]), Err(KexError::Unexpected(number)), "before the share");
        }
    }
}

#[test]
fn another_key_at_a_later_exchange_ends_it() {
    let (key, other) = (PKey::generate(KeyKind::Ed25519).unwrap(), PKey::generate(KeyKind::Ed25519).unwrap());
    let (mut client, mut server) = pair("curve25519-sha256", &key);
    run(&mut client, &mut server).unwrap();
    let mut impostor = Side::new(setup(Role::Server, "curve25519-sha256", &other), &other);
    let kexinit = Kex::kexinit(&client.setup, false).unwrap();
    client.kex.begin(kexinit.clone());
    client.out.push(kexinit);
    assert_eq!(run(&mut client, &mut impostor), Err(KexError::HostKeyChanged));
}

#[test]
fn nothing_in_common_says_what_both_offer() {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let client = Side::new(setup(Role::Client, "curve25519-sha256", &key), &key);
    let mut server = Side::new(setup(Role::Server, "ecdh-sha2-nistp256", &key), &key);
    assert_eq!(
        server.feed(&client.out[0]),
        Err(KexError::NoCommon {
            what: "key exchange",
            ours: vec!["ecdh-sha2-nistp256".to_owned()],
            theirs: vec!["curve25519-sha256".to_owned()],
        })
    );
}
