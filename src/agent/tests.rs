//! An honest agent, and the hostile ones of the security checklist: each gives a typed error, soon.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::*;
use crate::key::{KeyKind, PKey};
use crate::wire::{Writer, string_of};

/// An agent that answers every request with the bytes that `answer` makes of it.
fn agent(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Agent {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let mut header = [0; 4];
        while theirs.read_exact(&mut header).is_ok() {
            let mut request = vec![0; u32::from_be_bytes(header) as usize];
            theirs.read_exact(&mut request).unwrap();
            if theirs.write_all(&answer(&request)).is_err() {
                return;
            }
        }
    });
    Agent(Arc::new(Mutex::new(Endpoint::from_stream(ours))))
}

fn list(keys: &[&PublicKey]) -> Vec<u8> {
    let mut answer = vec![12];
    answer.put(&u32::try_from(keys.len()).unwrap());
    for key in keys {
        answer.put(key.blob()).put("a comment");
    }
    string_of(&answer)
}

#[test]
fn keys_are_listed_and_sign() {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let held = key.clone();
    let agent = agent(move |request| match request[0] {
        11 => list(&[held.public_key()]),
        _ => {
            let message = SignRequest::decode_packet(request).unwrap();
            let mut answer = vec![14];
            answer.put(held.sign("ssh-ed25519", message.data).unwrap().as_slice());
            string_of(&answer)
        }
    });
    let keys = agent.keys().unwrap();
    assert_eq!((keys[0].public_key(), keys[0].comment()), (key.public_key(), "a comment"));
    let signature = keys[0].sign("ssh-ed25519", b"data").unwrap();
    key.public_key().verify("ssh-ed25519", b"data", &signature).unwrap();
}

#[test]
fn hostile_answers_are_typed_errors() {
    let cases: Vec<(Vec<u8>, AgentError)> = vec![
        (vec![0xff; 4], AgentError::TooMuch),
        (vec![0; 4], AgentError::TooMuch),
        (string_of(&[12, 0xff, 0xff, 0xff, 0xff]), AgentError::TooMuch),
        (string_of(&[12, 0, 0, 0, 2]), AgentError::Malformed(Malformed::Truncated)),
        (string_of(&[12, 0, 0, 0, 0, 9]), AgentError::Malformed(Malformed::Trailing)),
        (string_of(&[6]), AgentError::Malformed(Malformed::Number { found: 6, expected: 12 })),
        (string_of(&[99]), AgentError::Malformed(Malformed::Number { found: 99, expected: 12 })),
        (string_of(&[5]), AgentError::Refused),
    ];
    for (answer, expected) in cases {
        let agent = agent(move |_| answer.clone());
        assert_eq!(agent.keys().unwrap_err(), expected);
    }
}

#[test]
fn keys_that_are_none_are_left_out() {
    let key = PKey::generate(KeyKind::EcdsaP256).unwrap();
    let public = key.public_key().clone();
    let agent = agent(move |_| {
        let mut answer = vec![12];
        answer.put(&3_u32).put(&b"junk"[..]).put("x").put(string_of(b"ssh-unknown").as_slice()).put("y");
        answer.put(public.blob()).put("z");
        string_of(&answer)
    });
    assert_eq!(agent.keys().unwrap().len(), 1);
}

#[test]
fn half_an_answer_and_silence_end_at_the_deadline() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(&[0, 0, 0, 9, 12]).unwrap();
    let started = Instant::now();
    let mut endpoint = Endpoint::from_stream(ours);
    let result = endpoint.ask(&[11], std::time::Duration::from_millis(200));
    assert_eq!(result.unwrap_err(), AgentError::Timeout);
    assert!(started.elapsed().as_secs() < 2);
}

#[test]
fn a_signature_of_another_key_is_not_passed_on() {
    let (key, other) = (PKey::generate(KeyKind::Ed25519).unwrap(), PKey::generate(KeyKind::Ed25519).unwrap());
    let public = key.public_key().clone();
    let agent = agent(move |request| match request[0] {
        11 => list(&[&public]),
        _ => {
            let mut answer = vec![14];
            answer.put(other.sign("ssh-ed25519", b"data").unwrap().as_slice());
            string_of(&answer)
        }
    });
    assert!(matches!(agent.keys().unwrap()[0].sign("ssh-ed25519", b"data"), Err(KeyError::Signer(_))));
}
