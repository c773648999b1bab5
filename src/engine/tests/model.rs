//! Two engines without threads under random steps, against a model that only counts: bytes are
//! conserved and in order, never over the window, EOF follows the data, nothing follows CLOSE.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::Random;
use super::still::{Still, receive_payload};
use crate::engine::flow::{MAX_PACKET, TOLD, WINDOW};
use crate::engine::slot::SEND_BUFFER;
use crate::engine::{ChannelLink, ExitStatus, Incoming, Lane, Link};
use crate::error::{Error, Phase};
use crate::kex::Role;
use crate::msg::connection::{
    ChannelData, ChannelExtendedData, ChannelOpen, ChannelOpenConfirmation, ChannelWindowAdjust,
};
use crate::wire::{Encode, Escaped, Rest};

const LANES: [Lane; 2] = [Lane::Data, Lane::Stderr];

/// One direction of the channel's two streams, as the model sees it.
#[derive(Default)]
struct Stream {
    written: Vec<u8>,
    sent: usize,
    read: usize,
}

/// One end of the channel and what the model knows of what it sends.
struct End {
    still: Still,
    _link: Link,
    channel: ChannelLink,
    streams: [Stream; 2],
    /// What it knows that it may send.
    window: usize,
    /// What it may send but was not told yet.
    withheld: usize,
    wire: VecDeque<Vec<u8>>,
    wants_eof: bool,
    closed: bool,
    sent_eof: bool,
    sent_close: bool,
    sent_exit: bool,
    heard_eof: bool,
    heard_close: bool,
}

impl End {
    fn unsent(&self) -> usize {
        self.streams.iter().map(|stream| stream.written.len() - stream.sent).sum()
    }

    /// What left of it goes onto the wire, if the rules allow it.
    fn collect(&mut self) {
        while let Some(packet) = self.still.next_sent() {
            assert!(!self.sent_close, "{} after CLOSE", packet[0]);
            match packet[0] {
                93 => {}
                94 => self.sends(0, ChannelData::decode_packet(&packet).unwrap().data),
                95 => self.sends(1, ChannelExtendedData::decode_packet(&packet).unwrap().data),
                96 => {
                    assert!(!self.sent_eof && (self.unsent() == 0 || self.heard_close));
                    self.sent_eof = true;
                }
                97 => {
                    assert!(self.unsent() == 0 || self.heard_close, "CLOSE before the data");
                    self.sent_close = true;
                }
                98 => assert!(self.unsent() == 0 || self.heard_close, "the exit status before the data"),
                other => panic!("message {other}"),
            }
            self.wire.push_back(packet);
        }
    }

    fn sends(&mut self, lane: usize, data: &[u8]) {
        assert!(!self.sent_eof, "data after EOF");
        assert!(data.len() <= MAX_PACKET as usize);
        self.window = self.window.checked_sub(data.len()).expect("within the window");
        let stream = &mut self.streams[lane];
        assert!(stream.written[stream.sent..].starts_with(data), "other bytes than were written");
        stream.sent += data.len();
    }

    fn write(&mut self, lane: usize, bytes: &[u8]) {
        match self.channel.write(LANES[lane], bytes, Some(Instant::now())) {
            Ok(count) => {
                assert!(count > 0 && !self.wants_eof && !self.closed && !self.heard_close);
                self.streams[lane].written.extend_from_slice(&bytes[..count]);
                // What was accepted may leave: never more than the window, nor than the buffer holds.
                self.collect();
                assert!(self.unsent() <= self.window.min(SEND_BUFFER));
            }
            Err(Error::Closed(None)) => assert!(self.wants_eof || self.closed || self.heard_close),
            Err(Error::Timeout(Phase::Write)) => assert!(self.unsent() == self.window.min(SEND_BUFFER)),
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn decode_adjust(packet: &[u8]) -> usize {
    ChannelWindowAdjust::decode_packet(packet).unwrap().bytes as usize
}

/// Both ends.
struct World([End; 2]);

impl World {
    /// A channel between two engines; each end is told a part of its window only.
    fn new(random: &mut Random) -> Self {
        let (mut client, mut server) = (Still::new(Role::Client), Still::new(Role::Server));
        let links = [&client, &server].map(|still| Link::new(Arc::clone(&still.core)));
        let slot = client.core.new_slot("session").unwrap();
        let ours = ChannelLink::new(slot, links[0].clone());
        let told = [0, 1].map(|_| random.below(WINDOW as usize) as u32 >> random.below(16));
        let open = ChannelOpen {
            kind: Escaped(b"session"),
            sender: ours.id(),
            window: told[1],
            max_packet: MAX_PACKET,
            rest: Rest(b""),
        };
        receive_payload(&server.core, &open.to_vec()).unwrap();
        let Ok(Incoming::Open(request)) = links[1].next_incoming(Some(Instant::now())) else { panic!() };
        let theirs = request.accept(&links[1]).unwrap();
        let mut confirmation = server.next_sent().unwrap();
        let mut message = ChannelOpenConfirmation::decode_packet(&confirmation).unwrap();
        assert_eq!((message.recipient, message.window), (ours.id(), WINDOW));
        message.window = told[0];
        confirmation = message.to_vec();
        receive_payload(&client.core, &confirmation).unwrap();
        assert!(client.next_sent().is_none());
        let [one, two] = links;
        let ends = [(client, one, ours, told[0]), (server, two, theirs, told[1])];
        Self(ends.map(|(still, link, channel, told)| End {
            still,
            _link: link,
            channel,
            streams: Default::default(),
            window: told as usize,
            withheld: (WINDOW - told) as usize,
            wire: VecDeque::new(),
            wants_eof: false,
            closed: false,
            sent_eof: false,
            sent_close: false,
            sent_exit: false,
            heard_eof: false,
            heard_close: false,
        }))
    }

    /// The next packet of `from` arrives.
    fn deliver(&mut self, from: usize) -> bool {
        let Some(packet) = self.0[from].wire.pop_front() else { return false };
        let to = &mut self.0[1 - from];
        receive_payload(&to.still.core, &packet).unwrap();
        match packet[0] {
            93 => to.window += decode_adjust(&packet),
            96 => to.heard_eof = true,
            97 => (to.heard_eof, to.heard_close) = (true, true),
            _ => {}
        }
        self.0[1 - from].collect();
        true
    }

    /// `to` reads up to `count` bytes; whether there were any.
    fn read(&mut self, to: usize, lane: usize, count: usize) -> bool {
        let mut buf = vec![0; count];
        let got = self.0[to].channel.read(LANES[lane], &mut buf, Some(Instant::now()));
        let [client, server] = &mut self.0;
        let (end, peer) = if to == 0 { (client, server) } else { (server, client) };
        let stream = &mut peer.streams[lane];
        match got {
            Ok(0) if end.closed => {}
            Ok(0) => {
                assert!(end.heard_eof, "an end that nobody sent");
                assert_eq!(stream.read, stream.written.len(), "the end before the data");
            }
            Ok(count) => {
                assert!(stream.written[stream.read..stream.sent].starts_with(&buf[..count]), "other bytes");
                stream.read += count;
            }
            Err(Error::Timeout(Phase::Read)) => assert!(!end.heard_eof && !end.closed),
            Err(error) => panic!("{error:?}"),
        }
        end.collect();
        matches!(got, Ok(1..))
    }

    /// `to` learns a part of what it may send.
    fn grant(&mut self, to: usize, bytes: usize) {
        let end = &mut self.0[to];
        let bytes = bytes.min(end.withheld);
        if bytes > 0 && !end.heard_close {
            end.withheld -= bytes;
            end.window += bytes;
            let adjust = ChannelWindowAdjust { recipient: end.channel.id(), bytes: bytes as u32 };
            receive_payload(&end.still.core, &adjust.to_vec()).unwrap();
            end.collect();
        }
    }

    /// The writer of `end` has its turn.
    fn run_writer(&mut self, end: usize) {
        let end = &mut self.0[end];
        assert!(end.still.core.outbox.drain(&end.still.core, None).unwrap());
        end.collect();
    }

    fn step(&mut self, random: &mut Random, may_close: bool) {
        let (end, lane) = (random.below(2), random.below(2));
        let size = 1 + (random.below(200_000) >> random.below(18));
        match random.below(100) {
            0..30 => {
                let bytes = random.bytes(size);
                self.0[end].write(lane, &bytes);
            }
            30..55 => drop(self.read(end, lane, size)),
            55..80 => drop(self.deliver(end)),
            80..88 => self.run_writer(end),
            88..97 => self.grant(end, size),
            97 if may_close => {
                self.0[end].channel.send_eof();
                self.0[end].wants_eof = true;
            }
            98 if may_close => {
                self.0[1].sent_exit |= !self.0[1].closed && !self.0[1].heard_close;
                self.0[1].channel.send_exit("exit-status", &9_u32.to_vec());
            }
            99 if may_close && random.below(3) == 0 => {
                self.0[end].channel.close();
                self.0[end].closed = true;
            }
            _ => {}
        }
        self.0.iter_mut().for_each(End::collect);
    }

    /// Everything that can still move moves.
    fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for end in [0, 1] {
                self.grant(end, usize::MAX);
                self.run_writer(end);
                while self.deliver(end) {
                    moved = true;
                }
                for lane in [0, 1] {
                    while self.read(end, lane, 50_000) {
                        moved = true;
                    }
                }
            }
        }
    }

    /// Credit is not made, and once all is `settled` not lost: what was consumed was given back, but for
    /// the part that is not worth an adjust yet.
    fn check_credit(&self, settled: bool) {
        for (end, peer) in [(0, 1), (1, 0)] {
            let (end, peer) = (&self.0[end], &self.0[peer]);
            let under_way: usize =
                peer.wire.iter().filter(|packet| packet[0] == 93).map(|packet| decode_adjust(packet)).sum();
            let credit = end.window + end.withheld + under_way;
            assert!(credit <= WINDOW as usize, "credit out of nothing");
            let owed = WINDOW as usize - credit;
            let lost = settled && !peer.heard_eof && !peer.closed && owed >= (WINDOW / TOLD) as usize;
            assert!(!lost, "{owed} bytes of credit lost");
        }
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(&mut random);
    for step in 0..400 {
        // Most of the time nobody ends anything before a while.
        world.step(&mut random, step > 100 || seed.is_multiple_of(4));
        world.check_credit(false);
    }
    world.settle();
    world.check_credit(true);
    for (end, peer) in [(0, 1), (1, 0)] {
        let arrives = !world.0[peer].closed && !world.0[peer].heard_close && !world.0[end].heard_close;
        for stream in &world.0[end].streams {
            assert!(!arrives || stream.read == stream.written.len(), "bytes were lost");
        }
    }
    if !world.0[0].closed && world.0[1].sent_exit {
        assert_eq!(world.0[0].channel.exit(), Some(ExitStatus::Code(9)));
    }
    for end in &mut world.0 {
        end.channel.close();
        end.closed = true;
        end.collect();
    }
    world.settle();
    for end in &world.0 {
        assert!(end.still.core.alive() && end.sent_close && end.heard_close);
        assert_eq!(end.still.core.table.lock().len(), 0, "a closed channel stays in the table");
    }
}

#[test]
fn bytes_credit_and_ends_obey_the_model() {
    super::within(200, || {
        for seed in 0..300 {
            if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
                eprintln!("seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    });
}
