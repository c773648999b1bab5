//! Passes TCP connections on and delays every byte by the same time, each way, without limiting the rate.
//! `relay PORT TARGET_PORT DELAY_MS` prints `ready` and ends with its input. The connection's own opening
//! is not delayed, and neither are TCP's acknowledgements.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use peers::{Failure, PIECE, finish};

/// Pieces under way in one direction. Only a guard against a sender without any window: what 50 ms hold
/// of the fastest one is a fraction of it.
const UNDER_WAY: usize = 4096;

type Late = (Instant, Vec<u8>);

fn take_in(mut from: TcpStream, delay: Duration, queue: SyncSender<Late>) {
    let mut piece = vec![0; PIECE];
    while let Ok(count) = from.read(&mut piece) {
        // An empty piece stands for the end.
        if queue.send((Instant::now() + delay, piece[..count].to_vec())).is_err() || count == 0 {
            return;
        }
    }
}

fn give_out(mut to: TcpStream, queue: Receiver<Late>) {
    for (due, piece) in queue {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if piece.is_empty() || to.write_all(&piece).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn relay(near: TcpStream, target: u16, delay: Duration) -> io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", target))?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        let (sender, receiver) = sync_channel(UNDER_WAY);
        thread::spawn(move || take_in(from, delay, sender));
        thread::spawn(move || give_out(to, receiver));
    }
    Ok(())
}

fn run() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [port, target, delay] = &words[..] else {
        return Err("usage: relay PORT TARGET_PORT DELAY_MS".into());
    };
    let (port, target): (u16, u16) = (port.parse()?, target.parse()?);
    let delay = Duration::from_millis(delay.parse()?);
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("ready");
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            if let Err(error) = relay(near, target, delay) {
                eprintln!("relay: {error}");
            }
        }
    });
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn main() {
    finish("relay", run());
}
