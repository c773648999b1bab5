"""Files by SFTP: large ones, many small ones, questions, and all of it at a distance."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from .machine import CURVE, PATIENCE, SUITES, Failed

MB = 1e6
GIB = 1 << 30
# Each way.
DELAY_MS = 25
SMALL, SMALL_BYTES = 2000, 4096


@contextmanager
def shelf():
    """A folder in memory, where there is one: disks are not what is measured."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="benches.", dir=memory if memory.is_dir() else None)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder)


def waited(command, feed=""):
    """Runs a program; wall and CPU seconds, and what it printed."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as shown, tempfile.TemporaryFile("w+") as said:
        given.write(feed)
        given.seek(0)
        process = subprocess.Popen(command, stdin=given, stdout=shown, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        shown.seek(0)
        said.seek(0)
        if process.returncode != 0:
            raise Failed(f"{command[0]}: {said.read()[-300:]}")
        return {
            "secs": time.monotonic() - started,
            "cpu": usage.ru_utime + usage.ru_stime,
            "text": shown.read(),
        }


def openssh(machine, port, batch):
    """OpenSSH's sftp with a batch; its children's time is waited for by itself and counted."""
    cipher, _ = SUITES["gcm"]
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes"]
    options += ["IdentitiesOnly=yes", f"Ciphers={cipher}", f"KexAlgorithms={CURVE}"]
    words = ["sftp", "-q", "-F", "none", "-P", str(port), "-i", str(machine.path / "user"), "-b", "-"]
    words += [word for option in options for word in ("-o", option)]
    return waited([*words, "root@127.0.0.1"], batch + "\n")


def move(machine, name, port, verb, remote, local):
    """One transfer: wall and CPU seconds after the login, and memory at the peak."""
    if name != "sftp":
        words = [local, remote] if verb == "putdir" else [remote, local]
        read = waited([str(word) for word in machine.command(name, port, "gcm", CURVE)] + [verb, *map(str, words)])
        told = json.loads(read["text"])
        return {**told, "MiB": told["peak_kib"] / 1024}
    login = openssh(machine, port, "pwd")
    letter = "-r " if verb.endswith("dir") else ""
    words = f"{remote} {local}" if verb.startswith("get") else f"{local} {remote}"
    read = openssh(machine, port, f"{verb[:3]} {letter}{words}")
    return {"secs": read["secs"] - login["secs"], "cpu": read["cpu"] - login["cpu"]}


def rotate(items, by):
    """Nobody is always the first."""
    items = list(items)
    by %= len(items)
    return items[by:] + items[:by]


STRIPED = ", two connections"


def large(machine, readings, part, clients, server, folder, size):
    """One file there and back."""
    source = folder / f"large-{size}"
    if not source.exists():
        subprocess.run(f"head -c {size} /dev/urandom >{source}", shell=True, check=True)
    for name in clients:
        stripes = "s" if name.endswith(STRIPED) else ""
        for verb, remote, local in (("get", source, folder / "got"), ("put", folder / "put", source)):
            read = move(machine, name.removesuffix(STRIPED), server.port, stripes + verb, remote, local)
            (folder / verb.replace("get", "got")).unlink()
            readings.add(
                part,
                name,
                **{
                    f"{verb} MB/s": size / MB / read["secs"],
                    f"{verb} client s/GB": read["cpu"] / (size / 1e9),
                    **({f"{verb} MiB": read["MiB"]} if "MiB" in read else {}),
                },
            )


def small(machine, readings, part, clients, server, folder):
    """Two thousand files of 4 KiB there and back."""
    tree = folder / "tree"
    if not tree.exists():
        tree.mkdir()
        for number in range(SMALL):
            (tree / f"file{number}").write_bytes(os.urandom(SMALL_BYTES))
    for name in clients:
        for verb, remote, local in (("getdir", tree, folder / "copy"), ("putdir", folder / "copy", tree)):
            read = move(machine, name, server.port, verb, remote, local)
            shutil.rmtree(folder / "copy")
            readings.add(part, name, **{f"{verb[:3]} files/s": SMALL / read["secs"], f"{verb[:3]} CPU µs": read["cpu"] / SMALL * 1e6})


def stats(machine, readings, server, clients):
    count = 4000 if machine.quick else 20_000
    for name in clients:
        for threads in (1, 8) if name.startswith("feramiko") else (1,):
            read = machine.client(name, server.port, "gcm", ["stats", count, threads])
            readings.add("stat", name, **{f"{threads} thread{'s' * (threads > 1)} /s": count / read["secs"]})


def sftp(machine, readings):
    """Files by SFTP."""
    ours = ["feramiko", *(["feramiko 3.6"] if machine.programs.vendored else [])]
    striped = [name + STRIPED for name in ours]
    size = GIB // (4 if machine.quick else 1)
    with shelf() as folder:
        for repetition in range(machine.often):
            with machine.serve("sshd") as server:
                large(machine, readings, "sftp", rotate([*ours, *striped, "sftp"], repetition), server, folder, size)
            for name in [*ours, *striped]:
                with machine.serve(name.removesuffix(STRIPED)) as server:
                    large(machine, readings, "sftp, own server", [name], server, folder, size)
        for repetition in range(machine.repetitions):
            with machine.serve("sshd") as server:
                small(machine, readings, "small files", rotate([*ours, "sftp"], repetition), server, folder)
                stats(machine, readings, server, rotate([*ours, "libssh2"], repetition))
            for name in ours:
                with machine.serve(name) as server:
                    small(machine, readings, "small files, own server", [name], server, folder)


def far_sftp(machine, readings):
    """The same at 50 ms of round trip."""
    size = (1 << 26) // (2 if machine.quick else 1)
    with shelf() as folder:
        for name, clients in (("sshd", ["feramiko", "feramiko" + STRIPED, "sftp"]), ("feramiko", ["feramiko"])):
            with machine.serve(name) as server, machine.relay(server.port, DELAY_MS) as relay:
                for repetition in range(machine.repetitions):
                    for client in rotate(clients, repetition):
                        # Windows grow at first: the faster one is, the more it has to move to show it.
                        amount = size * (1 if client == "sftp" else 4)
                        large(machine, readings, f"sftp at 50 ms, {name}", [client], relay, folder, amount)
