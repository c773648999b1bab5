//! The options before a key, as a table: sshd(8), "AUTHORIZED_KEYS FILE FORMAT".

use crate::auth::Permissions;
use crate::key::trim_start;
use crate::pattern::Sources;

/// Entries of one option that may come several times; OpenSSH's figure is 4096.
const REPEATED: usize = 1024;
/// The largest number of a tunnel device: OpenSSH's SSH_TUNID_MAX.
const TUNNEL: u32 = 0x7fff_fffd;

/// What the options of a line say.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) permissions: Permissions,
    /// The key is an authority's.
    pub(super) authority: bool,
    /// Whom a certificate must name, if not the user.
    pub(super) principals: Option<Vec<String>>,
    /// Where the user must come from.
    pub(super) from: Vec<Sources>,
    /// Seconds since 1970 from which on the key is not used any more.
    pub(super) expires: Option<i64>,
}

/// What an option does: a flag, or one with a value, bytes or text, that it may find bad.
enum Effect {
    Flag(fn(&mut Options)),
    Bytes(fn(&mut Options, &[u8]) -> Result<(), &'static str>),
    Text(fn(&mut Options, &str) -> Result<(), &'static str>),
}

use Effect::{Bytes, Flag, Text};

/// Names are compared without case.
static OPTIONS: &[(&str, Effect)] = &[
    ("agent-forwarding", Flag(|options| options.permissions.agent_forwarding = true)),
    ("no-agent-forwarding", Flag(|options| options.permissions.agent_forwarding = false)),
    ("port-forwarding", Flag(|options| options.permissions.port_forwarding = true)),
    ("no-port-forwarding", Flag(|options| options.permissions.port_forwarding = false)),
    ("X11-forwarding", Flag(|options| options.permissions.x11_forwarding = true)),
    ("no-X11-forwarding", Flag(|options| options.permissions.x11_forwarding = false)),
    ("pty", Flag(|options| options.permissions.pty = true)),
    ("no-pty", Flag(|options| options.permissions.pty = false)),
    ("user-rc", Flag(|options| options.permissions.user_rc = true)),
    ("no-user-rc", Flag(|options| options.permissions.user_rc = false)),
    ("no-touch-required", Flag(|options| options.permissions.touch_required = false)),
    ("touch-required", Flag(|options| options.permissions.touch_required = true)),
    ("verify-required", Flag(|options| options.permissions.verify_required = true)),
    ("no-verify-required", Flag(|options| options.permissions.verify_required = false)),
    ("restrict", Flag(restrict)),
    ("cert-authority", Flag(|options| options.authority = true)),
    ("command", Bytes(command)),
    ("environment", Text(environment)),
    ("expiry-time", Text(expiry)),
    ("from", Bytes(from)),
    ("permitopen", Text(|options, value| target(&mut options.permissions.permit_open, value, true))),
    ("permitlisten", Text(|options, value| target(&mut options.permissions.permit_listen, value, false))),
    ("principals", Text(principals)),
    ("tunnel", Text(tunnel)),
];

/// Reads the options that `text` begins with; what follows the blank after them.
pub(super) fn parse(text: &[u8]) -> Result<(Options, &[u8]), String> {
    let mut options = Options::default();
    // As sshd does, commas without an option between them are let pass.
    let mut rest = without_commas(text);
    loop {
        let in_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'-';
        let (name, after) = rest.split_at(rest.iter().take_while(in_name).count());
        let name = String::from_utf8_lossy(name);
        let (value, after) = value(after)?;
        apply(&mut options, &name, value.as_deref())?;
        let next = without_commas(after);
        match next {
            [b' ' | b'\t', ..] => return Ok((options, trim_start(next))),
            _ if next.len() < after.len() => rest = next,
            _ => return Err(format!("something else than a comma follows the option {name:?}")),
        }
    }
}

fn without_commas(text: &[u8]) -> &[u8] {
    let commas = text.iter().take_while(|byte| **byte == b',').count();
    text.get(commas..).unwrap_or_default()
}

fn apply(options: &mut Options, name: &str, value: Option<&[u8]>) -> Result<(), String> {
    let found = OPTIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let done = match (found.map(|(_, effect)| effect), value) {
        (Some(Flag(set)), None) => {
            set(options);
            Ok(())
        }
        (Some(Bytes(set)), Some(value)) => set(options, value),
        (Some(Text(set)), Some(value)) => {
            std::str::from_utf8(value).map_err(|_| "it is no UTF-8").and_then(|value| set(options, value))
        }
        (Some(Flag(_)), Some(_)) => return Err(format!("the option {name} has no value")),
        (Some(Bytes(_) | Text(_)), None) => return Err(format!("the option {name} needs a value")),
        // What is not known may restrict: the key is not used.
        (None, _) => return Err(format!("the option {name:?} is not known")),
    };
    done.map_err(|error| format!("{name}: {error}"))
}

/// What stands in quotes after `=`, in which `\"` is a quote; what follows it.
fn value(text: &[u8]) -> Result<(Option<Vec<u8>>, &[u8]), String> {
    let Some(quoted) = text.strip_prefix(b"=") else { return Ok((None, text)) };
    let mut rest = quoted.strip_prefix(b"\"").ok_or("a value stands in quotes")?;
    let mut value = Vec::new();
    loop {
        let byte;
        (byte, rest) = match rest {
            [b'"', after @ ..] => return Ok((Some(value), after)),
            [b'\\', b'"', after @ ..] => (b'"', after),
            [other, after @ ..] => (*other, after),
            [] => return Err("a quote is missing at the end of a value".to_owned()),
        };
        value.push(byte);
    }
}

fn restrict(options: &mut Options) {
    let restricted = Permissions::restricted();
    let permissions = &mut options.permissions;
    permissions.pty = restricted.pty;
    permissions.port_forwarding = restricted.port_forwarding;
    permissions.agent_forwarding = restricted.agent_forwarding;
    permissions.x11_forwarding = restricted.x11_forwarding;
    permissions.user_rc = restricted.user_rc;
}

fn command(options: &mut Options, value: &[u8]) -> Result<(), &'static str> {
    if options.permissions.command.is_some() {
        return Err("given twice");
    }
    options.permissions.command = Some(value.to_vec());
    Ok(())
}

fn environment(options: &mut Options, value: &str) -> Result<(), &'static str> {
    let (name, value) = value.split_once('=').ok_or("no NAME=value")?;
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(fine) || value.contains('\0') {
        return Err("no name of a variable");
    }
    let environment = &mut options.permissions.environment;
    if environment.len() >= REPEATED {
        return Err("too many of them");
    }
    // The first of a name counts, as with OpenSSH.
    if !environment.iter().any(|(known, _)| known == name) {
        environment.push((name.to_owned(), value.to_owned()));
    }
    Ok(())
}

fn expiry(options: &mut Options, value: &str) -> Result<(), &'static str> {
    let time = crate::key::parse_seconds(value).ok_or("no time of the form YYYYMMDD[HHMM[SS]][Z]")?;
    options.expires = Some(options.expires.map_or(time, |earlier| earlier.min(time)));
    Ok(())
}

fn from(options: &mut Options, value: &[u8]) -> Result<(), &'static str> {
    options.from.push(Sources::parse(value).ok_or("an entry is no address, network or pattern")?);
    Ok(())
}

fn principals(options: &mut Options, value: &str) -> Result<(), &'static str> {
    if options.principals.is_some() {
        return Err("given twice");
    }
    let names: Vec<_> = value.split(',').map(str::to_owned).collect();
    if names.iter().any(String::is_empty) {
        return Err("an empty name");
    }
    options.principals = Some(names);
    Ok(())
}

fn tunnel(options: &mut Options, value: &str) -> Result<(), &'static str> {
    options.permissions.tunnel = if value.eq_ignore_ascii_case("any") {
        None
    } else {
        let number = value.parse().ok().filter(|number: &u32| *number <= TUNNEL);
        Some(number.ok_or("neither the number of a device nor any")?.to_string())
    };
    Ok(())
}

/// `host:port`, `[host]:port`, or, where a host is not needed, a port; `*` is any port.
fn target(list: &mut Option<Vec<String>>, value: &str, host_needed: bool) -> Result<(), &'static str> {
    let (host, port) = match value.rsplit_once(':') {
        Some((host, port)) => (host, port),
        None if host_needed => return Err("no host:port"),
        None => ("", value),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host_needed && host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("no host:port");
    }
    if port != "*" && !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err("no port: a number from 1 to 65535, not the name of a service, or *");
    }
    let list = list.get_or_insert_default();
    if list.len() >= REPEATED {
        return Err("too many of them");
    }
    list.push(format!("{host}:{port}"));
    Ok(())
}
