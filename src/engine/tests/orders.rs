//! loom runs each of these in every order that its threads can take (two of them: in every one with a
//! few preemptions): no wake-up is lost, nobody waits for ever, whatever the order.
//!
//! Modelled is the engine itself: slot, pipe, lanes, outgoing half, tables, the writer's loop; the
//! calls are those of users and of the reader. Not modelled: the process-wide pool of chunks (a leaf
//! lock), answers to requests that are waited for in a crossbeam channel, and deadlines, which never
//! pass here: a wait that only its deadline ends is a wait without end.
//!
//! Run by `RUSTFLAGS="--cfg loom" cargo test --lib --release loom_`.

use std::sync::Arc;

use loom::thread;

use super::still::{Still, receive_payload};
use crate::engine::flow::{MAX_PACKET, TOLD, WINDOW};
use crate::engine::{ChannelLink, Core, ExitStatus, Incoming, Lane, Link, Reply, writer};
use crate::error::{Error, Result};
use crate::kex::{Kex, Role};
use crate::msg::connection::{
    ChannelClose, ChannelData, ChannelEof, ChannelExtendedData, ChannelOpen, ChannelOpenConfirmation,
    ChannelRequest, ChannelWindowAdjust, GlobalRequest,
};
use crate::wire::{Encode, Escaped, Rest};

/// Where every order would take hours: so many times a thread is interrupted where it need not wait.
const PREEMPTIONS: usize = 6;

/// Runs `model` in every order, or in every one with at most so many preemptions.
pub(super) fn in_every_order(
    preemptions: impl Into<Option<usize>>,
    model: impl Fn() + Sync + Send + 'static,
) {
    // The first random numbers of a process take more stack than a modelled thread has.
    crate::crypto::rand::array::<16>().unwrap();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions.into();
    builder.max_branches = 100_000;
    builder.check(model);
}

/// The peer's number of the channel.
const PEERS_NUMBER: u32 = 5;

fn receive(core: &Arc<Core>, message: &impl Encode) -> Result<()> {
    receive_payload(core, &message.to_vec())
}

/// A client that a server has opened a channel to, with that window.
fn with_channel(window: u32) -> (Still, Link, ChannelLink) {
    let still = Still::new(Role::Client);
    let link = Link::new(Arc::clone(&still.core));
    let slot = still.core.new_slot("session").unwrap();
    let channel = ChannelLink::new(slot, link.clone());
    receive(&still.core, &confirmation(&channel, window)).unwrap();
    (still, link, channel)
}

/// The server has opened it, with that window.
pub(super) fn confirmation(channel: &ChannelLink, window: u32) -> ChannelOpenConfirmation<'static> {
    ChannelOpenConfirmation {
        recipient: channel.id(),
        sender: PEERS_NUMBER,
        window,
        max_packet: 32 * 1024,
        rest: Rest(b""),
    }
}

fn all_sent(still: &mut Still) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| still.next_sent()).collect()
}

fn data(core: &Arc<Core>, recipient: u32, data: &[u8]) {
    receive(core, &ChannelData { recipient, data }).unwrap();
}

fn end(core: &Arc<Core>, recipient: u32) {
    receive(core, &ChannelEof { recipient }).unwrap();
    receive(core, &ChannelClose { recipient }).unwrap();
}

pub(super) fn read_to_end(channel: &ChannelLink) -> Vec<u8> {
    let (mut all, mut buf) = (Vec::new(), [0; 8]);
    loop {
        match channel.read(Lane::Data, &mut buf, None).unwrap() {
            0 => return all,
            count => all.extend_from_slice(&buf[..count]),
        }
    }
}

/// More than the share of the window that is told lies on stderr and nobody reads it: whoever waits for something
/// else has credit to give back first.
fn fill_stderr(core: &Arc<Core>, recipient: u32) {
    for _ in 0..=WINDOW / TOLD / MAX_PACKET {
        receive(core, &ChannelExtendedData { recipient, code: 1, data: &[0; MAX_PACKET as usize] }).unwrap();
    }
}

#[test]
fn loom_a_reader_gets_everything_and_the_end() {
    in_every_order(None, || {
        let (still, _link, channel) = with_channel(1000);
        let id = channel.id();
        let user = thread::spawn(move || assert_eq!(read_to_end(&channel), b"abcd"));
        data(&still.core, id, b"ab");
        data(&still.core, id, b"cd");
        end(&still.core, id);
        user.join().unwrap();
    });
}

#[test]
fn loom_closing_here_ends_a_read_that_gives_credit_back() {
    in_every_order(None, || {
        let (still, _link, channel) = with_channel(1000);
        fill_stderr(&still.core, channel.id());
        let reading = channel.clone();
        let user = thread::spawn(move || assert_eq!(read_to_end(&reading), b""));
        channel.close();
        user.join().unwrap();
    });
}

#[test]
fn loom_closing_here_ends_a_wait_for_the_exit_status() {
    in_every_order(None, || {
        let (still, _link, channel) = with_channel(1000);
        fill_stderr(&still.core, channel.id());
        let waiting = channel.clone();
        let user = thread::spawn(move || assert_eq!(waiting.wait_exit(None).unwrap(), ExitStatus::Missing));
        channel.close();
        user.join().unwrap();
    });
}

#[test]
fn loom_the_reader_appends_and_ends_while_one_reads_and_one_closes() {
    in_every_order(PREEMPTIONS, || {
        let (mut still, _link, channel) = with_channel(1000);
        let (id, reading, closing) = (channel.id(), channel.clone(), channel.clone());
        let user = thread::spawn(move || read_to_end(&reading));
        let closer = thread::spawn(move || closing.close());
        data(&still.core, id, b"ab");
        end(&still.core, id);
        let read = user.join().unwrap();
        closer.join().unwrap();
        assert!(read.is_empty() || read == b"ab", "{read:?}");
        // Both CLOSEs have passed, in whatever order: one left, and the table is empty.
        let closes = all_sent(&mut still).iter().filter(|packet| packet[0] == 97).count();
        assert_eq!((closes, still.core.table.lock().len()), (1, 0));
    });
}

#[test]
fn loom_the_exit_status_wakes_and_hides_no_data() {
    in_every_order(None, || {
        let (still, _link, channel) = with_channel(1000);
        let id = channel.id();
        let user = thread::spawn(move || {
            assert_eq!(channel.wait_exit(None).unwrap(), ExitStatus::Code(3));
            assert_eq!(read_to_end(&channel), b"ab");
        });
        let rest = Rest(&[0, 0, 0, 3]);
        let status = ChannelRequest { recipient: id, kind: Escaped(b"exit-status"), want_reply: false, rest };
        data(&still.core, id, b"ab");
        receive(&still.core, &status).unwrap();
        end(&still.core, id);
        user.join().unwrap();
    });
}

#[test]
fn loom_a_writer_wakes_when_the_window_opens_or_the_peer_closes() {
    for opens in [true, false] {
        in_every_order(None, move || {
            let (mut still, _link, channel) = with_channel(2);
            let recipient = channel.id();
            let writing = channel.clone();
            let user = thread::spawn(move || {
                let mut rest: &[u8] = b"abcd";
                while !rest.is_empty() {
                    match writing.write(Lane::Data, rest, None) {
                        Ok(count) => rest = &rest[count..],
                        Err(error) => return matches!(error, Error::Closed(None)) && !opens,
                    }
                }
                opens
            });
            if opens {
                receive(&still.core, &ChannelWindowAdjust { recipient, bytes: 1 }).unwrap();
                receive(&still.core, &ChannelWindowAdjust { recipient, bytes: 1 }).unwrap();
            } else {
                end(&still.core, recipient);
            }
            assert!(user.join().unwrap());
            if opens {
                let sent = all_sent(&mut still);
                let left: Vec<_> = sent.iter().flat_map(|packet| packet[9..].to_vec()).collect();
                assert_eq!(left, b"abcd");
            }
        });
    }
}

/// The writer runs; large and small posts of two threads leave, in order, before the goodbye.
#[test]
fn loom_everything_posted_leaves_before_the_goodbye() {
    in_every_order(PREEMPTIONS, || {
        let (mut still, link, channel) = with_channel(1 << 20);
        let core = Arc::clone(&still.core);
        let writer = thread::spawn(move || writer::run(&core));
        let user = thread::spawn(move || {
            channel.write(Lane::Data, &[1; 5000], None).unwrap();
            channel.write(Lane::Data, &[2; 1], None).unwrap();
            drop(channel);
        });
        user.join().unwrap();
        drop::<Link>(link);
        writer.join().unwrap();
        let sent = all_sent(&mut still);
        let (goodbye, before) = sent.split_last().unwrap();
        let mut bytes = Vec::new();
        let mut kinds = Vec::new();
        for packet in before {
            if packet[0] == 94 { bytes.extend_from_slice(&packet[9..]) } else { kinds.push(packet[0]) }
        }
        assert_eq!((goodbye[0], kinds), (1, vec![96, 97]));
        assert!(bytes.len() == 5001 && bytes[4999..] == [1, 2]);
    });
}

/// The stream takes something every other time, so that somebody has to wait for it: the user, whoever posts beside
/// him, or the writer.
#[test]
fn loom_what_the_stream_did_not_take_leaves_all_the_same() {
    in_every_order(4, || {
        let (mut still, link, channel) = with_channel(1 << 20);
        still.waver();
        let (core, posting) = (Arc::clone(&still.core), Arc::clone(&still.core));
        let writer = thread::spawn(move || writer::run(&core));
        let user = thread::spawn(move || {
            channel.write(Lane::Data, b"ab", None).unwrap();
            channel.flush(None).unwrap();
            channel.write(Lane::Data, b"c", None).unwrap();
            drop(channel);
        });
        posting.ping(b"x");
        user.join().unwrap();
        // Two of data, EOF, CLOSE, PING: none of them needs the end to leave.
        let mut before = Vec::new();
        while before.len() < 5 {
            match still.next_sent() {
                Some(packet) => before.push(packet),
                None => thread::yield_now(),
            }
        }
        drop(posting);
        drop::<Link>(link);
        writer.join().unwrap();
        let goodbye = still.next_sent().unwrap();
        let data: Vec<_> =
            before.iter().filter(|packet| packet[0] == 94).flat_map(|data| &data[9..]).collect();
        let mut kinds: Vec<_> = before.iter().map(|packet| packet[0]).filter(|kind| *kind != 94).collect();
        kinds.sort_unstable();
        assert_eq!((goodbye[0], kinds), (1, vec![96, 97, 192]));
        assert_eq!(data, [b'a', b'b', b'c'].iter().collect::<Vec<_>>());
    });
}

#[test]
fn loom_death_wakes_reads_and_writes_and_lets_nobody_in_later() {
    in_every_order(None, || {
        let (still, _link, channel) = with_channel(0);
        let (core, reading) = (Arc::clone(&still.core), channel.clone());
        let user = thread::spawn(move || {
            let cause = reading.read(Lane::Data, &mut [0], None).unwrap_err();
            assert!(matches!(cause, Error::Closed(Some(_))), "{cause:?}");
            reading.write(Lane::Data, b"x", None).unwrap_err();
        });
        let opening = thread::spawn(move || match core.new_slot("session") {
            Ok(slot) => Some(slot),
            Err(error) => {
                assert!(matches!(error, Error::Closed(Some(_))), "{error:?}");
                None
            }
        });
        still.core.die(Error::protocol("test"));
        user.join().unwrap();
        if let Some(slot) = opening.join().unwrap() {
            assert!(slot.is_closed(), "a channel nobody told");
        }
    });
}

#[test]
fn loom_who_asks_while_the_connection_dies_is_told() {
    in_every_order(None, || {
        let still = Still::new(Role::Client);
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let core = Arc::clone(&still.core);
        let asking = thread::spawn(move || {
            let waiter = crate::engine::asking::GlobalWaiter { sender, install: None };
            core.post_control(vec![80], crate::engine::lanes::Concerns::Global(waiter));
        });
        still.core.die(Error::protocol("test"));
        asking.join().unwrap();
        assert_eq!(receiver.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected));
    });
}

/// A user starts an exchange while the reader gets the peer's KEXINIT: ours leaves once, and before
/// what follows it.
#[test]
fn loom_our_kexinit_leaves_before_our_share() {
    in_every_order(None, || {
        let mut still = Still::new(Role::Client);
        let theirs = Kex::kexinit(&super::setup(Role::Client), false).unwrap();
        let core = Arc::clone(&still.core);
        let user = thread::spawn(move || core.begin_rekey().unwrap());
        crate::engine::reader::kex(&still.core, &theirs).unwrap();
        user.join().unwrap();
        let kinds: Vec<_> = all_sent(&mut still).iter().map(|packet| packet[0]).collect();
        assert_eq!(kinds, [20, 30]);
    });
}

#[test]
fn loom_two_who_write_and_close_lose_nothing() {
    in_every_order(None, || {
        let (mut still, _link, channel) = with_channel(10);
        let other = channel.clone();
        let user = thread::spawn(move || other.write(Lane::Stderr, b"ab", None).unwrap());
        channel.write(Lane::Data, b"cd", None).unwrap();
        user.join().unwrap();
        channel.close();
        let sent = all_sent(&mut still);
        assert!(sent.iter().all(|packet| packet[1..5] == PEERS_NUMBER.to_be_bytes()), "{sent:?}");
        assert_eq!(sent.len(), 4, "data, stderr, EOF, CLOSE");
        receive_payload(&still.core, &[97, 0, 0, 0, 0]).unwrap();
        assert_eq!(still.core.table.lock().len(), 0);
    });
}

/// The peer asks something; the answer that it is owed.
fn asked(core: &Arc<Core>, question: &impl Encode) -> Reply {
    receive(core, question).unwrap();
    match core.incoming().try_recv().unwrap() {
        Incoming::Global { reply, .. } | Incoming::Channel { reply, .. } => reply,
        Incoming::Open(_) => panic!("no question"),
    }
}

#[test]
fn loom_answers_leave_in_the_order_of_the_questions() {
    in_every_order(PREEMPTIONS, || {
        let mut still = Still::new(Role::Server);
        let question = GlobalRequest { kind: Escaped(b"which"), want_reply: true, rest: Rest(b"") };
        let (first, second) = (asked(&still.core, &question), asked(&still.core, &question));
        let answering = thread::spawn(move || first.accept(b"1"));
        second.accept(b"2");
        answering.join().unwrap();
        assert_eq!(all_sent(&mut still), [[81, b'1'], [81, b'2']]);
    });
}

#[test]
fn loom_no_answer_follows_our_close() {
    in_every_order(PREEMPTIONS, || {
        let mut still = Still::new(Role::Server);
        let link = Link::new(Arc::clone(&still.core));
        let (kind, rest) = (Escaped(b"session"), Rest(b""));
        let open = ChannelOpen { kind, sender: PEERS_NUMBER, window: 1000, max_packet: 1000, rest };
        receive(&still.core, &open).unwrap();
        let Ok(Incoming::Open(request)) = still.core.incoming().try_recv() else { panic!("no channel") };
        let channel = request.accept(&link).unwrap();
        let kind = Escaped(b"exec");
        let reply = asked(
            &still.core,
            &ChannelRequest { recipient: channel.id(), kind, want_reply: true, rest: Rest(b"") },
        );
        let answering = thread::spawn(move || reply.accept(b""));
        channel.close();
        answering.join().unwrap();
        let sent: Vec<_> = all_sent(&mut still).iter().map(|packet| packet[0]).collect();
        assert!(sent == [91, 99, 96, 97] || sent == [91, 96, 97], "{sent:?}");
    });
}
