"""The programs at work: starts servers, runs clients, reads clocks. Knows no workload."""

import json
import os
import platform
import socket
import subprocess
import tempfile
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = 1024
# A run that takes longer hangs.
PATIENCE = 300
# How long a server's sessions may go on after their clients.
SETTLED = 5

SUITES = {
    "gcm": ("aes128-gcm@openssh.com", None),
    "chacha": ("chacha20-poly1305@openssh.com", None),
    "ctr": ("aes128-ctr", "hmac-sha2-256-etm@openssh.com"),
}
CURVE = "curve25519-sha256"


def chosen(suite):
    """A suite in the words of bench_peer's command line."""
    cipher, mac = SUITES[suite]
    return ["--cipher", cipher, *(["--mac", mac] if mac else [])]


class Failed(Exception):
    """A program did not do what was asked."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Failed(f"nobody listens on port {port}")


def cpu_of(pid):
    """User and system seconds of a process and of its children that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICK


class Server:
    """A server process and its port; ends with its `with` block."""

    def __init__(self, name, command, port, ready_line):
        self.name, self.port = name, port
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            if ready_line and self.process.stdout.readline().strip() != "ready":
                raise Failed(f"{name} does not start")
            wait_for(port)
        except BaseException:
            self.end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def cpu(self):
        """Its seconds so far. Those of a child count once it has ended, which may be after its client."""
        until = time.monotonic() + SETTLED
        while len(self.family()) > 1 and time.monotonic() < until:
            time.sleep(0.01)
        return cpu_of(self.process.pid)

    def family(self):
        """The process and all its descendants."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
        found, last = {self.process.pid}, 0
        while len(found) > last:
            last = len(found)
            found |= {pid for pid, parent in parents.items() if parent in found}
        return found

    def memory_and_threads(self):
        """Proportional set size in KiB, shared pages counted once, and threads, of the family."""
        size = threads = 0
        for pid in self.family():
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            size += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            threads += len(list(Path(f"/proc/{pid}/task").iterdir()))
        return size, threads


class Machine:
    """Keys, servers and clients of one run."""

    def __init__(self, programs, quick):
        self.programs, self.quick = programs, quick
        self.folder = tempfile.TemporaryDirectory(prefix="benches.")
        self.path = Path(self.folder.name)
        self.repetitions = 1 if quick else 3
        # Where three programs share two processors, or a file's pages come from a host that may have taken them back,
        # one reading is twice another.
        self.often = 1 if quick else 7

    def __enter__(self):
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.path / name], check=True
            )
        (self.path / "home").mkdir()
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def about(self):
        def version(*command):
            done = subprocess.run(command, capture_output=True, text=True)
            return (done.stdout or done.stderr).strip().splitlines()[0]

        model = next(
            (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?"
        )
        return {
            "machine": f"{os.cpu_count()} cores of {model}, Linux {platform.release()}, loopback",
            "OpenSSH": version(self.programs.ssh, "-V"),
            "date": time.strftime("%Y-%m-%d"),
        }

    # ------------------------------------------------------------------ servers

    def servers(self):
        """Names of the servers that can be started."""
        return ["feramiko", *(["feramiko 3.6"] if self.programs.vendored else []), "sshd", "russh"]

    def serve(self, name, suite="gcm"):
        if name == "sshd":
            return self.sshd()
        if name == "our sshd":
            return self.our_sshd()
        program = {
            "feramiko": self.programs.ours,
            "feramiko 3.6": self.programs.vendored,
            "russh": self.programs.russh,
        }[name]
        port = free_port()
        command = [program, "--port", str(port), "--key", self.path / "host", *chosen(suite), "serve"]
        return Server(name, command, port, ready_line=True)

    def sshd(self):
        port = free_port()
        config = self.path / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1:{port}\nHostKey {self.path}/host\nAuthorizedKeysFile {self.path}/user.pub\n"
            "PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nMaxStartups 1000\nMaxSessions 1000\n"
            # Nobody's shell start-up files: they would cost more than what is measured.
            f"SetEnv HOME={self.path}/home\nSubsystem sftp internal-sftp\n"
        )
        os.makedirs("/run/sshd", exist_ok=True)
        return Server("sshd", [self.programs.sshd, "-D", "-e", "-f", config], port, ready_line=False)

    def our_sshd(self):
        port = free_port()
        settings = ["MaxStartups=1000", "MaxSessions=1000", f"SetEnv=HOME={self.path}/home"]
        options = [word for setting in settings for word in ("-o", setting)]
        command = [self.programs.our_sshd, "-p", str(port), "--listen", "127.0.0.1", "-h", self.path / "host"]
        return Server("our sshd", [*command, "-a", self.path / "user.pub", *options], port, ready_line=False)

    def relay(self, port, delay_ms):
        near = free_port()
        command = [self.programs.relay, str(near), str(port), str(delay_ms)]
        return Server("relay", command, near, ready_line=True)

    # ------------------------------------------------------------------ clients

    def clients(self, suite="gcm"):
        """Names of the clients that speak the suite."""
        names = ["feramiko", *(["feramiko 3.6"] if self.programs.vendored else []), "ssh", "russh", "libssh2"]
        return names + (["asyncssh"] if suite == "chacha" else ["paramiko", "asyncssh"])

    def client(self, name, port, suite, verb, kex=CURVE):
        """Runs one verb of `bench_peer`'s command line; gives its JSON line, read."""
        command = self.command(name, port, suite, kex) + [str(word) for word in verb]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise Failed(f"{name} {' '.join(map(str, verb))}: {done.stderr.strip()[-300:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def command(self, name, port, suite, kex):
        programs = self.programs
        program = {
            "feramiko": [programs.ours],
            "feramiko 3.6": [programs.vendored],
            "russh": [programs.russh],
            "libssh2": [programs.libssh2],
            "paramiko": [programs.python, programs.peers / "paramiko_peer.py"],
            "asyncssh": [programs.python, programs.peers / "asyncssh_peer.py"],
        }[name]
        words = [*program, "--port", str(port), "--key", self.path / "user", "--user", "root", *chosen(suite)]
        return words + (["--kex", kex] if kex else [])

    def ssh(self, port, suite, command, stdin=None, kex=CURVE):
        """Runs OpenSSH's client once; gives wall and CPU seconds of the whole process."""
        cipher, mac = SUITES[suite]
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes"]
        options += ["IdentitiesOnly=yes", f"Ciphers={cipher}"]
        options += [f"MACs={mac}"] if mac else []
        options += [f"KexAlgorithms={kex}"] if kex else []
        words = [self.programs.ssh, "-F", "none", "-p", str(port), "-i", self.path / "user"]
        words += [word for option in options for word in ("-o", option)]
        started = time.monotonic()
        process = subprocess.Popen(
            [*words, "root@127.0.0.1", command], stdin=stdin or subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise Failed(f"ssh {command}: exit status {process.returncode}")
        return {"secs": time.monotonic() - started, "cpu": usage.ru_utime + usage.ru_stime}

    def zeros(self, size):
        """A file of zeros that holds no block: what it costs to read it is a copy."""
        path = self.path / f"zeros-{size}"
        if not path.exists():
            with open(path, "wb") as file:
                file.truncate(size)
        return open(path, "rb")

    def probe(self, *words):
        done = subprocess.run([self.programs.probe, *map(str, words)], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)
