//! A slot and its pipe under every order of threads (loom): nobody sleeps through what he waits for, and
//! nothing is lost. Run by `tests/run --all`.

use std::sync::Arc;

use super::bare::Bare;
use super::link::ChannelLink;
use super::slot::Lane;
use crate::kex::Role;
use crate::wire::Writer;

/// A transport with one open channel.
fn open() -> (Arc<Bare>, ChannelLink) {
    let bare = Bare::new(Role::Client).unwrap();
    let channel = bare.open("session").unwrap();
    let mut confirmation = vec![91];
    confirmation.put(&0_u32).put(&0_u32).put(&10_u32).put(&1000_u32);
    bare.feed(&confirmation);
    (Arc::new(bare), channel)
}

fn message(number: u8, data: &[u8]) -> Vec<u8> {
    let mut payload = vec![number];
    payload.put(&0_u32);
    if number == 94 {
        payload.put(data);
    }
    payload
}

/// Preemptions at any place, at most so many: more find nothing new and take for ever.
fn check(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

#[test]
fn loom_a_reader_gets_everything_and_the_end() {
    check(|| {
        let (bare, channel) = open();
        let arriving = Arc::clone(&bare);
        let reader = loom::thread::spawn(move || {
            arriving.feed(&message(94, b"a"));
            arriving.feed(&message(94, b"b"));
            arriving.feed(&message(96, b""));
        });
        let (mut all, mut piece) = (Vec::new(), [0; 1]);
        while channel.read(Lane::Data, &mut piece, None).unwrap() > 0 {
            all.extend_from_slice(&piece);
        }
        assert_eq!(all, b"ab");
        reader.join().unwrap();
    });
}

#[test]
fn loom_a_waiting_reader_sees_data() {
    check(|| {
        let (bare, channel) = open();
        let arriving = Arc::clone(&bare);
        let reader = loom::thread::spawn(move || arriving.feed(&message(94, b"a")));
        assert_eq!(channel.read(Lane::Data, &mut [0; 1], None).unwrap(), 1);
        reader.join().unwrap();
    });
}

#[test]
fn loom_a_waiting_reader_sees_a_close_from_either_side() {
    for number in [97, 0] {
        check(move || {
            let (bare, channel) = open();
            let (other, closer) = (channel.clone(), Arc::clone(&bare));
            let closing = loom::thread::spawn(move || match number {
                0 => other.close(),
                number => closer.feed(&message(number, b"")),
            });
            assert_eq!(channel.read(Lane::Data, &mut [0; 1], None).unwrap(), 0);
            closing.join().unwrap();
        });
    }
}

#[test]
fn loom_a_waiting_reader_sees_the_death_of_the_transport() {
    check(|| {
        let (bare, channel) = open();
        let dying = Arc::clone(&bare);
        let killer = loom::thread::spawn(move || dying.feed(&[1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert!(channel.read(Lane::Data, &mut [0; 1], None).is_err());
        killer.join().unwrap();
    });
}

#[test]
fn loom_a_writer_waits_for_the_window_and_no_longer() {
    check(|| {
        let (bare, channel) = open();
        let arriving = Arc::clone(&bare);
        let adjusting = loom::thread::spawn(move || {
            let mut adjust = message(93, b"");
            adjust.put(&10_u32);
            arriving.feed(&adjust);
        });
        // The window holds ten bytes.
        assert_eq!(channel.write(Lane::Data, &[7; 10], None).unwrap(), 10);
        assert!(channel.write(Lane::Data, &[7; 10], None).unwrap() > 0);
        adjusting.join().unwrap();
    });
}

#[test]
fn loom_two_streams_and_the_exit_status() {
    check(|| {
        let (bare, channel) = open();
        let arriving = Arc::clone(&bare);
        let reader = loom::thread::spawn(move || {
            arriving.feed(&message(94, b"a"));
            let mut status = message(98, b"");
            status.put("exit-status").put(&false).put(&7_u32);
            arriving.feed(&status);
        });
        // Waits for the end while data that nobody reads comes in.
        let status = channel.wait_exit(None).unwrap();
        assert_eq!(status, super::ExitStatus::Code(7));
        reader.join().unwrap();
        assert_eq!(channel.read(Lane::Data, &mut [0; 1], None).unwrap(), 1);
    });
}
