//! Keys with destinations: what a connection may see and sign after which sessions.

use super::*;

/// A host with its key; sessions to it have its name for an id.
struct Host {
    name: &'static str,
    key: PKey,
}

impl Host {
    fn new(name: &'static str) -> Self {
        Self { name, key: ed25519() }
    }

    fn hop(&self) -> Hop {
        Hop::new(self.name).key(self.key.public_key())
    }

    /// Binds a connection to a session with this host.
    fn bind(&self, agent: &Agent, forwarding: bool) -> Result<(), AgentError> {
        self.bind_as(agent, self.name, forwarding)
    }

    fn bind_as(&self, agent: &Agent, session: &str, forwarding: bool) -> Result<(), AgentError> {
        let signature = self.key.sign("ssh-ed25519", session.as_bytes()).unwrap();
        agent.session_bind(self.key.public_key(), session.as_bytes(), &signature, forwarding)
    }
}

/// The data of a login with `key`; hostbound where there is a host.
fn login(session: &str, user: &str, key: &PKey, host: Option<&Host>) -> Vec<u8> {
    let mut data = string_of(session.as_bytes());
    let method = if host.is_some() { "publickey-hostbound-v00@openssh.com" } else { "publickey" };
    data.put(&50_u8).put(user).put("ssh-connection").put(method).put(&true);
    data.put("ssh-ed25519").put(key.public_key().blob());
    if let Some(host) = host {
        data.put(host.key.public_key().blob());
    }
    data
}

fn signs(agent: &Agent, key: &PKey, data: &[u8]) -> bool {
    let request = SignRequest { key: key.public_key().blob(), data, flags: 0 }.to_vec();
    agent.ask(&request, PATIENCE).is_ok()
}

fn sees(agent: &Agent) -> bool {
    !agent.keys().unwrap().is_empty()
}

/// An agent that holds a key with these destinations.
fn held(destinations: &[Destination]) -> (AgentServer, PKey) {
    let (server, key) = (AgentServer::builder().build(), ed25519());
    let options = destinations.iter().fold(AddOptions::new(), |all, one| all.destination(one.clone()));
    // By the protocol, so that the constraint goes over the wire.
    client(&server).add(&key, &options).unwrap();
    (server, key)
}

#[test]
fn a_key_for_one_host() {
    let (a, b) = (Host::new("a"), Host::new("b"));
    let (server, key) = held(&[Destination::new(a.hop().user("me*"))]);

    let local = client(&server);
    assert!(sees(&local), "who is on the agent's host sees it");
    assert!(!signs(&local, &key, &login("a", "me", &key, None)), "no session is bound");

    let to_a = client(&server);
    a.bind(&to_a, false).unwrap();
    assert!(sees(&to_a));
    assert!(signs(&to_a, &key, &login("a", "me", &key, None)));
    assert!(signs(&to_a, &key, &login("a", "me too", &key, Some(&a))));
    for (what, data) in [
        ("another user", login("a", "you", &key, None)),
        ("another session", login("b", "me", &key, None)),
        ("another host", login("a", "me", &key, Some(&b))),
        ("another key", login("a", "me", &ed25519(), None)),
        ("no login", b"data".to_vec()),
        ("more than a login", [login("a", "me", &key, None), vec![0]].concat()),
    ] {
        assert!(!signs(&to_a, &key, &data), "{what}");
    }
    let whole = login("a", "me", &key, Some(&a));
    for cut in 0..whole.len() {
        assert!(!signs(&to_a, &key, &whole[..cut]), "cut at {cut}");
    }

    let to_b = client(&server);
    b.bind(&to_b, false).unwrap();
    assert!(!sees(&to_b));
    assert!(!signs(&to_b, &key, &login("b", "me", &key, None)));
    assert_eq!(to_b.remove(key.public_key()), Err(AgentError::Refused), "who cannot see it cannot remove it");
    assert_eq!(to_b.add(&key, &AddOptions::new()), Err(AgentError::Refused), "nor free it");

    // On a, where the agent is forwarded to, it is of no use.
    let on_a = client(&server);
    a.bind(&on_a, true).unwrap();
    assert!(!sees(&on_a));
    assert!(!signs(&on_a, &key, &login("a", "me", &key, None)), "what is forwarded is no login");
    b.bind(&on_a, false).unwrap();
    assert!(!signs(&on_a, &key, &login("b", "me", &key, Some(&b))));
}

#[test]
fn a_key_for_a_host_behind_another() {
    let (a, b, c) = (Host::new("a"), Host::new("b"), Host::new("c"));
    let (server, key) = held(&[Destination::new(a.hop()), Destination::through(a.hop(), b.hop())]);

    let on_a = client(&server);
    a.bind(&on_a, true).unwrap();
    assert!(sees(&on_a), "it is of use from there on");
    b.bind(&on_a, false).unwrap();
    assert!(signs(&on_a, &key, &login("b", "me", &key, Some(&b))));
    assert!(!signs(&on_a, &key, &login("b", "me", &key, None)), "it must say to which host");
    assert!(!signs(&on_a, &key, &login("a", "me", &key, Some(&a))), "an earlier session");

    let to_c = client(&server);
    a.bind(&to_c, true).unwrap();
    c.bind(&to_c, false).unwrap();
    assert!(!sees(&to_c));
    assert!(!signs(&to_c, &key, &login("c", "me", &key, Some(&c))));

    let straight = client(&server);
    b.bind(&straight, false).unwrap();
    assert!(!signs(&straight, &key, &login("b", "me", &key, Some(&b))), "not from the agent's own host");

    let through_b = client(&server);
    a.bind(&through_b, true).unwrap();
    b.bind(&through_b, true).unwrap();
    assert!(!sees(&through_b), "the way ends at b");
}

#[test]
fn sessions_that_are_none() {
    let (a, b) = (Host::new("a"), Host::new("b"));
    let (server, key) = held(&[Destination::new(a.hop())]);
    let failed = Err(AgentError::ExtensionFailed);
    let signature = |host: &Host, session: &str| host.key.sign("ssh-ed25519", session.as_bytes()).unwrap();

    for (host_key, session, signature) in [
        (a.key.public_key(), "a", signature(&b, "a")),
        (a.key.public_key(), "a", signature(&a, "b")),
        (a.key.public_key(), "a", Vec::new()),
        (a.key.public_key(), "a", string_of(b"ssh-rsa")),
    ] {
        let agent = client(&server);
        assert_eq!(agent.session_bind(host_key, session.as_bytes(), &signature, false), failed);
    }
    let long = "x".repeat(129);
    assert_eq!(a.bind_as(&client(&server), &long, true), failed);
    a.bind_as(&client(&server), &long[1..], true).unwrap();

    // A session that was not believed is worse than none: nothing with a destination is seen there.
    let (mut near, far) = UnixStream::pair().unwrap();
    let serving = server.clone();
    let thread = std::thread::spawn(move || serving.serve_connection(far));
    let mut ask = |message: &[u8]| {
        near.write_all(&string_of(message)).unwrap();
        request(&mut near).unwrap()
    };
    assert_eq!(ask(&[11])[..5], [12, 0, 0, 0, 1]);
    assert_eq!(ask(&[&[27][..], &string_of(b"session-bind@openssh.com")].concat()), [28]);
    assert_eq!(ask(&[11]), [12, 0, 0, 0, 0]);
    drop(near);
    thread.join().unwrap().unwrap();

    let again = client(&server);
    a.bind(&again, true).unwrap();
    a.bind(&again, true).unwrap();
    assert_eq!(b.bind_as(&again, "a", true), failed, "the session has another host key");
    let after_login = client(&server);
    a.bind(&after_login, false).unwrap();
    assert_eq!(b.bind(&after_login, true), failed, "nothing comes after a login");
    assert!(signs(&after_login, &key, &login("a", "me", &key, None)));
}

#[test]
fn a_connection_has_sixteen_sessions() {
    let a = Host::new("a");
    let (server, _) = held(&[Destination::new(a.hop())]);
    let agent = client(&server);
    for number in 0..16 {
        a.bind_as(&agent, &format!("session {number}"), true).unwrap();
    }
    assert_eq!(a.bind_as(&agent, "one more", true), Err(AgentError::ExtensionFailed));
}

#[test]
fn sessions_are_bound_while_locked() {
    let a = Host::new("a");
    let (server, key) = held(&[Destination::new(a.hop())]);
    let agent = client(&server);
    agent.lock(&Secret::from("x")).unwrap();
    a.bind(&agent, false).unwrap();
    assert!(!signs(&agent, &key, &login("a", "me", &key, None)));
    agent.unlock(&Secret::from("x")).unwrap();
    assert!(signs(&agent, &key, &login("a", "me", &key, None)));
}

#[test]
fn authorities_are_not_hosts() {
    let a = Host::new("a");
    let hop = Hop::new("a").authority(a.key.public_key());
    let (server, key) = held(&[Destination::new(hop)]);
    let agent = client(&server);
    a.bind(&agent, false).unwrap();
    assert!(!sees(&agent));
    assert!(!signs(&agent, &key, &login("a", "me", &key, None)));
}

#[test]
fn destinations_that_are_none_are_refused() {
    let (server, a) = (AgentServer::builder().build(), Host::new("a"));
    let agent = client(&server);
    let bare = Hop::new("a");
    let anywhere = Hop::new("").key(a.key.public_key());
    for destination in [
        Destination::new(bare.clone()),
        Destination::new(anywhere.clone()),
        Destination::through(bare, a.hop()),
        Destination::through(anywhere, a.hop()),
        Destination::through(a.hop().user("me"), a.hop()),
        Destination::new(a.hop().user(&"x".repeat(257))),
    ] {
        let options = AddOptions::new().destination(destination.clone());
        assert_eq!(agent.add(&a.key, &options), Err(AgentError::Refused), "{destination:?}");
    }
    let many =
        |count| (0..count).fold(AddOptions::new(), |all, _| all.destination(Destination::new(a.hop())));
    assert_eq!(agent.add(&a.key, &many(1025)), Err(AgentError::Refused));
    agent.add(&a.key, &many(1024)).unwrap();
    // An empty list would be no constraint at all.
    let mut request = vec![25];
    crate::key::put_fields(&mut request, &ed25519()).unwrap();
    request.put(&255_u8).put("restrict-destination-v00@openssh.com").put("");
    assert_eq!(agent.ask(&request, PATIENCE), Err(AgentError::Refused));
}
