//! Algorithms of a user's own, one row each: our client and our server agree on all four at once.

mod given;

use std::net::TcpListener;

use feramiko::{
    Algorithms, CipherSpec, CipherState, CipherWay, CompressionSpec, CompressionState, CryptoError, KexError,
    KexHash, KexSpec, Limits, MacSpec, MacState, PacketError, SSHServer, Secret,
};

/// Both shares are the secret: an exchange without secrecy.
static KEX: KexSpec = KexSpec::own(
    "open@example.org",
    KexHash::Sha384,
    || {
        let share = b"client's".to_vec();
        Ok((share, Box::new(|peer| Ok(Secret::new([b"client's", peer].concat())))))
    },
    |peer| match peer.len() {
        8 => Ok((b"server's".to_vec(), Secret::new([peer, b"server's"].concat()))),
        length => Err(CryptoError::new(format!("a share of {length} bytes"))),
    },
);

/// Blocks of 24 bytes, each added to the one before it: decrypting is not encrypting.
struct Sums {
    way: CipherWay,
    last: [u8; 24],
}

impl CipherState for Sums {
    fn apply(&mut self, data: &mut [u8]) -> Result<(), CryptoError> {
        let (blocks, rest) = data.as_chunks_mut::<24>();
        for block in blocks {
            let before = *block;
            for (byte, last) in block.iter_mut().zip(self.last) {
                *byte = match self.way {
                    CipherWay::Encrypt => byte.wrapping_add(last),
                    CipherWay::Decrypt => byte.wrapping_sub(last),
                };
            }
            self.last = if self.way == CipherWay::Encrypt { *block } else { before };
        }
        if rest.is_empty() { Ok(()) } else { Err(CryptoError::new("part of a block")) }
    }
}

static CIPHER: CipherSpec = CipherSpec::own("sums@example.org", [5, 24, 24], |way, key, vector| {
    assert_eq!(key.len(), 5);
    let last = vector.try_into().map_err(|_| CryptoError::new("a vector of another length"))?;
    Ok(Box::new(Sums { way, last }))
});

/// Five bytes of weighted sums.
struct Weights(Vec<u8>);

impl MacState for Weights {
    fn compute(&mut self, sequence: u32, packet: &[u8], tag: &mut [u8]) -> Result<(), CryptoError> {
        for (at, byte) in packet.iter().chain(&sequence.to_be_bytes()).enumerate() {
            let weight = self.0[at % self.0.len()] | 1;
            tag[at % 5] = tag[at % 5].rotate_left(1).wrapping_add(byte.wrapping_mul(weight));
        }
        Ok(())
    }
}

static MAC: MacSpec =
    MacSpec::own("weights@example.org", [7, 5], false, |key| Ok(Box::new(Weights(key.to_vec()))));

/// A count and a byte, again and again.
struct Runs;

impl CompressionState for Runs {
    fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), PacketError> {
        for run in payload.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(255)) {
            out.extend([run.len() as u8, run[0]]);
        }
        Ok(())
    }

    fn decompress(&mut self, data: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), PacketError> {
        for [count, byte] in data.as_chunks().0 {
            out.resize(out.len() + usize::from(*count), *byte);
            if out.len() > limit {
                return Err(PacketError::InflatedTooLong);
            }
        }
        Ok(())
    }
}

static COMPRESSION: CompressionSpec = CompressionSpec::own("runs@example.org", true, || Box::new(Runs));

fn with_all(mut algorithms: Algorithms) -> Algorithms {
    algorithms.add_kex(&KEX).unwrap();
    algorithms.add_cipher(&CIPHER).unwrap();
    algorithms.add_mac(&MAC).unwrap();
    algorithms.add_compression(&COMPRESSION).unwrap();
    algorithms
}

#[test]
fn four_rows_of_ones_own_carry_a_connection() {
    let _watch = given::within(120);
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .algorithms(with_all(Algorithms::server_defaults()))
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| given::Echo)
        .unwrap();
    // Offered last: between two that know better nothing changes.
    let client =
        given::client().username("me").password("foo").algorithms(with_all(Algorithms::client_defaults()));
    let client = client.connect(&server.address()).unwrap();
    assert!(client.transport().negotiated().unwrap().kex.starts_with("mlkem"));
    let mut algorithms = with_all(Algorithms::client_defaults());
    algorithms.set_kex("^open@example.org").unwrap();
    algorithms.set_ciphers("sums@example.org").unwrap();
    algorithms.set_macs("weights@example.org").unwrap();
    algorithms.set_compressions("runs@example.org").unwrap();
    let mut limits = Limits::default();
    // The compression leaves half of the data.
    limits.rekey_bytes = 100_000;
    let client = given::client().username("me").password("foo").algorithms(algorithms).limits(limits);
    let client = client.connect(&server.address()).unwrap();
    let negotiated = client.transport().negotiated().unwrap();
    assert_eq!(negotiated.kex, "open@example.org");
    assert_eq!(negotiated.cipher_to_server, "sums@example.org");
    assert_eq!(negotiated.mac_to_client.as_deref(), Some("weights@example.org"));
    assert_eq!(negotiated.compression_to_client, "runs@example.org");
    let channel = client.open_session().unwrap();
    channel.exec_command("cat").unwrap();
    let data: Vec<u8> = (0..2_000_000_u32).map(|at| (at >> 2) as u8 ^ (at >> 11) as u8).collect();
    let echo = given::echoed(&channel, &data).unwrap();
    assert!(echo == data, "{} bytes came back", echo.len());
    assert_eq!(channel.wait_exit(None).unwrap(), given::Echo::STATUS);
    // At least two by bytes, on which the rows start anew.
    assert!(client.transport().exchanges() > 2, "{} exchanges", client.transport().exchanges());
}

#[test]
fn rows_that_no_packet_could_use_are_refused() {
    static COMMA: CompressionSpec = CompressionSpec::own("a,b@example.org", true, || Box::new(Runs));
    static LOCAL: CompressionSpec = CompressionSpec::own("runs", true, || Box::new(Runs));
    static TAKEN: CompressionSpec = CompressionSpec::own("zlib@openssh.com", true, || Box::new(Runs));
    static SIGN: CompressionSpec = CompressionSpec::own("+runs@example.org", true, || Box::new(Runs));
    let mut algorithms = Algorithms::client_defaults();
    for row in [&COMMA, &LOCAL, &TAKEN, &SIGN] {
        assert!(matches!(algorithms.add_compression(row), Err(KexError::BadRow { .. })));
    }
    static WIDE: CipherSpec =
        CipherSpec::own("wide@example.org", [5, 24, 65], |_, _, _| Err(CryptoError::new("")));
    static FLAT: CipherSpec =
        CipherSpec::own("flat@example.org", [5, 24, 0], |_, _, _| Err(CryptoError::new("")));
    static HUGE: CipherSpec =
        CipherSpec::own("huge@example.org", [5, 1025, 8], |_, _, _| Err(CryptoError::new("")));
    for row in [&WIDE, &FLAT, &HUGE] {
        assert!(matches!(algorithms.add_cipher(row), Err(KexError::BadRow { .. })));
    }
    static NONE: MacSpec = MacSpec::own("none@example.org", [5, 0], true, |_| Err(CryptoError::new("")));
    static LONG: MacSpec = MacSpec::own("long@example.org", [5, 65], true, |_| Err(CryptoError::new("")));
    for row in [&NONE, &LONG] {
        assert!(matches!(algorithms.add_mac(row), Err(KexError::BadRow { .. })));
    }
    static MARKER: KexSpec = KexSpec::own(
        "kex-strict-c-v00@openssh.com",
        KexHash::Sha256,
        || Err(CryptoError::new("")),
        |_| Err(CryptoError::new("")),
    );
    assert!(matches!(algorithms.add_kex(&MARKER), Err(KexError::BadRow { .. })));
    assert_eq!(algorithms, Algorithms::client_defaults());
    algorithms.add_kex(&KEX).unwrap();
    assert!(matches!(algorithms.add_kex(&KEX), Err(KexError::BadRow { reason: "its name is taken", .. })));
    assert!(!algorithms.pq_only().kex().contains(&"open@example.org"));
}
