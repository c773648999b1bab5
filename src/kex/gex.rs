//! Group exchange: RFC 4419. The groups a server hands out, and what a client accepts.

use super::KexError;
use crate::crypto::dh::{self, Group};
use crate::wire::Mpint;

/// OpenSSH's bounds: smaller is weak, larger only burns time.
pub(crate) const MIN_BITS: u32 = 2048;
pub(crate) const MAX_BITS: u32 = 8192;
/// What a client asks for, for ciphers up to so many bits: groups as strong (NIST SP 800-57), and the largest
/// there are for stronger ones, as OpenSSH does it.
const PREFERRED: [(usize, u32); 2] = [(128, 3072), (192, 7680)];
/// Cisco's servers of that name do not get along with larger ones.
const SMALL: (&[u8], u32) = (b"SSH-2.0-Cisco-1.", 4096);
/// The largest moduli file that is read, in lines; Debian's has 400.
const LINES: usize = 100_000;

/// The groups that a server may hand out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moduli(Vec<Group>);

impl Moduli {
    /// Reads moduli(5): only safe primes that were tested, of 2048 to 8192 bits.
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.lines().take(LINES).filter_map(parse_line).collect())
    }

    /// A group for a client's wishes: the size closest to `preferred` from above, else the largest;
    /// among equals the one that `pick` says. A built-in group when the file has none that fits.
    pub(super) fn choose(&self, min: u32, preferred: u32, max: u32, pick: u32) -> Result<Group, KexError> {
        let (min, max) = (min.max(MIN_BITS), max.min(MAX_BITS));
        if min > max || preferred < min || preferred > max {
            return Err(KexError::BadShare("no group of the size asked for"));
        }
        let fits = |bits: usize| u32::try_from(bits).is_ok_and(|bits| (min..=max).contains(&bits));
        let sizes = |bits: usize| (bits < preferred as usize, bits.abs_diff(preferred as usize));
        let best = self.0.iter().map(bits).filter(|bits| fits(*bits)).min_by_key(|bits| sizes(*bits));
        if let Some(best) = best {
            let equals: Vec<_> = self.0.iter().filter(|group| bits(group) == best).collect();
            let at = (pick as usize).checked_rem(equals.len()).unwrap_or(0);
            if let Some(group) = equals.get(at) {
                return Ok((*group).clone());
            }
        }
        let builtin = [2048, 3072, 4096, 6144, 8192];
        let size = builtin.into_iter().filter(|bits| fits(*bits)).min_by_key(|bits| sizes(*bits));
        Ok(dh::fixed(size.ok_or(KexError::BadShare("no group of the size asked for"))?)?)
    }
}

fn bits(group: &Group) -> usize {
    Mpint::from_unsigned(&group.p).bits()
}

/// `time type tests trials size generator modulus`
fn parse_line(line: &str) -> Option<Group> {
    let mut words = line.split_ascii_whitespace();
    let _time = words.next().filter(|word| !word.starts_with('#'))?;
    let safe_prime = words.next()? == "2";
    let tests: u32 = words.next()?.parse().ok()?;
    let _trials = words.next()?;
    let size: usize = words.next()?.parse().ok()?;
    let generator = u8::from_str_radix(words.next()?, 16).ok().filter(|g| *g >= 2)?;
    let group = Group { p: from_hex(words.next()?)?, g: vec![generator] };
    // Tested by more than a sieve, and not known to be composite.
    let tested = tests & 1 == 0 && tests & !2 != 0;
    let in_size = bits(&group) == size.checked_add(1)? && (2048..=8192).contains(&bits(&group));
    (safe_prime && tested && in_size).then_some(group)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0 && digits.len() <= 4096)?;
    Some(digits.chunks_exact(2).map(|pair| pair.iter().fold(0_u8, |sum, digit| sum << 4 | digit)).collect())
}

/// The size that a client asks a server for, when the ciphers are of that strength.
pub(super) fn preferred(strength: usize, peer_ident: &[u8]) -> u32 {
    let bits = PREFERRED.iter().find(|(up_to, _)| strength <= *up_to).map_or(MAX_BITS, |(_, bits)| *bits);
    if peer_ident.starts_with(SMALL.0) { bits.min(SMALL.1) } else { bits }
}

/// How many bits of a public value are set, of how many of its group.
pub(super) fn bits_set(share: &[u8], group: &Group) -> (u32, usize) {
    (share.iter().map(|byte| byte.count_ones()).sum(), bits(group))
}

/// Whether a client may use the group that a server chose.
pub(super) fn check(p: Mpint<'_>, g: Mpint<'_>) -> Result<Group, KexError> {
    let in_size = u32::try_from(p.bits()).is_ok_and(|bits| (MIN_BITS..=MAX_BITS).contains(&bits));
    let odd = p.magnitude().last().is_some_and(|byte| byte & 1 == 1);
    if !in_size || !odd {
        return Err(KexError::BadShare("a group of the wrong size, or not prime"));
    }
    // 2 <= g <= p - 2; p is odd, so p - 1 differs from p in the last bit only.
    let mut top = p.magnitude().to_vec();
    if let Some(last) = top.last_mut() {
        *last &= !1;
    }
    let g = g.magnitude();
    let below = g.len() < top.len() || (g.len() == top.len() && g < top.as_slice());
    if !below || g.is_empty() || g == [1] {
        return Err(KexError::BadShare("a generator out of range"));
    }
    Ok(Group { p: p.magnitude().to_vec(), g: g.to_vec() })
}
