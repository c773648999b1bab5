//! What the machine could do at most: `probe tcp BYTES` moves bytes between two threads over loopback,
//! `probe gcm BYTES` and `probe ctr BYTES` seal packets with OpenSSL as a sender would.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use nix::sys::resource::UsageWho;
use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use peers::{Failure, Meter, PIECE, cpu, finish};

/// Payload of the packet that OpenSSH's channels send most.
const PACKET: usize = 32 * 1024;

fn tcp(bytes: u64) -> Result<(), Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut to = TcpStream::connect(listener.local_addr()?)?;
    let (mut from, _) = listener.accept()?;
    let started = Instant::now();
    let receiver = thread::spawn(move || -> std::io::Result<(u64, f64)> {
        let (mut piece, mut total) = (vec![0; PIECE], 0);
        loop {
            match from.read(&mut piece)? {
                0 => return Ok((total, cpu(UsageWho::RUSAGE_THREAD))),
                count => total += count as u64,
            }
        }
    });
    let before = cpu(UsageWho::RUSAGE_THREAD);
    let piece = vec![0; PIECE];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(PIECE as u64);
        to.write_all(&piece[..now as usize])?;
        left -= now;
    }
    drop(to);
    let sending = cpu(UsageWho::RUSAGE_THREAD) - before;
    let (total, receiving) = receiver.join().map_err(|_| "the receiver panicked")??;
    if total != bytes {
        return Err("bytes were lost".into());
    }
    let secs = started.elapsed().as_secs_f64();
    println!("{{\"bytes\":{bytes},\"secs\":{secs:.6},\"cpu\":{sending:.6},\"receiver_cpu\":{receiving:.6}}}");
    Ok(())
}

fn gcm(bytes: u64) -> Result<(), Failure> {
    let mut context = CipherCtx::new()?;
    context.encrypt_init(Some(Cipher::aes_128_gcm()), Some(&[7; 16]), Some(&[0; 12]))?;
    let (mut packet, mut tag) = (vec![0; PACKET], [0; 16]);
    let packets = bytes / PACKET as u64;
    let meter = Meter::start();
    for sequence in 0..packets {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&sequence.to_be_bytes());
        context.encrypt_init(None, None, Some(&nonce))?;
        context.cipher_update(&(PACKET as u32).to_be_bytes(), None)?;
        context.cipher_update_inplace(&mut packet, PACKET)?;
        context.cipher_final(&mut [])?;
        context.tag(&mut tag)?;
    }
    meter.report(&format!("\"bytes\":{}", packets * PACKET as u64));
    Ok(())
}

fn ctr(bytes: u64) -> Result<(), Failure> {
    let mut context = CipherCtx::new()?;
    context.encrypt_init(Some(Cipher::aes_128_ctr()), Some(&[7; 16]), Some(&[0; 16]))?;
    let key = PKey::hmac(&[7; 32])?;
    let mut packet = vec![0; PACKET];
    let packets = bytes / PACKET as u64;
    let meter = Meter::start();
    for sequence in 0..packets as u32 {
        context.cipher_update_inplace(&mut packet, PACKET)?;
        let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
        signer.update(&sequence.to_be_bytes())?;
        signer.update(&packet)?;
        signer.sign_to_vec()?;
    }
    meter.report(&format!("\"bytes\":{}", packets * PACKET as u64));
    Ok(())
}

fn run() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["tcp", bytes] => tcp(bytes.parse()?),
        ["gcm", bytes] => gcm(bytes.parse()?),
        ["ctr", bytes] => ctr(bytes.parse()?),
        _ => Err("usage: probe tcp|gcm|ctr BYTES".into()),
    }
}

fn main() {
    finish("probe", run());
}
