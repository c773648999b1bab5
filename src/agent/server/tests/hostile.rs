//! Hostile clients: refused, without harm to what is held and to the others.

use super::*;
use crate::agent::message::{Extension, SESSION_BIND};
use crate::key::put_fields;
use crate::wire::{Malformed, Rest};

/// A request, whole, its name, and the one place where it can be cut and still means something.
type Whole = (&'static str, Vec<u8>, Option<usize>);

/// Each request that has fields.
fn requests(held: &PKey, other: &PKey) -> Vec<Whole> {
    let mut add = vec![17];
    put_fields(&mut add, other).unwrap();
    let hop = Hop::new("host").user("me").key(other.public_key());
    let mut constrained = vec![25];
    put_fields(&mut constrained, other).unwrap();
    let unconstrained = constrained.len();
    constrained.extend(AddOptions::new().destination(Destination::new(hop)).encode());
    let mut bind = Vec::new();
    let signature = other.sign("ssh-ed25519", b"session").unwrap();
    bind.put(other.public_key().blob()).put("session").put(signature.as_slice()).put(&true);
    let secret = |number: u8| [&[number][..], &string_of(b"secret")].concat();
    let blob = held.public_key().blob();
    vec![
        ("sign", SignRequest { key: blob, data: b"data", flags: 0 }.to_vec(), None),
        ("add", add, None),
        ("add constrained", constrained, Some(unconstrained)),
        ("remove", [&[18][..], &string_of(blob)].concat(), None),
        ("lock", secret(22), None),
        ("unlock", secret(23), None),
        ("query", Extension { name: b"query", contents: Rest(b"") }.to_vec(), None),
        ("bind", Extension { name: SESSION_BIND.as_bytes(), contents: Rest(&bind) }.to_vec(), None),
    ]
}

#[test]
fn every_cut_of_every_request_is_refused() {
    let (held, other) = (ed25519(), ed25519());
    for (name, whole, means) in requests(&held, &other) {
        let (_, agent) = ours(AgentServer::builder());
        agent.add(&held, &AddOptions::new()).unwrap();
        for cut in (1..whole.len()).filter(|cut| Some(*cut) != means) {
            match agent.ask(&whole[..cut], PATIENCE) {
                Ok(answer) => assert_eq!((answer, name), (vec![28], "bind"), "cut at {cut}"),
                Err(error) => assert_eq!(error, AgentError::Refused, "{name} cut at {cut}"),
            }
        }
        assert_eq!(agent.keys().unwrap().len(), 1, "{name}");
        let long = [&whole[..], &[0]].concat();
        match agent.ask(&long, PATIENCE) {
            Ok(answer) => assert!(["bind", "query"].contains(&name), "{name} with more: {answer:?}"),
            Err(error) => assert_eq!(error, AgentError::Refused, "{name} with more"),
        }
        // Whole, they are what they should be; what is not locked is not unlocked.
        assert_eq!(agent.ask(&whole, PATIENCE).is_ok(), name != "unlock", "{name}");
    }
}

#[test]
fn a_client_that_hangs_up_anywhere_is_no_matter() {
    let (held, other) = (ed25519(), ed25519());
    let (server, agent) = ours(AgentServer::builder());
    agent.add(&held, &AddOptions::new()).unwrap();
    for (name, whole, _) in requests(&held, &other) {
        let framed = string_of(&whole);
        for cut in 0..framed.len() {
            let (mut near, far) = UnixStream::pair().unwrap();
            near.write_all(&framed[..cut]).unwrap();
            drop(near);
            let expected = if cut == 0 { Ok(()) } else { Err(AgentError::Closed) };
            assert_eq!(server.serve_connection(far), expected, "{name} cut at {cut}");
        }
    }
    assert_eq!(agent.keys().unwrap().len(), 1);
}

#[test]
fn frames_that_are_none_end_the_connection() {
    let server = AgentServer::builder().build();
    for (length, expected) in [
        (u32::MAX, AgentError::TooLong { length: u64::from(u32::MAX) }),
        (256 * 1024 + 1, AgentError::TooLong { length: 256 * 1024 + 1 }),
        (0, AgentError::Malformed(Malformed::Truncated)),
    ] {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(&length.to_be_bytes()).unwrap();
        assert_eq!(server.serve_connection(far), Err(expected));
        assert_eq!(Read::read(&mut near, &mut [0]).unwrap(), 0, "nothing is answered");
    }
}

#[test]
fn the_longest_frame_is_read_and_refused() {
    let (_, agent) = ours(AgentServer::builder());
    assert_eq!(agent.ask(&vec![11; 256 * 1024], PATIENCE), Err(AgentError::Refused));
    assert_eq!(agent.ask(&vec![17; 256 * 1024], PATIENCE), Err(AgentError::Refused));
    agent.keys().unwrap();
}

#[test]
fn a_stalled_client_holds_up_nobody_and_is_left() {
    let stall = Duration::from_millis(200);
    let (server, agent) = ours(AgentServer::builder().stall_timeout(stall));
    let key = ed25519();
    agent.add(&key, &AddOptions::new()).unwrap();
    let framed = string_of(&SignRequest { key: key.public_key().blob(), data: b"x", flags: 0 }.to_vec());
    for cut in [1, 3, 4, framed.len() - 1] {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(&framed[..cut]).unwrap();
        let began = Instant::now();
        std::thread::scope(|scope| {
            let stalled = scope.spawn(|| server.serve_connection(far));
            sign(&agent, &key, 0).unwrap();
            assert_eq!(stalled.join().unwrap(), Err(AgentError::Timeout), "cut at {cut}");
        });
        assert!((stall..PATIENCE).contains(&began.elapsed()));
    }
}

#[test]
fn a_client_that_takes_no_answers_is_left() {
    let server = AgentServer::builder().stall_timeout(Duration::from_millis(200)).build();
    let long = "x".repeat(200 * 1024);
    server.add(&named(&long), &AddOptions::new()).unwrap();
    let (mut near, far) = UnixStream::pair().unwrap();
    for _ in 0..10 {
        near.write_all(&string_of(&[11])).unwrap();
    }
    assert_eq!(server.serve_connection(far), Err(AgentError::Timeout));
}

#[test]
fn ten_thousand_keys() {
    let (_, agent) = ours(AgentServer::builder());
    for number in 0..1024 {
        agent.add(&ed25519(), &AddOptions::new()).unwrap_or_else(|error| panic!("{number}: {error}"));
    }
    let one_more = ed25519();
    for _ in 1024..10_000 {
        assert_eq!(agent.add(&one_more, &AddOptions::new()), Err(AgentError::Refused));
    }
    assert_eq!(agent.keys().unwrap().len(), 1024);
}

#[test]
fn keys_that_do_not_hold_together_are_refused() {
    let (_, agent) = ours(AgentServer::builder());
    for kind in [KeyKind::Ed25519, KeyKind::EcdsaP256] {
        let mut request = vec![17];
        put_fields(&mut request, &PKey::generate(kind).unwrap()).unwrap();
        for at in 1..request.len() {
            let mut flipped = request.clone();
            flipped[at] ^= 1;
            // In an ECDSA key, which has no comment here, every byte counts; so does it in an Ed25519 key.
            assert_eq!(agent.ask(&flipped, PATIENCE), Err(AgentError::Refused), "{kind:?} byte {at}");
        }
    }
    assert!(agent.keys().unwrap().is_empty());
}
