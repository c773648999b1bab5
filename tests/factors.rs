//! Servers that want several methods in an order of theirs, which clients only learn from refusals: our client passes
//! every order, and shows nothing twice that was judged.

mod given;

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use feramiko::{
    Answer, AuthAnswer, AuthInfo, AuthMethod, AuthenticationMethods, Error, HostbasedClient,
    InteractiveAnswer, InteractiveQuery, MethodAnswer, MethodLogin, MethodMessage, PKey, PublicKey,
    SSHClientBuilder, SSHServer, Secret, ServerInterface, SessionRequest,
};

const OWN: &str = "word@example.org";

#[derive(Default)]
struct Seen {
    passwords: AtomicUsize,
    logins: Mutex<Vec<AuthInfo>>,
}

/// Wants what the user's name says, a list of methods.
struct Door {
    keys: Vec<PublicKey>,
    seen: Arc<Seen>,
}

impl ServerInterface for Door {
    fn allowed_auths(&self, _: &str) -> Vec<&'static str> {
        vec!["hostbased", "publickey", "password", "keyboard-interactive", OWN]
    }

    fn authentication_methods(&self, user: &str) -> Option<AuthenticationMethods> {
        AuthenticationMethods::parse(user)
    }

    fn check_auth_password(&self, _: &str, password: &Secret) -> AuthAnswer {
        self.seen.passwords.fetch_add(1, SeqCst);
        AuthAnswer::when(password.matches("foo"))
    }

    fn check_auth_publickey(&self, _: &str, key: &PublicKey) -> AuthAnswer {
        AuthAnswer::when(self.keys.contains(key))
    }

    fn check_auth_hostbased(&self, _: &str, _: &HostbasedClient) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_auth_interactive(&self, _: &str) -> InteractiveAnswer {
        InteractiveAnswer::Ask(InteractiveQuery::new("", "").prompt("Code: ", false))
    }

    fn check_auth_interactive_response(&self, _: &str, answers: &[Secret]) -> InteractiveAnswer {
        InteractiveAnswer::Done(AuthAnswer::when(answers[0].matches("42")))
    }

    fn check_auth_method(&self, _: &MethodLogin<'_>, fields: &Secret) -> MethodAnswer {
        MethodAnswer::Done(AuthAnswer::when(fields.matches("word")))
    }

    fn authenticated(&self, auth: &AuthInfo) {
        self.seen.logins.lock().unwrap().push(auth.clone());
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }
}

struct Word;

impl AuthMethod for Word {
    fn name(&self) -> &'static str {
        OWN
    }

    fn request(&mut self, _: &MethodLogin<'_>) -> feramiko::Result<Secret> {
        Ok(Secret::from("word"))
    }

    fn answer(&mut self, _: &MethodLogin<'_>, _: &MethodMessage) -> feramiko::Result<Option<MethodMessage>> {
        Ok(None)
    }
}

#[test]
fn every_order_is_passed() {
    let _watch = given::within(300);
    let keys: Vec<PKey> = (0..3).map(|_| given::host_key()).collect();
    let good: Vec<_> = keys[1..].iter().map(|key| key.public_key().clone()).collect();
    let seen = Arc::<Seen>::default();
    let told = Arc::clone(&seen);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .serve(listener, move |_| Door { keys: good.clone(), seen: Arc::clone(&told) })
        .unwrap();
    // The first key is no good: others come before and behind it.
    let client = |user: &str| {
        let client = given::client().username(user).password("foo").auth_method(Word);
        let client = client.interactive(|_| Ok(vec![Secret::from("42")]));
        keys.iter().cloned().fold(client, SSHClientBuilder::key)
    };
    let vouched = |user: &str| client(user).hostbased(keys[0].clone(), "ci.example.org", "me");
    let names = ["publickey", "password", "keyboard-interactive", OWN];
    let mut lists: Vec<String> = Vec::new();
    for first in names {
        for second in names {
            for third in ["publickey", "password", OWN] {
                lists.push(format!("{first},{second}"));
                lists.push(format!("{first},{second},{third}"));
            }
        }
    }
    lists.extend(
        ["hostbased,password", "password,hostbased", "publickey,hostbased", "password,publickey,hostbased"]
            .map(str::to_owned),
    );
    let once = |list: &str, name: &str| list.split(',').filter(|method| *method == name).count() < 2;
    // There are two good keys, and one of the others.
    lists.retain(|list| {
        names[1..].iter().all(|name| once(list, name))
            && list.split(',').filter(|name| *name == names[0]).count() < 3
    });
    lists.sort();
    lists.dedup();
    assert!(lists.len() > 30, "{lists:?}");
    for list in &lists {
        seen.passwords.store(0, SeqCst);
        let connect = if list.contains("hostbased") { vouched(list) } else { client(list) };
        let entered = connect.connect(&server.address());
        let entered = entered.unwrap_or_else(|error| panic!("{list}: {error}"));
        // Answered by whoever was told of the login before.
        entered.output("x").unwrap();
        let logins = std::mem::take(&mut *seen.logins.lock().unwrap());
        assert_eq!(logins[0].methods.join(","), *list);
        let passwords = usize::from(list.contains("password"));
        assert_eq!(seen.passwords.load(SeqCst), passwords, "{list}: how often it was shown");
    }
}

#[test]
fn what_cannot_be_passed_ends() {
    let _watch = given::within(300);
    let seen = Arc::<Seen>::default();
    let told = Arc::clone(&seen);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .serve(listener, move |_| Door { keys: Vec::new(), seen: Arc::clone(&told) })
        .unwrap();
    for (list, password) in [
        ("password,publickey", "foo"),
        ("password,publickey", "bar"),
        ("publickey,password", "foo"),
        ("password,hostbased", "foo"),
    ] {
        seen.passwords.store(0, SeqCst);
        let client = given::client().username(list).password(password).key(given::host_key());
        match client.connect(&server.address()) {
            Err(Error::Auth { attempts, .. }) => assert!(attempts.len() <= 4, "{list}: {attempts:?}"),
            other => panic!("{list}: {other:?}"),
        }
        assert!(seen.passwords.load(SeqCst) <= 1, "{list}");
    }
    assert!(seen.logins.lock().unwrap().is_empty());
}
