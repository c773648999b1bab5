//! Hosts that vouch for their users: what passes, and everything that must not.

use super::*;
use crate::auth::hostbased;

/// A request's parts; what is signed may differ from what is sent.
#[derive(Clone)]
struct Parts {
    session: &'static [u8],
    user: &'static str,
    algorithm: &'static str,
    blob: Vec<u8>,
    host: String,
    local: String,
}

impl Parts {
    fn of(key: &PKey) -> Self {
        let blob = key.public_key().blob().to_vec();
        let (host, local) = ("ci.example.org.".to_owned(), "you".to_owned());
        Self { session: SESSION, user: "me", algorithm: "ssh-ed25519", blob, host, local }
    }

    fn fields(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        fields.put(self.algorithm).put(self.blob.as_slice());
        fields.put(self.host.as_str()).put(self.local.as_str());
        fields
    }

    fn signed_by(&self, key: &PKey) -> Vec<u8> {
        let data = hostbased::signed_data(self.session, self.user.as_bytes(), &self.fields());
        key.sign(key.public_key().algorithms()[0], &data).unwrap()
    }

    fn request(&self, signature: &[u8]) -> Vec<u8> {
        let mut rest = self.fields();
        rest.put(signature);
        request(self.user, "hostbased", &rest)
    }
}

fn listing(methods: &[&'static str]) -> AuthServer {
    let mut server = server();
    server.set_methods(methods.to_vec());
    server
}

/// What the server makes of a request when the application says yes to everything: whether it was
/// asked, and what came of it.
fn verdict(server: &mut AuthServer, request: &[u8]) -> (bool, Vec<ServerAction>) {
    let actions = server.feed(request).unwrap();
    match &actions[..] {
        [ServerAction::Ask(_)] => (true, server.answer(AuthAnswer::Accept)),
        _ => (false, actions),
    }
}

#[test]
fn a_host_vouches_for_its_user() {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    for yes in [true, false] {
        let claim = HostClaim {
            key: key.clone(),
            algorithm: "ssh-ed25519",
            host: "ci.example.org".to_owned(),
            user: "you".to_owned(),
        };
        let mut decide = |question: Question| {
            let Question::Hostbased { user, client } = question else { panic!("{question:?}") };
            assert_eq!((user.as_str(), client.host.as_str()), ("me", "ci.example.org"));
            assert_eq!((client.user.as_str(), &client.key), ("you", key.public_key()));
            AuthAnswer::when(yes)
        };
        let mut server = listing(&["hostbased"]);
        assert_eq!(attempt(&mut client(), &mut server, Attempt::Hostbased(claim), &mut decide), yes);
    }
    let parts = Parts::of(&key);
    let (asked, actions) = verdict(&mut listing(&["hostbased"]), &parts.request(&parts.signed_by(&key)));
    let [ServerAction::Success(info, _)] = &actions[..] else { panic!("{actions:?}") };
    assert!(asked && info.key.is_none() && info.methods == ["hostbased"]);
    assert_eq!(info.hostbased.as_ref().map(|client| client.host.as_str()), Some("ci.example.org"));
}

#[test]
fn whatever_the_host_has_not_signed_is_refused() {
    let (key, other) = (PKey::generate(KeyKind::Ed25519).unwrap(), PKey::generate(KeyKind::Ed25519).unwrap());
    let good = Parts::of(&key);
    let signature = good.signed_by(&key);
    let with = |change: &dyn Fn(&mut Parts)| {
        let mut parts = good.clone();
        change(&mut parts);
        parts
    };
    let own = |change: &dyn Fn(&mut Parts)| {
        let parts = with(change);
        parts.request(&parts.signed_by(&key))
    };
    let other_blob = other.public_key().blob().to_vec();
    // What is wrong, the request, and whether the application is asked for the sake of the time.
    let cases = [
        ("another key signed", good.request(&good.signed_by(&other)), true),
        ("another key is shown", with(&|parts| parts.blob.clone_from(&other_blob)).request(&signature), true),
        ("another host", with(&|parts| parts.host = "other.".to_owned()).request(&signature), true),
        (
            "the host without the dot",
            with(&|parts| parts.host = "ci.example.org".to_owned()).request(&signature),
            true,
        ),
        ("another user there", with(&|parts| parts.local = "root".to_owned()).request(&signature), true),
        ("another user here", with(&|parts| parts.user = "root").request(&signature), true),
        ("another session", good.request(&with(&|parts| parts.session = b"another").signed_by(&key)), true),
        ("an algorithm of other keys", own(&|parts| parts.algorithm = "rsa-sha2-512"), false),
        ("an unknown algorithm", own(&|parts| parts.algorithm = "nonsense"), false),
        ("one that is not accepted", own(&|parts| parts.algorithm = "ssh-ed448"), false),
        ("no key", own(&|parts| parts.blob = b"nonsense".to_vec()), false),
        ("no host", own(&|parts| parts.host = String::new()), false),
        ("a dot alone", own(&|parts| parts.host = ".".to_owned()), false),
        ("a pattern", own(&|parts| parts.host = "*".to_owned()), false),
        ("two hosts", own(&|parts| parts.host = "a,b".to_owned()), false),
        ("a port", own(&|parts| parts.host = "[a]:2222".to_owned()), false),
        ("control letters", own(&|parts| parts.host = "a\x1b[2J".to_owned()), false),
        ("a long name", own(&|parts| parts.host = "a".repeat(256)), false),
        ("no user", own(&|parts| parts.local = String::new()), false),
        ("control letters in the user", own(&|parts| parts.local = "a\nb".to_owned()), false),
        ("a long user", own(&|parts| parts.local = "a".repeat(2000)), false),
    ];
    for (what, request, asks) in cases {
        let (asked, actions) = verdict(&mut listing(&["hostbased"]), &request);
        assert!(matches!(actions[..], [ServerAction::Refuse(_)]), "{what}: {actions:?}");
        assert_eq!(asked, asks, "{what}");
    }
    for at in 0..signature.len() {
        let mut flipped = signature.clone();
        flipped[at] ^= 1;
        let (_, actions) = verdict(&mut listing(&["hostbased"]), &good.request(&flipped));
        assert!(matches!(actions[..], [ServerAction::Refuse(_)]), "{at}: {actions:?}");
    }
    let (asked, actions) = verdict(&mut listing(&["publickey", "password"]), &good.request(&signature));
    assert!(!asked && matches!(actions[..], [ServerAction::Refuse(_)]), "not listed: {actions:?}");
    let long = own(&|parts| parts.host = "a".repeat(255));
    assert!(matches!(verdict(&mut listing(&["hostbased"]), &long).1[..], [ServerAction::Success(..)]));
}

#[test]
fn every_prefix_is_malformed_or_refused() {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let parts = Parts::of(&key);
    let whole = parts.request(&parts.signed_by(&key));
    for length in 1..whole.len() {
        if let Ok(actions) = listing(&["hostbased"]).feed(&whole[..length]) {
            assert!(matches!(actions[..], [ServerAction::Refuse(_)]), "{length}: {actions:?}");
        }
    }
    assert!(listing(&["hostbased"]).feed(&[&whole[..], &[0]].concat()).is_err());
}

#[test]
fn refusals_count_and_another_user_starts_anew() {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let parts = Parts::of(&key);
    let whole = parts.request(&parts.signed_by(&key));
    let mut server = listing(&["hostbased"]);
    for count in 1..=SERVER.tries {
        server.feed(&whole).unwrap();
        let actions = server.answer(AuthAnswer::Refuse);
        assert_eq!(matches!(actions[..], [ServerAction::TooMany]), count == SERVER.tries, "{count}");
    }
    let mut server = listing(&["hostbased", "password"]);
    server.feed(&whole).unwrap();
    assert!(matches!(server.answer(AuthAnswer::Partial)[..], [ServerAction::Send(_)]));
    let mut password = vec![0];
    password.put("x");
    server.feed(&request("other", "password", &password)).unwrap();
    let actions = server.answer(AuthAnswer::Accept);
    let [ServerAction::Success(info, _)] = &actions[..] else { panic!("{actions:?}") };
    assert!(info.hostbased.is_none() && info.methods == ["password"]);
}

#[test]
fn a_hosts_key_is_as_long_as_users_must_be() {
    let text = openssl::rsa::Rsa::generate(1024).unwrap().private_key_to_pem().unwrap();
    let key = PKey::from_bytes(&text, None).unwrap();
    let parts = Parts { algorithm: "rsa-sha2-512", ..Parts::of(&key) };
    let data = hostbased::signed_data(parts.session, parts.user.as_bytes(), &parts.fields());
    let request = parts.request(&key.sign_sized(1024, "rsa-sha2-512", &data).unwrap());
    for (bits, good) in [(1024, true), (2048, false)] {
        let mut server = listing(&["hostbased"]);
        server.require_rsa(bits);
        let (asked, actions) = verdict(&mut server, &request);
        assert!(asked);
        assert_eq!(matches!(actions[..], [ServerAction::Success(..)]), good, "{bits}: {actions:?}");
    }
}
