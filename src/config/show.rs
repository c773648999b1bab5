//! What was found out of a host, as `ssh -G` prints it: every keyword in OpenSSH's order, defaults too.
//!
//! Pure.

use super::host::HostConfig;
use super::table::{Built, Own, Shape, Spec, TABLE};
use super::value::algorithm_list;

/// Where `none` means that nothing is said.
const UNLESS_NONE: [&str; 7] = [
    "localcommand",
    "remotecommand",
    "proxycommand",
    "controlpath",
    "pkcs11provider",
    "securitykeyprovider",
    "knownhostscommand",
];

impl HostConfig {
    /// All that counts for the host, one keyword a line, as `ssh -G` prints it.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        TABLE.iter().filter(|spec| spec.built != Built::Gone).flat_map(|spec| self.shown(spec)).collect()
    }

    fn shown(&self, spec: &Spec) -> Vec<String> {
        let name = spec.name;
        let words = self.words(spec);
        let line = |text: &str| vec![format!("{name} {text}")];
        match spec.shape {
            _ if name == "host" => line(self.original_host()),
            _ if name == "hostname" => line(self.hostname()),
            _ if name == "proxycommand" && self.proxy_jump().is_some() => Vec::new(),
            _ if name == "proxyjump" => self.proxy_jump().map(line).unwrap_or_default(),
            Shape::Algorithms => line(&algorithm_list(name, words.first().map(String::as_str))),
            Shape::Texts | Shape::Pairs | Shape::Own(Own::Send) => {
                words.iter().map(|word| format!("{name} {word}")).collect()
            }
            Shape::Own(Own::Forward) => {
                self.forwards(name).map(|forward| format!("{name} {}", forward.shown())).collect()
            }
            Shape::Words | Shape::Own(Own::Domains | Own::Cnames | Own::ChannelTimeouts | Own::Opens) => {
                line(&if words.is_empty() { "none".to_owned() } else { words.join(" ") })
            }
            Shape::Own(Own::Rekey) => {
                let part = |at: usize| words.get(at).map_or("0", String::as_str);
                line(&format!("{} {}", part(0), part(1)))
            }
            _ if words.is_empty() => Vec::new(),
            _ if UNLESS_NONE.contains(&name)
                && words.iter().all(|word| word.eq_ignore_ascii_case("none")) =>
            {
                Vec::new()
            }
            _ => line(&words.join(" ")),
        }
    }
}
