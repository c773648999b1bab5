//! X11 forwarding: ForwardX11, ForwardX11Trusted, ForwardX11Timeout and XAuthLocation of ssh_config(5).

use feramiko::{Channel, HostConfig, Result, X11Options};

/// Whether it is wanted, and there is a display.
pub(crate) fn wanted(config: &HostConfig) -> bool {
    config.is("ForwardX11") && std::env::var_os("DISPLAY").is_some()
}

/// Asks for it, if it is wanted. Like ssh: the session is worth having without.
pub(crate) fn forward(channel: &Channel, config: &HostConfig) {
    if config.is("ForwardX11") && !wanted(config) {
        log::debug!(target: "ssh", "DISPLAY not set");
    } else if wanted(config)
        && let Err(error) = settings(config).and_then(|options| channel.request_x11(&options))
    {
        log::warn!(target: "ssh", "X11 is not forwarded: {error}");
    }
}

pub(crate) fn settings(config: &HostConfig) -> Result<X11Options> {
    // For ever where it says 0.
    let options = X11Options::from_env()?
        .trusted(config.is("ForwardX11Trusted"))
        .timeout(config.time("ForwardX11Timeout").filter(|time| !time.is_zero()));
    Ok(match config.get("XAuthLocation") {
        Some(path) => options.xauth_location(path),
        None => options,
    })
}
