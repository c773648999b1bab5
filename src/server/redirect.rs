//! Sessions whose streams lead elsewhere: to files, pipes, programs, other channels. Each is copied by a
//! thread of its own.

use std::io::{self, Read};
use std::net::Shutdown;

use super::Session;
use crate::channel::{Channel, End, Redirect, copy};
use crate::engine::{Lane, spawn};
use crate::sys::standard::Standard;

impl Session {
    /// Writes what the client sends to `stdin`, and sends it what `stdout` and `stderr` hold as its two
    /// outputs; returns when these have ended. A piped stream stays the caller's, who can use it meanwhile
    /// through a clone of the [`channel`](Self::channel); [`Redirect::null`] drops what comes and sends
    /// nothing. A source that does not end when the client is gone is its owner's to end.
    ///
    /// ```no_run
    /// # use std::process::{Command, Stdio};
    /// # use feramiko::{ExitStatus, Redirect, Session};
    /// # fn session(session: Session) -> std::io::Result<ExitStatus> {
    /// // What comes is kept, and its sum is sent back.
    /// session.redirect(std::fs::File::create("upload")?, Redirect::null(), Redirect::null())?;
    /// let mut sum = Command::new("sha256sum").arg("upload").stdout(Stdio::piped()).spawn()?;
    /// session.redirect(Redirect::null(), sum.stdout.take().expect("it is piped"), Redirect::null())?;
    /// # sum.wait()?;
    /// # Ok(ExitStatus::Code(0))
    /// # }
    /// ```
    ///
    /// # Errors
    /// What reading or writing comes to, the first one; `InvalidInput` for a stream that goes the other way.
    pub fn redirect(
        &self,
        stdin: impl Into<Redirect>,
        stdout: impl Into<Redirect>,
        stderr: impl Into<Redirect>,
    ) -> io::Result<()> {
        let (stdin, stdout) = (stdin.into().sink(Standard::output)?, stdout.into().source()?);
        let stderr = stderr.into().source()?;
        let (sender, ended) = crossbeam_channel::bounded(3);
        // Clients send nothing on the other stream: it is dropped, and holds nothing up.
        self.channel().link().stop_reading(Lane::Stderr);
        let whole = matches!((&stdout, &stderr), (End::Null, End::Null));
        if let End::Null = stdin {
            self.channel().link().stop_reading(Lane::Data);
        }
        if let End::There(mut sink) = stdin {
            let (channel, sender) = (self.channel().clone(), whole.then(|| sender.clone()));
            spawn("feramiko input", move || {
                let copied = copy(&mut &channel, &mut *sink);
                if copied.is_err() {
                    // Nobody reads it any more: what comes is dropped, and the client may know.
                    channel.shutdown(Shutdown::Read);
                    channel.send_eow();
                }
                // Where outputs are sent they are what is waited for.
                let _ = sender.map(|sender| sender.send(copied));
            })?;
        }
        for (source, lane) in [(stdout, Lane::Data), (stderr, Lane::Stderr)] {
            if let End::There(source) = source {
                let (session, sender) = (self.channel().clone(), sender.clone());
                spawn("feramiko output", move || {
                    // The session may have been given up.
                    let _ = sender.send(sent(source, &session, lane));
                })?;
            }
        }
        drop(sender);
        ended.iter().collect()
    }
}

fn sent(mut from: Box<dyn Read + Send>, channel: &Channel, lane: Lane) -> io::Result<()> {
    match lane {
        Lane::Data => copy(&mut *from, &mut &*channel),
        Lane::Stderr => copy(&mut *from, &mut channel.stderr()),
    }
}
