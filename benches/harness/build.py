"""Builds what is measured and says where it is."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Programs:
    """Paths of everything that is measured; `vendored` is None where it was not built."""

    ours: Path
    load: Path
    our_sshd: Path
    vendored: Path | None
    russh: Path
    libssh2: Path
    files: Path
    probe: Path
    relay: Path
    python: Path
    peers: Path
    ssh: str
    sshd: str


def run(command, root):
    print("$", " ".join(map(str, command)), file=sys.stderr, flush=True)
    subprocess.run(command, cwd=root, check=True, stdout=sys.stderr)


def examples(*names):
    return [word for name in names for word in ("--example", name)]


def build(root, vendored):
    run(["tests/peers/install"], root)
    release = ["cargo", "build", "-q", "--release"]
    run([*release, *examples("bench_peer", "bench_load", "bench_files", "sshd")], root)
    run([*release, "--manifest-path", "benches/peers/Cargo.toml"], root)
    if vendored:
        run([*release, *examples("bench_peer"), "--features", "vendored", "--target-dir", "target/vendored"], root)
    built_here = root / "target/release/examples"
    peers = root / "benches/peers"
    built = peers / "target/release"
    return Programs(
        ours=built_here / "bench_peer",
        load=built_here / "bench_load",
        our_sshd=built_here / "sshd",
        vendored=root / "target/vendored/release/examples/bench_peer" if vendored else None,
        russh=built / "russh_peer",
        libssh2=built / "ssh2_peer",
        files=built_here / "bench_files",
        probe=built / "probe",
        relay=built / "relay",
        python=root / "target/peers/venv/bin/python",
        peers=peers / "python",
        ssh=shutil.which("ssh"),
        sshd=shutil.which("sshd") or "/usr/sbin/sshd",
    )
