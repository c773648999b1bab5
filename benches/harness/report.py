"""Tables of the readings, as text and as doc/benchmarks.md. Measures nothing."""

from . import plot
from .bars import BARS, add_limit

# The row that the others of a part are compared with.
REFERENCES = {"client": "ssh", "server": "sshd", "50 ms, sshd": "ssh", "50 ms, feramiko": "ssh", "limits": None, "sftp": "sftp", "small files": "sftp", "stat": "libssh2", "sftp at 50 ms, sshd": "sftp", "files": "ssh-keygen", "load, connections": "sshd", "load, terminals": "sshd", "load, forwards": "sshd", "sign": "openssl", "verify": "openssl"}
TITLES = {
    "client gcm": "Clients on OpenSSH's server, aes128-gcm",
    "client chacha": "Clients on OpenSSH's server, chacha20-poly1305",
    "client ctr": "Clients on OpenSSH's server, aes128-ctr with hmac-sha2-256-etm",
    "server gcm": "Servers driven by OpenSSH's client, aes128-gcm",
    "server chacha": "Servers driven by OpenSSH's client, chacha20-poly1305",
    "server ctr": "Servers driven by OpenSSH's client, aes128-ctr with hmac-sha2-256-etm",
    "pair gcm": "One library at both ends, aes128-gcm, no command and no pipe",
    "pair chacha": "One library at both ends, chacha20-poly1305",
    "pair ctr": "One library at both ends, aes128-ctr with hmac-sha2-256-etm",
    "limits": "What one core can do, and the limit computed from TCP and AES-GCM",
    "echo": "One byte to `cat` behind sshd and back",
    "echo, own server": "The same with the library's own server",
    "execs": "`true`, one after another on one connection to sshd",
    "idle": "Server memory and threads for each connection at rest",
    "50 ms, sshd": "50 ms of round trip, OpenSSH's server",
    "50 ms, feramiko": "50 ms of round trip, our server",
    "sftp": "One large file by SFTP, OpenSSH's server, aes128-gcm",
    "small files": "2,000 files of 4 KiB, the same",
    "stat": "`stat`, one after another and from several threads on one session",
    "sftp, own server": "One large file by SFTP, one library at both ends",
    "small files, own server": "2,000 files of 4 KiB, one library at both ends",
    "sftp at 50 ms, sshd": "SFTP at 50 ms of round trip, OpenSSH's server",
    "sftp at 50 ms, feramiko": "SFTP at 50 ms of round trip, our server",
    "files": "Ten thousand lines: a known host is found, among names a third of which is hashed, and all; an unknown key is judged (ssh-keygen shows all)",
    "load, connections": "A thousand connections, a command on each, all held: whole programs, the client is ours",
    "load, terminals": "Two hundred terminals with `cat`, a line after another on each",
    "load, forwards": "A thousand forwarded connections through one, 16 KiB there and back on each, all held",
    "sign": "A signature, beside `openssl speed`",
    "verify": "Its check",
}


def number(value):
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def reference_of(part, subjects):
    found = REFERENCES.get(part, REFERENCES.get(part.split(" ")[0], "russh"))
    return found if found in subjects else None


def cell(readings, part, subject, quantity):
    values = readings.values(part, subject, quantity)
    if not values:
        return "–"
    text = number(readings.median(part, subject, quantity))
    return f"{text} ({number(min(values))}–{number(max(values))})" if len(values) > 1 else text


def table(readings, part):
    subjects = readings.all[part]
    quantities = list(dict.fromkeys(quantity for row in subjects.values() for quantity in row))
    reference = reference_of(part, subjects)
    head = [""]
    for quantity in quantities:
        head += [quantity, f"× {reference}"] if reference else [quantity]
    rows = []
    for subject in subjects:
        row = [subject]
        for quantity in quantities:
            row.append(cell(readings, part, subject, quantity))
            if reference:
                row.append(number(readings.ratio(part, subject, reference, quantity)))
        rows.append(row)
    return markdown([head, *rows])


def markdown(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(value.ljust(width) for value, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def bars(readings):
    rows = [["bar", "asked", "reached", ""]]
    for bar in BARS:
        value = bar.value(readings)
        if value is None:
            continue
        sign = "≤" if bar.at_most else "≥"
        verdict = "met" if bar.met(value, bar.bound) else "**falls short**"
        if verdict == "met" and bar.stretch and bar.met(value, bar.stretch):
            verdict = f"met, and the stretch of {number(bar.stretch)}"
        rows.append([bar.what, f"{sign} {number(bar.bound)}", number(value), verdict])
    return markdown(rows)


def text(readings):
    add_limit(readings)
    parts = [f"## {TITLES.get(part, part.capitalize())}\n\n{table(readings, part)}" for part in readings.all]
    return "\n\n".join([*parts, "## Bars\n\n" + bars(readings)])


ABOUT = """\
# Benchmarks

Made by `benches/run` on {date}: {machine}; {OpenSSH}. Do not edit: run it again.

Medians of three repetitions, of seven for servers with aes128-gcm, served connects and large files by SFTP, with
their range; the subjects take turns, and a ratio is the median of the ratios within each repetition, because the
machine's speed drifts. Compare within a table only. "feramiko"
is linked with the system's OpenSSL, "feramiko 3.6" with the one that feature `vendored` builds. CPU
seconds per GB are those of user and system in the named process; the server's include the remote
command. What `ssh` needs to log in is taken off its figures: the others' clocks start when they are
connected. "Two connections" have a session each (`SFTPTransfer::stripe`).

![Bulk transfer, aes128-gcm](benchmarks.svg)

"""


def write(readings, folder, about):
    (folder / "benchmarks.md").write_text(ABOUT.format(**about) + text(readings) + "\n")
    (folder / "benchmarks.svg").write_text(plot.bulk(readings))
