//! Signing certificates, and showing what they say.

use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::time::SystemTime;

use feramiko::{Agent, Certificate, CertificateBuilder, CertificateKind, PKey, PublicKey};

use super::files::{expand, lines_of, load_identity, load_public, read_key, save_public};
use super::outcome::{Outcome, about, fatal, say, status};
use super::settings::Settings;
use super::support::output::complain;
use super::types;

/// As many names as readers take.
const PRINCIPALS: usize = 256;
/// The longest address of IPv6 as text, with `/128` behind it.
const ADDRESS: usize = 46 + 3;
/// Flags by their names after `permit-` or `no-`: the extension, and whether users have it anyway.
const FLAGS: [(&str, &str, bool); 5] = [
    ("x11-forwarding", "permit-X11-forwarding", true),
    ("agent-forwarding", "permit-agent-forwarding", true),
    ("port-forwarding", "permit-port-forwarding", true),
    ("pty", "permit-pty", true),
    ("user-rc", "permit-user-rc", true),
];
const NO_TOUCH: &str = "no-touch-required";
const VERIFY: &str = "verify-required";

/// What the options of `-O` come to: names with values, none for flags.
#[derive(Default)]
struct Wishes {
    critical: Vec<(String, Option<String>)>,
    extensions: Vec<(String, Option<String>)>,
}

impl Wishes {
    fn new(host: bool) -> Self {
        let given = FLAGS.iter().filter(|(_, _, anyway)| *anyway && !host);
        let extensions = given.map(|(_, name, _)| ((*name).to_owned(), None)).collect();
        Self { critical: Vec::new(), extensions }
    }

    fn flag(list: &mut Vec<(String, Option<String>)>, name: &str, set: bool) {
        list.retain(|(known, value)| known != name || value.is_some());
        if set {
            list.push((name.to_owned(), None));
        }
    }

    /// Follows one option.
    fn add(&mut self, option: &str) -> Outcome {
        let lower = option.to_ascii_lowercase();
        let permit = lower.strip_prefix("permit-").map(|name| (name, true));
        let flag = permit.or_else(|| lower.strip_prefix("no-").map(|name| (name, false)));
        let known =
            |(name, set)| FLAGS.iter().find(|(word, ..)| *word == name).map(|(_, name, _)| (*name, set));
        if let Some((name, set)) = flag.and_then(known) {
            Self::flag(&mut self.extensions, name, set);
            return Ok(());
        }
        match lower.as_str() {
            "clear" => {
                let ours = |name: &str| FLAGS.iter().any(|(_, flag, _)| *flag == name) || name == NO_TOUCH;
                self.extensions.retain(|(name, value)| value.is_some() || !ours(name));
                Self::flag(&mut self.critical, VERIFY, false);
            }
            "touch-required" => Self::flag(&mut self.extensions, NO_TOUCH, false),
            "no-touch-required" => Self::flag(&mut self.extensions, NO_TOUCH, true),
            "no-verify-required" => Self::flag(&mut self.critical, VERIFY, false),
            "verify-required" => Self::flag(&mut self.critical, VERIFY, true),
            _ => return self.add_value(option, &lower),
        }
        Ok(())
    }

    /// Follows an option with a value.
    fn add_value(&mut self, option: &str, lower: &str) -> Outcome {
        let after = |start: &str| lower.starts_with(start).then(|| &option[start.len()..]);
        for name in ["force-command", "source-address"] {
            let Some(value) = after(&format!("{name}=")) else { continue };
            if value.is_empty() {
                return Err(fatal(format!("Empty {name} option")));
            }
            if self.critical.iter().any(|(known, _)| known == name) {
                return Err(fatal(format!("{name} already specified")));
            }
            if name == "source-address" && !value.split(',').all(is_network) {
                return Err(fatal("Invalid source-address list"));
            }
            self.critical.push((name.to_owned(), Some(value.to_owned())));
            return Ok(());
        }
        let (list, text) = match (after("extension:"), after("critical:")) {
            (Some(text), _) => (&mut self.extensions, text),
            (_, Some(text)) => (&mut self.critical, text),
            _ => return Err(fatal(format!("Unsupported certificate option \"{option}\""))),
        };
        list.push(match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (text.to_owned(), None),
        });
        Ok(())
    }

    fn apply(&self, mut builder: CertificateBuilder) -> CertificateBuilder {
        builder = builder.no_extensions();
        for (name, value) in &self.critical {
            builder = builder.critical_option(name, value.as_ref().map(String::as_bytes));
        }
        for (name, value) in &self.extensions {
            builder = builder.extension(name, value.as_ref().map(String::as_bytes));
        }
        builder
    }
}

/// Whether this is an address, or a network with no bits set behind its mask.
fn is_network(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let (number, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let Some(bits) = bits else { return text.len() <= ADDRESS };
    let Ok(bits) = bits.parse::<u32>() else { return false };
    let behind = width - bits.min(width);
    let host_bits = if behind == 128 { u128::MAX } else { (1 << behind) - 1 };
    text.len() <= ADDRESS && bits <= width && number & host_bits == 0
}

/// The authority's key: from a file, or with `-U` from the agent.
fn authority(settings: &Settings, path: &str) -> Outcome<PKey> {
    let path = expand(path);
    if !settings.given.has('U') {
        return Ok(load_identity(&path, settings)?.key);
    }
    let (public, _) =
        load_public(&path).map_err(|fail| fatal(format!("Cannot load CA public key {}", fail.text)))?;
    let agent = Agent::from_env().map_err(about("Cannot use public key for CA signature"))?;
    let keys = agent.keys().map_err(about("Retrieve agent key list"))?;
    let held = keys.into_iter().find(|key| *key.public_key() == public);
    held.map(PKey::from).ok_or_else(|| fatal(format!("CA key {path} not found in agent")))
}

/// The algorithm that the authority signs by: the best, or that of `-t` for RSA.
fn algorithm(settings: &Settings, authority: &PKey) -> Outcome<String> {
    let key = authority.public_key().without_certificate();
    let best = key.algorithms().first().copied().unwrap_or_default();
    let Some(name) = settings.given.last('t') else { return Ok(best.to_owned()) };
    let fits = types::by_name(name).zip(types::by_name(key.key_type()));
    if !fits.is_some_and(|(wanted, is)| wanted.is_like(is)) {
        return Err(fatal(format!("CA key type {} doesn't match specified {name}", key.key_type())));
    }
    let named = key.algorithms().iter().find(|known| **known == name);
    named
        .map(|name| (*name).to_owned())
        .ok_or_else(|| fatal(format!("{name} is not an algorithm of signatures")))
}

/// `-s`: a certificate for each file.
pub(crate) fn sign(settings: &Settings, ca: &str) -> Outcome {
    let given = &settings.given;
    let id = given.last('I').ok_or_else(|| fatal("Must specify key id (-I) when certifying"))?;
    let mut wishes = Wishes::new(given.has('h'));
    given.all('O').try_for_each(|option| wishes.add(option))?;
    let authority = authority(settings, ca)?;
    let algorithm = algorithm(settings, &authority)?;
    let names: Vec<_> = given.last('n').map_or_else(Vec::new, |names| names.split(',').collect());
    if names.contains(&"") {
        return Err(fatal("Empty principal name"));
    }
    if names.len() > PRINCIPALS {
        return Err(fatal("Too many certificate principals specified"));
    }
    let mut serial = settings.serial;
    for path in &given.operands {
        let path = expand(path);
        let (public, comment) =
            load_public(&path).map_err(|fail| fatal(format!("load pubkey {}", fail.text)))?;
        if public.certificate().is_some() {
            return Err(fatal(format!("key \"{path}\" type {} cannot be certified", public.short_type())));
        }
        let host = given.has('h');
        let new = if host { CertificateBuilder::host(&public) } else { CertificateBuilder::user(&public) };
        let mut builder = wishes.apply(new).serial(serial).key_id(id);
        builder = names.iter().fold(builder, |builder, name| builder.principal(name));
        if let Some(interval) = given.last('V') {
            builder = builder.valid_interval(interval, SystemTime::now())?;
        }
        let certificate = builder.sign_by(&authority, &algorithm);
        let certificate = certificate.map_err(about(&format!("Couldn't certify key {path}")))?;
        let out = format!("{}-cert.pub", path.strip_suffix(".pub").unwrap_or(&path));
        save_public(&out, &certificate, comment.as_deref().unwrap_or_default())?;
        if !settings.quiet {
            report(&out, &certificate, given.last('n'));
        }
        if settings.count_serials {
            serial = serial.wrapping_add(1);
        }
    }
    Ok(())
}

fn report(path: &str, certificate: &PublicKey, names: Option<&str>) {
    let Some(certificate) = certificate.certificate() else { return };
    complain(format_args!(
        "Signed {} key {path}: id \"{}\" serial {}{}{} valid {}",
        kind_name(certificate),
        id_of(certificate),
        certificate.serial(),
        if names.is_some() { " for " } else { "" },
        names.unwrap_or_default(),
        certificate.validity()
    ));
}

/// The key id in full, with nothing in it that moves the cursor.
fn id_of(certificate: &Certificate) -> String {
    let text = String::from_utf8_lossy(certificate.key_id_bytes()).into_owned();
    let shown =
        |letter: char| if letter.is_control() { letter.escape_default().to_string() } else { letter.into() };
    text.chars().map(shown).collect()
}

fn kind_name(certificate: &Certificate) -> &'static str {
    match certificate.kind() {
        CertificateKind::User => "user",
        CertificateKind::Host => "host",
        _ => "unknown",
    }
}

/// `-L`: the certificates of a file.
pub(crate) fn show(settings: &Settings) -> Outcome {
    let path = settings.file("Enter file in which the key is")?;
    let (mut text, from_input) = (Vec::new(), path == "-");
    let read = match from_input {
        true => std::io::stdin().read_to_end(&mut text).map(drop),
        false => fs::read(&path).map(|bytes| text = bytes),
    };
    read.map_err(about(&path))?;
    let shown = if from_input { "(stdin)" } else { &path };
    let mut found = false;
    for (number, line) in (1..).zip(lines_of(&text)) {
        let line = line.trim_start_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = read_key(line).map(|(key, _)| key);
        let Some(certificate) = key.as_ref().and_then(PublicKey::certificate) else {
            let what = if key.is_some() { " is not a certificate" } else { ": invalid key" };
            complain(format_args!("{shown}:{number}{what}"));
            continue;
        };
        found = true;
        match !from_input && number == 1 {
            true => say(&format!("{shown}:\n"))?,
            false => say(&format!("{shown}:{number}:\n"))?,
        }
        if let Some(key) = &key {
            say(&describe(settings, key, certificate)?)?;
        }
    }
    if found { Ok(()) } else { Err(status(1)) }
}

/// What a certificate says.
fn describe(settings: &Settings, key: &PublicKey, certificate: &Certificate) -> Outcome<String> {
    let authority = certificate.authority();
    let names: Vec<_> = certificate.principals().collect();
    let names = match names.is_empty() {
        true => "(none)".to_owned(),
        false => names.iter().map(|name| format!("\n                {name}")).collect(),
    };
    let critical: Vec<_> = certificate.critical_options().collect();
    let extensions: Vec<_> = certificate.extensions().collect();
    Ok(format!(
        "        Type: {} {} certificate\n        Public key: {} {}\n        Signing CA: {} {} (using {})\n        \
         Key ID: \"{}\"\n        Serial: {}\n        Valid: {}\n        Principals: {names}\n        \
         Critical Options: {}        Extensions: {}",
        key.key_type(),
        kind_name(certificate),
        key.short_type(),
        key.fingerprint_by(settings.hash),
        authority.short_type(),
        authority.fingerprint_by(settings.hash),
        certificate.algorithm(),
        id_of(certificate),
        certificate.serial(),
        certificate.validity(),
        options(&critical, true)?,
        options(&extensions, false)?,
    ))
}

/// The options, each in a line of its own.
fn options(list: &[(&str, &[u8])], critical: bool) -> Outcome<String> {
    if list.is_empty() {
        return Ok("(none)\n".to_owned());
    }
    let mut text = "\n".to_owned();
    for (name, data) in list {
        let flag = match critical {
            true => *name == VERIFY,
            false => *name == NO_TOUCH || FLAGS.iter().any(|(_, flag, _)| flag == name),
        };
        let with_value = critical && ["force-command", "source-address"].contains(name);
        text += &format!("                {name}");
        match data {
            _ if flag => text.push('\n'),
            _ if with_value => {
                let value = data.split_at_checked(4).filter(|(length, value)| {
                    length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)) == value.len()
                });
                let (_, value) = value.ok_or_else(|| fatal("parse critical: invalid format"))?;
                text += &format!(" {}\n", String::from_utf8_lossy(value));
            }
            [] => text.push_str(" UNKNOWN FLAG OPTION\n"),
            data => {
                let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
                text += &format!(" UNKNOWN OPTION: {hex} (len {})\n", data.len());
            }
        }
    }
    Ok(text)
}
