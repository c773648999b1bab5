//! Streams that carry a few bytes at a time: what is written arrives whole, both ways.

use std::io;
use std::time::Instant;

use super::{Random, engines, serve_echo, through_echo, within};
use crate::engine::{Halves, Limits, MemoryStream, ReadHalf, Stream, WriteHalf};

/// A stream that reads and writes at most so many bytes at once.
struct Throttled(MemoryStream, usize);

struct ThrottledRead(Box<dyn ReadHalf>, usize);
struct ThrottledWrite(Box<dyn WriteHalf>, usize);

impl Stream for Throttled {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let Self(inner, most) = *self;
        let Halves { read, write, closer, peer } = Box::new(inner).split()?;
        let (read, write) = (Box::new(ThrottledRead(read, most)), Box::new(ThrottledWrite(write, most)));
        Ok(Halves { read, write, closer, peer })
    }
}

fn part(buf: &mut [u8], most: usize) -> &mut [u8] {
    let count = buf.len().min(most);
    &mut buf[..count]
}

impl ReadHalf for ThrottledRead {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        self.0.read(part(buf, self.1), deadline)
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_now(part(buf, self.1))
    }
}

impl WriteHalf for ThrottledWrite {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write_now(&buf[..buf.len().min(self.1)])
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.0.wait(deadline)
    }
}

#[test]
fn data_arrives_whole_through_any_throttle() {
    // Bytes at once; bytes on the way; how much is sent, by two channels at once.
    let cases = [
        (1, 1 << 16, 20_000),
        (3, 1 << 16, 60_000),
        (3, 50, 20_000),
        (7, 1 << 16, 100_000),
        (7, 7, 10_000),
        (100, 1 << 16, 500_000),
        (100, 100, 200_000),
        (5000, 1 << 16, 3_000_000),
        (5000, 5000, 3_000_000),
    ];
    for (most, capacity, size) in cases {
        within(120, move || {
            let (near, far) = MemoryStream::pair(capacity);
            let (client, server) = engines((Throttled(near, most), Throttled(far, most)), &Limits::default());
            let serving = serve_echo(server);
            let mut random = Random::new(most as u64);
            let (one, two) = (random.bytes(size), random.bytes(size / 2));
            let other = client.clone();
            let beside = std::thread::spawn(move || through_echo(&other, two));
            through_echo(&client, one).unwrap();
            beside.join().unwrap().unwrap();
            client.close();
            drop(client);
            serving.join().unwrap();
        });
    }
}
