//! Hostile agents: every answer is a typed error, soon, and what is good in it is still used.

use super::*;

/// How long any of these may take: the limit of the security checklist.
const SOON: Duration = Duration::from_secs(5);

fn truncated() -> AgentError {
    AgentError::Malformed(Malformed::Truncated)
}

/// A list of one key and then `more`, framed, that claims to hold `count`.
fn lying_list(count: u32, more: &[u8]) -> Vec<u8> {
    let mut answer = vec![IdentitiesAnswer::NUMBER];
    answer.put(&count).put(ed25519().public_key().blob()).put("x").put_raw(more);
    string_of(&answer)
}

#[test]
fn row_59_lengths_that_are_none() {
    let started = Instant::now();
    let frame = |length: u32| length.to_be_bytes().to_vec();
    for (answer, expected) in [
        (frame(u32::MAX), AgentError::TooLong { length: u64::from(u32::MAX) }),
        (frame(0x8000_0000), AgentError::TooLong { length: 0x8000_0000 }),
        (frame(256 * 1024 + 1), AgentError::TooLong { length: 256 * 1024 + 1 }),
        (frame(0), truncated()),
    ] {
        assert_eq!(agent(move |_| answer.clone()).keys().unwrap_err(), expected);
    }
    assert!(started.elapsed() < SOON);
}

#[test]
fn the_longest_frame_is_taken() {
    let mut answer = vec![IdentitiesAnswer::NUMBER];
    answer.put(&1_u32).put(ed25519().public_key().blob());
    let comment = 256 * 1024 - answer.len() - 4;
    answer.put(vec![b'c'; comment].as_slice());
    assert_eq!(answer.len(), 256 * 1024);
    let keys = agent(move |_| string_of(&answer)).keys().unwrap();
    assert!(keys[0].comment().len() < 300, "shown text is cut");
}

#[test]
fn row_60_lists_that_lie() {
    let started = Instant::now();
    let count_only = |count: u32| string_of(&[&[12][..], &count.to_be_bytes()].concat());
    for (answer, expected) in [
        (count_only(u32::MAX), AgentError::TooManyKeys { count: u32::MAX }),
        (count_only(1025), AgentError::TooManyKeys { count: 1025 }),
        (count_only(1024), truncated()),
        (count_only(1), truncated()),
        (lying_list(u32::MAX, b""), AgentError::TooManyKeys { count: u32::MAX }),
        (lying_list(2, b""), truncated()),
        (lying_list(2, &[0, 0, 0, 1]), truncated()),
        (lying_list(2, &[0xff, 0xff, 0xff, 0xff]), truncated()),
        (lying_list(2, &[0, 0, 0, 0]), truncated()),
        (lying_list(1, &[0]), AgentError::Malformed(Malformed::Trailing)),
        (lying_list(0, b""), AgentError::Malformed(Malformed::Trailing)),
    ] {
        assert_eq!(agent(move |_| answer.clone()).keys().unwrap_err(), expected);
    }
    assert!(started.elapsed() < SOON);
}

#[test]
fn row_60_what_is_no_key_is_left_out_and_the_others_are_used() {
    let (first, last) = (ed25519(), PKey::generate(KeyKind::EcdsaP256).unwrap());
    let good = first.public_key().blob().to_vec();
    let mut lying = good.clone();
    lying[14] = 0xff;
    let unknown_type = {
        let mut blob = string_of(b"sk-ssh-nonsense@example.org");
        blob.put(&[1_u8; 32][..]);
        blob
    };
    let mut long = good.clone();
    long.push(0);
    let blobs = [
        good.clone(),
        Vec::new(),
        b"junk".to_vec(),
        vec![0xff; 64],
        unknown_type,
        lying,
        good[..good.len() - 1].to_vec(),
        long,
        string_of(b"ssh-ed25519"),
        string_of(b"ssh-rsa"),
        last.public_key().blob().to_vec(),
    ];
    let listed = list(&blobs.each_ref().map(Vec::as_slice));
    let signer = last.clone();
    let agent = agent(move |request| match request[0] {
        RequestIdentities::NUMBER => listed.clone(),
        _ => answer_honestly(&signer, request),
    });
    let keys = agent.keys().unwrap();
    assert_eq!(
        keys.iter().map(AgentKey::public_key).collect::<Vec<_>>(),
        [first.public_key(), last.public_key()]
    );
    keys[1].sign("ecdsa-sha2-nistp256", b"data").unwrap();
}

#[test]
fn row_61_other_answers_than_asked_for() {
    let started = Instant::now();
    let number =
        |found| AgentError::Malformed(Malformed::Number { found, expected: IdentitiesAnswer::NUMBER.into() });
    for (answer, expected) in [
        (vec![6], number(6)),
        (vec![0], number(0)),
        (vec![11], number(11)),
        (vec![14, 0, 0, 0, 0], number(14)),
        (vec![28], number(28)),
        (vec![255; 1000], number(255)),
        (vec![5], AgentError::Refused),
        (vec![30], AgentError::Refused),
        (vec![102], AgentError::Refused),
    ] {
        assert_eq!(agent(move |_| string_of(&answer)).keys().unwrap_err(), expected);
    }
    assert!(started.elapsed() < SOON);
}

#[test]
fn row_61_every_cut_of_an_answer_is_an_error() {
    let whole = list(&[ed25519().public_key().blob()]);
    for end in 0..whole.len() {
        let cut = whole[..end].to_vec();
        let (agent, connections) = fake(move |mut stream, _| {
            // Hangs up after it.
            if request(&mut stream).is_some() {
                stream.write_all(&cut).unwrap();
            }
        });
        assert_eq!(agent.keys().unwrap_err(), AgentError::Closed, "cut at {end}");
        assert_eq!(connections.load(Ordering::Relaxed), 2, "tried once more on a new connection");
    }
    for end in 4..whole.len() {
        let framed = string_of(&whole[4..end]);
        let error = agent(move |_| framed.clone()).keys().unwrap_err();
        assert!(matches!(error, AgentError::Malformed(_)), "framed after {end}: {error}");
    }
}

#[test]
fn row_61_half_an_answer_and_silence_end_at_the_deadline() {
    let whole = list(&[ed25519().public_key().blob()]);
    let patience = Duration::from_millis(100);
    for end in [0, 1, 3, 4, 5, 20, whole.len() - 1] {
        let half = whole[..end].to_vec();
        let agent = agent(move |_| half.clone()).answer_timeout(patience);
        let started = Instant::now();
        assert_eq!(agent.keys().unwrap_err(), AgentError::Timeout, "cut at {end}");
        assert!((patience..SOON).contains(&started.elapsed()), "{:?}", started.elapsed());
    }
}

#[test]
fn half_a_signature_is_not_waited_for_as_long_as_a_person_is() {
    let key = ed25519();
    let held = key.clone();
    let agent = agent(move |request| match request[0] {
        RequestIdentities::NUMBER => list(&[held.public_key().blob()]),
        _ => vec![0, 0],
    });
    let agent = agent.answer_timeout(Duration::from_millis(200)).sign_timeout(Duration::from_secs(60));
    let started = Instant::now();
    assert_eq!(agent.keys().unwrap()[0].sign("ssh-ed25519", b"data"), Err(AgentError::Timeout));
    assert!(started.elapsed() < SOON);
}

#[test]
fn an_answer_that_trickles_ends_at_the_deadline() {
    let whole = list(&[ed25519().public_key().blob()]);
    let (agent, _) = fake(move |mut stream, _| {
        if request(&mut stream).is_some() {
            for byte in &whole {
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    });
    let started = Instant::now();
    let agent = agent.answer_timeout(Duration::from_millis(300));
    assert_eq!(agent.keys().unwrap_err(), AgentError::Timeout);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn an_agent_that_reads_nothing_ends_at_the_deadline() {
    let key = ed25519();
    let (agent, _) = fake(|stream, _| {
        std::thread::sleep(Duration::from_secs(4));
        drop(stream);
    });
    let agent = agent.answer_timeout(Duration::from_millis(200));
    let held = AgentKey::new(agent.clone(), key.public_key().clone(), String::new());
    let started = Instant::now();
    // More than the socket takes by itself, less than a frame may hold.
    assert!(held.sign("ssh-ed25519", &vec![0; 250 * 1024]).is_err());
    assert_eq!(agent.keys().unwrap_err(), AgentError::Timeout);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn more_than_a_frame_is_not_sent() {
    let key = ed25519();
    let error = holding(&key).keys().unwrap()[0].sign("ssh-ed25519", &vec![0; 256 * 1024]).unwrap_err();
    assert!(matches!(error, AgentError::TooLong { length } if length > 256 * 1024), "{error}");
}

#[test]
fn a_late_answer_is_not_taken_for_the_next() {
    let key = ed25519();
    let held = key.clone();
    let (agent, connections) = fake(move |mut stream, number| {
        while let Some(request) = request(&mut stream) {
            if number == 0 && request[0] == SignRequest::NUMBER {
                std::thread::sleep(Duration::from_millis(300));
            }
            if stream.write_all(&answer_honestly(&held, &request)).is_err() {
                return;
            }
        }
    });
    let hasty = agent.clone().sign_timeout(Duration::from_millis(100)).keys().unwrap().remove(0);
    assert_eq!(hasty.sign("ssh-ed25519", b"first"), Err(AgentError::Timeout));
    std::thread::sleep(Duration::from_millis(400));
    let signature = agent.keys().unwrap()[0].sign("ssh-ed25519", b"second").unwrap();
    key.public_key().verify("ssh-ed25519", b"second", &signature).unwrap();
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[test]
fn what_is_no_signature_by_the_key_is_not_passed_on() {
    let (key, other) =
        (PKey::generate(KeyKind::Rsa(2048)).unwrap(), PKey::generate(KeyKind::Rsa(2048)).unwrap());
    let good = key.sign("rsa-sha2-512", b"data").unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut long = good.clone();
    long.push(0);
    let number =
        |found| AgentError::Malformed(Malformed::Number { found, expected: SignResponse::NUMBER.into() });
    for (answer, expected) in [
        (signature(&good), Ok(good.clone())),
        (signature(&flipped), Err(AgentError::BadSignature)),
        (signature(&long), Err(AgentError::BadSignature)),
        (signature(&[]), Err(AgentError::BadSignature)),
        (signature(&[0xff; 8]), Err(AgentError::BadSignature)),
        (signature(&key.sign("rsa-sha2-256", b"data").unwrap()), Err(AgentError::BadSignature)),
        (signature(&key.sign("rsa-sha2-512", b"other").unwrap()), Err(AgentError::BadSignature)),
        (signature(&other.sign("rsa-sha2-512", b"data").unwrap()), Err(AgentError::BadSignature)),
        (string_of(&[6]), Err(number(6))),
        (string_of(&[5]), Err(AgentError::Refused)),
        (string_of(&[14, 0, 0, 0, 9]), Err(truncated())),
        (string_of(&[14, 0, 0, 0, 0, 0]), Err(AgentError::Malformed(Malformed::Trailing))),
        (vec![0xff; 4], Err(AgentError::TooLong { length: u64::from(u32::MAX) })),
    ] {
        let agent = agent(move |_| answer.clone());
        let held = AgentKey::new(agent, key.public_key().clone(), String::new());
        assert_eq!(held.sign("rsa-sha2-512", b"data"), expected);
        let as_key = PKey::from(held).sign("rsa-sha2-512", b"data");
        assert_eq!(as_key, expected.map_err(|error| KeyError::Signer(error.to_string())));
    }
}

#[test]
fn comments_cannot_reach_the_terminal() {
    let mut answer = vec![IdentitiesAnswer::NUMBER];
    answer.put(&1_u32).put(ed25519().public_key().blob()).put(&b"\x1b]0;evil\x07\n\xff"[..]);
    let keys = agent(move |_| string_of(&answer)).keys().unwrap();
    assert!(keys[0].comment().chars().all(|c| !c.is_control()), "{:?}", keys[0].comment());
}
