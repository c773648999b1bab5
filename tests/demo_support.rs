//! Tests of what the programs in `demos/` share. Their unit tests stand beside the code; here are
//! those that need a terminal of their own.

#[path = "../demos/support/mod.rs"]
mod support;

#[cfg(unix)]
mod on_a_terminal {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process};
    use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

    use super::support::progress::Progress;
    use super::support::prompt::{Echo, ask};
    use super::support::terminal::{Mode, Size, on_resize, size};

    /// Names the part that a child of these tests plays.
    const PART: &str = "FERAMIKO_TEST_PART";
    /// Far more than any part takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A pseudo-terminal: the near side and the far side.
    fn terminal() -> (File, OwnedFd) {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        let path = ptsname(&near, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let far = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 70, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&near, size).unwrap();
        (near.into(), far)
    }

    fn local_modes(fd: impl AsFd) -> LocalModes {
        tcgetattr(fd).unwrap().local_modes
    }

    /// Starts `part` as the leader of a session on the terminal.
    fn play(part: &str, far: &OwnedFd) -> Child {
        let stream = || Stdio::from(far.try_clone().unwrap());
        Command::new("setsid")
            .arg("--ctty")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "on_a_terminal::a_part_for_a_child", "--nocapture"])
            .env(PART, part)
            .env_remove("SSH_ASKPASS_REQUIRE")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap()
    }

    /// Reads what the terminal shows until `wanted` is there.
    fn read_until(near: &mut File, wanted: &str) -> String {
        let begun = Instant::now();
        let mut shown = String::new();
        while !shown.contains(wanted) {
            assert!(begun.elapsed() < PATIENCE, "{wanted} did not come: {shown}");
            let mut buffer = [0; 1024];
            let count = near.read(&mut buffer).unwrap_or_else(|error| panic!("{error} after {shown}"));
            shown += &String::from_utf8_lossy(&buffer[..count]);
        }
        shown
    }

    fn wait_for(what: impl Fn() -> bool) {
        let begun = Instant::now();
        while !what() {
            assert!(begun.elapsed() < PATIENCE);
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
        let (_near, far) = terminal();
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
        let (mut near, far) = terminal();
        let mut child = play("secret", &far);
        let mut shown = read_until(&mut near, "Password: ");
        assert!(!local_modes(&far).contains(LocalModes::ECHO));
        near.write_all(b"hunter2\n").unwrap();
        shown += &read_until(&mut near, "got HUNTER2");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(child.wait().unwrap().success());
        assert!(local_modes(&far).contains(LocalModes::ECHO));
    }

    #[test]
    fn an_interrupt_while_a_secret_is_read_puts_the_echo_back() {
        let (mut near, far) = terminal();
        let mut child = play("secret", &far);
        read_until(&mut near, "Password: ");
        near.write_all(b"hunt\x03").unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::INT.as_raw()));
        assert!(local_modes(&far).contains(LocalModes::ECHO));
    }

    #[test]
    fn modes_come_back_when_a_signal_ends_or_stops_the_program() {
        let (mut near, far) = terminal();
        let before = local_modes(&far);
        let mut child = play("raw", &far);
        read_until(&mut near, "ready");
        // `setsid` has become the program, under the same number.
        let pid = Pid::from_child(&child);
        assert_ne!(local_modes(&far), before);
        kill_process(pid, Signal::TSTP).unwrap();
        wait_for(|| local_modes(&far) == before);
        kill_process(pid, Signal::CONT).unwrap();
        wait_for(|| local_modes(&far) != before);
        kill_process(pid, Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
        assert_eq!(local_modes(&far), before);
    }

    #[test]
    fn a_panic_is_shown_on_a_sane_terminal() {
        let (mut near, far) = terminal();
        let before = local_modes(&far);
        let mut child = play("panic", &far);
        let shown = read_until(&mut near, "on purpose");
        assert!(shown.contains("panicked"), "{shown}");
        // Nobody must wait for the terminal to take what is still to be shown.
        let reader =
            std::thread::spawn(move || while near.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {});
        assert!(!child.wait().unwrap().success());
        assert_eq!(local_modes(&far), before);
        drop(far);
        reader.join().unwrap();
    }

    #[test]
    fn a_changed_window_is_noticed() {
        let (mut near, far) = terminal();
        let mut child = play("resize", &far);
        assert!(read_until(&mut near, "ready at ").contains("ready at"));
        let size = Winsize { ws_row: 50, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&near, size).unwrap();
        read_until(&mut near, "now 132x50");
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn a_bar_is_drawn() {
        let (mut near, far) = terminal();
        let mut child = play("progress", &far);
        let shown = read_until(&mut near, "100%");
        assert!(shown.contains("\rdata.bin"), "{shown}");
        assert!(shown.contains("   0%"), "{shown}");
        assert!(child.wait().unwrap().success());
    }
}
