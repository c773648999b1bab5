//! One client of a master: reads its requests and answers them, on a thread of its own, until it hangs up,
//! its session is over, or the master ends.

use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::forward::ForwardRequest;
use super::frame;
use super::master::{FORWARDS, MasterEnd, Shared};
use super::message::{
    Alive, AliveCheck, CloseForward, Done, ExitMessage, ExtInfo, ExtInfoAnswer, Failure, Hello, INFO,
    NewSession, NewStdioForward, OpenForward, PermissionDenied, Proxy, RemotePort, SessionOpened,
    StopListening, Terminate, TtyAllocFail, VERSION, endpoint, extensions, number, request_id,
};
use super::session::{Opened, Session, forward_streams, open};
use crate::error::{Error, Result};
use crate::sys::passing;
use crate::sys::process::wait_readable;
use crate::wire::{Encode, Escaped, Rest, Writer};

struct Connection<'a> {
    master: &'a Arc<Shared>,
    stream: UnixStream,
    greeted: bool,
    /// One at most, as with OpenSSH.
    session: Option<Session>,
}

/// The words of a client, for the user.
fn shown(words: &impl Display) -> String {
    Escaped(words.to_string().as_bytes()).to_string()
}

/// Serves a client to its end.
pub(super) fn serve(master: &Arc<Shared>, stream: UnixStream) -> Result<()> {
    let mut connection = Connection { master, stream, greeted: false, session: None };
    let mut told = Vec::new();
    told.put(INFO.0).put(INFO.1);
    connection.answer(&Hello { version: VERSION, extensions: Rest(&told) })?;
    loop {
        let ended = connection.session.as_ref().map(Session::ended);
        let ready = wait_readable([Some(connection.stream.as_fd()), ended], master.stop.as_fd())
            .map_err(|error| Error::io("waiting for a client", error))?;
        match ready {
            Some([true, _]) => match frame::read(&connection.stream, master.stall())? {
                Some(message) => connection.take(&message)?,
                None => return Ok(()),
            },
            Some([false, true]) => return connection.tell_exit(),
            Some([false, false]) => {}
            None => return Ok(()),
        }
    }
}

impl Connection<'_> {
    fn answer(&self, message: &impl Encode) -> Result<()> {
        frame::write(&self.stream, message, self.master.stall())
    }

    fn fail(&self, id: u32, reason: &str) -> Result<()> {
        self.answer(&Failure { id, reason: Escaped(reason.as_bytes()) })
    }

    /// Asks the user, if anybody is to be asked. A client that is refused is told.
    fn may(&self, id: u32, question: &str) -> Result<bool> {
        let may = self.master.options.ask.as_ref().is_none_or(|ask| ask(question));
        if !may {
            self.answer(&PermissionDenied { id, reason: Escaped(b"Permission denied") })?;
        }
        Ok(may)
    }

    /// The session is over and its streams are done with.
    fn tell_exit(&self) -> Result<()> {
        match self.session.as_ref().and_then(Session::status) {
            Some((session, status)) => self.answer(&ExitMessage { session, status }),
            None => Ok(()),
        }
    }

    fn take(&mut self, message: &[u8]) -> Result<()> {
        let number = number(message)?;
        if !self.greeted {
            let hello = Hello::decode_packet(message)?;
            extensions(hello.extensions)?;
            if hello.version != VERSION {
                return Err(Error::protocol(format!("a client with version {}", hello.version)));
            }
            self.greeted = true;
            return Ok(());
        }
        match number {
            NewSession::NUMBER => self.new_session(&NewSession::decode_packet(message)?),
            NewStdioForward::NUMBER => self.forward_streams(&NewStdioForward::decode_packet(message)?),
            AliveCheck::NUMBER => {
                let id = AliveCheck::decode_packet(message)?.id;
                self.answer(&Alive { id, pid: std::process::id() })
            }
            Terminate::NUMBER => self.terminate(Terminate::decode_packet(message)?.id),
            StopListening::NUMBER => self.stop_listening(StopListening::decode_packet(message)?.id),
            OpenForward::NUMBER => self.open_forward(&OpenForward::decode_packet(message)?),
            CloseForward::NUMBER => self.close_forward(&CloseForward::decode_packet(message)?.opened_by()),
            ExtInfo::NUMBER => self.tell(&ExtInfo::decode_packet(message)?),
            Proxy::NUMBER => {
                self.fail(Proxy::decode_packet(message)?.id, "packets are not passed on by this master")
            }
            Hello::NUMBER => Err(Error::protocol("a client that says hello twice")),
            _ => match request_id(message) {
                Some(id) => self.fail(id, "unsupported request"),
                None => Err(Error::protocol("a request without a number")),
            },
        }
    }

    fn terminate(&self, id: u32) -> Result<()> {
        if self.may(id, &format!("Terminate shared connection to {}? ", self.master.peer))? {
            self.answer(&Done { id })?;
            self.master.end(MasterEnd::Asked);
            self.master.transport.close();
        }
        Ok(())
    }

    fn stop_listening(&self, id: u32) -> Result<()> {
        let question = format!("Disable further multiplexing on shared connection to {}? ", self.master.peer);
        if self.may(id, &question)? {
            self.master.stop();
            self.answer(&Done { id })?;
        }
        Ok(())
    }

    fn tell(&self, request: &ExtInfo<'_>) -> Result<()> {
        let id = request.id;
        if request.name != b"connection" {
            let text = b"info request type not supported";
            return self.answer(&ExtInfoAnswer { id, status: 0, text });
        }
        let transport = &self.master.transport;
        let mut text = format!("remote {}, {}\r\n", self.master.peer, transport.peer_version());
        if let Some(agreed) = transport.negotiated() {
            text += &format!(
                "kexalgorithm {}\r\nhostkeyalgorithm {}\r\ncipher {} {}\r\n",
                agreed.kex, agreed.host_key, agreed.cipher_to_server, agreed.cipher_to_client
            );
        }
        self.answer(&ExtInfoAnswer { id, status: 1, text: text.as_bytes() })
    }

    // ---- sessions

    fn new_session(&mut self, request: &NewSession<'_>) -> Result<()> {
        let mut streams = Vec::new();
        for _ in 0..3 {
            streams.push(self.receive()?);
        }
        let id = request.id;
        if self.session.is_some() {
            return self.fail(id, "Multiple sessions not supported");
        }
        if !self.may(id, &format!("Allow shared connection to {}? ", self.master.peer))? {
            return Ok(());
        }
        let Ok([input, output, errors]) = <[_; 3]>::try_from(streams) else {
            return Err(Error::Misuse("a session has three streams"));
        };
        match open(self.master, request, input, output, errors) {
            Ok(opened) => self.begin(id, opened),
            Err(error) => self.fail(id, &format!("Session open refused by peer: {error}")),
        }
    }

    fn forward_streams(&mut self, request: &NewStdioForward<'_>) -> Result<()> {
        let (input, output) = (self.receive()?, self.receive()?);
        let (id, to) = (request.id, endpoint(request.host, request.port)?);
        if self.session.is_some() {
            return self.fail(id, "Multiple sessions not supported");
        }
        if !self.may(id, &format!("Allow forward to {}? ", shown(&to)))? {
            return Ok(());
        }
        match forward_streams(self.master, &to, input, output) {
            Ok(opened) => self.begin(id, opened),
            Err(error) => self.fail(id, &format!("Session open refused by peer: {error}")),
        }
    }

    fn receive(&self) -> Result<OwnedFd> {
        passing::receive(&self.stream, self.master.stall())
            .map_err(|error| Error::io("taking a descriptor of a client", error))
    }

    fn begin(&mut self, id: u32, opened: Opened) -> Result<()> {
        let session = opened.id();
        self.answer(&SessionOpened { id, session })?;
        if opened.without_terminal() {
            self.answer(&TtyAllocFail { session })?;
        }
        self.session = Some(opened.start()?);
        Ok(())
    }

    // ---- forwardings

    fn open_forward(&self, message: &OpenForward<'_>) -> Result<()> {
        let id = message.id;
        let Some(request) = ForwardRequest::from_message(message)? else {
            return self.fail(id, "Invalid forwarding request");
        };
        let known = {
            let state = self.master.state.lock();
            state.forwards.iter().find(|(known, _)| *known == request).map(|(_, port)| *port)
        };
        if let Some(port) = known {
            return self.opened(id, port);
        }
        let Some(forwards) = &self.master.options.forwards else {
            return self.fail(id, "Port forwarding is not built into this master");
        };
        if self.master.state.lock().forwards.len() >= FORWARDS {
            return self.fail(id, "there are too many forwardings");
        }
        if !self.may(id, &format!("Open {} on {}? ", shown(&request), self.master.peer))? {
            return Ok(());
        }
        match forwards.open(&request) {
            Ok(port) => {
                self.master.state.lock().forwards.push((request, port));
                self.opened(id, port)
            }
            Err(error) => self.fail(id, &format!("Port forwarding failed: {error}")),
        }
    }

    fn opened(&self, id: u32, port: Option<u16>) -> Result<()> {
        match port {
            Some(port) => self.answer(&RemotePort { id, port: port.into() }),
            None => self.answer(&Done { id }),
        }
    }

    fn close_forward(&self, message: &OpenForward<'_>) -> Result<()> {
        let id = message.id;
        let Some(request) = ForwardRequest::from_message(message)? else {
            return self.fail(id, "Invalid forwarding request");
        };
        let is = |(known, _): &(ForwardRequest, Option<u16>)| *known == request;
        let known = self.master.state.lock().forwards.iter().any(is);
        let Some(forwards) = self.master.options.forwards.as_ref().filter(|_| known) else {
            return self.fail(id, "port not forwarded");
        };
        match forwards.close(&request) {
            Ok(()) => {
                self.master.state.lock().forwards.retain(|forward| !is(forward));
                self.answer(&Done { id })
            }
            Err(error) => self.fail(id, &error.to_string()),
        }
    }
}
