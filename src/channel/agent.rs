//! Agent forwarding on a channel: RFC 9987 §7, by its names where the server says that it knows them and by those
//! that every implementation knows elsewhere, and OpenSSH's session binding.

use std::io;
use std::time::Instant;

use super::Channel;
use crate::agent::{Agent, Binding, Connection};
use crate::engine::{Lane, Link, OpenRequest};
use crate::error::Result;

/// What a session asks for, and the channels that follow: as ever, and by the RFC's names.
pub(crate) const NAMES: [(&str, &str); 2] =
    [("auth-agent-req@openssh.com", "auth-agent@openssh.com"), ("agent-req", "agent-connect")];
/// Forwarded channels open at once; a login needs one.
const CHANNELS: usize = 16;

impl Connection for Channel {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        Ok(self.link.read(Lane::Data, buf, deadline)?)
    }

    fn write(&mut self, bytes: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
        Ok(self.link.write(Lane::Data, bytes, deadline)?)
    }
}

impl Channel {
    /// Lets programs on the server use the agent, as long as the connection lives: to be asked before the
    /// command or the shell is started. Whoever is root there can use it too, though not read its keys;
    /// keys that are held to destinations are safer.
    ///
    /// # Errors
    /// [`Error::RequestRefused`](crate::Error::RequestRefused) when the server does not forward agents.
    pub fn request_forward_agent(&self, agent: &Agent) -> Result<()> {
        let link = self.link.link();
        let binding: Option<Binding> = link.session_binding();
        let agent = agent.clone();
        let serve = move |request: OpenRequest, link: &Link| {
            let mut channel = Self::new(request.accept(link)?);
            if let Err(error) = agent.serve_forwarded(&mut channel, binding.as_ref()) {
                log::debug!(target: "feramiko::agent", "a forwarded channel ends: {error}");
            }
            Some(channel.link)
        };
        let [as_ever, by_the_rfc] = NAMES;
        let (request, channel) = if link.core().extensions.agents { by_the_rfc } else { as_ever };
        link.take_channels(channel, CHANNELS, serve, || self.ask(request, b""))
    }
}
