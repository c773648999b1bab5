//! The connection layer without threads: any messages in any order, in both roles, with a user who opens,
//! reads, writes, answers and closes in between.

use std::sync::Arc;

use super::Input;
use crate::engine::{Bare, ChannelLink, Incoming, Lane};
use crate::kex::Role;
use crate::wire::Writer;

/// Channels a user has at once; enough for any mix-up.
const CHANNELS: usize = 4;

/// A message whose numbers are small, so that it concerns something that exists.
fn message(input: &mut Input<'_>) -> Vec<u8> {
    const NUMBERS: [u8; 18] = [1, 2, 3, 4, 20, 80, 81, 82, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99];
    let number = NUMBERS.get(usize::from(input.byte()) % NUMBERS.len()).copied().unwrap_or(100);
    let channel = u32::from(input.byte() % 4);
    let mut payload = vec![number];
    match number {
        80 => drop(payload.put("tcpip-forward").put(&true).put(input.piece(64))),
        90 => {
            payload.put("session").put(&channel).put(&u32::from(input.byte())).put(&u32::from(input.byte()));
        }
        91 => {
            payload.put(&channel).put(&channel).put(&u32::from(input.byte())).put(&u32::from(input.byte()));
        }
        92 => drop(payload.put(&channel).put(&1_u32).put("").put("")),
        93 => drop(payload.put(&channel).put(&(u32::from(input.byte()) << 24))),
        94 => drop(payload.put(&channel).put(input.piece(1024))),
        95 => drop(payload.put(&channel).put(&u32::from(input.byte() % 3)).put(input.piece(1024))),
        96 | 97 | 99 | 100 => drop(payload.put(&channel)),
        98 => {
            const KINDS: [&str; 5] = ["exec", "exit-status", "exit-signal", "eow@openssh.com", "pty-req"];
            let kind = KINDS.get(usize::from(input.byte()) % KINDS.len()).copied().unwrap_or_default();
            payload.put(&channel).put(kind).put(&input.byte().is_multiple_of(2));
            payload.extend_from_slice(input.piece(64));
        }
        _ => payload.extend_from_slice(input.piece(128)),
    }
    payload
}

/// What a user does with a channel.
fn use_channel(channel: &ChannelLink, what: u8, data: &[u8]) {
    let now = Some(std::time::Instant::now());
    match what % 6 {
        0 => drop(channel.read(Lane::Data, &mut [0; 600], now)),
        1 => drop(channel.read(Lane::Stderr, &mut [0; 600], now)),
        2 => drop(channel.write(Lane::Data, data, now)),
        3 => channel.send_eof(),
        4 => channel.stop_reading(Lane::Data),
        _ => drop(channel.wait_exit(now)),
    }
}

/// Any sequence: no panic, and what is kept stays within the limits.
pub fn connection(data: &[u8]) {
    let mut input = Input(data);
    let role = if input.byte().is_multiple_of(2) { Role::Client } else { Role::Server };
    let Ok(bare) = Bare::new(role) else { return };
    let mut channels: Vec<Arc<ChannelLink>> = Vec::new();
    while !input.is_empty() && bare.alive() {
        match input.byte() % 8 {
            0 => {
                if let Some(channel) = bare.open("session").filter(|_| channels.len() < CHANNELS) {
                    channels.push(Arc::new(channel));
                }
            }
            1 => {
                if let Some(channel) = channels.get(usize::from(input.byte()) % CHANNELS).cloned() {
                    use_channel(&channel, input.byte(), input.piece(256));
                }
            }
            2 => match bare.next_incoming() {
                Some(Incoming::Open(request)) if channels.len() < CHANNELS => {
                    channels.extend(request.accept(bare.link()).map(Arc::new));
                }
                Some(Incoming::Channel { reply, .. } | Incoming::Global { reply, .. })
                    if input.byte().is_multiple_of(2) =>
                {
                    reply.accept(b"");
                }
                // Dropped is refused.
                _ => {}
            },
            3 if !channels.is_empty() => drop(channels.remove(usize::from(input.byte()) % channels.len())),
            4 => bare.feed(input.piece(512)),
            _ => bare.feed(&message(&mut input)),
        }
        bare.check();
    }
    drop(channels);
    assert!(bare.end(), "something holds a transport that has ended");
}
