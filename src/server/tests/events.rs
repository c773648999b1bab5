//! Who has a session's events, and when.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::server::SessionEvent;
use crate::server::session::{EventSender, Handler};

/// A handler that writes down what it is called for, as lengths of breaks; the end is 0.
fn noting() -> (Arc<Mutex<Vec<u64>>>, Handler) {
    let noted = Arc::new(Mutex::new(Vec::new()));
    let (events, closed) = (Arc::clone(&noted), Arc::clone(&noted));
    let note = |to: &Mutex<Vec<u64>>, number| to.lock().unwrap_or_else(PoisonError::into_inner).push(number);
    let event = move |event| match event {
        SessionEvent::Break(length) => note(&events, length.as_secs()),
        other => panic!("{other:?}"),
    };
    (noted, Handler::new(event, move || note(&closed, 0)))
}

fn number(number: u64) -> SessionEvent {
    SessionEvent::Break(Duration::from_secs(number))
}

#[test]
fn a_handler_has_what_waited_first_and_the_end_once() {
    let (sender, events) = EventSender::new(8);
    let (noted, handler) = noting();
    assert!(sender.send(number(1)) && sender.send(number(2)));
    assert_eq!(events.try_recv(), Some(number(1)));
    events.handle(handler);
    assert!(sender.send(number(3)));
    assert_eq!(*noted.lock().unwrap(), [2, 3]);
    drop(sender);
    assert_eq!(events.recv(), None);
    drop(events);
    assert_eq!(*noted.lock().unwrap(), [2, 3, 0]);
}

#[test]
fn a_handler_that_comes_after_the_end_has_all_of_it() {
    let (sender, events) = EventSender::new(8);
    let (noted, handler) = noting();
    assert!(sender.send(number(1)));
    drop(sender);
    events.handle(handler);
    assert_eq!(*noted.lock().unwrap(), [1, 0]);
}

#[test]
fn no_room_is_told_until_somebody_has_the_events() {
    let (sender, events) = EventSender::new(1);
    assert!(sender.send(number(1)));
    assert!(!sender.send(number(2)));
    let (noted, handler) = noting();
    events.handle(handler);
    assert!((3..100).all(|event| sender.send(number(event))));
    assert_eq!(noted.lock().unwrap().len(), 98);
}

#[test]
fn events_are_handled_in_order_whichever_thread_has_the_handler() {
    for _ in 0..500 {
        let (sender, events) = EventSender::new(64);
        let (noted, handler) = noting();
        let (begin, begun) = mpsc::channel();
        let sending = std::thread::spawn(move || {
            begin.send(()).unwrap();
            assert!((1..=20).all(|event| sender.send(number(event))));
        });
        begun.recv().unwrap();
        events.handle(handler);
        sending.join().unwrap();
        let expected: Vec<u64> = (1..=20).chain([0]).collect();
        assert_eq!(*noted.lock().unwrap(), expected);
    }
}
