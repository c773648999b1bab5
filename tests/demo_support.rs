//! Tests of what the programs in `demos/` share. Their unit tests stand beside the code; here are
//! those that need a terminal of their own.

#[path = "../demos/support/mod.rs"]
mod support;

#[cfg(unix)]
#[path = "peers/programs.rs"]
mod programs;
#[cfg(unix)]
#[path = "given/terminal.rs"]
mod terminal;

#[cfg(unix)]
mod on_a_terminal {
    use std::fs::File;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process};
    use rustix::termios::{LocalModes, tcgetattr};

    use super::support::progress::Progress;
    use super::support::prompt::{Echo, ask};
    use super::support::terminal::{Mode, Size, on_resize, size};
    use crate::programs::Running;
    use crate::terminal::Terminal;

    /// Names the part that a child of these tests plays.
    const PART: &str = "FERAMIKO_TEST_PART";
    /// Far more than any part takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn local_modes(fd: impl AsFd) -> LocalModes {
        tcgetattr(fd).unwrap().local_modes
    }

    /// Starts `part` as the leader of a session on the terminal.
    fn play(part: &str, far: &OwnedFd) -> Running {
        let stream = || Stdio::from(far.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "on_a_terminal::a_part_for_a_child", "--nocapture"])
            .env(PART, part)
            .env_remove("SSH_ASKPASS_REQUIRE")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream());
        Running::start(&mut command)
    }

    fn wait_for(what: impl Fn() -> bool) {
        let begun = Instant::now();
        while !what() {
            assert!(begun.elapsed() < PATIENCE, "the modes do not change");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Not a test of its own: what a child does when a test starts this program again.
    #[test]
    fn a_part_for_a_child() {
        match std::env::var(PART).unwrap_or_default().as_str() {
            "" => {}
            "secret" => {
                let answer = ask("Password: ", Echo::Off).unwrap().unwrap();
                println!("got {}", String::from_utf8_lossy(answer.expose()).to_uppercase());
            }
            "raw" => {
                let _mode = Mode::raw(std::io::stdin()).unwrap();
                println!("ready");
                std::thread::sleep(PATIENCE);
            }
            "panic" => {
                let _mode = Mode::raw(std::io::stdin()).unwrap();
                panic!("on purpose");
            }
            "resize" => {
                let (sender, receiver) = std::sync::mpsc::channel();
                on_resize(move |size| sender.send(size).unwrap()).unwrap();
                println!("ready at {}", size().unwrap().columns);
                let Size { columns, rows, .. } = receiver.recv_timeout(PATIENCE).unwrap();
                println!("now {columns}x{rows}");
            }
            "progress" => {
                let mut progress = Progress::new("data.bin", 0, Some(1000));
                progress.update(500);
                progress.finish(1000);
            }
            part => panic!("no part is called {part}"),
        }
    }

    #[test]
    fn modes_come_back() {
        let (_near, far) = Terminal::open(70, 24);
        let before = local_modes(&far);
        let mode = Mode::raw(&far).unwrap();
        assert!(!local_modes(&far).intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        assert!(Mode::without_echo(&far).is_err(), "one change at a time");
        drop(mode);
        assert_eq!(local_modes(&far), before);
        let mode = Mode::without_echo(&far).unwrap();
        assert_eq!(local_modes(&far), before - LocalModes::ECHO);
        drop(mode);
        assert_eq!(local_modes(&far), before);
        assert!(Mode::raw(File::open("/dev/null").unwrap()).is_err());
    }

    #[test]
    fn a_secret_is_read_unseen() {
        let (mut near, far) = Terminal::open(70, 24);
        let mut child = play("secret", &far);
        near.shows("Password: ");
        assert!(!local_modes(&far).contains(LocalModes::ECHO));
        near.types("hunter2\n");
        let shown = near.shows("got HUNTER2");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(child.ended().success());
        assert!(local_modes(&far).contains(LocalModes::ECHO));
    }

    #[test]
    fn an_interrupt_while_a_secret_is_read_puts_the_echo_back() {
        let (mut near, far) = Terminal::open(70, 24);
        let mut child = play("secret", &far);
        near.shows("Password: ");
        near.types("hunt\x03");
        assert_eq!(child.ended().signal(), Some(Signal::INT.as_raw()));
        assert!(local_modes(&far).contains(LocalModes::ECHO));
    }

    #[test]
    fn modes_come_back_when_a_signal_ends_or_stops_the_program() {
        let (mut near, far) = Terminal::open(70, 24);
        let before = local_modes(&far);
        let mut child = play("raw", &far);
        near.shows("ready");
        // `setsid` has become the program, under the same number.
        let pid = Pid::from_child(&child.0);
        assert_ne!(local_modes(&far), before);
        kill_process(pid, Signal::TSTP).unwrap();
        wait_for(|| local_modes(&far) == before);
        kill_process(pid, Signal::CONT).unwrap();
        wait_for(|| local_modes(&far) != before);
        kill_process(pid, Signal::TERM).unwrap();
        assert_eq!(child.ended().signal(), Some(Signal::TERM.as_raw()));
        assert_eq!(local_modes(&far), before);
    }

    #[test]
    fn a_panic_is_shown_on_a_sane_terminal() {
        let (mut near, far) = Terminal::open(70, 24);
        let before = local_modes(&far);
        let mut child = play("panic", &far);
        let shown = near.shows("on purpose");
        assert!(shown.contains("panicked"), "{shown}");
        assert!(!child.ended().success());
        assert_eq!(local_modes(&far), before);
    }

    #[test]
    fn a_changed_window_is_noticed() {
        let (mut near, far) = Terminal::open(70, 24);
        let mut child = play("resize", &far);
        near.shows("ready at ");
        near.resize(132, 50);
        near.shows("now 132x50");
        assert!(child.ended().success());
    }

    #[test]
    fn a_bar_is_drawn() {
        let (mut near, far) = Terminal::open(70, 24);
        let mut child = play("progress", &far);
        let shown = near.shows("100%");
        assert!(shown.contains("\rdata.bin"), "{shown}");
        assert!(shown.contains("   0%"), "{shown}");
        assert!(child.ended().success());
    }
}
