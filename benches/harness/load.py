"""Many at once: connections with a command each, terminals, forwarded connections; what they cost a server."""

import json
import subprocess

from .machine import Failed
from .sftp import rotate

# Whole programs, as people run them; the client is ours for both.
SERVERS = ["our sshd", "sshd"]


# On each forwarded connection, there and back: a page of the web.
BYTES = 16 * 1024


def held(machine, server, *verb):
    """Runs a verb of `bench_load`: its figures, and what the server has while all is open."""
    command = [machine.programs.load, "--port", str(server.port), "--key", machine.path / "user", *map(str, verb)]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = client.stdout.readline()
    size, threads = server.memory_and_threads()
    _, errors = client.communicate()
    if client.returncode != 0:
        raise Failed(f"{server.name}: {' '.join(map(str, verb))}: {errors.strip()[-300:]}")
    return json.loads(line), size, threads


def load(machine, readings):
    """A thousand connections with a command each, two hundred terminals, a thousand forwarded connections."""
    connections, terminals, lines = (200, 50, 20) if machine.quick else (1000, 200, 50)
    forwards = 200 if machine.quick else 1000
    for repetition in range(machine.repetitions):
        for name in rotate(SERVERS, repetition):
            with machine.serve(name) as server:
                idle, few = server.memory_and_threads()
                read, size, threads = held(machine, server, "execs", connections, 8)
                each = {"KiB each": (size - idle) / connections, "threads each": (threads - few) / connections}
                readings.add("load, connections", name, **{"/s": connections / read["secs"], **each})
            with machine.serve(name) as server:
                idle, few = server.memory_and_threads()
                read, size, threads = held(machine, server, "shells", terminals, lines)
                each = {"KiB each": (size - idle) / terminals, "threads each": (threads - few) / terminals}
                figures = {"lines/s": read["count"] / read["secs"], "p50 ms": read["p50ms"], "p99 ms": read["p99ms"]}
                readings.add("load, terminals", name, **figures, **each)
            with machine.serve(name) as server:
                # One connection there has been: what it brings in for good is no forwarded one's.
                idle, few = held(machine, server, "forwards", 1, BYTES)[1:]
                read, size, threads = held(machine, server, "forwards", forwards + 1, BYTES)
                each = {"KiB each": (size - idle) / forwards, "threads each": (threads - few) / forwards}
                readings.add("load, forwards", name, **{"/s": read["count"] / read["secs"], **each})
