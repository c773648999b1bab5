//! Encoded terminal modes: RFC 4254 §8, with the addition of RFC 8160.
//!
//! Pure: the list as bytes and as numbers. What a mode does to a terminal is `pty`'s business.

use std::collections::BTreeMap;

/// Ends the list.
const TTY_OP_END: u8 = 0;
/// RFC 4254 §8: from here on the length of an argument is unknown, and reading stops.
const FIRST_UNDEFINED: u8 = 160;

/// The opcodes by their RFC names.
pub(crate) mod opcode {
    pub(crate) const VINTR: u8 = 1;
    pub(crate) const VQUIT: u8 = 2;
    pub(crate) const VERASE: u8 = 3;
    pub(crate) const VKILL: u8 = 4;
    pub(crate) const VEOF: u8 = 5;
    pub(crate) const VEOL: u8 = 6;
    pub(crate) const VEOL2: u8 = 7;
    pub(crate) const VSTART: u8 = 8;
    pub(crate) const VSTOP: u8 = 9;
    pub(crate) const VSUSP: u8 = 10;
    pub(crate) const VDSUSP: u8 = 11;
    pub(crate) const VREPRINT: u8 = 12;
    pub(crate) const VWERASE: u8 = 13;
    pub(crate) const VLNEXT: u8 = 14;
    pub(crate) const VSWTCH: u8 = 16;
    pub(crate) const VSTATUS: u8 = 17;
    pub(crate) const VDISCARD: u8 = 18;
    pub(crate) const IGNPAR: u8 = 30;
    pub(crate) const PARMRK: u8 = 31;
    pub(crate) const INPCK: u8 = 32;
    pub(crate) const ISTRIP: u8 = 33;
    pub(crate) const INLCR: u8 = 34;
    pub(crate) const IGNCR: u8 = 35;
    pub(crate) const ICRNL: u8 = 36;
    pub(crate) const IUCLC: u8 = 37;
    pub(crate) const IXON: u8 = 38;
    pub(crate) const IXANY: u8 = 39;
    pub(crate) const IXOFF: u8 = 40;
    pub(crate) const IMAXBEL: u8 = 41;
    /// RFC 8160.
    pub(crate) const IUTF8: u8 = 42;
    pub(crate) const ISIG: u8 = 50;
    pub(crate) const ICANON: u8 = 51;
    pub(crate) const XCASE: u8 = 52;
    pub(crate) const ECHO: u8 = 53;
    pub(crate) const ECHOE: u8 = 54;
    pub(crate) const ECHOK: u8 = 55;
    pub(crate) const ECHONL: u8 = 56;
    pub(crate) const NOFLSH: u8 = 57;
    pub(crate) const TOSTOP: u8 = 58;
    pub(crate) const IEXTEN: u8 = 59;
    pub(crate) const ECHOCTL: u8 = 60;
    pub(crate) const ECHOKE: u8 = 61;
    pub(crate) const PENDIN: u8 = 62;
    pub(crate) const OPOST: u8 = 70;
    pub(crate) const OLCUC: u8 = 71;
    pub(crate) const ONLCR: u8 = 72;
    pub(crate) const OCRNL: u8 = 73;
    pub(crate) const ONOCR: u8 = 74;
    pub(crate) const ONLRET: u8 = 75;
    pub(crate) const CS7: u8 = 90;
    pub(crate) const CS8: u8 = 91;
    pub(crate) const PARENB: u8 = 92;
    pub(crate) const PARODD: u8 = 93;
    pub(crate) const TTY_OP_ISPEED: u8 = 128;
    pub(crate) const TTY_OP_OSPEED: u8 = 129;
}

/// The modes of a terminal as one side of a connection tells the other: a number for each opcode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TerminalModes {
    values: BTreeMap<u8, u32>,
}

impl TerminalModes {
    /// Reads a list up to its end, its first undefined opcode or the place where it is cut short:
    /// what was understood until there counts. Of an opcode that is said twice the last word counts.
    pub(crate) fn decode(mut bytes: &[u8]) -> Self {
        let mut modes = Self::default();
        while let Some((&opcode, rest)) = bytes.split_first() {
            if opcode == TTY_OP_END || opcode >= FIRST_UNDEFINED {
                break;
            }
            let Some((value, rest)) = rest.split_first_chunk::<4>() else { break };
            modes.set(opcode, u32::from_be_bytes(*value));
            bytes = rest;
        }
        modes
    }

    /// The list as it is sent, with its end mark.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.values.len().saturating_mul(5).saturating_add(1));
        for (opcode, value) in &self.values {
            out.push(*opcode);
            out.extend_from_slice(&value.to_be_bytes());
        }
        out.push(TTY_OP_END);
        out
    }

    /// Sets one mode. An opcode that the list cannot carry is left out.
    pub(crate) fn set(&mut self, opcode: u8, value: u32) {
        if opcode != TTY_OP_END && opcode < FIRST_UNDEFINED {
            self.values.insert(opcode, value);
        }
    }

    /// What the list says about one opcode.
    pub(crate) fn get(&self, opcode: u8) -> Option<u32> {
        self.values.get(&opcode).copied()
    }

    /// Whether nothing is said.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Every opcode with its value, in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, u32)> + '_ {
        self.values.iter().map(|(opcode, value)| (*opcode, *value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back() {
        let mut modes = TerminalModes::default();
        modes.set(opcode::ECHO, 0);
        modes.set(opcode::VINTR, 3);
        modes.set(opcode::TTY_OP_OSPEED, 38400);
        let bytes = modes.encode();
        assert_eq!(bytes, [1, 0, 0, 0, 3, 53, 0, 0, 0, 0, 129, 0, 0, 0x96, 0, 0]);
        assert_eq!(TerminalModes::decode(&bytes), modes);
        assert_eq!(modes.get(opcode::ECHO), Some(0));
        assert_eq!(modes.get(opcode::ECHOE), None);
    }

    #[test]
    fn an_empty_list_is_one_byte() {
        assert_eq!(TerminalModes::default().encode(), [0]);
        assert!(TerminalModes::decode(&[0]).is_empty());
        assert!(TerminalModes::decode(&[]).is_empty());
    }

    #[test]
    fn reading_stops_at_the_end_mark_at_an_undefined_opcode_and_where_bytes_are_missing() {
        let one = TerminalModes::decode(&[53, 0, 0, 0, 1]);
        assert_eq!(one.iter().collect::<Vec<_>>(), [(53, 1)]);
        assert_eq!(TerminalModes::decode(&[53, 0, 0, 0, 1, 0, 54, 0, 0, 0, 1]), one);
        assert_eq!(TerminalModes::decode(&[53, 0, 0, 0, 1, 160, 54, 0, 0, 0, 1]), one);
        for cut in 0..5 {
            let bytes = [[53, 0, 0, 0, 1], [54, 0, 0, 0, 1]].concat();
            assert_eq!(TerminalModes::decode(&bytes[..5 + cut]), one);
        }
    }

    #[test]
    fn unknown_opcodes_are_carried_and_the_last_word_counts() {
        let modes = TerminalModes::decode(&[159, 0, 0, 0, 7, 53, 0, 0, 0, 1, 53, 0, 0, 0, 0, 0]);
        assert_eq!(modes.iter().collect::<Vec<_>>(), [(53, 0), (159, 7)]);
    }

    #[test]
    fn opcodes_without_a_place_are_left_out() {
        let mut modes = TerminalModes::default();
        modes.set(0, 1);
        modes.set(160, 1);
        modes.set(255, 1);
        assert!(modes.is_empty());
    }
}
