//! What a user's programs may forward, by the keywords of sshd_config(5) for it.

use feramiko::{Account, ForwardRules, GatewayPorts, ListenOptions, X11Answer, X11Displays};

use crate::config::Effective;

/// Which kinds of a feature there are: connections that the server makes, and places where it listens.
fn kinds(word: &str) -> (bool, bool) {
    (matches!(word, "yes" | "all" | "local"), matches!(word, "yes" | "all" | "remote"))
}

/// Ports and UNIX sockets.
pub(crate) fn rules(config: &Effective, account: &Account) -> ForwardRules {
    if config.flag("disableforwarding") {
        return ForwardRules::new();
    }
    let (tcp, mut unix) =
        (kinds(&config.choice("allowtcpforwarding")), kinds(&config.choice("allowstreamlocalforwarding")));
    if config.some("chrootdirectory").is_some() {
        // They would be outside.
        unix = (false, false);
    }
    let gateway = match config.choice("gatewayports").as_str() {
        "yes" => GatewayPorts::Yes,
        "clientspecified" => GatewayPorts::ClientSpecified,
        _ => GatewayPorts::No,
    };
    let options = ListenOptions {
        gateway,
        privileged_ports: account.uid() == 0,
        mask: u32::from_str_radix(&config.word("streamlocalbindmask"), 8).unwrap_or(0o777),
        unlink: config.flag("streamlocalbindunlink"),
    };
    let rules = ForwardRules::new()
        .allow_direct(tcp.0)
        .allow_listen(tcp.1)
        .allow_direct_unix(unix.0)
        .allow_listen_unix(unix.1)
        .listen_options(options);
    let rules = match places(config, "permitopen") {
        Some(list) => rules.permit_open(list),
        None => rules,
    };
    match places(config, "permitlisten") {
        Some(list) => rules.permit_listen(list),
        None => rules,
    }
}

/// A list of `host:port`; none where everything is permitted.
fn places(config: &Effective, name: &str) -> Option<Vec<String>> {
    match config.words(name) {
        words if words == ["any"] => None,
        words if words == ["none"] => Some(Vec::new()),
        words => Some(words),
    }
}

/// X11.
pub(crate) fn display(config: &Effective) -> X11Answer {
    if !config.flag("x11forwarding") || config.flag("disableforwarding") {
        return X11Answer::Refuse;
    }
    let mut displays = X11Displays::default();
    displays.offset = config.number("x11displayoffset");
    displays.localhost = config.flag("x11uselocalhost");
    X11Answer::Accept(displays)
}
