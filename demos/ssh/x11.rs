//! X11 forwarding, as the configuration says.

use feramiko::{Channel, HostConfig, Result, X11Options};

/// Asks for it, if it is wanted and there is a display. Like ssh: the session is worth having without.
pub(crate) fn forward(config: &HostConfig, channel: &Channel) {
    if !config.is("ForwardX11") {
        return;
    }
    if std::env::var_os("DISPLAY").is_none() {
        log::debug!(target: "ssh", "DISPLAY not set");
        return;
    }
    if let Err(error) = settings(config).and_then(|options| channel.request_x11(&options)) {
        log::warn!(target: "ssh", "X11 is not forwarded: {error}");
    }
}

fn settings(config: &HostConfig) -> Result<X11Options> {
    let mut options = X11Options::from_env()?.trusted(config.is("ForwardX11Trusted"));
    if config.is_said("ForwardX11Timeout") {
        options = options.timeout(config.time("ForwardX11Timeout"));
    }
    if config.is_said("XAuthLocation")
        && let Some(xauth) = config.get("XAuthLocation")
    {
        options = options.xauth_location(xauth);
    }
    Ok(options)
}
