//! What the terminal modes of RFC 4254 §8 mean to this system's terminals.
//!
//! One table, read in both directions. Modes this system does not have are passed over.

use std::io;
use std::os::fd::AsFd;

use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, tcgetattr,
    tcsetattr,
};

use super::modes::{TerminalModes, opcode};

/// Where a mode lives in the system's own description of a terminal.
enum Place {
    Key(SpecialCodeIndex),
    Input(InputModes),
    Local(LocalModes),
    Output(OutputModes),
    Control(ControlModes),
    /// One of the values of the field `CSIZE`, not a bit of its own.
    CharacterSize(ControlModes),
    InputSpeed,
    OutputSpeed,
}

/// On the wire this value switches a key off.
const KEY_OFF: u32 = 255;
/// `_POSIX_VDISABLE`: the value that switches a key off here.
#[cfg(any(target_os = "linux", target_os = "android"))]
const VDISABLE: u8 = 0;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const VDISABLE: u8 = 0xff;

const PLACES: &[(u8, Place)] = &[
    (opcode::VINTR, Place::Key(SpecialCodeIndex::VINTR)),
    (opcode::VQUIT, Place::Key(SpecialCodeIndex::VQUIT)),
    (opcode::VERASE, Place::Key(SpecialCodeIndex::VERASE)),
    (opcode::VKILL, Place::Key(SpecialCodeIndex::VKILL)),
    (opcode::VEOF, Place::Key(SpecialCodeIndex::VEOF)),
    (opcode::VEOL, Place::Key(SpecialCodeIndex::VEOL)),
    (opcode::VEOL2, Place::Key(SpecialCodeIndex::VEOL2)),
    (opcode::VSTART, Place::Key(SpecialCodeIndex::VSTART)),
    (opcode::VSTOP, Place::Key(SpecialCodeIndex::VSTOP)),
    (opcode::VSUSP, Place::Key(SpecialCodeIndex::VSUSP)),
    #[cfg(any(target_os = "macos", target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"))]
    (opcode::VDSUSP, Place::Key(SpecialCodeIndex::VDSUSP)),
    (opcode::VREPRINT, Place::Key(SpecialCodeIndex::VREPRINT)),
    (opcode::VWERASE, Place::Key(SpecialCodeIndex::VWERASE)),
    (opcode::VLNEXT, Place::Key(SpecialCodeIndex::VLNEXT)),
    #[cfg(target_os = "linux")]
    (opcode::VSWTCH, Place::Key(SpecialCodeIndex::VSWTC)),
    #[cfg(any(target_os = "macos", target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"))]
    (opcode::VSTATUS, Place::Key(SpecialCodeIndex::VSTATUS)),
    (opcode::VDISCARD, Place::Key(SpecialCodeIndex::VDISCARD)),
    (opcode::IGNPAR, Place::Input(InputModes::IGNPAR)),
    (opcode::PARMRK, Place::Input(InputModes::PARMRK)),
    (opcode::INPCK, Place::Input(InputModes::INPCK)),
    (opcode::ISTRIP, Place::Input(InputModes::ISTRIP)),
    (opcode::INLCR, Place::Input(InputModes::INLCR)),
    (opcode::IGNCR, Place::Input(InputModes::IGNCR)),
    (opcode::ICRNL, Place::Input(InputModes::ICRNL)),
    #[cfg(target_os = "linux")]
    (opcode::IUCLC, Place::Input(InputModes::IUCLC)),
    (opcode::IXON, Place::Input(InputModes::IXON)),
    (opcode::IXANY, Place::Input(InputModes::IXANY)),
    (opcode::IXOFF, Place::Input(InputModes::IXOFF)),
    (opcode::IMAXBEL, Place::Input(InputModes::IMAXBEL)),
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
    (opcode::IUTF8, Place::Input(InputModes::IUTF8)),
    (opcode::ISIG, Place::Local(LocalModes::ISIG)),
    (opcode::ICANON, Place::Local(LocalModes::ICANON)),
    #[cfg(target_os = "linux")]
    (opcode::XCASE, Place::Local(LocalModes::XCASE)),
    (opcode::ECHO, Place::Local(LocalModes::ECHO)),
    (opcode::ECHOE, Place::Local(LocalModes::ECHOE)),
    (opcode::ECHOK, Place::Local(LocalModes::ECHOK)),
    (opcode::ECHONL, Place::Local(LocalModes::ECHONL)),
    (opcode::NOFLSH, Place::Local(LocalModes::NOFLSH)),
    (opcode::TOSTOP, Place::Local(LocalModes::TOSTOP)),
    (opcode::IEXTEN, Place::Local(LocalModes::IEXTEN)),
    (opcode::ECHOCTL, Place::Local(LocalModes::ECHOCTL)),
    (opcode::ECHOKE, Place::Local(LocalModes::ECHOKE)),
    (opcode::PENDIN, Place::Local(LocalModes::PENDIN)),
    (opcode::OPOST, Place::Output(OutputModes::OPOST)),
    #[cfg(target_os = "linux")]
    (opcode::OLCUC, Place::Output(OutputModes::OLCUC)),
    (opcode::ONLCR, Place::Output(OutputModes::ONLCR)),
    (opcode::OCRNL, Place::Output(OutputModes::OCRNL)),
    (opcode::ONOCR, Place::Output(OutputModes::ONOCR)),
    (opcode::ONLRET, Place::Output(OutputModes::ONLRET)),
    (opcode::CS7, Place::CharacterSize(ControlModes::CS7)),
    (opcode::CS8, Place::CharacterSize(ControlModes::CS8)),
    (opcode::PARENB, Place::Control(ControlModes::PARENB)),
    (opcode::PARODD, Place::Control(ControlModes::PARODD)),
    (opcode::TTY_OP_ISPEED, Place::InputSpeed),
    (opcode::TTY_OP_OSPEED, Place::OutputSpeed),
];

/// Says how terminal `fd` is set.
pub(crate) fn read_modes(fd: impl AsFd) -> io::Result<TerminalModes> {
    let termios = tcgetattr(fd)?;
    let mut modes = TerminalModes::default();
    for (opcode, place) in PLACES {
        modes.set(*opcode, read(&termios, place));
    }
    Ok(modes)
}

/// Sets terminal `fd` as `modes` says; what it does not mention stays.
pub(crate) fn apply_modes(fd: impl AsFd, modes: &TerminalModes) -> io::Result<()> {
    if modes.is_empty() {
        return Ok(());
    }
    let mut termios = tcgetattr(&fd)?;
    for (opcode, place) in PLACES {
        if let Some(value) = modes.get(*opcode) {
            write(&mut termios, place, value);
        }
    }
    Ok(tcsetattr(fd, OptionalActions::Now, &termios)?)
}

fn read(termios: &Termios, place: &Place) -> u32 {
    match place {
        Place::Key(key) => match termios.special_codes[*key] {
            VDISABLE => KEY_OFF,
            code => code.into(),
        },
        Place::Input(flag) => termios.input_modes.contains(*flag).into(),
        Place::Local(flag) => termios.local_modes.contains(*flag).into(),
        Place::Output(flag) => termios.output_modes.contains(*flag).into(),
        Place::Control(flag) => termios.control_modes.contains(*flag).into(),
        Place::CharacterSize(size) => (termios.control_modes & ControlModes::CSIZE == *size).into(),
        Place::InputSpeed => termios.input_speed(),
        Place::OutputSpeed => termios.output_speed(),
    }
}

fn write(termios: &mut Termios, place: &Place, value: u32) {
    let on = value != 0;
    match place {
        // A value that is no byte names no key.
        Place::Key(key) => {
            if let Ok(code) = u8::try_from(value) {
                termios.special_codes[*key] = if value == KEY_OFF { VDISABLE } else { code };
            }
        }
        Place::Input(flag) => termios.input_modes.set(*flag, on),
        Place::Local(flag) => termios.local_modes.set(*flag, on),
        Place::Output(flag) => termios.output_modes.set(*flag, on),
        Place::Control(flag) => termios.control_modes.set(*flag, on),
        // OpenSSH, where CS8 contains the bit of CS7, says both for eight bits; CS8 comes later.
        Place::CharacterSize(size) if on => {
            termios.control_modes = termios.control_modes.difference(ControlModes::CSIZE).union(*size);
        }
        Place::CharacterSize(_) => {}
        // Speed 0 would hang the line up. Speeds the system does not know are left alone.
        Place::InputSpeed if on => drop(termios.set_input_speed(value)),
        Place::OutputSpeed if on => drop(termios.set_output_speed(value)),
        Place::InputSpeed | Place::OutputSpeed => {}
    }
}
