"""What keys and their files cost: ten thousand lines of each kind of file, and signatures."""

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import time

from .machine import PATIENCE, Failed

LINES = 10_000
HOST = "host9000.example.org"


def ed25519_line():
    """A key that nobody has."""
    name = b"ssh-ed25519"
    blob = len(name).to_bytes(4, "big") + name + (32).to_bytes(4, "big") + os.urandom(32)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


def hashed(name):
    salt = os.urandom(20)
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))


def write_files(folder):
    """A known_hosts, a third of it hashed, another that is hashed as a whole, and an authorized_keys."""
    names = [f"host{number}.example.org" for number in range(LINES)]
    known = [(hashed(name) if number % 3 == 0 else name) + " " + ed25519_line() for number, name in enumerate(names)]
    (folder / "known_hosts").write_text("\n".join(known) + "\n")
    (folder / "hashed").write_text("".join(f"{hashed(name)} {ed25519_line()}\n" for name in names))
    (folder / "authorized_keys").write_text("".join(f"restrict {ed25519_line()} somebody\n" for _ in range(LINES)))


def timed(command):
    """Milliseconds of a program that must succeed."""
    started = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=PATIENCE)
    if done.returncode != 0 or not done.stdout:
        raise Failed(f"{' '.join(map(str, command))}: {done.returncode}")
    return (time.monotonic() - started) * 1e3


# How `openssl speed` calls what our program calls so, and what its table says of it.
OPENSSL = {
    "ed25519": ("ed25519", r"EdDSA \(Ed25519\)"),
    "ed448": ("ed448", r"EdDSA \(Ed448\)"),
    "ecdsa p256": ("ecdsap256", r"ecdsa \(nistp256\)"),
    "ecdsa p384": ("ecdsap384", r"ecdsa \(nistp384\)"),
    "ecdsa p521": ("ecdsap521", r"ecdsa \(nistp521\)"),
    "rsa 2048": ("rsa2048", r"rsa 2048 bits"),
    "rsa 4096": ("rsa4096", r"rsa 4096 bits"),
    "dsa 1024": ("dsa1024", r"dsa 1024 bits"),
}


def openssl_speed():
    """Microseconds of each kind to sign and to verify."""
    command = ["openssl", "speed", "-seconds", "1", *(name for name, _ in OPENSSL.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    costs = {}
    for kind, (_, words) in OPENSSL.items():
        found = re.search(rf"{words}\s+[\d.]+s\s+[\d.]+s\s+([\d.]+)\s+([\d.]+)", done.stdout)
        if not found:
            raise Failed(f"openssl speed says nothing of {kind}")
        costs[kind] = tuple(1e6 / float(rate) for rate in found.groups())
    return costs


def files(machine, readings):
    write_files(machine.path)
    known, hidden, authorized = (machine.path / name for name in ("known_hosts", "hashed", "authorized_keys"))
    for _ in range(machine.repetitions):
        command = [machine.programs.files, HOST, known, hidden, authorized]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise Failed(done.stderr)
        ours = json.loads(done.stdout)
        readings.add(
            "files",
            "feramiko",
            **{f"{what} ms": ours[what] / 1e3 for what in ("known_hosts", "hashed", "authorized_keys")},
        )
        readings.add(
            "files",
            "ssh-keygen",
            **{
                "known_hosts ms": timed(["ssh-keygen", "-F", HOST, "-f", known]),
                "hashed ms": timed(["ssh-keygen", "-F", HOST, "-f", hidden]),
                "authorized_keys ms": timed(["ssh-keygen", "-l", "-f", authorized]),
            },
        )
        theirs = openssl_speed()
        for at, what in enumerate(("sign", "verify")):
            readings.add(what, "feramiko", **{f"{kind} µs": ours["signatures"][kind][what] for kind in OPENSSL})
            readings.add(what, "openssl", **{f"{kind} µs": theirs[kind][at] for kind in OPENSSL})
