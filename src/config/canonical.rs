//! The host's canonical name, where that is asked for. OpenSSH's ssh.c, resolve_canonicalize and
//! check_follow_cname.
//!
//! Waits for the system's resolver, at most half a minute for each name.

use std::net::IpAddr;

use super::environment::Environment;
use super::value::domain;
use super::values::Values;
use crate::pattern::{Letters, matches_list};

/// Whether a name can only be an address.
pub(super) fn is_address(name: &str) -> bool {
    name.contains(['%', ':']) || name.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
}

/// Whether the connection is made by ourselves, and not by a program or through another host.
fn is_direct(values: &Values) -> bool {
    values.some("proxycommand").is_none() && values.some("proxyjump").is_none()
}

/// What the host is to be called, if it is not to keep its name. The error says why it cannot be called anything.
pub(super) fn name(
    host: &str,
    values: &Values,
    environment: &dyn Environment,
) -> Result<Option<String>, String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        // An address that is not to be connected to stays as it was written.
        let fits = match values.one("addressfamily") {
            Some("inet") => address.is_ipv4(),
            Some("inet6") => address.is_ipv6(),
            _ => true,
        };
        return Ok(fits.then(|| address.to_string()));
    }
    if is_address(host) {
        return Ok(None);
    }
    let mode = values.one("canonicalizehostname").unwrap_or("false");
    let direct = is_direct(values);
    // Names that another host is to look up are left to it, unless the user says otherwise.
    let wanted = mode == "always" || direct && mode == "true";
    if wanted && let Some(found) = canonical(host, values, environment)? {
        return Ok(Some(follow(found, values)));
    }
    let cnames = values.all("canonicalizePermittedcnames").is_some_and(|rules| !rules.is_empty());
    if cnames && (direct || mode == "always") {
        match environment.resolve(host) {
            Some(cname) if wanted => return Ok(Some(follow((host.to_owned(), cname), values))),
            Some(_) => {}
            None if direct => return Err(format!("could not resolve hostname {host}")),
            None => {}
        }
    }
    Ok(None)
}

/// The first of the host's names in the domains that has an address, with what the DNS calls it.
fn canonical(
    host: &str,
    values: &Values,
    environment: &dyn Environment,
) -> Result<Option<(String, Option<String>)>, String> {
    let dots = values.one("canonicalizemaxdots").and_then(|dots| dots.parse().ok()).unwrap_or(1_usize);
    let domains = values.all("canonicaldomains").unwrap_or_default();
    let names = match host.strip_suffix('.') {
        Some(name) => vec![name.to_owned()],
        None if host.matches('.').count() > dots => return Ok(None),
        None if domains.iter().any(|domain| domain.eq_ignore_ascii_case("none")) => Vec::new(),
        None => domains.iter().map(|domain| format!("{host}.{domain}")).collect(),
    };
    for name in names {
        // The dot keeps the resolver from trying domains of its own.
        if let Some(cname) = environment.resolve(&format!("{name}.")) {
            log::debug!(target: "feramiko::config", "{host} is {name}");
            return Ok(Some((name, cname)));
        }
    }
    if values.one("canonicalizefallbacklocal") == Some("no") {
        return Err(format!("could not resolve host \"{host}\""));
    }
    Ok(None)
}

/// What the DNS calls the host, if a rule permits that name; else its own.
fn follow((host, cname): (String, Option<String>), values: &Values) -> String {
    let Some(cname) = cname.map(|name| name.trim_end_matches('.').to_ascii_lowercase()) else { return host };
    if cname == host || domain(&cname).is_err() {
        return host;
    }
    let list = |list: &str, name: &str| matches_list(list.as_bytes(), name.as_bytes(), Letters::Lower);
    let permits = |rule: &String| {
        rule.split_once(':').is_some_and(|(source, target)| list(source, &host) && list(target, &cname))
    };
    let rules = values.all("canonicalizePermittedcnames").unwrap_or_default();
    if rules.iter().any(permits) {
        log::info!(target: "feramiko::config", "{host} is an alias of {cname}");
        return cname;
    }
    host
}
