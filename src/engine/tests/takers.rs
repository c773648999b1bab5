//! Channels that the peer opens to who does not serve.

use super::{engines, soon, within};
use crate::engine::{Lane, Limits, Link, MemoryStream, OpenRequest};
use crate::error::{Error, Result};

const KIND: &str = "back@example.org";

/// Takes channels on which it says so; `asked` is what came of asking for them.
fn take(client: &Link, says: &'static [u8], asked: Result<()>) -> Result<()> {
    let run = move |request: OpenRequest, link: &Link| {
        let channel = request.accept(link)?;
        channel.write(Lane::Data, says, soon()).unwrap();
        Some(channel)
    };
    client.take_channels(KIND, 1, run, || asked)
}

/// What is said on a channel that the server opens.
fn said(server: &Link) -> Result<Vec<u8>> {
    let channel = server.open(KIND, b"", soon())?;
    super::read_all(&channel)
}

#[test]
fn channels_that_were_not_granted_are_not_taken() {
    within(60, || {
        let (client, server) = engines(MemoryStream::pair(1 << 16), &Limits::default());
        let refused = || Err(Error::RequestRefused("back".to_owned()));
        assert!(take(&client, b"never", refused()).is_err());
        assert!(matches!(said(&server), Err(Error::ChannelRefused { .. })));
        take(&client, b"first", Ok(())).unwrap();
        assert_eq!(said(&server).unwrap(), b"first");
        // Who was granted them before goes on taking them.
        assert!(take(&client, b"never", refused()).is_err());
        assert_eq!(said(&server).unwrap(), b"first");
    });
}
