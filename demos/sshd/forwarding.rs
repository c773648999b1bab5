//! What clients may forward, by the options of sshd_config(5) for it.

use feramiko::{ForwardRules, GatewayPorts, ListenOptions};

use crate::support::given::{choice, one, yes};

/// Which of its two kinds a feature has: connections that the server makes, and places where it listens.
type Kinds = (bool, bool);

const KINDS: &[(&str, Kinds)] = &[
    ("yes", (true, true)),
    ("all", (true, true)),
    ("local", (true, false)),
    ("remote", (false, true)),
    ("no", (false, false)),
];

/// What the options say.
pub(crate) struct Forwarding {
    disabled: bool,
    tcp: Kinds,
    stream_local: Kinds,
    permit_open: Option<Vec<String>>,
    permit_listen: Option<Vec<String>>,
    options: ListenOptions,
}

impl Default for Forwarding {
    /// As sshd_config(5) says.
    fn default() -> Self {
        let privileged_ports = nix::unistd::getuid().is_root();
        Self {
            disabled: false,
            tcp: (true, true),
            stream_local: (true, true),
            permit_open: None,
            permit_listen: None,
            options: ListenOptions { privileged_ports, ..ListenOptions::default() },
        }
    }
}

impl Forwarding {
    /// Takes an option; false when it is none of these.
    pub(crate) fn set(&mut self, name: &str, words: &[String]) -> Result<bool, String> {
        match name {
            "permitopen" => self.permit_open = places(words, true)?,
            "permitlisten" => self.permit_listen = places(words, false)?,
            "disableforwarding" => self.disabled = yes(one(words)?)?,
            "allowtcpforwarding" => self.tcp = choice(one(words)?, KINDS)?,
            "allowstreamlocalforwarding" => self.stream_local = choice(one(words)?, KINDS)?,
            "gatewayports" => {
                let rules = [
                    ("no", GatewayPorts::No),
                    ("yes", GatewayPorts::Yes),
                    ("clientspecified", GatewayPorts::ClientSpecified),
                ];
                self.options.gateway = choice(one(words)?, &rules)?;
            }
            "streamlocalbindmask" => {
                let mask = u32::from_str_radix(one(words)?, 8).ok().filter(|mask| *mask <= 0o777);
                self.options.mask = mask.ok_or("an octal mask such as 0177")?;
            }
            "streamlocalbindunlink" => self.options.unlink = yes(one(words)?)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) fn rules(self) -> ForwardRules {
        if self.disabled {
            return ForwardRules::new();
        }
        let mut rules = ForwardRules::new()
            .allow_direct(self.tcp.0)
            .allow_listen(self.tcp.1)
            .allow_direct_unix(self.stream_local.0)
            .allow_listen_unix(self.stream_local.1)
            .listen_options(self.options);
        if let Some(list) = self.permit_open {
            rules = rules.permit_open(list);
        }
        if let Some(list) = self.permit_listen {
            rules = rules.permit_listen(list);
        }
        rules
    }
}

/// A list of `host:port`, `any` for no list, or `none` for an empty one.
fn places(words: &[String], host_needed: bool) -> Result<Option<Vec<String>>, String> {
    match words {
        [word] if word == "any" => return Ok(None),
        [word] if word == "none" => return Ok(Some(Vec::new())),
        _ => {}
    }
    let place = |word: &String| {
        let (host, port) = match word.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() => (host, port),
            None if !host_needed => ("", word.as_str()),
            _ => return Err(format!("{word}: no host:port")),
        };
        if port != "*" && !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(format!("{word}: no port"));
        }
        Ok(format!("{host}:{port}"))
    };
    words.iter().map(place).collect::<Result<_, _>>().map(Some)
}
