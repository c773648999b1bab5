//! The user's terminal: its size, and modes that are put back whatever happens.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;

/// The size of a terminal; a zero means unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// The size of the terminal we run on, if there is one that tells.
pub(crate) fn size() -> Option<Size> {
    let streams = [tcgetwinsize(io::stdout()), tcgetwinsize(io::stdin()), tcgetwinsize(io::stderr())];
    let size = streams.into_iter().find_map(Result::ok).filter(|size| size.ws_col > 0)?;
    Some(Size {
        columns: size.ws_col.into(),
        rows: size.ws_row.into(),
        width: size.ws_xpixel.into(),
        height: size.ws_ypixel.into(),
    })
}

/// Calls `changed` with the new size whenever the window changes, on a thread of its own.
pub(crate) fn on_resize(changed: impl Fn(Size) + Send + 'static) -> io::Result<()> {
    on_window_change(move || {
        if let Some(size) = size() {
            changed(size);
        }
    })
}

/// Calls `changed` for every SIGWINCH, on a thread of its own, also where the window is another program's.
pub(crate) fn on_window_change(changed: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGWINCH])?;
    thread::Builder::new().name("resize".into()).spawn(move || signals.forever().for_each(|_| changed()))?;
    Ok(())
}

/// A terminal that is set otherwise for a while.
struct Changed {
    terminal: OwnedFd,
    before: Termios,
    now: Termios,
}

/// The terminal that is changed, if one is: there is one at most. Taken by its owner, by the
/// thread that waits for signals and by the panic hook, never across a wait.
static CHANGED: Mutex<Option<Changed>> = Mutex::new(None);

fn changed() -> MutexGuard<'static, Option<Changed>> {
    CHANGED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a terminal changed. Its modes come back when this is dropped, when the program panics
/// and when a signal ends or stops it.
#[derive(Debug)]
#[must_use = "the terminal's modes come back when this is dropped"]
pub(crate) struct Mode(());

impl Mode {
    /// Every key goes to the program as it is typed (raw mode). What was typed ahead stays.
    pub(crate) fn raw(terminal: impl AsFd) -> io::Result<Self> {
        Self::change(terminal, OptionalActions::Drain, Termios::make_raw)
    }

    /// What is typed is not shown. What was typed ahead, and shown, is thrown away.
    pub(crate) fn without_echo(terminal: impl AsFd) -> io::Result<Self> {
        Self::change(terminal, OptionalActions::Flush, |modes| {
            modes.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        })
    }

    fn change(
        terminal: impl AsFd,
        action: OptionalActions,
        change: impl FnOnce(&mut Termios),
    ) -> io::Result<Self> {
        put_back_whatever_happens()?;
        let mut slot = changed();
        if slot.is_some() {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "the terminal is already changed"));
        }
        let before = tcgetattr(&terminal)?;
        let mut now = before.clone();
        change(&mut now);
        tcsetattr(&terminal, action, &now)?;
        *slot = Some(Changed { terminal: terminal.as_fd().try_clone_to_owned()?, before, now });
        Ok(Self(()))
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        put_back();
        changed().take();
    }
}

fn put_back() {
    if let Some(changed) = &*changed() {
        // A terminal that is gone needs nothing put back.
        let _ = tcsetattr(&changed.terminal, OptionalActions::Drain, &changed.before);
    }
}

fn change_again() {
    if let Some(changed) = &*changed() {
        let _ = tcsetattr(&changed.terminal, OptionalActions::Drain, &changed.now);
    }
}

/// Runs something while the terminal is as it was before it was changed.
pub(crate) fn as_it_was<T>(run: impl FnOnce() -> T) -> T {
    put_back();
    let done = run();
    change_again();
    done
}

/// Runs something while Ctrl-C and its like send their signals, whatever the terminal is set to otherwise.
pub(crate) fn with_signals<T>(run: impl FnOnce() -> T) -> T {
    send_signals(true);
    let done = run();
    send_signals(false);
    done
}

fn send_signals(on: bool) {
    if let Some(changed) = &mut *changed() {
        changed.now.local_modes.set(LocalModes::ISIG, on);
    }
    change_again();
}

/// What is done before a signal ends the program.
type AtEnd = Box<dyn Fn() + Send>;
static AT_END: Mutex<Vec<AtEnd>> = Mutex::new(Vec::new());

/// Has `run` called before a signal ends the program, on the thread that waits for signals.
pub(crate) fn before_the_end(run: impl Fn() + Send + 'static) -> io::Result<()> {
    put_back_whatever_happens()?;
    AT_END.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(run));
    Ok(())
}

/// Once: a thread for the signals that end or stop a program, and a hook for panics.
fn put_back_whatever_happens() -> io::Result<()> {
    static ONCE: Once = Once::new();
    let mut signals = Ok(());
    ONCE.call_once(|| {
        signals = watch_signals();
        let shown = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            put_back();
            shown(panic);
            // Where panics unwind, the program may live on in its other threads.
            if cfg!(panic = "unwind") {
                change_again();
            }
        }));
    });
    signals
}

/// Whether SIGINT is somebody else's.
static INTERRUPTS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Calls `interrupted` for every SIGINT from now on, on a thread of its own, instead of ending the program.
pub(crate) fn on_interrupt(interrupted: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT])?;
    INTERRUPTS_TAKEN.store(true, Ordering::Relaxed);
    thread::Builder::new().name("interrupts".into()).spawn(move || {
        signals.forever().for_each(|_| interrupted());
    })?;
    Ok(())
}

fn watch_signals() -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGINT && INTERRUPTS_TAKEN.load(Ordering::Relaxed) {
                continue;
            }
            put_back();
            if signal != SIGTSTP {
                AT_END.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|run| run());
            }
            // Ends the program, or stops it and returns when it is continued.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            change_again();
        }
    })?;
    Ok(())
}

/// The terminal that the program was started on, wherever its standard streams lead.
pub(crate) fn controlling() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/tty")
}
