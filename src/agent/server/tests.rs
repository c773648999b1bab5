//! Our own agent with our own client.

mod destinations;
mod hostile;

use std::os::unix::net::UnixStream;

use super::*;
use crate::agent::message::{SignRequest, SignResponse};
use crate::agent::tests::{client, ed25519, holding, ours, request};
use crate::agent::{Agent, Destination, Hop};
use crate::crypto::secret::Secret;
use crate::key::{CertificateBuilder, KeyKind};
use crate::wire::{Encode, Writer, string_of};

const PATIENCE: Duration = Duration::from_secs(10);

fn kinds() -> Vec<PKey> {
    [KeyKind::Ed25519, KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521, KeyKind::Rsa(2048)]
        .into_iter()
        .map(|kind| PKey::generate(kind).unwrap().with_comment(&format!("{kind:?}")).unwrap())
        .collect()
}

/// The comments of the keys that the agent lists.
fn listed(agent: &Agent) -> Vec<String> {
    agent.keys().unwrap().iter().map(|key| key.comment().to_owned()).collect()
}

fn named(comment: &str) -> PKey {
    ed25519().with_comment(comment).unwrap()
}

/// A sign request with these flags, straight.
fn sign(agent: &Agent, key: &PKey, flags: u32) -> Result<Vec<u8>, AgentError> {
    let request = SignRequest { key: key.public_key().blob(), data: b"data", flags }.to_vec();
    let answer = agent.ask(&request, PATIENCE)?;
    Ok(SignResponse::decode_packet(&answer)?.signature.to_vec())
}

#[test]
fn keys_come_sign_and_go() {
    let (_, agent) = ours(AgentServer::builder());
    let keys = kinds();
    for key in &keys {
        agent.add(key, &AddOptions::new()).unwrap();
    }
    let held = agent.keys().unwrap();
    assert_eq!(held.len(), keys.len());
    for (held, key) in held.iter().zip(&keys) {
        assert_eq!((held.public_key(), held.comment()), (key.public_key(), key.comment()));
        for algorithm in key.public_key().algorithms() {
            // The client checks the signature.
            held.sign(algorithm, b"data").unwrap();
        }
    }
    agent.remove(keys[1].public_key()).unwrap();
    assert_eq!(agent.remove(keys[1].public_key()), Err(AgentError::Refused));
    assert_eq!(held[1].sign("ecdsa-sha2-nistp256", b"data"), Err(AgentError::Refused));
    assert_eq!(agent.keys().unwrap().len(), keys.len() - 1);
    agent.remove_all().unwrap();
    assert!(agent.keys().unwrap().is_empty());
    assert_eq!(held[0].sign("ssh-ed25519", b"data"), Err(AgentError::Refused));
}

#[test]
fn flags_choose_the_algorithm_of_rsa_keys_alone() {
    let (_, agent) = ours(AgentServer::builder());
    let (rsa, other) = (PKey::generate(KeyKind::Rsa(2048)).unwrap(), ed25519());
    agent.add(&rsa, &AddOptions::new()).unwrap();
    agent.add(&other, &AddOptions::new()).unwrap();
    for (flags, algorithm) in [(2, "rsa-sha2-256"), (4, "rsa-sha2-512"), (6, "rsa-sha2-256")] {
        let signature = sign(&agent, &rsa, flags).unwrap();
        rsa.public_key().verify(algorithm, b"data", &signature).unwrap();
    }
    for flags in [0, 2, 4] {
        let signature = sign(&agent, &other, flags).unwrap();
        other.public_key().verify("ssh-ed25519", b"data", &signature).unwrap();
    }
    for flags in [1, 8, 12, u32::MAX] {
        assert_eq!(sign(&agent, &rsa, flags), Err(AgentError::Refused), "{flags}");
        assert_eq!(sign(&agent, &other, flags), Err(AgentError::Refused), "{flags}");
    }
    // SHA-1, as old clients ask for it, and `ssh-add -T`.
    let signature = sign(&agent, &rsa, 0).unwrap();
    rsa.public_key().verify("ssh-rsa", b"data", &signature).unwrap();
}

#[test]
fn a_key_with_a_certificate_is_held_beside_the_key_alone() {
    let (_, agent) = ours(AgentServer::builder());
    let authority = ed25519();
    for kind in [KeyKind::Ed25519, KeyKind::EcdsaP384, KeyKind::Rsa(2048)] {
        let key = PKey::generate(kind).unwrap();
        let certificate =
            CertificateBuilder::user(key.public_key()).principal("robey").sign(&authority).unwrap();
        let certified = key.with_certificate(&certificate).unwrap();
        agent.add(&key, &AddOptions::new()).unwrap();
        agent.add(&certified, &AddOptions::new()).unwrap();
        let held = agent.keys().unwrap();
        assert!(held.iter().any(|held| held.public_key() == &certificate), "{kind:?}");
        for held in held {
            let algorithm = held.public_key().algorithms()[0];
            let signature = held.sign(algorithm, b"data").unwrap();
            held.public_key().verify(algorithm, b"data", &signature).unwrap();
        }
        agent.remove(&certificate).unwrap();
        assert_eq!(agent.keys().unwrap().len(), 1, "{kind:?}");
        agent.remove_all().unwrap();
    }
}

#[test]
fn a_key_added_again_is_held_to_what_was_said_last() {
    let (_, agent) = ours(AgentServer::builder().confirm(|_, _| false));
    let (key, other) = (named("first"), named("other"));
    agent.add(&key, &AddOptions::new().confirm(true)).unwrap();
    agent.add(&other, &AddOptions::new()).unwrap();
    assert_eq!(sign(&agent, &key, 0), Err(AgentError::Refused));
    agent.add(&key.with_comment("again").unwrap(), &AddOptions::new()).unwrap();
    assert_eq!(listed(&agent), ["again", "other"]);
    sign(&agent, &key, 0).unwrap();
}

#[test]
fn a_key_goes_when_its_time_comes() {
    let lifetime = Duration::from_millis(150);
    let (server, agent) = ours(AgentServer::builder().default_lifetime(lifetime));
    let clock = std::thread::spawn({
        let server = server.clone();
        move || server.expire_keys()
    });
    let key = named("short");
    let began = Instant::now();
    agent.add(&key, &AddOptions::new()).unwrap();
    agent.add(&named("long"), &AddOptions::new().lifetime(Duration::from_secs(600))).unwrap();
    // Nobody asks for it: only the clock can have removed it.
    while server.0.state.lock().store.find(key.public_key().blob()).is_some() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    assert!(began.elapsed() >= lifetime);
    assert_eq!(listed(&agent), ["long"]);
    server.close();
    clock.join().unwrap();
}

#[test]
fn without_the_clock_an_old_key_is_of_no_use_either() {
    let (server, agent) = ours(AgentServer::builder());
    let key = named("gone");
    agent.add(&key, &AddOptions::new().lifetime(Duration::ZERO)).unwrap();
    assert_eq!(sign(&agent, &key, 0), Err(AgentError::Refused));
    assert!(listed(&agent).is_empty());
    assert!(server.0.state.lock().store.find(key.public_key().blob()).is_none());
}

#[test]
fn a_locked_agent_shows_and_does_nothing() {
    let (server, agent) = ours(AgentServer::builder().confirm(|_, _| false));
    let keys = kinds();
    for key in &keys {
        agent.add(key, &AddOptions::new()).unwrap();
    }
    let asked = named("asked");
    agent.add(&asked, &AddOptions::new().confirm(true)).unwrap();
    let before = listed(&agent);
    let (right, wrong) = (Secret::from("right"), Secret::from("wrong"));
    assert_eq!(agent.lock(&Secret::from("")), Err(AgentError::Refused));
    assert_eq!(agent.unlock(&right), Err(AgentError::Refused), "it is not locked");
    agent.lock(&right).unwrap();

    assert!(agent.keys().unwrap().is_empty());
    assert_eq!(agent.lock(&right), Err(AgentError::Refused));
    assert_eq!(sign(&agent, &keys[0], 0), Err(AgentError::Refused));
    assert_eq!(agent.add(&named("new"), &AddOptions::new()), Err(AgentError::Refused));
    assert_eq!(agent.remove(keys[0].public_key()), Err(AgentError::Refused));
    assert_eq!(agent.remove_all(), Err(AgentError::Refused));
    assert_eq!(agent.query(), Err(AgentError::Refused));
    for key in &keys {
        let state = server.0.state.lock();
        let entry = state.store.find(key.public_key().blob()).unwrap();
        assert!(entry.key().is_err(), "no private key is there");
    }

    let began = Instant::now();
    for _ in 0..2 {
        assert_eq!(agent.unlock(&wrong), Err(AgentError::Refused));
    }
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    agent.unlock(&right).unwrap();
    assert_eq!(listed(&agent), before);
    for held in &agent.keys().unwrap()[..keys.len()] {
        held.sign(held.public_key().algorithms()[0], b"data").unwrap();
    }
    assert_eq!(sign(&agent, &asked, 0), Err(AgentError::Refused), "it is still held to its constraint");
}

#[test]
fn many_connections_guess_no_faster_than_one() {
    let (server, agent) = ours(AgentServer::builder());
    agent.lock(&Secret::from("right")).unwrap();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(client(&server).unlock(&Secret::from("wrong")).is_err()));
        }
    });
    assert!(began.elapsed() >= Duration::from_millis(100 + 200 + 300 + 400), "{:?}", began.elapsed());
}

#[test]
fn keys_expire_while_locked() {
    let (server, agent) = ours(AgentServer::builder());
    agent.add(&named("gone"), &AddOptions::new().lifetime(Duration::from_secs(1))).unwrap();
    agent.add(&named("kept"), &AddOptions::new()).unwrap();
    agent.lock(&Secret::from("right")).unwrap();
    let later = since_start() + Duration::from_secs(2);
    assert_eq!(server.0.state.lock().store.expire(later), None);
    agent.unlock(&Secret::from("right")).unwrap();
    assert_eq!(listed(&agent), ["kept"]);
}

#[test]
fn the_user_is_asked() {
    let (server, agent) = ours(AgentServer::builder());
    let key = named("asked");
    let options = AddOptions::new().confirm(true);
    assert_eq!(agent.add(&key, &options), Err(AgentError::Refused), "nobody can be asked");
    assert!(server.0.state.lock().store.find(key.public_key().blob()).is_none());

    let public = key.public_key().clone();
    let says = Arc::new(AtomicUsize::new(0));
    let said = Arc::clone(&says);
    let (_, agent) = ours(AgentServer::builder().confirm(move |key, comment| {
        assert_eq!((key, comment), (&public, "asked"));
        said.load(Ordering::Relaxed) == 1
    }));
    agent.add(&key, &options).unwrap();
    agent.add(&named("not asked"), &AddOptions::new()).unwrap();
    assert_eq!(sign(&agent, &key, 0), Err(AgentError::Refused));
    says.store(1, Ordering::Relaxed);
    sign(&agent, &key, 0).unwrap();
    agent.keys().unwrap()[1].sign("ssh-ed25519", b"data").unwrap();
}

#[test]
fn what_happens_while_the_user_thinks_counts() {
    let held: Arc<Mutex<Option<AgentServer>>> = Arc::default();
    let inside = Arc::clone(&held);
    let (server, agent) = ours(AgentServer::builder().confirm(move |_, _| {
        // Others are served meanwhile: the keys go, and the user says yes.
        inside.lock().as_ref().unwrap().remove_all();
        true
    }));
    *held.lock() = Some(server);
    let key = named("asked");
    agent.add(&key, &AddOptions::new().confirm(true)).unwrap();
    assert_eq!(sign(&agent, &key, 0), Err(AgentError::Refused));
    held.lock().take();
}

#[test]
fn limits() {
    let (_, agent) = ours(AgentServer::builder().max_keys(2));
    let first = named("first");
    agent.add(&first, &AddOptions::new()).unwrap();
    agent.add(&named("second"), &AddOptions::new()).unwrap();
    assert_eq!(agent.add(&named("third"), &AddOptions::new()), Err(AgentError::Refused));
    agent.add(&first, &AddOptions::new()).unwrap();
    assert_eq!(listed(&agent), ["first", "second"]);

    // What could not be listed in one frame is not taken.
    let (_, agent) = ours(AgentServer::builder());
    let long = "x".repeat(100 * 1024);
    agent.add(&named(&long), &AddOptions::new()).unwrap();
    agent.add(&named(&long), &AddOptions::new()).unwrap();
    assert_eq!(agent.add(&named(&long), &AddOptions::new()), Err(AgentError::Refused));
    assert_eq!(agent.keys().unwrap().len(), 2);

    let (server, agent) = ours(AgentServer::builder().max_connections(1));
    agent.keys().unwrap();
    let (_near, far) = UnixStream::pair().unwrap();
    assert_eq!(server.serve_connection(far), Err(AgentError::Busy { limit: 1 }));
    drop(agent);
    let began = Instant::now();
    // The place is free again as soon as the client has gone.
    loop {
        let (near, far) = UnixStream::pair().unwrap();
        drop(near);
        match server.serve_connection(far) {
            Ok(()) => return,
            busy => assert_eq!(busy, Err(AgentError::Busy { limit: 1 })),
        }
        assert!(began.elapsed() < PATIENCE);
    }
}

#[test]
fn unknown_requests_are_refused_and_the_connection_goes_on() {
    let (_, agent) = ours(AgentServer::builder());
    let key = ed25519();
    agent.add(&key, &AddOptions::new()).unwrap();
    let line = |request: &[u8]| agent.ask(request, PATIENCE);
    for number in (0..=255).filter(|number| ![11, 13, 17, 18, 19, 22, 23, 25, 27].contains(number)) {
        assert_eq!(line(&[number]), Err(AgentError::Refused), "{number}");
    }
    let provider = agent.add_smartcard("/usr/lib/x.so", &Secret::from(""), &AddOptions::new());
    assert_eq!(provider, Err(AgentError::Refused), "no library is loaded");
    assert_eq!(agent.extension("unknown@example.org", b""), Err(AgentError::Refused));
    assert_eq!(agent.query().unwrap(), ["session-bind@openssh.com"]);

    let add = |constraints: &[u8]| {
        let mut request = vec![25];
        crate::key::put_fields(&mut request, &key).unwrap();
        request.extend_from_slice(constraints);
        line(&request).map(|answer| answer[0])
    };
    let provider = [&[255][..], &string_of(b"sk-provider@openssh.com"), &string_of(b"internal")].concat();
    for constraints in [&[3, 0, 0, 0, 1][..], &[0], &[2, 2], &[1, 0, 0, 0, 9, 1, 0, 0, 0, 9], &provider] {
        assert_eq!(add(constraints), Err(AgentError::Refused), "{constraints:?}");
    }
    assert_eq!(add(&[1, 0, 0, 0, 9]), Ok(6));
    assert_eq!(agent.keys().unwrap().len(), 1);
}

#[test]
fn a_closed_agent_has_nothing() {
    let (server, agent) = ours(AgentServer::builder());
    let key = ed25519();
    server.add(&key, &AddOptions::new()).unwrap();
    sign(&agent, &key, 0).unwrap();
    server.close();
    assert!(agent.keys().unwrap().is_empty());
    assert_eq!(sign(&agent, &key, 0), Err(AgentError::Refused));
    assert_eq!(server.add(&key, &AddOptions::new()), Err(AgentError::Refused));
    server.expire_keys();
}

#[test]
fn any_stream_is_served() {
    let server = AgentServer::builder().build();
    let (mut near, far) = UnixStream::pair().unwrap();
    let serving = std::thread::spawn(move || server.serve_stream(far));
    near.write_all(&string_of(&[11])).unwrap();
    assert_eq!(request(&mut near).unwrap(), [12, 0, 0, 0, 0]);
    drop(near);
    assert_eq!(serving.join().unwrap(), Ok(()));
}

/// A key that is held elsewhere can be shown by the agent: a proxy.
#[test]
fn keys_held_elsewhere_are_passed_on() {
    let key = ed25519();
    let elsewhere = PKey::from(holding(&key).keys().unwrap().remove(0));
    let (server, agent) = ours(AgentServer::builder());
    server.add(&elsewhere, &AddOptions::new()).unwrap();
    sign(&agent, &key, 0).unwrap();
    agent.lock(&Secret::from("x")).unwrap();
    assert_eq!(sign(&agent, &key, 0), Err(AgentError::Refused));
    agent.unlock(&Secret::from("x")).unwrap();
    sign(&agent, &key, 0).unwrap();
}
