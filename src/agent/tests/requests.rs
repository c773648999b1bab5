//! Everything else that clients ask for: what leaves, and what comes of each answer.

use super::*;
use crate::agent::message::{AddSmartcardKey, AddSmartcardKeyConstrained, Lock, RemoveSmartcardKey, Unlock};
use crate::crypto::secret::Secret;
use crate::key::get_fields;
use crate::wire::Reader;

/// A call, its name, and the number of its message.
type Call = (&'static str, u8, fn(&Agent) -> Result<(), AgentError>);

fn constrained() -> AddOptions {
    AddOptions::new().lifetime(Duration::from_secs(5)).confirm(true)
}

const CALLS: &[Call] = &[
    ("add", 17, |agent| agent.add(&ed25519(), &AddOptions::new())),
    ("add constrained", 25, |agent| agent.add(&ed25519(), &constrained())),
    ("remove", 18, |agent| agent.remove(ed25519().public_key())),
    ("remove_all", 19, Agent::remove_all),
    ("lock", 22, |agent| agent.lock(&Secret::from("secret"))),
    ("unlock", 23, |agent| agent.unlock(&Secret::from("secret"))),
    ("add_smartcard", 20, |agent| {
        agent.add_smartcard("/lib/x.so", &Secret::from("1234"), &AddOptions::new())
    }),
    ("add_smartcard constrained", 26, |agent| {
        agent.add_smartcard("/lib/x.so", &Secret::from("1234"), &constrained())
    }),
    ("remove_smartcard", 21, |agent| agent.remove_smartcard("/lib/x.so", &Secret::from(""))),
    ("extension", 27, |agent| agent.extension("x@example.org", b"more").map(drop)),
    ("session_bind", 27, |agent| agent.session_bind(ed25519().public_key(), b"id", b"signature", true)),
];

#[test]
fn answers_to_orders() {
    for (name, number, call) in CALLS {
        let answering = |answer: Vec<u8>| {
            let number = *number;
            agent(move |request| {
                assert_eq!(request[0], number);
                string_of(&answer)
            })
        };
        assert_eq!(call(&answering(vec![6])), Ok(()), "{name}");
        for refusal in FAILURES {
            assert_eq!(call(&answering(vec![refusal])), Err(AgentError::Refused), "{name}");
        }
        let failed = call(&answering(vec![28]));
        match number {
            27 => assert_eq!(failed, Err(AgentError::ExtensionFailed), "{name}"),
            _ => assert!(matches!(failed, Err(AgentError::Malformed(_))), "{name}"),
        }
        for wrong in [vec![0], vec![12, 0, 0, 0, 0], vec![29], vec![255; 100]] {
            let error = call(&answering(wrong.clone())).unwrap_err();
            assert!(matches!(error, AgentError::Malformed(_)), "{name} {wrong:?}: {error}");
        }
        let too_long = agent(|_| vec![0xff; 4]);
        assert!(matches!(call(&too_long), Err(AgentError::TooLong { .. })), "{name}");
        let silent = agent(|_| Vec::new()).answer_timeout(Duration::from_millis(50));
        let silent = silent.sign_timeout(Duration::from_millis(50));
        if *name != "unlock" {
            assert_eq!(call(&silent), Err(AgentError::Timeout), "{name}");
        }
    }
}

/// An agent that passes on what it is asked and says yes.
fn recording() -> (Agent, std::sync::mpsc::Receiver<Vec<u8>>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let agent = agent(move |request| {
        sender.send(request.to_vec()).unwrap();
        string_of(&[6])
    });
    (agent, receiver)
}

#[test]
fn what_is_sent() {
    let (agent, sent) = recording();
    let key = ed25519().with_comment("a comment").unwrap();
    agent.add(&key, &constrained()).unwrap();
    let request = sent.recv().unwrap();
    let mut reader = Reader::new(&request[1..]);
    let read = get_fields(&mut reader).unwrap();
    assert_eq!((read.public_key(), read.comment()), (key.public_key(), "a comment"));
    assert_eq!(reader.rest(), [1, 0, 0, 0, 5, 2]);

    agent.lock(&Secret::from("pass")).unwrap();
    assert_eq!(Lock::decode_packet(&sent.recv().unwrap()).unwrap().passphrase.0, b"pass");
    agent.unlock(&Secret::from("pass")).unwrap();
    assert_eq!(Unlock::decode_packet(&sent.recv().unwrap()).unwrap().passphrase.0, b"pass");

    agent.add_smartcard("lib", &Secret::from("pin"), &AddOptions::new()).unwrap();
    let request = sent.recv().unwrap();
    let message = AddSmartcardKey::decode_packet(&request).unwrap();
    assert_eq!((message.provider, message.pin.0), (&b"lib"[..], &b"pin"[..]));
    agent.add_smartcard("lib", &Secret::from("pin"), &constrained()).unwrap();
    let request = sent.recv().unwrap();
    let message = AddSmartcardKeyConstrained::decode_packet(&request).unwrap();
    assert_eq!((message.pin.0, message.constraints.0), (&b"pin"[..], &[1, 0, 0, 0, 5, 2][..]));
    agent.remove_smartcard("lib", &Secret::from("pin")).unwrap();
    assert_eq!(RemoveSmartcardKey::decode_packet(&sent.recv().unwrap()).unwrap().provider, b"lib");
}

#[test]
fn keys_held_elsewhere_are_not_added() {
    let (agent, _) = recording();
    let elsewhere = PKey::from(AgentKey::new(agent.clone(), ed25519().public_key().clone(), String::new()));
    let error = agent.add(&elsewhere, &AddOptions::new()).unwrap_err();
    assert!(matches!(error, AgentError::Key(KeyError::Unsupported(_))), "{error}");
}

#[test]
fn extensions_answer_in_each_form() {
    let respond = |name: &str, contents: &[u8]| {
        let mut answer = vec![29];
        answer.put(name).put_raw(contents);
        string_of(&answer)
    };
    let with = |answer: Vec<u8>| agent(move |_| answer.clone()).extension("x", b"");
    assert_eq!(with(respond("x", b"more")), Ok(b"more".to_vec()));
    assert_eq!(with(string_of(b"\x06more")), Ok(b"more".to_vec()));
    assert!(matches!(with(respond("y", b"more")), Err(AgentError::Malformed(_))));

    let names = [string_of(b"one@example.org"), string_of(b"t\x1bwo")].concat();
    let listed = names.clone();
    let names_of = agent(move |_| respond("query", &listed)).query().unwrap();
    assert_eq!(names_of, ["one@example.org", "t\\u{1b}wo"]);
    for cut in 1..names.len() {
        let (cut_off, whole) = (names[..cut].to_vec(), cut == 19);
        let answer = agent(move |_| respond("query", &cut_off)).query();
        assert_eq!(answer.is_ok(), whole, "cut at {cut}");
    }
}

#[test]
fn every_connection_is_bound_to_its_sessions() {
    let (sender, seen) = std::sync::mpsc::channel();
    let (agent, connections) = fake(move |mut stream, number| {
        // The first connection ends after its two bindings, as if the agent had been started anew.
        for _ in 0..if number == 0 { 2 } else { usize::MAX } {
            let Some(request) = request(&mut stream) else { return };
            sender.send((number, request[0])).unwrap();
            stream.write_all(&if request[0] == 27 { string_of(&[6]) } else { list(&[]) }).unwrap();
        }
    });
    let key = ed25519();
    agent.session_bind(key.public_key(), b"one", b"", true).unwrap();
    agent.session_bind(key.public_key(), b"two", b"", false).unwrap();
    agent.keys().unwrap();
    agent.clone().keys().unwrap();
    assert_eq!(connections.load(Ordering::Relaxed), 2);
    let seen: Vec<_> = seen.try_iter().collect();
    assert_eq!(seen, [(0, 27), (0, 27), (1, 27), (1, 27), (1, 11), (1, 11)]);
}

#[test]
fn an_agent_that_binds_no_more_is_not_used() {
    let (agent, _) = fake(move |mut stream, number| {
        while let Some(request) = request(&mut stream) {
            let bound = request[0] == 27 && number == 0;
            stream.write_all(&string_of(if bound { &[6] } else { &[5] })).unwrap();
            if bound {
                return;
            }
        }
    });
    agent.session_bind(ed25519().public_key(), b"one", b"", true).unwrap();
    assert_eq!(agent.keys().unwrap_err(), AgentError::ExtensionFailed);
}

#[test]
fn destinations_are_read_as_ssh_add_reads_them() {
    let key = ed25519();
    let known = |hop: Hop| match hop.host.as_slice() {
        b"unknown" => hop,
        _ => hop.key(key.public_key()),
    };
    let (a, b) = (Hop::new("a").key(key.public_key()), Hop::new("b").key(key.public_key()));
    for (spec, expected) in [
        ("a", Destination::new(a.clone())),
        ("root@a", Destination::new(a.clone().user("root"))),
        ("x@y@a", Destination::new(a.clone().user("x@y"))),
        ("b>a", Destination::through(b.clone(), a.clone())),
        ("b>*@a", Destination::through(b.clone(), a.clone().user("*"))),
        ("[a]", Destination::new(a)),
    ] {
        assert_eq!(Destination::parse(spec, known), Ok(expected), "{spec}");
    }
    for spec in ["", "root@", "unknown", "a>unknown", "unknown>a", ">a", "a>", "root@a>b"] {
        let error = Destination::parse(spec, known).unwrap_err();
        assert!(matches!(&error, AgentError::Destination { .. }), "{spec}: {error}");
    }
}

#[test]
fn constraints_come_back_as_they_were() {
    let key = ed25519();
    let hop = |host| Hop::new(host).user("me").key(key.public_key()).authority(key.public_key());
    let way = Destination::through(Hop::new("a").key(key.public_key()), hop("b"));
    for options in [
        AddOptions::new(),
        constrained(),
        AddOptions::new().destination(Destination::new(hop("a"))),
        constrained().destination(Destination::new(hop("a"))).destination(way),
    ] {
        let bytes = options.encode();
        assert_eq!(AddOptions::decode(Reader::new(&bytes)), Ok(options.clone()));
        for cut in 1..bytes.len() {
            // Whole constraints may be missing: then fewer are read, never others.
            if let Ok(fewer) = AddOptions::decode(Reader::new(&bytes[..cut])) {
                assert_eq!(fewer.encode(), bytes[..cut], "cut at {cut}");
            }
        }
    }
    assert_eq!(AddOptions::new().lifetime(Duration::from_millis(1001)).lifetime, Some(2));
    assert_eq!(AddOptions::new().lifetime(Duration::MAX).lifetime, Some(u32::MAX));
}
