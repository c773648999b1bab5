"""AsyncSSH behind bench_peer's command line. Client only."""

import asyncio
import time

import asyncssh
from command_line import PIECE, WARM_UP_PINGS, Meter, arguments, percentiles


def connect(asked):
    wanted = {"encryption_algs": asked.cipher, "mac_algs": asked.mac, "kex_algs": asked.kex}
    return asyncssh.connect(
        asked.host,
        asked.port,
        username=asked.user,
        client_keys=[asked.key],
        known_hosts=None,
        config=None,
        agent_path=None,
        **{name: [value] for name, value in wanted.items() if value},
    )


async def run(connection, command):
    await connection.run(command, check=True)


async def down(asked, command, size):
    async with connect(asked) as connection:
        meter, total = Meter(), 0
        async with connection.create_process(command, encoding=None) as process:
            while piece := await process.stdout.read(PIECE):
                total += len(piece)
            await process.wait(check=True)
        if total != int(size):
            raise SystemExit(f"{total} bytes came, {size} were expected")
        meter.report(bytes=total)


async def up(asked, size, command="cat >/dev/null"):
    async with connect(asked) as connection:
        meter, left, piece = Meter(), int(size), bytes(PIECE)
        async with connection.create_process(command, encoding=None) as process:
            while left:
                process.stdin.write(piece[: min(left, PIECE)])
                await process.stdin.drain()
                left -= min(left, PIECE)
            process.stdin.write_eof()
            await process.wait(check=True)
        meter.report(bytes=int(size))


async def once(asked, count):
    for _ in range(count):
        async with connect(asked) as connection:
            await run(connection, "true")


async def connects(asked, count, parallel):
    meter, count, parallel = Meter(), int(count), int(parallel)
    await asyncio.gather(*(once(asked, count // parallel) for _ in range(parallel)))
    meter.report(count=count // parallel * parallel)


async def execs(asked, count):
    async with connect(asked) as connection:
        meter = Meter()
        for _ in range(int(count)):
            await run(connection, "true")
        meter.report(count=int(count))


async def ping(asked, count):
    async with connect(asked) as connection:
        async with connection.create_process("cat", encoding=None) as process:

            async def echo():
                sent = time.perf_counter()
                process.stdin.write(b"x")
                if await process.stdout.read(1) != b"x":
                    raise SystemExit("no echo")
                return time.perf_counter() - sent

            for _ in range(WARM_UP_PINGS):
                await echo()
            meter = Meter()
            meter.report(**percentiles([await echo() for _ in range(int(count))]))
            process.stdin.write_eof()


VERBS = {"down": down, "up": up, "connect": connects, "execs": execs, "ping": ping}

if __name__ == "__main__":
    asked = arguments()
    asyncio.run(VERBS[asked.verb](asked, *asked.words))
