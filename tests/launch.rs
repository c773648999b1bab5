//! Starting sessions' programs through a second start of our own program. A test of its own
//! because that needs a `main` of its own: the test harness's would take the hidden argument for
//! the name of a test.

#![cfg_attr(not(unix), allow(unused))]
#![allow(dead_code, unused_imports, reason = "the rooms are mounted whole, and used in part")]

#[path = "../src/sys/file.rs"]
mod file;
mod given;
#[cfg(unix)]
#[path = "../src/sys/launch.rs"]
mod launch;
#[cfg(unix)]
#[path = "../src/sys/login.rs"]
mod login;
#[path = "../src/sys/modes.rs"]
mod modes;
#[cfg(unix)]
#[path = "../src/sys/process.rs"]
mod process;
#[cfg(unix)]
#[path = "../src/sys/pty.rs"]
mod pty;
#[cfg(unix)]
#[path = "../src/sys/safe.rs"]
mod safe;
#[path = "../src/sys/signals.rs"]
mod signals;
#[cfg(unix)]
#[path = "../src/sys/terminal.rs"]
mod terminal;
#[path = "../src/sys/user.rs"]
#[allow(unreachable_pub, reason = "the library shows it")]
mod user;

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
fn main() {
    if std::env::var_os(cases::FORGETFUL).is_some() {
        return cases::forgetful_main();
    }
    assert_eq!(launch::enter(), None);
    let argument =
        std::env::args().nth(1).filter(|argument| !argument.starts_with('-') || argument == cases::WORD);
    if argument.as_deref() == Some(cases::WORD) {
        return println!("main went on");
    }
    // As under the usual harness, an argument that is no flag picks the cases to run.
    let wanted = argument.unwrap_or_default();
    for (name, case) in cases::ALL.iter().filter(|(name, _)| name.contains(&wanted)) {
        print!("launch::{name} ... ");
        let _watch = given::watch(name, 120);
        case();
        println!("ok");
    }
}

#[cfg(unix)]
mod cases {
    use std::ffi::OsStr;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::process::{Command, Output, Stdio};
    use std::time::{Duration, Instant};

    use crate::launch::Launch;
    use crate::process::{Ending, signal_group, wait_ended};
    use crate::pty::{Pty, Size};
    use crate::user::Account;

    pub(crate) const ALL: &[(&str, fn())] = &[
        ("a_command_runs_in_a_session_of_its_own", a_command_runs_in_a_session_of_its_own),
        ("the_environment_is_exact", the_environment_is_exact),
        ("a_loader_variable_reaches_only_the_program", a_loader_variable_reaches_only_the_program),
        ("descriptors_from_outside_are_closed", descriptors_from_outside_are_closed),
        ("open_files_are_limited_as_we_were", open_files_are_limited_as_we_were),
        ("directory_and_umask", directory_and_umask),
        ("a_missing_directory_is_said", a_missing_directory_is_said),
        ("a_missing_program_is_said", a_missing_program_is_said),
        ("a_login_shell_on_a_terminal", a_login_shell_on_a_terminal),
        ("closing_the_terminal_hangs_up", closing_the_terminal_hangs_up),
        ("a_hangup_counts_though_we_ignore_it", a_hangup_counts_though_we_ignore_it),
        ("a_signal_reaches_grandchildren", a_signal_reaches_grandchildren),
        ("another_user", another_user),
        ("bad_variables_are_refused", bad_variables_are_refused),
        ("the_hidden_word_needs_the_parent", the_hidden_word_needs_the_parent),
        ("a_main_that_forgot_is_told", a_main_that_forgot_is_told),
    ];

    /// The hidden argument, as `launch` has it.
    pub(crate) const WORD: &str = "--feramiko-launch";
    /// Far more than a hangup takes.
    const PATIENCE: Duration = Duration::from_secs(20);
    /// Set for a process that plays a program whose `main` forgot to enter.
    pub(crate) const FORGETFUL: &str = "FERAMIKO_TEST_FORGETFUL";

    pub(crate) fn forgetful_main() {
        println!("{}", shell("true").command().unwrap_err());
    }

    fn shell(line: &str) -> Launch {
        let account = Account { shell: "/bin/sh".into(), ..Account::current().unwrap() };
        let mut launch = Launch::shell(account, Some(OsStr::new(line)));
        launch.environment = variables(&[("PATH", "/usr/bin:/bin")]);
        launch
    }

    fn variables(list: &[(&str, &str)]) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
        list.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn run(launch: &Launch) -> Output {
        launch.command().unwrap().stdin(Stdio::null()).output().unwrap()
    }

    fn text(output: &Output) -> &str {
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        std::str::from_utf8(&output.stdout).unwrap()
    }

    /// Starts on a terminal, types `input` and returns all that was shown.
    fn run_on_terminal(mut launch: Launch, input: &str) -> String {
        let pty = Pty::open().unwrap();
        pty.set_size(Size { columns: 91, rows: 17, width: 0, height: 0 }).unwrap();
        launch.terminal = true;
        let mut child = on_terminal(&launch, &pty).spawn().unwrap();
        (&pty).write_all(input.as_bytes()).unwrap();
        let mut shown = Vec::new();
        (&pty).read_to_end(&mut shown).unwrap();
        child.wait().unwrap();
        String::from_utf8(shown).unwrap()
    }

    fn on_terminal(launch: &Launch, pty: &Pty) -> Command {
        let far = pty.open_far_side().unwrap();
        let mut command = launch.command().unwrap();
        command.stdin(far.try_clone().unwrap()).stdout(far.try_clone().unwrap()).stderr(far);
        command
    }

    fn a_command_runs_in_a_session_of_its_own() {
        let mut command = shell("cut -d' ' -f1,5-7 /proc/$$/stat; cat; exit 3").command().unwrap();
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"typed").unwrap();
        let pid = child.id().to_string();
        let output = child.wait_with_output().unwrap();
        let text = text(&output);
        let fields: Vec<&str> = text.split_whitespace().collect();
        // Its number, its group's, its session's, and no terminal.
        assert_eq!(fields, [&pid, &pid, &pid, "0", "typed"]);
        assert_eq!(output.status.code(), Some(3));
    }

    fn the_environment_is_exact() {
        let mut launch = shell("");
        (launch.program, launch.name, launch.arguments) = ("/usr/bin/env".into(), None, Vec::new());
        launch.environment = variables(&[("LANG", "C"), ("EMPTY", ""), ("ODD", "a=b\nc d")]);
        let output = run(&launch);
        let mut lines: Vec<&str> = text(&output).lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["EMPTY=", "LANG=C", "ODD=a=b", "c d"]);
    }

    fn a_loader_variable_reaches_only_the_program() {
        let mut launch = shell("exec env");
        launch.environment.extend(variables(&[("LD_PRELOAD", "/nowhere/evil.so")]));
        let output = run(&launch);
        let complaints = String::from_utf8_lossy(&output.stderr).matches("/nowhere/evil.so").count();
        // The shell and env each meet it; our own program, which may be root then, did not.
        assert_eq!(complaints, 2);
        assert!(String::from_utf8_lossy(&output.stdout).contains("LD_PRELOAD=/nowhere/evil.so"));
    }

    fn descriptors_from_outside_are_closed() {
        let inherited = File::open("/dev/null").unwrap();
        rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
        let output = run(&shell("ls /proc/self/fd"));
        // 3 is what ls reads the directory by.
        assert_eq!(text(&output).split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    }

    fn open_files_are_limited_as_we_were() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let ours = getrlimit(Resource::Nofile);
        let allow = |current| setrlimit(Resource::Nofile, Rlimit { current, ..ours }).unwrap();
        let shown =
            |current: Option<u64>| current.map_or_else(|| "unlimited\n".into(), |files| format!("{files}\n"));
        allow(Some(199));
        let output = run(&shell("ulimit -Sn"));
        allow(ours.current);
        assert_eq!(text(&output), shown(ours.current));
    }

    fn directory_and_umask() {
        let mut launch = shell("pwd; umask");
        (launch.directory, launch.umask) = ("/usr".into(), Some(0o027));
        assert_eq!(text(&run(&launch)), "/usr\n0027\n");
    }

    fn a_missing_directory_is_said() {
        let mut launch = shell("pwd");
        launch.directory = "/no/such/home".into();
        let output = run(&launch);
        assert_eq!(output.stdout, b"/\n");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("Could not chdir to home directory /no/such/home: "), "{said}");
    }

    fn a_missing_program_is_said() {
        let mut launch = shell("");
        launch.program = "/no/such/shell".into();
        let output = run(&launch);
        assert_eq!(output.status.code(), Some(126));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("feramiko: cannot start /no/such/shell: No such file"), "{said}");
    }

    fn a_login_shell_on_a_terminal() {
        let account = Account { shell: "/bin/sh".into(), ..Account::current().unwrap() };
        let mut launch = Launch::shell(account, None);
        launch.environment = variables(&[("PATH", "/usr/bin:/bin"), ("PS1", "")]);
        let shown = run_on_terminal(launch, "echo name=$0; tty; stty size </dev/tty; exit\n");
        assert!(shown.contains("name=-sh\r\n"), "{shown}");
        assert!(shown.contains("\r\n/dev/pts/"), "{shown}");
        assert!(shown.contains("\r\n17 91\r\n"), "{shown}");
    }

    fn closing_the_terminal_hangs_up() {
        let pty = Pty::open().unwrap();
        let mut launch = shell("echo up; exec sleep 60");
        launch.terminal = true;
        let mut child = on_terminal(&launch, &pty).spawn().unwrap();
        (&pty).read_exact(&mut [0; 4]).unwrap();
        drop(pty);
        assert_eq!(Ending::from(child.wait().unwrap()), Ending::Signal { name: "HUP", core_dumped: false });
    }

    /// As under `nohup`, or behind a script's `&`.
    fn a_hangup_counts_though_we_ignore_it() {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' HUP INT QUIT; exec \"$0\" closing_the_terminal_hangs_up"])
            .arg(std::env::current_exe().unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
                None => {
                    child.kill().unwrap();
                    break child.wait().unwrap();
                }
            }
        };
        assert!(status.success(), "{status}");
    }

    fn a_signal_reaches_grandchildren() {
        let mut command = shell("sleep 60 & sleep 60 & echo up; wait").command().unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        output.read_exact(&mut [0; 3]).unwrap();
        signal_group(child.id(), "KILL").unwrap();
        wait_ended(child.id()).unwrap();
        assert_eq!(Ending::from(child.wait().unwrap()), Ending::Signal { name: "KILL", core_dumped: false });
        assert_eq!(output.read(&mut [0; 8]).unwrap(), 0, "nobody holds the pipe");
    }

    fn another_user() {
        let Some(nobody) = Account::named("nobody").unwrap() else { return };
        let account = Account { shell: "/bin/sh".into(), home: "/".into(), ..nobody };
        let (uid, gid) = (account.uid, account.gid);
        let mut launch = Launch::shell(account, Some(OsStr::new("id -u; id -g; id -G; id -ru; id -rg")));
        launch.environment = variables(&[("PATH", "/usr/bin:/bin")]);
        let output = run(&launch);
        if rustix::process::geteuid().is_root() {
            assert_eq!(text(&output), format!("{uid}\n{gid}\n{gid}\n{uid}\n{gid}\n"));
        } else {
            assert_eq!(output.status.code(), Some(126));
            assert!(String::from_utf8_lossy(&output.stderr).contains("cannot become nobody"));
        }
    }

    fn bad_variables_are_refused() {
        for name in ["", "A=B"] {
            let mut launch = shell("true");
            launch.environment = variables(&[(name, "x")]);
            assert!(launch.command().is_err(), "{name:?}");
        }
        let mut launch = shell("true");
        launch.environment = variables(&[("A", "x\0y")]);
        assert!(launch.command().unwrap().output().is_err());
    }

    fn the_hidden_word_needs_the_parent() {
        for asker in ["", "1", "0"] {
            let output = Command::new("/proc/self/exe")
                .args([WORD, "directory=/", "--", "/bin/echo", "escaped"])
                .env("FERAMIKO_LAUNCH", asker)
                .output()
                .unwrap();
            assert_eq!(text(&output), "main went on\n");
        }
    }

    fn a_main_that_forgot_is_told() {
        let output = Command::new("/proc/self/exe").env(FORGETFUL, "1").output().unwrap();
        assert!(text(&output).contains("its main does not begin with child_entry()"));
    }
}
