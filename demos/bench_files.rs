//! What keys and their files cost, for benchmarks: `bench_files HOST KNOWN_HOSTS HASHED AUTHORIZED_KEYS`, of which
//! HASHED has no name in clear. Prints one JSON line: microseconds to load each file and find something in it, and to
//! sign and verify.

mod support;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use feramiko::{AuthAnswer, AuthorizedKeys, HostKeys, KeyKind, KeyLogin, PKey};
use serde_json::{Value, json};
use support::given::operands;
use support::output::{end, say};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Signatures that are made and checked of each kind.
const ROUNDS: u32 = 200;
const KINDS: [(&str, KeyKind); 8] = [
    ("ed25519", KeyKind::Ed25519),
    ("ed448", KeyKind::Ed448),
    ("ecdsa p256", KeyKind::EcdsaP256),
    ("ecdsa p384", KeyKind::EcdsaP384),
    ("ecdsa p521", KeyKind::EcdsaP521),
    ("rsa 2048", KeyKind::Rsa(2048)),
    ("rsa 4096", KeyKind::Rsa(4096)),
    ("dsa 1024", KeyKind::Dss),
];

/// Microseconds that one of `rounds` takes.
fn cost<T>(rounds: u32, mut run: impl FnMut() -> Outcome<T>) -> Outcome<f64> {
    let started = Instant::now();
    for _ in 0..rounds {
        black_box(run()?);
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / f64::from(rounds))
}

fn signatures() -> Outcome<Value> {
    let mut costs = serde_json::Map::new();
    for (name, kind) in KINDS {
        let key = PKey::generate(kind)?;
        let algorithm = key.public_key().algorithms()[0];
        let signature = key.sign(algorithm, b"data")?;
        let sign = cost(ROUNDS, || Ok(key.sign(algorithm, b"data")?))?;
        let verify = cost(ROUNDS, || Ok(key.public_key().verify(algorithm, b"data", &signature)?))?;
        costs.insert(name.to_owned(), json!({ "sign": sign, "verify": verify }));
    }
    Ok(costs.into())
}

fn run() -> Outcome<()> {
    let arguments = operands()?;
    let [host, known, hashed, authorized] = &arguments[..] else {
        return Err("four arguments are needed".into());
    };
    let found = |path: &String| {
        cost(5, || {
            let keys = HostKeys::load(path)?;
            if keys.lookup(host, 22).is_empty() { Err("the host is not found".into()) } else { Ok(()) }
        })
    };
    let (key, loaded) = (PKey::generate(KeyKind::Ed25519)?, AuthorizedKeys::load(authorized)?);
    let login = KeyLogin::new("robey", key.public_key(), None);
    let judged = cost(5, || match AuthorizedKeys::load(authorized)?.check(&login) {
        AuthAnswer::Refuse => Ok(()),
        _ => Err("a key that is not there is let in".into()),
    })?;
    let again = cost(1000, || Ok(loaded.check(&login)))?;
    let costs = json!({
        "known_hosts": found(known)?, "hashed": found(hashed)?, "authorized_keys": judged, "authorized_keys, loaded": again,
        "signatures": signatures()?,
    });
    Ok(say(costs)?)
}

fn main() -> ExitCode {
    end("bench_files", run())
}
