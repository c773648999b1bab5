//! A server that calls its clients: RFC 8071. Who connects is still the server of SSH; runs on the caller's
//! thread.

use std::time::Instant;

use super::{Peer, SSHServer};
use crate::client::dial_to;
use crate::error::{Error, Result};
use crate::interface::ServerInterface;

/// The port of NETCONF's call home, RFC 8071 §4.1.
const PORT: u16 = 4334;

impl SSHServer {
    /// Connects to `host[:port]` or `[v6]:port` (4334 unless named), where a client waits for the call
    /// ([`SSHClientBuilder::accept`](crate::SSHClientBuilder::accept)), and serves it on the calling thread
    /// until it ends. All addresses of the host are tried, within
    /// [`Limits::connect_timeout`](crate::Limits::connect_timeout). Calling again is the caller's affair.
    ///
    /// ```no_run
    /// # use feramiko::{PKey, SSHServer, ServerInterface};
    /// # #[derive(Clone)] struct Device;
    /// # impl ServerInterface for Device {}
    /// let server = SSHServer::builder().host_key(PKey::from_file("host_key", None)?).build()?;
    /// loop {
    ///     if let Err(error) = server.connect_out("manager.example.org", Device) {
    ///         eprintln!("{error}");
    ///     }
    ///     std::thread::sleep(std::time::Duration::from_secs(60));
    /// }
    /// # #[allow(unreachable_code)]
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] when no address answers, [`Error::Timeout`]; then as
    /// [`serve_stream`](Self::serve_stream).
    pub fn connect_out(&self, destination: &str, interface: impl ServerInterface) -> Result<()> {
        let deadline = Instant::now().checked_add(self.0.rules.limits.connect_timeout);
        let deadline = deadline.ok_or(Error::Misuse("a connect timeout beyond the end of time"))?;
        let stream = dial_to(destination, PORT, deadline)?;
        let addresses = stream.peer_addr().and_then(|peer| Ok((peer, stream.local_addr()?)));
        let (peer, local) = addresses.map_err(|error| Error::io("asking for the client's address", error))?;
        let peer = Peer { source: peer.ip().to_string(), addresses: Some((peer, local)) };
        self.serve_stream(stream, &peer, interface)
    }
}
