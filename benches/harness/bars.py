"""What the project asks of itself, as data: each bar is a figure of the readings and a bound."""

from dataclasses import dataclass


@dataclass
class Bar:
    what: str
    part: str
    subject: str
    quantity: str
    bound: float
    # None: the bound is absolute.
    reference: str | None = None
    at_most: bool = False
    # Where the reference is a row of another part.
    reference_part: str | None = None
    reference_quantity: str | None = None
    stretch: float | None = None

    def value(self, readings):
        if self.reference is None:
            return readings.median(self.part, self.subject, self.quantity)
        if self.reference_part is None:
            return readings.ratio(self.part, self.subject, self.reference, self.quantity)
        own = readings.median(self.part, self.subject, self.quantity)
        other = readings.median(
            self.reference_part, self.reference, self.reference_quantity or self.quantity
        )
        return own / other if own and other else None

    def met(self, value, bound):
        return value <= bound if self.at_most else value >= bound


def client_bars():
    for direction, cpu in (("down", 0.8), ("up", 0.65)):
        yield Bar(f"client on sshd, gcm, {direction}, × ssh", "client gcm", "feramiko", f"{direction} MB/s", 1.0, "ssh", stretch=1.2)
        yield Bar(f"its client CPU per GB, {direction}, × ssh", "client gcm", "feramiko", f"{direction} client s/GB", cpu, "ssh", at_most=True)
        yield Bar(f"the same with OpenSSL 3.6, {direction}", "client gcm", "feramiko 3.6", f"{direction} client s/GB", 0.6, "ssh", at_most=True)


def server_bars():
    for direction in ("down", "up"):
        yield Bar(f"server driven by ssh, gcm, {direction}, × sshd", "server gcm", "feramiko", f"{direction} MB/s", 1.2, "sshd")
        yield Bar(f"the same with OpenSSL 3.6, × russh's server, {direction}", "server gcm", "feramiko 3.6", f"{direction} MB/s", 1.0, "russh")


def pair_bars():
    for direction in ("down", "up"):
        for subject, limit in (("feramiko", "limit"),):
            yield Bar(f"ours to ours, gcm, {direction}, × computed limit", "pair gcm", subject, f"{direction} MB/s", 0.7, limit, reference_part="limits", reference_quantity="MB/s")
        yield Bar(f"ours to ours, chacha, {direction}, × OpenSSH pair", "pair chacha", "feramiko", f"{direction} MB/s", 1.5, "ssh", reference_part="client chacha")
        yield Bar(f"its client CPU per GB, {direction}, × ssh", "pair chacha", "feramiko", f"{direction} client s/GB", 0.55, "ssh", at_most=True, reference_part="client chacha")
        yield Bar(f"ours to ours, ctr+hmac, {direction}, × russh", "pair ctr", "feramiko", f"{direction} MB/s", 1.0, "russh")


def round_trip_bars():
    yield Bar("echo, median, × russh", "echo", "feramiko", "p50 µs", 1.0, "russh", at_most=True)
    yield Bar("echo, median, × libssh2 (stretch)", "echo", "feramiko", "p50 µs", 1.2, "libssh2", at_most=True)
    for label in ("one at a time", "default kex"):
        yield Bar(f"connections/s on sshd, {label}, × russh", f"connects, {label}", "feramiko", "/s", 2.0, "russh")
    yield Bar("client CPU per connection, default kex, ms", "connects, default kex", "feramiko", "client CPU ms", 2.0, at_most=True)
    for label in ("one at a time", "four"):
        yield Bar(f"our server's connections/s, {label}, × russh's server", f"served connects, {label}", "feramiko", "/s", 1.0, "russh")
    yield Bar("idle connection, KiB of server memory", "idle", "feramiko", "KiB each", 96, at_most=True, stretch=64)


def distance_bars():
    yield Bar("50 ms: down from sshd, × ssh", "50 ms, sshd", "feramiko", "down MB/s", 5.0, "ssh")
    yield Bar("50 ms: up to sshd, × ssh", "50 ms, sshd", "feramiko", "up MB/s", 1.0, "ssh")
    yield Bar("50 ms: up to our server, × ssh to sshd", "50 ms, feramiko", "feramiko", "up MB/s", 3.0, "ssh", reference_part="50 ms, sshd")


def sftp_bars():
    for direction in ("get", "put"):
        yield Bar(f"sftp {direction} from sshd, × sftp", "sftp", "feramiko", f"{direction} MB/s", 1.3, "sftp", stretch=1.5)
        yield Bar(f"its client CPU per GB, {direction}, × sftp", "sftp", "feramiko", f"{direction} client s/GB", 0.65, "sftp", at_most=True)
        yield Bar(f"the same with OpenSSL 3.6, {direction}", "sftp", "feramiko 3.6", f"{direction} client s/GB", 0.5, "sftp", at_most=True)
        yield Bar(f"ours to ours, {direction}, × the OpenSSH pair", "sftp, own server", "feramiko", f"{direction} MB/s", 2.0, "sftp", reference_part="sftp")
        yield Bar(f"2,000 files of 4 KiB, {direction}, × sftp -r", "small files", "feramiko", f"{direction} files/s", 2.0, "sftp", stretch=3.0)
        yield Bar(f"memory of a transfer of 1 GiB, {direction}, MiB", "sftp", "feramiko", f"{direction} MiB", 32, at_most=True)
        two = ", two connections"
        yield Bar(f"sftp {direction} over two connections, × sftp", "sftp", "feramiko" + two, f"{direction} MB/s", 1.3, "sftp", stretch=1.5)
        yield Bar(f"its client CPU per GB, two connections, {direction}", "sftp", "feramiko" + two, f"{direction} client s/GB", 0.65, "sftp", at_most=True)
        yield Bar(f"the same with OpenSSL 3.6, two connections, {direction}", "sftp", "feramiko 3.6" + two, f"{direction} client s/GB", 0.5, "sftp", at_most=True)
        yield Bar(f"ours to ours over two connections, {direction}", "sftp, own server", "feramiko" + two, f"{direction} MB/s", 2.0, "sftp", reference_part="sftp")
    yield Bar("stat, one thread, × libssh2", "stat", "feramiko", "1 thread /s", 0.9, "libssh2")
    yield Bar("stat, 8 threads, × one thread", "stat", "feramiko", "8 threads /s", 3.0, "feramiko", reference_part="stat", reference_quantity="1 thread /s")
    yield Bar("50 ms: sftp get from sshd, × sftp", "sftp at 50 ms, sshd", "feramiko", "get MB/s", 5.0, "sftp", stretch=10.0)
    yield Bar("50 ms: sftp put to sshd, × sftp", "sftp at 50 ms, sshd", "feramiko", "put MB/s", 1.25, "sftp")
    yield Bar("50 ms: the same over two connections", "sftp at 50 ms, sshd", "feramiko, two connections", "put MB/s", 1.25, "sftp")
    yield Bar("50 ms: sftp put to our server, × sftp to sshd", "sftp at 50 ms, feramiko", "feramiko", "put MB/s", 3.0, "sftp", reference_part="sftp at 50 ms, sshd")


def load_bars():
    for part, rate in (("load, connections", "/s"), ("load, terminals", "lines/s"), ("load, forwards", "/s")):
        yield Bar(f"{part}: rate of our sshd, × sshd", part, "our sshd", rate, 1.0, "sshd")
        yield Bar(f"{part}: memory each, × sshd", part, "our sshd", "KiB each", 1.0, "sshd", at_most=True)


BARS = [*client_bars(), *server_bars(), *pair_bars(), *round_trip_bars(), *distance_bars(), *sftp_bars(), *load_bars()]


def add_limit(readings):
    """The slower end of a perfect pair: what the socket costs it and what the cipher does, on a core of its own."""
    tcp, gcm = readings.values("limits", "tcp", "s/GB"), readings.values("limits", "gcm", "s/GB")
    if not readings.values("limits", "limit", "MB/s"):
        for socket, cipher in zip(tcp, gcm):
            readings.add("limits", "limit", **{"MB/s": 1000 / (socket + cipher), "s/GB": socket + cipher})
