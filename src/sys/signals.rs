//! The signals that SSH names: RFC 4254 §6.10. Pure.

/// Name on the wire (without `SIG`) and POSIX number. The numbers of ABRT, ALRM, FPE, HUP, ILL,
/// INT, KILL, PIPE, QUIT, SEGV and TERM are the same on every system; USR1 and USR2 are not.
const SIGNALS: &[(&str, i32)] = &[
    ("ABRT", 6),
    ("ALRM", 14),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("KILL", 9),
    ("PIPE", 13),
    ("QUIT", 3),
    ("SEGV", 11),
    ("TERM", 15),
    ("USR1", USR1),
    ("USR2", USR2),
];

#[cfg(any(target_os = "linux", target_os = "android", not(unix)))]
const USR1: i32 = 10;
#[cfg(any(target_os = "linux", target_os = "android", not(unix)))]
const USR2: i32 = 12;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const USR1: i32 = 30;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const USR2: i32 = 31;

/// What OpenSSH says for a signal that the RFC does not name; the `@` makes it a legal local name.
const UNNAMED: &str = "SIG@openssh.com";

/// The number of the signal that the RFC calls `name`.
pub(crate) fn number(name: &str) -> Option<i32> {
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The wire name of signal `number`; one the RFC does not name gets a local name.
pub(crate) fn name(number: i32) -> &'static str {
    SIGNALS.iter().find(|(_, known)| *known == number).map_or(UNNAMED, |(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_to_each_other() {
        for (wire, posix) in SIGNALS {
            assert_eq!(number(wire), Some(*posix));
            assert_eq!(name(*posix), *wire);
        }
        assert_eq!(SIGNALS.len(), 13);
    }

    #[test]
    fn other_names_and_numbers() {
        assert_eq!(number("SIGTERM"), None);
        assert_eq!(number("term"), None);
        assert_eq!(number(UNNAMED), None);
        assert_eq!(name(7), UNNAMED);
    }

    #[cfg(unix)]
    #[test]
    fn the_numbers_are_this_systems() {
        use rustix::process::Signal;
        let system = [
            Signal::ABORT,
            Signal::ALARM,
            Signal::FPE,
            Signal::HUP,
            Signal::ILL,
            Signal::INT,
            Signal::KILL,
            Signal::PIPE,
            Signal::QUIT,
            Signal::SEGV,
            Signal::TERM,
            Signal::USR1,
            Signal::USR2,
        ];
        for ((wire, posix), system) in SIGNALS.iter().zip(system) {
            assert_eq!(*posix, system.as_raw(), "{wire}");
        }
    }
}
