//! Agents: ours with a client that meddles with its requests, and our client with an agent that meddles
//! with its answers.

use std::io::{self, Read, Write};
use std::sync::LazyLock;

use super::Input;
use crate::agent::{AddOptions, Agent, AgentServer, Destination, Hop};
use crate::crypto::secret::Secret;
use crate::key::{KeyKind, PKey, put_fields};
use crate::wire::{Reader, Writer, string_of};

/// Requests of one input.
const REQUESTS: usize = 24;
/// Locks of one input in sixteen: each takes a while, on purpose.
const LOCKS: usize = 1;
/// The user of the login that a key with a destination is for.
const USER: &[u8] = b"me";
const SESSION: &[u8] = b"session";

/// A host, a key that is free, one whose use the user refuses, and one for logins to the host.
static KEYS: LazyLock<Option<[PKey; 4]>> = LazyLock::new(|| {
    let key = || PKey::generate(KeyKind::Ed25519).ok();
    Some([key()?, key()?, key()?, key()?])
});

/// Requests on their way in, answers on their way out.
struct Script {
    requests: io::Cursor<Vec<u8>>,
    answers: Vec<u8>,
}

impl Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.requests.read(buf)
    }
}

impl Write for Script {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.answers.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whatever a client says: each request is answered, by what may answer it, and no key is used against
/// its constraints.
pub fn agent_server(data: &[u8]) {
    let Some(keys) = &*KEYS else { return };
    let [host, free, asked, bound] = keys;
    let server = AgentServer::builder().max_keys(8).confirm(|_, _| false).build();
    let hop = Hop::new("host").user("m?").key(host.public_key());
    for (key, options) in [
        (free, AddOptions::new()),
        (asked, AddOptions::new().confirm(true)),
        (bound, AddOptions::new().destination(Destination::new(hop))),
    ] {
        assert_eq!(server.add(key, &options), Ok(()));
    }
    let requests = requests(&mut Input(data), keys);
    let framed = requests.iter().flat_map(|request| string_of(request)).collect();
    let mut script = Script { requests: io::Cursor::new(framed), answers: Vec::new() };
    // An empty request ends the connection.
    let _ = server.serve_stream(&mut script);
    let mut answers = Reader::new(&script.answers);
    let mut answered = requests.iter();
    while !answers.is_empty() {
        let request = answered.next().expect("there is a request for each answer");
        let answer = answers.string().expect("answers are whole");
        assert!(matches!(answer.first(), Some(5 | 6 | 12 | 14 | 28 | 29)), "{answer:?}");
        if answer.first() == Some(&14) {
            check_signature(request, keys);
        }
    }
}

/// What was signed might be.
fn check_signature(request: &[u8], [_, _, asked, bound]: &[PKey; 4]) {
    let mut reader = Reader::new(request.get(1..).unwrap_or_default());
    let (Ok(key), Ok(data)) = (reader.string(), reader.string()) else {
        panic!("that is no request to sign")
    };
    assert_ne!(key, asked.public_key().blob(), "the user has refused it");
    if key == bound.public_key().blob() {
        let mut login = Reader::new(data);
        assert_eq!(login.string(), Ok(SESSION));
        assert_eq!(login.get::<u8>(), Ok(50));
        let user = login.string().unwrap_or_default();
        assert!(user.len() == 2 && user.first() == Some(&b'm'), "another user's login was signed");
    }
}

/// Requests that make sense, meddled with. Passphrases are left alone: wrong ones are waited for.
fn requests(input: &mut Input<'_>, keys: &[PKey; 4]) -> Vec<Vec<u8>> {
    let mut list = Vec::new();
    let mut locks = if input.byte().is_multiple_of(16) { 0 } else { LOCKS };
    while !input.is_empty() && list.len() < REQUESTS {
        let honest = honest_request(input, keys);
        for request in input.meddle(honest) {
            let secret = matches!(request.first(), Some(22 | 23));
            if secret && request.get(1..) != Some(string_of(b"secret").as_slice()) {
                continue;
            }
            locks += usize::from(request.first() == Some(&22));
            if request.first() != Some(&22) || locks <= LOCKS {
                list.push(request);
            }
        }
    }
    list
}

fn honest_request(input: &mut Input<'_>, keys: &[PKey; 4]) -> Vec<u8> {
    let [host, free, asked, bound] = keys;
    let mut out = Vec::new();
    match input.byte() % 12 {
        0 => out.push(11),
        1 => drop(out.put(&13_u8).put(free.public_key().blob()).put("data").put(&0_u32)),
        2 => drop(out.put(&13_u8).put(asked.public_key().blob()).put("data").put(&4_u32)),
        3 => drop(out.put(&13_u8).put(bound.public_key().blob()).put(login(bound).as_slice()).put(&0_u32)),
        4 => {
            out.push(17);
            assert!(put_fields(&mut out, host).is_ok());
        }
        5 => {
            out.push(25);
            assert!(put_fields(&mut out, host).is_ok());
            out.put(&1_u8).put(&u32::from(input.byte()));
            let mut hop = Vec::new();
            hop.put("").put("host").put("").put(host.public_key().blob()).put(&false);
            let origin = string_of(&[0; 12]);
            let destination = [origin, string_of(&hop), string_of(b"")].concat();
            out.put(&255_u8).put("restrict-destination-v00@openssh.com");
            out.put(string_of(&destination).as_slice());
        }
        6 => drop(out.put(&18_u8).put(free.public_key().blob())),
        7 => out.push(19),
        8 => drop(out.put(&22_u8).put("secret")),
        9 => drop(out.put(&23_u8).put("secret")),
        10 => drop(out.put(&27_u8).put("query")),
        _ => {
            let signature = host.sign("ssh-ed25519", SESSION).unwrap_or_default();
            out.put(&27_u8).put("session-bind@openssh.com").put(host.public_key().blob());
            out.put(SESSION).put(signature.as_slice()).put(&(input.byte() % 2));
        }
    }
    out
}

/// What is signed for a login with this key.
fn login(key: &PKey) -> Vec<u8> {
    let mut data = string_of(SESSION);
    data.put(&50_u8).put(USER).put("ssh-connection").put("publickey").put(&true);
    data.put("ssh-ed25519").put(key.public_key().blob());
    data
}

/// Whatever an agent answers: what comes of it is what was asked for.
pub fn agent_client(data: &[u8]) {
    let Some([host, key, ..]) = &*KEYS else { return };
    let mut input = Input(data);
    let mut answers = Vec::new();
    while !input.is_empty() && answers.len() < REQUESTS {
        let honest = honest_answer(&mut input, key);
        answers.extend(input.meddle(honest));
    }
    let framed = answers.iter().flat_map(|answer| string_of(answer)).collect();
    let agent = Agent::scripted(framed).expect("a script can always be reached");
    for _ in 0..2 {
        let listed = agent.keys().unwrap_or_default();
        assert!(listed.len() <= 1024);
        for listed in listed.iter().take(4) {
            assert!(!listed.comment().chars().any(char::is_control));
            let Some(algorithm) = listed.public_key().algorithms().first() else { continue };
            if let Ok(signature) = listed.sign(algorithm, b"data") {
                assert!(listed.public_key().verify(algorithm, b"data", &signature).is_ok());
            }
        }
        let _ = agent.add(key, &AddOptions::new().confirm(true));
        let _ = agent.lock(&Secret::from("secret"));
        for name in agent.query().unwrap_or_default() {
            assert!(!name.chars().any(char::is_control));
        }
        let _ = agent.session_bind(host.public_key(), SESSION, b"", true);
        let _ = agent.extension("x@example.org", b"");
    }
}

fn honest_answer(input: &mut Input<'_>, key: &PKey) -> Vec<u8> {
    let mut out = Vec::new();
    match input.byte() % 6 {
        0 => drop(out.put(&12_u8).put(&1_u32).put(key.public_key().blob()).put("a comment")),
        1 => {
            let signature = key.sign("ssh-ed25519", b"data").unwrap_or_default();
            out.put(&14_u8).put(signature.as_slice());
        }
        2 => out.push(6),
        3 => out.push(5),
        4 => drop(out.put(&29_u8).put("query").put("session-bind@openssh.com")),
        _ => out.push(28),
    }
    out
}
