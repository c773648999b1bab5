//! Answers that come late, for a channel that is gone, and answers that nobody asked for.

use std::time::Instant;

use super::{ChannelLink, Incoming, Limits, Link, engines, soon, within};
use crate::engine::MemoryStream;
use crate::error::{Error, Result};
use crate::msg::connection::{ChannelFailure, ChannelSuccess, RequestSuccess};

fn pair() -> (Link, Link) {
    engines(MemoryStream::pair(1 << 16), &Limits::default())
}

/// Opens a channel, with what happens at the server in between.
fn open_while(client: &Link, server: &Link, between: impl FnOnce()) -> Result<(ChannelLink, ChannelLink)> {
    let opening = std::thread::spawn({
        let client = client.clone();
        move || client.open("session", b"", soon())
    });
    let accepted = match server.next_incoming(soon())? {
        Incoming::Open(request) => {
            between();
            request.accept(server).ok_or(Error::Misuse("not accepted"))
        }
        other => panic!("{other:?}"),
    };
    Ok((opening.join().unwrap()?, accepted?))
}

/// Opens a channel and closes it on both sides; the client's number for it.
fn opened_and_closed(client: &Link, server: &Link) -> u32 {
    let (ours, theirs) = open_while(client, server, || ()).unwrap();
    let number = ours.id();
    ours.close();
    theirs.close();
    drop((ours, theirs));
    wait_until(client, |client| client.core().table.lock().len() == 0);
    number
}

fn wait_until(link: &Link, done: impl Fn(&Link) -> bool) {
    let deadline = soon().unwrap();
    while !done(link) {
        assert!(Instant::now() < deadline, "never happens");
        std::thread::yield_now();
    }
}

/// A request and its answer show that the connection lives and keeps answers apart.
fn asks_and_is_answered(client: &Link, server: &Link) {
    let asking = std::thread::spawn({
        let client = client.clone();
        move || client.global_request("are you there", b"", soon())
    });
    let Ok(Incoming::Global { reply, .. }) = server.next_incoming(soon()) else { panic!("no question") };
    reply.accept(b"yes");
    assert_eq!(asking.join().unwrap().unwrap(), b"yes");
}

#[test]
fn an_answer_after_close_is_nobodys() {
    within(60, || {
        let (client, server) = pair();
        for yes in [true, false] {
            let recipient = opened_and_closed(&client, &server);
            if yes {
                server.core().post(&ChannelSuccess { recipient });
            } else {
                server.core().post(&ChannelFailure { recipient });
            }
            asks_and_is_answered(&client, &server);
        }
    });
}

#[test]
fn an_answer_after_close_is_not_taken_for_the_next_channels() {
    within(60, || {
        let (client, server) = pair();
        let recipient = opened_and_closed(&client, &server);
        // While the next one is being opened, and once it waits for an answer itself.
        let late = || server.core().post(&ChannelSuccess { recipient });
        let (channel, _theirs) = open_while(&client, &server, late).unwrap();
        let asking = std::thread::spawn({
            let channel = channel.clone();
            move || channel.request("exec", b"", Some(soon()))
        });
        let Ok(Incoming::Channel { reply, .. }) = server.next_incoming(soon()) else { panic!("no request") };
        late();
        asks_and_is_answered(&client, &server);
        reply.refuse();
        let answer = asking.join().unwrap();
        assert!(matches!(answer, Err(Error::RequestRefused(_))), "{answer:?}");
    });
}

#[test]
fn an_answer_that_nobody_asked_for_is_fatal() {
    type Ask = fn(&Link);
    let cases: [(&str, Ask); 4] = [
        ("no such channel ever", |server| server.core().post(&ChannelSuccess { recipient: 7 })),
        ("no such channel ever, no", |server| server.core().post(&ChannelFailure { recipient: 7 })),
        ("an open channel", |server| server.core().post(&ChannelSuccess { recipient: 0 })),
        ("the connection", |server| server.core().post(&RequestSuccess { rest: crate::wire::Rest(b"") })),
    ];
    for (name, say) in cases {
        within(60, move || {
            let (client, server) = pair();
            let _channels = open_while(&client, &server, || ()).unwrap();
            say(&server);
            let Err(Error::Closed(Some(cause))) = client.next_incoming(soon()) else {
                panic!("{name}: lives")
            };
            assert!(matches!(*cause, Error::Protocol { code: 2, .. }), "{name}: {cause:?}");
            let Err(Error::Closed(Some(told))) = server.next_incoming(soon()) else {
                panic!("{name}: lives")
            };
            assert!(matches!(*told, Error::Disconnected { code: 2, .. }), "{name}: {told:?}");
        });
    }
}
