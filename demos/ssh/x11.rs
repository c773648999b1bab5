//! X11 forwarding: `-X`, `-x`, `-Y` and the options of ssh_config(5) about it.

use std::path::PathBuf;
use std::time::Duration;

use feramiko::{Channel, Result, X11Options};

use crate::options::first;
use crate::support::given::{interval_of, yes};

#[derive(Default)]
pub(crate) struct X11 {
    forward: Option<bool>,
    trusted: Option<bool>,
    /// For ever when it holds none.
    timeout: Option<Option<Duration>>,
    xauth: Option<PathBuf>,
}

impl X11 {
    /// `-X`, `-x` or `-Y`.
    pub(crate) fn letter(&mut self, letter: char) {
        self.forward = Some(letter != 'x');
        if letter == 'Y' {
            self.trusted = Some(true);
        }
    }

    /// An option of ssh_config(5), by its name in small letters; false if it is not about X11.
    pub(crate) fn option(&mut self, name: &str, value: &str) -> std::result::Result<bool, String> {
        match name {
            "forwardx11" => first(&mut self.forward, yes(value)?),
            "forwardx11trusted" => first(&mut self.trusted, yes(value)?),
            "forwardx11timeout" => first(&mut self.timeout, interval_of(value)?),
            "xauthlocation" => first(&mut self.xauth, value.into()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Asks for it, if it is wanted and there is a display. Like ssh: the session is worth having without.
    pub(crate) fn forward(&self, channel: &Channel) {
        if !self.forward.unwrap_or(false) {
            return;
        }
        if std::env::var_os("DISPLAY").is_none() {
            log::debug!(target: "ssh", "DISPLAY not set");
            return;
        }
        if let Err(error) = self.settings().and_then(|options| channel.request_x11(&options)) {
            log::warn!(target: "ssh", "X11 is not forwarded: {error}");
        }
    }

    fn settings(&self) -> Result<X11Options> {
        let mut options = X11Options::from_env()?.trusted(self.trusted.unwrap_or(false));
        if let Some(timeout) = self.timeout {
            options = options.timeout(timeout);
        }
        if let Some(xauth) = &self.xauth {
            options = options.xauth_location(xauth);
        }
        Ok(options)
    }
}
