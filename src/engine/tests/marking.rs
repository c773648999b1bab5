//! What is written in the headers, and that it is right at last, whoever writes it.

use std::io;
use std::sync::Mutex;

use crate::engine::Closer;
use crate::engine::marking::Marking;

#[derive(Default)]
struct Marked(Mutex<Vec<Option<u8>>>);

impl Closer for Marked {
    fn close(&self) {}

    fn set_traffic_class(&self, class: Option<u8>) -> io::Result<()> {
        self.0.lock().unwrap().push(class);
        // What refuses is asked again all the same.
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[test]
fn the_first_terminal_and_the_last_change_the_marks() {
    let (stream, marking) = (Marked::default(), Marking::new("ef cs1".parse().unwrap()));
    marking.begin(&stream);
    marking.one_more(&stream);
    marking.one_more(&stream);
    marking.one_less(&stream);
    marking.one_less(&stream);
    assert_eq!(*stream.0.lock().unwrap(), [Some(0x20), Some(0xb8), Some(0x20)]);
    let (stream, marking) = (Marked::default(), Marking::new("ef none".parse().unwrap()));
    marking.begin(&stream);
    assert!(stream.0.lock().unwrap().is_empty());
    marking.one_more(&stream);
    marking.one_less(&stream);
    assert_eq!(*stream.0.lock().unwrap(), [Some(0xb8), None]);
}

#[test]
fn the_last_mark_is_right_whoever_makes_it() {
    let (stream, marking) = (Marked::default(), Marking::new("ef cs1".parse().unwrap()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    marking.one_more(&stream);
                    marking.one_less(&stream);
                }
            });
        }
    });
    assert_eq!(stream.0.lock().unwrap().last(), Some(&Some(0x20)));
}
