//! One direction of a channel ends: what is not read any more, and what the peer does not read any more.

use std::sync::Arc;

use super::still::{Still, receive_payload};
use super::{engines, read_all, serve_echo, soon, through_echo, within, write_all};
use crate::engine::{ChannelLink, ExitStatus, Incoming, Lane, Limits, Link, MemoryStream};
use crate::error::{Error, Result};
use crate::kex::Role;
use crate::msg::connection::{ChannelClose, ChannelData, ChannelEof};
use crate::wire::Encode;

fn pair() -> (Link, Link) {
    engines(MemoryStream::pair(1 << 16), &Limits::default())
}

#[test]
fn what_nobody_wants_to_read_holds_nobody_up() {
    within(100, || {
        let (client, server) = pair();
        let serving = serve_echo(server);
        let channel = client.open("session", b"", soon()).unwrap();
        // Several windows of it come back.
        write_all(&channel, &[1; 1000]).unwrap();
        channel.stop_reading(Lane::Data);
        write_all(&channel, &vec![2; 10_000_000]).unwrap();
        channel.send_eof();
        assert_eq!(channel.wait_exit(soon()).unwrap(), ExitStatus::Code(super::STATUS));
        assert_eq!(read_all(&channel).unwrap(), b"", "what was dropped is not read");
        through_echo(&client, vec![3; 100_000]).unwrap();
        drop(channel);
        client.close();
        drop(client);
        serving.join().unwrap();
    });
}

#[test]
fn a_peer_that_reads_no_more_ends_a_wait_to_write() {
    within(100, || {
        let (client, server) = pair();
        let opening = std::thread::spawn({
            let client = client.clone();
            move || client.open("session", b"", soon()).unwrap()
        });
        let Ok(Incoming::Open(request)) = server.next_incoming(soon()) else { panic!("no open") };
        let theirs = request.accept(&server).unwrap();
        let ours = opening.join().unwrap();
        // The window is full.
        write_all(&ours, &vec![0; crate::engine::flow::WINDOW as usize]).unwrap();
        let waits: [fn(&ChannelLink) -> Result<()>; 2] = [
            |channel| channel.wait_writable(soon()),
            |channel| match channel.write(Lane::Data, b"x", soon()) {
                Err(Error::Closed(None)) => Ok(()),
                other => panic!("{other:?}"),
            },
        ];
        let threads = waits.map(|wait| {
            let ours = ours.clone();
            std::thread::spawn(move || wait(&ours))
        });
        theirs.request("eow@openssh.com", b"", None).unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    });
}

#[test]
fn a_close_that_cuts_written_data_off_is_told_by_flush() {
    let still = Still::new(Role::Server);
    let link = Link::new(Arc::clone(&still.core));
    let channel = still.accepted(&link, 1 << 20);
    write_all(&channel, b"a little leaves at once").unwrap();
    channel.flush(soon()).unwrap();
    still.fill_up(true);
    write_all(&channel, &[0; 250_000]).unwrap();
    receive_payload(&still.core, &ChannelClose { recipient: channel.id() }.to_vec()).unwrap();
    assert!(matches!(channel.flush(soon()), Err(Error::Closed(None))));
}

#[test]
fn nothing_is_taken_after_a_close_of_the_connection() {
    let (client, server) = pair();
    let serving = serve_echo(server);
    let channel = client.open("session", b"", soon()).unwrap();
    client.core().close_gracefully();
    assert!(matches!(channel.write(Lane::Data, b"late", soon()), Err(Error::Closed(_))));
    client.close();
    serving.join().unwrap();
}

#[test]
fn data_may_cross_our_close_but_not_follow_the_peers_end() {
    let still = Still::new(Role::Server);
    let link = Link::new(Arc::clone(&still.core));
    let channel = still.accepted(&link, 1 << 20);
    channel.slot().state.lock().flow.close_sent = true;
    let data = ChannelData { recipient: channel.id(), data: b"late" }.to_vec();
    receive_payload(&still.core, &data).unwrap();
    receive_payload(&still.core, &ChannelEof { recipient: channel.id() }.to_vec()).unwrap();
    assert!(matches!(receive_payload(&still.core, &data), Err(Error::Protocol { .. })));
}

#[test]
fn a_terminal_counts_once_and_to_the_end_of_its_channel() {
    let still = Still::new(Role::Server);
    let link = Link::new(Arc::clone(&still.core));
    let channel = still.accepted(&link, 1 << 20);
    let terminals = || still.core.marking.terminals.load(std::sync::atomic::Ordering::SeqCst);
    still.core.has_terminal(channel.slot());
    still.core.has_terminal(channel.slot());
    assert_eq!(terminals(), 1);
    channel.slot().state.lock().flow.close_sent = true;
    receive_payload(&still.core, &ChannelClose { recipient: channel.id() }.to_vec()).unwrap();
    assert_eq!(terminals(), 0);
    // The answer to pty-req was seen before the end, and told after it.
    still.core.has_terminal(channel.slot());
    assert_eq!(terminals(), 0);
}

#[test]
fn the_status_is_waited_for_by_who_closes_when_both_streams_have_ended() {
    for ended in [true, false] {
        let mut still = Still::new(Role::Server);
        let link = Link::new(Arc::clone(&still.core));
        let channel = still.accepted(&link, 1 << 20);
        channel.owe_exit();
        if ended {
            receive_payload(&still.core, &ChannelEof { recipient: channel.id() }.to_vec()).unwrap();
        }
        channel.send_eof();
        receive_payload(&still.core, &ChannelClose { recipient: channel.id() }.to_vec()).unwrap();
        // Who has not said that nothing more comes may not want the status either.
        assert_eq!(channel.closed(), !ended);
        channel.send_exit("exit-status", &[0, 0, 0, 7]);
        channel.close();
        let sent: Vec<_> = std::iter::from_fn(|| still.next_sent()).map(|packet| packet[0]).collect();
        // OPEN_CONFIRMATION, EOF, REQUEST, CLOSE: RFC 4254 §9.
        assert_eq!(sent, if ended { vec![91, 96, 98, 97] } else { vec![91, 96, 97] });
        assert!(receive_payload(&still.core, &ChannelEof { recipient: channel.id() }.to_vec()).is_err());
    }
}
