//! Agents that answer nonsense, when asked for their keys or for a signature: a login goes on with the keys that it
//! has in files.

#![cfg(unix)]

mod given;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use feramiko::{
    AuthAnswer, AuthInfo, AutoAddPolicy, Error, HostKeys, KeyKind, PKey, PublicKey, SSHClient, SSHConfig,
    SSHServer, ServerHandle, ServerInterface,
};

/// More than anything here takes, and less than a person may take to touch a token.
const LONG: Duration = Duration::from_secs(60);
const LIST: u8 = 11;
const SIGN: u8 = 13;
const BIND: u8 = 27;

/// Lets in by any key that signs, and notes which.
struct Keys(Arc<Mutex<Vec<AuthInfo>>>);

impl ServerInterface for Keys {
    fn check_auth_publickey(&self, _: &str, _: &PublicKey) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn authenticated(&self, auth: &AuthInfo) {
        self.0.lock().unwrap().push(auth.clone());
    }
}

fn server() -> (ServerHandle, Arc<Mutex<Vec<AuthInfo>>>) {
    let seen = Arc::default();
    let told = Arc::clone(&seen);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = SSHServer::builder().host_key(given::host_key());
    (server.serve(listener, move |_| Keys(Arc::clone(&told))).unwrap(), seen)
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// What an agent sends for a request, its length included; nothing hangs up.
type Answer = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// Answers every request so. How often it was asked to list and to sign.
fn agent(path: &Path, answer: Answer) -> Arc<[AtomicUsize; 2]> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).unwrap();
    let (answer, asked) = (Arc::new(answer), Arc::<[AtomicUsize; 2]>::default());
    let told = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, told) = (Arc::clone(&answer), Arc::clone(&told));
            std::thread::spawn(move || serve(stream.unwrap(), &**answer, &told));
        }
    });
    asked
}

fn serve(mut stream: UnixStream, answer: &dyn Fn(&[u8]) -> Vec<u8>, asked: &[AtomicUsize; 2]) {
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        if stream.read_exact(&mut request).is_err() {
            return;
        }
        for (number, count) in [LIST, SIGN].into_iter().zip(asked) {
            count.fetch_add(usize::from(request[0] == number), SeqCst);
        }
        let answer = answer(&request);
        if answer.is_empty() || stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// An honest list of one key.
fn list(key: &PKey) -> Vec<u8> {
    string(&[&[12, 0, 0, 0, 1][..], &string(key.public_key().blob()), &string(b"held")].concat())
}

/// A frame that says it has so many bytes.
fn lying(length: u32, bytes: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes(), bytes].concat()
}

/// Nonsense in the place of any answer.
fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let noise: Vec<u8> = (0..300_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    vec![
        ("hangs up", Vec::new()),
        ("half a length", vec![0, 0]),
        ("no length", lying(0, b"")),
        ("the longest length", lying(u32::MAX, b"x")),
        ("a length above the limit", lying(256 * 1024 + 1, &noise)),
        ("noise", noise.clone()),
        ("noise in a frame", string(&noise)),
        ("a refusal", string(&[5])),
        ("a success", string(&[6])),
        ("an unknown number", string(&[200, 1, 2, 3])),
        ("a number alone", string(&[12])),
        ("a list of very many", string(&[12, 0xff, 0xff, 0xff, 0xff])),
        (
            "a list of more than it has",
            string(&[&[12, 0, 0, 0, 2][..], &string(b"x"), &string(b"")].concat()),
        ),
        ("a list of what is no key", string(&[&[12, 0, 0, 0, 1][..], &string(b"x"), &string(b"")].concat())),
        ("a signature that is none", string(&[&[14][..], &string(b"x")].concat())),
        ("a signature of nothing", string(&[14, 0, 0, 0, 0])),
        ("more after it", string(&[&[14][..], &string(b""), b"x"].concat())),
    ]
}

/// Logs in with a key that the agent holds, named by its public half, and then with one of a file: by what key,
/// and after how long.
fn log_in(folder: &Path, held: &PKey, file: &PKey) -> (Result<PublicKey, Error>, Duration) {
    let (server, seen) = server();
    let (public, path) = (folder.join("held.pub"), folder.join("file"));
    std::fs::write(&public, held.public_key().to_line()).unwrap();
    file.write_private_key_file(&path, None).unwrap();
    let config = format!("IdentityAgent {}\n", folder.join("agent").display());
    let client = SSHClient::builder()
        .ssh_config(SSHConfig::from_text(&config))
        .no_default_keys()
        .host_keys(HostKeys::new())
        .missing_host_key(AutoAddPolicy)
        .username("me")
        .deadline(LONG)
        .key_file(public, None)
        .key_file(path, None);
    let begun = Instant::now();
    let entered = client.connect(&server.address());
    let after = begun.elapsed();
    let entered = entered.map(|client| {
        // It is answered by whoever was told of the login before.
        assert!(client.open_session().is_ok());
        seen.lock().unwrap()[0].key.clone().unwrap()
    });
    (entered, after)
}

/// What an honest agent answers.
fn honest(key: &PKey, request: &[u8]) -> Vec<u8> {
    match request[0] {
        LIST => list(key),
        SIGN => {
            // The key's blob stands before the data.
            let data = &request[5 + key.public_key().blob().len()..];
            let length = u32::from_be_bytes(data[..4].try_into().unwrap()) as usize;
            let signature = key.sign("ssh-ed25519", &data[4..][..length]).unwrap();
            string(&[&[14][..], &string(&signature)].concat())
        }
        _ => string(&[5]),
    }
}

#[test]
fn a_login_goes_on_after_nonsense() {
    let _watch = given::within(600);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent");
    let key = |kind| PKey::generate(kind).unwrap();
    let (held, file, other) = (key(KeyKind::Ed25519), key(KeyKind::EcdsaP256), key(KeyKind::Ed25519));
    let counts = agent(&socket, {
        let held = held.clone();
        Box::new(move |request| honest(&held, request))
    });
    let (entered, _) = log_in(folder.path(), &held, &file);
    assert_eq!(
        (&entered.unwrap(), counts[1].load(SeqCst)),
        (held.public_key(), 1),
        "the agent's comes first"
    );
    let mut answers = nonsense();
    answers.push((
        "another's signature",
        string(&[&[14][..], &string(&other.sign("ssh-ed25519", b"x").unwrap())].concat()),
    ));
    answers.push(("another's key", list(&other)));
    for (what, garbage) in answers {
        for asked_for in [LIST, SIGN, BIND] {
            let (garbage, key) = (garbage.clone(), held.clone());
            let answer = move |request: &[u8]| {
                if request[0] == asked_for { garbage.clone() } else { honest(&key, request) }
            };
            let counts = agent(&socket, Box::new(answer));
            let (entered, after) = log_in(folder.path(), &held, &file);
            let entered = entered.unwrap_or_else(|error| panic!("{what} for {asked_for}: {error}"));
            // An agent that does not know sessions may be as good as another.
            let by_agent = asked_for == BIND && entered == *held.public_key();
            assert!(by_agent || entered == *file.public_key(), "{what} for {asked_for}");
            assert!(after < LONG / 2, "{what} for {asked_for}: {after:?}");
            let [lists, signatures] = [counts[0].load(SeqCst), counts[1].load(SeqCst)];
            assert_eq!(
                (lists > 0, signatures > 0),
                (true, asked_for == SIGN || by_agent),
                "{what} for {asked_for}"
            );
        }
    }
}
