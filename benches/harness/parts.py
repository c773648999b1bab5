"""The workloads. Each part measures its subjects in turn, repetition by repetition."""

import subprocess
import time

from .files import files
from .load import load
from .machine import CURVE, Failed
from .sftp import far_sftp, rotate, sftp

MB = 1e6
GIB = 1 << 30
# Each way.
DELAY_MS = 25
# How many of the first are meant where a client is slow: calibrated to some seconds a run.
SLOW = {"libssh2": 8, "paramiko": 4, "asyncssh": 4}


def transfer(machine, name, server, suite, direction, size):
    """One bulk transfer by the client `name`: seconds, client CPU, server CPU."""
    before = server.cpu()
    if name == "ssh":
        # The others' clocks start once they are connected: what a login takes is taken off.
        login = machine.ssh(server.port, suite, "true")
        if direction == "down":
            read = machine.ssh(server.port, suite, f"head -c {size} /dev/zero")
        else:
            with machine.zeros(size) as zeros:
                read = machine.ssh(server.port, suite, "cat >/dev/null", stdin=zeros)
        read = {key: read[key] - login[key] for key in read}
    elif direction == "down":
        read = machine.client(name, server.port, suite, ["down", f"head -c {size} /dev/zero", size])
    else:
        read = machine.client(name, server.port, suite, ["up", size])
    return read["secs"], read["cpu"], server.cpu() - before


def add_transfer(readings, part, name, direction, size, taken):
    secs, client, server = taken
    gb = size / 1e9
    readings.add(
        part,
        name,
        **{
            f"{direction} MB/s": size / MB / secs,
            f"{direction} client s/GB": client / gb,
            f"{direction} server s/GB": server / gb,
        },
    )


def bulk(suite):
    """Clients against OpenSSH's server."""

    def part(machine, readings):
        whole = (GIB if suite == "gcm" else GIB // 2) // (4 if machine.quick else 1)
        with machine.serve("sshd") as server:
            for repetition in range(machine.repetitions):
                for name in rotate(machine.clients(suite), repetition):
                    size = whole // SLOW.get(name, 1)
                    for direction in ("down", "up"):
                        taken = transfer(machine, name, server, suite, direction, size)
                        add_transfer(readings, f"client {suite}", name, direction, size, taken)

    return part


def servers(machine, readings):
    """Servers driven by OpenSSH's client."""
    for suite in ("gcm", "chacha", "ctr"):
        size = (GIB if suite == "gcm" else GIB // 2) // (4 if machine.quick else 1)
        for repetition in range(machine.often if suite == "gcm" else machine.repetitions):
            for name in rotate(machine.servers(), repetition):
                with machine.serve(name, suite) as server:
                    for direction in ("down", "up"):
                        taken = transfer(machine, "ssh", server, suite, direction, size)
                        add_transfer(readings, f"server {suite}", name, direction, size, taken)


def pairs(machine, readings):
    """One library at both ends, source and sink inside the processes; and what the machine could do."""
    names = [name for name in machine.servers() if name != "sshd"]
    size = GIB // (4 if machine.quick else 1)
    for repetition in range(machine.repetitions):
        for kind in ("tcp", "gcm", "ctr"):
            read = machine.probe(kind, size)
            # The probe's receiver has a clock of its own.
            cpu = max(read["cpu"], read.get("receiver_cpu", 0)) if kind == "tcp" else read["cpu"]
            readings.add("limits", kind, **{"MB/s": size / MB / read["secs"], "s/GB": cpu / (size / 1e9)})
        for suite in ("gcm", "chacha", "ctr"):
            for name in rotate(names, repetition):
                with machine.serve(name, suite) as server:
                    for direction, verb in (("down", ["down", f":source {size}", size]), ("up", ["up", size, ":sink"])):
                        before = server.cpu()
                        read = machine.client(name, server.port, suite, verb)
                        taken = (read["secs"], read["cpu"], server.cpu() - before)
                        add_transfer(readings, f"pair {suite}", name, direction, size, taken)


def one_connection(machine, readings):
    """Echoes and commands on a connection that is open."""
    pings, execs = (2000, 50) if machine.quick else (10_000, 200)
    with machine.serve("sshd") as server:
        for repetition in range(machine.repetitions):
            for name in rotate([name for name in machine.clients() if name != "ssh"], repetition):
                few = 5 if name in ("paramiko", "asyncssh") else 1
                read = machine.client(name, server.port, "gcm", ["ping", pings // few])
                readings.add("echo", name, **{"p50 µs": read["p50us"], "p99 µs": read["p99us"]})
                read = machine.client(name, server.port, "gcm", ["execs", execs])
                readings.add("execs", name, **{"/s": read["count"] / read["secs"], "CPU µs": read["cpu"] / execs * 1e6})
            # A server that answers by itself shows what the libraries take of it.
            for name in rotate([name for name in machine.servers() if name != "sshd"], repetition):
                with machine.serve(name) as own:
                    read = machine.client(name, own.port, "gcm", ["ping", pings])
                    readings.add("echo, own server", name, **{"p50 µs": read["p50us"], "p99 µs": read["p99us"]})


def connect(machine, name, port, count, parallel, kex):
    if name != "ssh":
        return machine.client(name, port, "gcm", ["connect", count, parallel], kex=kex)
    started, cpu = time.monotonic(), 0
    for _ in range(count):
        cpu += machine.ssh(port, "gcm", "true", kex=kex)["cpu"]
    return {"count": count, "secs": time.monotonic() - started, "cpu": cpu}


def connects(machine, readings):
    """Connection, login, `true`, goodbye."""
    count = 10 if machine.quick else 25
    with machine.serve("sshd") as server:
        for repetition in range(machine.repetitions):
            for name in rotate(machine.clients(), repetition):
                for label, parallel, kex in (("one at a time", 1, CURVE), ("four", 4, CURVE), ("default kex", 1, None)):
                    if name == "ssh" and parallel > 1:
                        continue
                    read = connect(machine, name, server.port, count * parallel, parallel, kex)
                    readings.add(
                        f"connects, {label}",
                        name,
                        **{"/s": read["count"] / read["secs"], "client CPU ms": read["cpu"] / read["count"] * 1e3},
                    )
    many = 100 if machine.quick else 300
    for repetition in range(machine.often):
        for name in rotate(machine.servers(), repetition):
            some = count if name == "sshd" else many
            with machine.serve(name) as server:
                for label, parallel in (("one at a time", 1), ("four", 4)):
                    before = server.cpu()
                    read = connect(machine, "feramiko", server.port, some, parallel, CURVE)
                    readings.add(
                        f"served connects, {label}",
                        name,
                        **{"/s": some / read["secs"], "server CPU ms": (server.cpu() - before) / some * 1e3},
                    )


def rest(machine, server, count):
    """Memory and threads of a server that holds `count` connections, once they are at rest."""
    command = machine.command("feramiko", server.port, "gcm", CURVE) + ["idle", str(count)]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if client.stdout.readline().strip() != "ready":
        raise Failed(f"{server.name}: the idle connections were not made")
    time.sleep(2)
    held = server.memory_and_threads()
    client.communicate()
    return held


def idle(machine, readings):
    """Memory and threads that each connection at rest costs a server."""
    count, few = (50 if machine.quick else 200), 20
    for name in machine.servers():
        with machine.serve(name) as server:
            # What the first connections bring in for good is not each one's: the difference counts.
            size, threads = rest(machine, server, few)
            after, more = rest(machine, server, few + count)
            readings.add("idle", name, **{"KiB each": (after - size) / count, "threads each": (more - threads) / count})


def distance(machine, readings):
    """All of it at 50 ms of round trip."""
    size = (1 << 26) // (2 if machine.quick else 1)
    for name, served in (("sshd", ["feramiko", "ssh", "russh", "libssh2", "paramiko", "asyncssh"]), ("feramiko", ["feramiko", "ssh"])):
        with machine.serve(name) as server, machine.relay(server.port, DELAY_MS) as relay:
            server.port = relay.port
            for repetition in range(machine.repetitions):
                for client in rotate(served, repetition):
                    slow = 4 if client == "libssh2" else 1
                    label = f"50 ms, {name}"
                    # Windows grow at first: the faster one is, the more it has to move to show it.
                    amount = size * (4 if client == "feramiko" else 1) // slow
                    for direction in ("down", "up"):
                        taken = transfer(machine, client, server, "gcm", direction, amount)
                        add_transfer(readings, label, client, direction, amount, taken)
                    read = connect(machine, client, server.port, 3, 1, CURVE)
                    readings.add(label, client, **{"connect s": read["secs"] / read["count"]})
                    if client != "ssh":
                        read = machine.client(client, server.port, "gcm", ["execs", 5])
                        readings.add(label, client, **{"exec s": read["secs"] / read["count"]})


PARTS = {
    "client-gcm": bulk("gcm"),
    "client-chacha": bulk("chacha"),
    "client-ctr": bulk("ctr"),
    "servers": servers,
    "pairs": pairs,
    "one-connection": one_connection,
    "connects": connects,
    "idle": idle,
    "50ms": distance,
    "sftp": sftp,
    "sftp-50ms": far_sftp,
    "files": files,
    "load": load,
}
