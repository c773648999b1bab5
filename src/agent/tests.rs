//! Honest agents, and the hostile ones of the security checklist (rows 59 to 61): each is a thread at
//! the other end of a pair of UNIX sockets. And OpenSSH's ssh-agent, and our own.

mod hostile;
mod openssh;
mod requests;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::key::{KeyError, KeyKind, PKey};
use crate::wire::{Malformed, Writer, string_of};

/// What a fake agent does on a connection, given the connection's number from 0.
type Behaviour = dyn Fn(UnixStream, usize) + Send + Sync;

struct Fake {
    behaviour: Arc<Behaviour>,
    connections: Arc<AtomicUsize>,
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

impl Endpoint for Fake {
    fn connect(&self, _: Duration) -> io::Result<Box<dyn Connection>> {
        let (ours, theirs) = UnixStream::pair()?;
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let behaviour = Arc::clone(&self.behaviour);
        std::thread::spawn(move || behaviour(theirs, number));
        Ok(Box::new(ours))
    }
}

/// An agent that behaves so, and the number of connections that were made to it.
fn fake(behaviour: impl Fn(UnixStream, usize) + Send + Sync + 'static) -> (Agent, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let endpoint = Fake { behaviour: Arc::new(behaviour), connections: Arc::clone(&connections) };
    (Agent::at(Box::new(endpoint), ANSWER_TIMEOUT).unwrap(), connections)
}

/// The next request, without its length; None at the end.
pub(super) fn request(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).ok()?;
    let mut request = vec![0; u32::from_be_bytes(header) as usize];
    stream.read_exact(&mut request).ok()?;
    Some(request)
}

/// An agent that sends, for each request, the bytes that `answer` makes of it.
fn agent(answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Agent {
    let serve = move |mut stream: UnixStream, _| {
        while let Some(request) = request(&mut stream) {
            if stream.write_all(&answer(&request)).is_err() {
                return;
            }
        }
    };
    fake(serve).0
}

/// An answer, framed, that lists these blobs, each with the comment "a comment".
fn list(blobs: &[&[u8]]) -> Vec<u8> {
    let mut answer = vec![IdentitiesAnswer::NUMBER];
    answer.put(&u32::try_from(blobs.len()).unwrap());
    for blob in blobs {
        answer.put(*blob).put("a comment");
    }
    string_of(&answer)
}

fn signature(signature: &[u8]) -> Vec<u8> {
    string_of(&SignResponse { signature }.to_vec())
}

/// An agent that holds `key`.
pub(super) fn holding(key: &PKey) -> Agent {
    let key = key.clone();
    agent(move |request| answer_honestly(&key, request))
}

fn answer_honestly(key: &PKey, request: &[u8]) -> Vec<u8> {
    if RequestIdentities::decode_packet(request).is_ok() {
        return list(&[key.public_key().blob()]);
    }
    let message = SignRequest::decode_packet(request).unwrap();
    assert_eq!(message.key, key.public_key().blob());
    let algorithm = match (message.flags, key.public_key().key_type()) {
        (2, "ssh-rsa") => "rsa-sha2-256",
        (4, "ssh-rsa") => "rsa-sha2-512",
        (0, other) => other,
        (flags, _) => panic!("flags {flags}"),
    };
    signature(&key.sign(algorithm, message.data).unwrap())
}

/// Our own agent, which serves each connection on a thread.
#[derive(Debug)]
struct Ours(AgentServer);

impl Endpoint for Ours {
    fn connect(&self, _: Duration) -> io::Result<Box<dyn Connection>> {
        let (ours, theirs) = UnixStream::pair()?;
        let server = self.0.clone();
        std::thread::spawn(move || server.serve_connection(theirs));
        Ok(Box::new(ours))
    }
}

/// A client of our own agent.
pub(super) fn client(server: &AgentServer) -> Agent {
    Agent::at(Box::new(Ours(server.clone())), ANSWER_TIMEOUT).unwrap()
}

/// Our own agent, made so, and a client of it.
pub(super) fn ours(builder: AgentServerBuilder) -> (AgentServer, Agent) {
    let server = builder.build();
    let agent = client(&server);
    (server, agent)
}

pub(super) fn ed25519() -> PKey {
    PKey::generate(KeyKind::Ed25519).unwrap()
}

#[test]
fn keys_are_listed_and_sign() {
    for kind in [KeyKind::Ed25519, KeyKind::EcdsaP256, KeyKind::EcdsaP521, KeyKind::Rsa(2048)] {
        let key = PKey::generate(kind).unwrap();
        let keys = holding(&key).keys().unwrap();
        assert_eq!((keys[0].public_key(), keys[0].comment()), (key.public_key(), "a comment"));
        let held = PKey::from(keys[0].clone());
        assert_eq!((held.public_key(), held.comment()), (key.public_key(), "a comment"));
        for algorithm in key.public_key().algorithms() {
            let signature = held.sign(algorithm, b"data").unwrap();
            key.public_key().verify(algorithm, b"data", &signature).unwrap();
            keys[0].sign(algorithm, b"data").unwrap();
        }
    }
}

#[test]
fn no_keys_are_no_error() {
    assert!(agent(|_| list(&[])).keys().unwrap().is_empty());
}

#[test]
fn one_connection_serves_all_and_is_made_anew_when_the_agent_was() {
    let key = ed25519();
    let (held, public) = (key.clone(), key.public_key().clone());
    let (agent, connections) = fake(move |mut stream, number| {
        // The first connection ends after three answers, as if the agent had been started anew.
        for _ in 0..if number == 0 { 3 } else { usize::MAX } {
            let Some(request) = request(&mut stream) else { return };
            stream.write_all(&answer_honestly(&held, &request)).unwrap();
        }
    });
    let keys = agent.keys().unwrap();
    for number in 0..6 {
        let data = [number; 10];
        public.verify("ssh-ed25519", &data, &keys[0].sign("ssh-ed25519", &data).unwrap()).unwrap();
    }
    assert_eq!(agent.clone().keys().unwrap().len(), 1);
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[test]
fn nobody_waits_for_the_answer_of_another() {
    let key = ed25519();
    let held = key.clone();
    let (allow, allowed) = std::sync::mpsc::channel::<()>();
    let allowed = std::sync::Mutex::new(allowed);
    let (agent, connections) = fake(move |mut stream, _| {
        while let Some(request) = request(&mut stream) {
            if request[0] == SignRequest::NUMBER {
                allowed.lock().unwrap().recv().unwrap();
            }
            stream.write_all(&answer_honestly(&held, &request)).unwrap();
        }
    });
    let keys = agent.keys().unwrap();
    std::thread::scope(|scope| {
        let signing = scope.spawn(|| keys[0].sign("ssh-ed25519", b"data"));
        while agent.shared.idle.lock().is_some() {
            std::thread::yield_now();
        }
        assert_eq!(agent.keys().unwrap().len(), 1);
        assert!(!signing.is_finished());
        allow.send(()).unwrap();
        key.public_key().verify("ssh-ed25519", b"data", &signing.join().unwrap().unwrap()).unwrap();
    });
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[test]
fn many_threads_get_their_own_signatures() {
    let key = ed25519();
    let agent = holding(&key);
    let held = agent.keys().unwrap().remove(0);
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let (held, public) = (PKey::from(held.clone()), key.public_key());
            scope.spawn(move || {
                for number in 0..25 {
                    let data = [thread, number];
                    public.verify("ssh-ed25519", &data, &held.sign("ssh-ed25519", &data).unwrap()).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_person_may_take_longer_than_the_agent() {
    let key = ed25519();
    let held = key.clone();
    let agent = agent(move |request| {
        if request[0] == SignRequest::NUMBER {
            std::thread::sleep(Duration::from_millis(800));
        }
        answer_honestly(&held, request)
    });
    let patient = agent.clone().answer_timeout(Duration::from_millis(500));
    patient.keys().unwrap()[0].sign("ssh-ed25519", b"data").unwrap();
    let hasty = agent.sign_timeout(Duration::from_millis(200));
    assert_eq!(hasty.keys().unwrap()[0].sign("ssh-ed25519", b"data"), Err(AgentError::Timeout));
}

#[test]
fn without_an_agent() {
    let error = Agent::connect("/nonexistent/agent").unwrap_err();
    assert!(matches!(&error, AgentError::Io { kind: io::ErrorKind::NotFound, .. }), "{error:?}");
    assert!(error.to_string().starts_with("the agent cannot be reached: "), "{error}");
}

#[test]
fn short_keys_and_tokens_that_were_not_touched_sign() {
    let text = openssl::rsa::Rsa::generate(1024).unwrap().private_key_to_pem().unwrap();
    let short = PKey::from_bytes(&text, None).unwrap();
    let there = short.clone();
    let holder = agent(move |request| match SignRequest::decode_packet(request) {
        Err(_) => list(&[there.public_key().blob()]),
        Ok(message) => signature(&there.sign_sized(RSA_FLOOR, "rsa-sha2-512", message.data).unwrap()),
    });
    let held = &holder.keys().unwrap()[0];
    let signed = held.sign("rsa-sha2-512", b"data").unwrap();
    assert!(short.public_key().verify("rsa-sha2-512", b"data", &signed).is_err());
    let key = PKey::from(held.clone());
    assert!(key.sign_sized(RSA_FLOOR, "rsa-sha2-512", b"data").is_ok());
    assert!(key.sign("rsa-sha2-512", b"data").is_err(), "too short unless somebody allows it");

    let (name, inner) = ("sk-ssh-ed25519@openssh.com", ed25519());
    let mut blob = string_of(name.as_bytes());
    blob.put(&inner.public_key().blob()[19..]).put("ssh:");
    let there = blob.clone();
    let token = agent(move |request| {
        let Ok(message) = SignRequest::decode_packet(request) else { return list(&[&there]) };
        let sha256 = |bytes: &[u8]| openssl::sha::sha256(bytes);
        let signed = [&sha256(b"ssh:")[..], &[0, 0, 0, 0, 7], &sha256(message.data)].concat();
        let mut blob = string_of(name.as_bytes());
        blob.put(&inner.sign("ssh-ed25519", &signed).unwrap()[19..]).put(&0_u8).put(&7_u32);
        signature(&blob)
    });
    let held = &token.keys().unwrap()[0];
    let signed = held.sign(name, b"data").unwrap();
    let token = held.public_key().verify_use(name, b"data", &signed).unwrap().unwrap();
    assert!(!token.touched && token.counter == 7);
}
