//! A key type of a user's own: hosts prove themselves and users authenticate by it, files of OpenSSH's
//! formats name such keys, and a key that is wrong is refused.

mod given;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use feramiko::{
    Algorithms, Answer, AuthAnswer, AuthorizedKeys, Error, ExitStatus, HostKeyStatus, HostKeys, KexError,
    KeyError, KeyLogin, KeySpec, PKey, PublicKey, SSHServer, ServerHandle, ServerInterface, Session,
    SessionRequest, Signer,
};

const NAME: &str = "sums@example.org";

/// The public key is the private one: four bytes.
static SUMS: KeySpec =
    KeySpec::own(NAME, |key| key.len() == 4, |key, data, signature| signature == signed(key, data));

fn signed(key: &[u8], data: &[u8]) -> [u8; 4] {
    let mut sum = u32::from_be_bytes(key.try_into().unwrap());
    data.iter()
        .for_each(|byte| sum = sum.rotate_left(5).wrapping_add(u32::from(*byte)).wrapping_mul(0x9e37_79b1));
    sum.to_be_bytes()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

struct Holder {
    public: PublicKey,
    /// What it signs with.
    key: [u8; 4],
}

impl Signer for Holder {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, KeyError> {
        assert_eq!(algorithm, NAME);
        Ok([string(NAME.as_bytes()), string(&signed(&self.key, data))].concat())
    }
}

fn public(key: [u8; 4]) -> PublicKey {
    PublicKey::from_own_blob(&[&string(NAME.as_bytes())[..], &key].concat(), &SUMS).unwrap()
}

fn key(key: [u8; 4]) -> PKey {
    PKey::from_signer(Holder { public: public(key), key })
}

/// One that says it is `shown` and signs as another.
fn liar(shown: [u8; 4]) -> PKey {
    PKey::from_signer(Holder { public: public(shown), key: *b"liar" })
}

fn with_sums(mut algorithms: Algorithms) -> Algorithms {
    algorithms.add_key(&SUMS).unwrap();
    algorithms
}

fn client_algorithms() -> Algorithms {
    let mut algorithms = with_sums(Algorithms::client_defaults());
    algorithms.set_host_keys("^sums@example.org").unwrap();
    algorithms
}

struct Door(Arc<AuthorizedKeys>);

impl ServerInterface for Door {
    fn check_auth_publickey(&self, user: &str, key: &PublicKey) -> AuthAnswer {
        self.0.check(&KeyLogin::new(user, key, None))
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, _: Session) -> io::Result<ExitStatus> {
        Ok(ExitStatus::Code(7))
    }
}

/// A server with that host key beside a usual one, which lets in whom `authorized_keys` lets in.
fn server(host: PKey, authorized_keys: &str) -> ServerHandle {
    let keys = Arc::new(AuthorizedKeys::parse(authorized_keys));
    assert_eq!(keys.bad_lines(), []);
    SSHServer::builder()
        .host_key(host)
        .host_key(given::host_key())
        .algorithms(with_sums(Algorithms::server_defaults()))
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), move |_| Door(keys.clone()))
        .unwrap()
}

#[test]
fn a_host_and_a_user_have_such_keys() {
    let line = format!("restrict {} somebody", public(*b"user").to_line());
    let server = server(key(*b"host"), &line);
    let client = || given::client().username("me").algorithms(client_algorithms());
    let connected = client().key(key(*b"user")).connect(&server.address()).unwrap();
    assert_eq!(connected.transport().negotiated().unwrap().host_key, NAME);
    assert_eq!(connected.output("x").unwrap().status, ExitStatus::Code(7));
    for stranger in [key(*b"else"), liar(*b"user")] {
        let refused = client().key(stranger).connect(&server.address());
        assert!(matches!(refused, Err(Error::Auth { .. })), "{refused:?}");
    }
    // Whoever does not know the type is shown another key, and cannot offer one of it.
    let plain = given::client().username("me").key(key(*b"user")).connect(&server.address());
    assert!(matches!(plain, Err(Error::Auth { .. })), "{plain:?}");
}

#[test]
fn a_host_that_cannot_sign_is_refused() {
    let server = server(liar(*b"host"), "");
    let client = given::client().username("me").algorithms(client_algorithms());
    let refused = client.connect(&server.address()).unwrap_err().to_string();
    assert!(refused.contains("signature"), "{refused}");
}

#[test]
fn known_hosts_with_such_keys() {
    let line = public(*b"user").to_line();
    let server = server(key(*b"host"), &line);
    let (host, port) = server
        .address()
        .rsplit_once(':')
        .map(|(host, port)| (host.to_owned(), port.parse().unwrap()))
        .unwrap();
    for (known, connects) in [(*b"host", true), (*b"else", false)] {
        let mut written = HostKeys::new();
        written.add(&host, port, &public(known)).unwrap();
        let mut read = HostKeys::parse(written.to_text());
        let client = given::client()
            .username("me")
            .key(key(*b"user"))
            .algorithms(with_sums(Algorithms::client_defaults()))
            .host_keys(read.clone());
        let connected = client.connect(&server.address());
        assert_eq!(connected.is_ok(), connects, "{connected:?}");
        // What is known of the host was asked for first, and the answer held against it: an unknown key
        // would have been added.
        match connected {
            Ok(client) => assert_eq!(client.transport().negotiated().unwrap().host_key, NAME),
            Err(error) => assert!(matches!(error, Error::HostKey { .. }), "{error:?}"),
        }
        let other = public(*b"more");
        assert_eq!(read.check(&host, port, &other), HostKeyStatus::Unknown);
        read.know(&[&SUMS]);
        assert!(matches!(read.check(&host, port, &other), HostKeyStatus::Changed { .. }));
        let mut all = HostKeys::new();
        all.know(&[&SUMS]);
        all.extend(HostKeys::parse(written.to_text()));
        assert_eq!(all.lookup(&host, port), [&public(known)]);
    }
}

#[test]
fn what_is_no_such_key_and_what_such_keys_cannot_do() {
    let sums = public(*b"user");
    assert_eq!((sums.key_type(), sums.algorithms(), sums.bits()), (NAME, &[NAME][..], 0));
    for blob in
        [&sums.blob()[..20], &[sums.blob(), b"x"].concat(), given::host_key().public_key().blob(), b""]
    {
        assert!(PublicKey::from_own_blob(blob, &SUMS).is_err(), "{blob:?}");
    }
    assert!(matches!(PublicKey::from_blob(sums.blob()), Err(KeyError::Unsupported(_))));
    let signature = key(*b"user").sign(NAME, b"data").unwrap();
    assert_eq!(sums.verify(NAME, b"data", &signature), Ok(()));
    assert_eq!(sums.verify(NAME, b"date", &signature), Err(KeyError::BadSignature));
    assert_eq!(sums.verify("ssh-ed25519", b"data", &signature), Err(KeyError::BadSignature));
    assert_eq!(sums.verify(NAME, b"data", &[&signature[..], b"x"].concat()), Err(KeyError::BadSignature));
    assert!(matches!(key(*b"user").sign("ssh-ed25519", b"data"), Err(KeyError::Unsupported(_))));
    assert!(key(*b"user").to_openssh(None).is_err());
    assert!(sums.to_format(feramiko::PublicFormat::Pkcs8, "").is_err());
    assert!(feramiko::CertificateBuilder::user(&sums).principal("me").sign(&given::host_key()).is_err());
}

#[test]
fn names_that_are_taken() {
    static RSA: KeySpec = KeySpec::own("ssh-rsa", |_| true, |_, _, _| true);
    static TOKEN: KeySpec = KeySpec::own("sk-ssh-ed25519@openssh.com", |_| true, |_, _, _| true);
    let mut algorithms = Algorithms::client_defaults();
    for taken in [&RSA, &TOKEN] {
        assert!(matches!(algorithms.add_key(taken), Err(KexError::BadRow { .. })));
    }
    assert_eq!(algorithms, Algorithms::client_defaults());
    algorithms.add_key(&SUMS).unwrap();
    assert!(matches!(algorithms.add_key(&SUMS), Err(KexError::BadRow { .. })));
    algorithms.set_public_keys("sums@example.org").unwrap();
    assert_ne!(algorithms, Algorithms::client_defaults());
}
