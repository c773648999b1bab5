//! The binary form, written: OpenSSH's PROTOCOL.krl. Serials take the form that is shortest for them:
//! listed one by one, as a range, or as the bits of a bitmap.

use super::read::{
    CERTIFICATES, EXPLICIT_KEY, FINGERPRINT_SHA1, FINGERPRINT_SHA256, FORMAT, KEY_ID, MAGIC, SERIAL_BITMAP,
    SERIAL_LIST, SERIAL_RANGE,
};
use super::serials::Serials;
use super::{Certificates, RevokedKeys};
use crate::wire::Writer;

/// Bits in a bitmap: as many as ssh-keygen reads.
const BITMAP_BITS: u64 = 16 * 1024;
/// The widest gap that a bitmap bridges: the bits of one more serial in a list.
const GAP: u64 = 64;
/// Longer runs are ranges, also amid a bitmap: the bits of a range and of another bitmap's start.
const LONG_RUN: u64 = 8 * (RANGE_BYTES + BITMAP_START);
/// What a range takes: type, length, first, last.
const RANGE_BYTES: u64 = 1 + 4 + 8 + 8;
/// What a bitmap takes before its bits: type, length, offset, length.
const BITMAP_START: u64 = 1 + 4 + 8 + 4;
/// What a serial takes in a list.
const SERIAL_BYTES: u64 = 8;

/// The list as bytes.
pub(super) fn list(list: &RevokedKeys) -> Vec<u8> {
    let mut out = Vec::new();
    out.put(MAGIC).put(&FORMAT).put(&list.version).put(&list.generated);
    // No flags, nothing reserved.
    out.put(&0_u64).put("").put(list.comment.as_slice());
    for (authority, of_one) in list.by_authority() {
        section(&mut out, CERTIFICATES, &certificates(authority, of_one));
    }
    strings(&mut out, EXPLICIT_KEY, list.keys.iter().map(Vec::as_slice));
    strings(&mut out, FINGERPRINT_SHA1, list.sha1.iter().map(<[u8; 20]>::as_slice));
    strings(&mut out, FINGERPRINT_SHA256, list.sha256.iter().map(<[u8; 32]>::as_slice));
    out
}

fn section(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.put(&kind).put(body);
}

/// A section of strings, in their order; none for none.
fn strings<'a>(out: &mut Vec<u8>, kind: u8, all: impl Iterator<Item = &'a [u8]>) {
    let mut body = Vec::new();
    for one in all {
        body.put(one);
    }
    if !body.is_empty() {
        section(out, kind, &body);
    }
}

fn certificates(authority: &[u8], of_one: &Certificates) -> Vec<u8> {
    let mut out = Vec::new();
    // Nothing reserved.
    out.put(authority).put("");
    serials(&mut out, &of_one.serials);
    strings(&mut out, KEY_ID, of_one.key_ids.iter().map(Vec::as_slice));
    out
}

/// Runs that are near enough to one another for a bitmap.
#[derive(Default)]
struct Cluster {
    runs: Vec<(u64, u64)>,
    serials: u64,
}

impl Cluster {
    fn first(&self) -> Option<u64> {
        self.runs.first().map(|(first, _)| *first)
    }

    fn last(&self) -> Option<u64> {
        self.runs.last().map(|(_, last)| *last)
    }

    fn takes(&self, first: u64, last: u64) -> bool {
        let is_short = |run: &(u64, u64)| run.1.saturating_sub(run.0) < LONG_RUN;
        let (Some(start), Some(end)) = (self.first(), self.last()) else { return true };
        // A long run is the first and only one.
        is_short(&(first, last))
            && self.runs.first().is_some_and(is_short)
            && first.saturating_sub(end) <= GAP
            && last.saturating_sub(start) < BITMAP_BITS
    }

    fn push(&mut self, first: u64, last: u64) {
        self.runs.push((first, last));
        self.serials = self.serials.saturating_add(last.saturating_sub(first)).saturating_add(1);
    }

    /// Writes the runs as ranges or as a bitmap; leaves them to a list if that is the shortest.
    fn write(&self, out: &mut Vec<u8>, listed: &mut Vec<u64>) {
        let (Some(start), Some(end)) = (self.first(), self.last()) else { return };
        let count = u64::try_from(self.runs.len()).unwrap_or(u64::MAX);
        let as_ranges = count.saturating_mul(RANGE_BYTES);
        let as_list = self.serials.saturating_mul(SERIAL_BYTES);
        let bits = end.saturating_sub(start).saturating_add(1);
        let as_bitmap =
            if bits <= BITMAP_BITS { BITMAP_START.saturating_add(bits.div_ceil(8)) } else { u64::MAX };
        if as_list <= as_ranges && as_list <= as_bitmap {
            listed.extend(self.runs.iter().flat_map(|(first, last)| *first..=*last));
        } else if as_bitmap < as_ranges {
            let mut body = Vec::new();
            body.put(&start);
            crate::wire::put_mpint(&mut body, &bitmap(start, &self.runs));
            section(out, SERIAL_BITMAP, &body);
        } else {
            for (first, last) in &self.runs {
                let mut body = Vec::new();
                body.put(first).put(last);
                section(out, SERIAL_RANGE, &body);
            }
        }
    }
}

fn serials(out: &mut Vec<u8>, serials: &Serials) {
    let mut listed = Vec::new();
    let mut cluster = Cluster::default();
    for (first, last) in serials.runs() {
        if !cluster.takes(first, last) {
            cluster.write(out, &mut listed);
            cluster = Cluster::default();
        }
        cluster.push(first, last);
    }
    cluster.write(out, &mut listed);
    let mut body = Vec::new();
    for serial in listed {
        body.put(&serial);
    }
    if !body.is_empty() {
        section(out, SERIAL_LIST, &body);
    }
}

/// The bits of the runs as a number, big-endian; its lowest bit is the serial `start`.
fn bitmap(start: u64, runs: &[(u64, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (first, last) in runs {
        for place in first.saturating_sub(start)..=last.saturating_sub(start) {
            let Ok(byte) = usize::try_from(place >> 3) else { continue };
            if bytes.len() <= byte {
                bytes.resize(byte.saturating_add(1), 0_u8);
            }
            if let Some(byte) = bytes.get_mut(byte) {
                *byte |= 1 << (place & 7);
            }
        }
    }
    bytes.reverse();
    bytes
}
