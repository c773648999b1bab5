//! The options before a key, as a table: sshd(8), "AUTHORIZED_KEYS FILE FORMAT".

use crate::auth::Permissions;
use crate::pattern::Sources;

/// Entries of one option that may come several times; OpenSSH's figure is 4096.
const REPEATED: usize = 1024;

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

/// What an option does: a flag, or one with a value that it may find bad.
enum Effect {
    Flag(fn(&mut Options)),
    Value(fn(&mut Options, &str) -> Result<(), &'static str>),
}

use Effect::{Flag, Value};

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
    ("command", Value(command)),
    ("environment", Value(environment)),
    ("expiry-time", Value(expiry)),
    ("from", Value(from)),
    ("permitopen", Value(|options, value| target(&mut options.permissions.permit_open, value, true))),
    ("permitlisten", Value(|options, value| target(&mut options.permissions.permit_listen, value, false))),
    ("principals", Value(principals)),
    ("tunnel", Value(tunnel)),
];

/// Reads the options that `text` begins with; what follows the blank after them.
pub(super) fn parse(text: &str) -> Result<(Options, &str), String> {
    let mut options = Options::default();
    // As sshd does, commas without an option between them are let pass.
    let mut rest = text.trim_start_matches(',');
    loop {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let (value, after) = value(after)?;
        apply(&mut options, name, value.as_deref())?;
        let next = after.trim_start_matches(',');
        match next.as_bytes().first() {
            Some(b' ' | b'\t') => return Ok((options, next.trim_start_matches([' ', '\t']))),
            _ if next.len() < after.len() => rest = next,
            _ => return Err(format!("something else than a comma follows the option {name:?}")),
        }
    }
}

fn apply(options: &mut Options, name: &str, value: Option<&str>) -> Result<(), String> {
    let found = OPTIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    match (found.map(|(_, effect)| effect), value) {
        (Some(Flag(set)), None) => {
            set(options);
            Ok(())
        }
        (Some(Value(set)), Some(value)) => set(options, value).map_err(|error| format!("{name}: {error}")),
        (Some(Flag(_)), Some(_)) => Err(format!("the option {name} has no value")),
        (Some(Value(_)), None) => Err(format!("the option {name} needs a value")),
        // What is not known may restrict: the key is not used.
        (None, _) => Err(format!("the option {name:?} is not known")),
    }
}

/// What stands in quotes after `=`, in which `\"` is a quote; what follows it.
fn value(text: &str) -> Result<(Option<String>, &str), String> {
    let Some(quoted) = text.strip_prefix('=') else { return Ok((None, text)) };
    let inside = quoted.strip_prefix('"').ok_or("a value stands in quotes")?;
    let mut value = String::new();
    let mut characters = inside.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((Some(value), inside.get(at.saturating_add(1)..).unwrap_or_default())),
            '\\' if characters.as_str().starts_with('"') => {
                characters.next();
                value.push('"');
            }
            other => value.push(other),
        }
    }
    Err("a quote is missing at the end of a value".to_owned())
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

fn command(options: &mut Options, value: &str) -> Result<(), &'static str> {
    if options.permissions.command.is_some() {
        return Err("given twice");
    }
    options.permissions.command = Some(value.as_bytes().to_vec());
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

fn from(options: &mut Options, value: &str) -> Result<(), &'static str> {
    options.from.push(Sources::parse(value.as_bytes()).ok_or("an entry is no address, network or pattern")?);
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
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("no number of a device");
    }
    options.permissions.tunnel = Some(value.to_owned());
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
        return Err("no port");
    }
    let list = list.get_or_insert_default();
    if list.len() >= REPEATED {
        return Err("too many of them");
    }
    list.push(format!("{host}:{port}"));
    Ok(())
}
