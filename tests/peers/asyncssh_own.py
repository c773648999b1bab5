"""An authentication method of an application's own for AsyncSSH, both sides: tests/own_methods.rs has the same."""

import asyncssh.auth


def stamp(session_id, challenge, user, secret):
    total = 0xCBF29CE484222325
    for byte in session_id + challenge + user.encode() + secret.encode():
        total = ((total ^ byte) * 0x100000001B3) % (1 << 64)
    return total.to_bytes(8, "big")


def register(name, secret):
    """Says hello, then answers two challenges; the numbers are 60 and 61, 78 and 79."""

    class Client(asyncssh.auth.ClientAuth):
        async def _start(self):
            await self.send_request(b"hello", trivial=False)

        def _challenged(self, number, _, packet):
            answer = stamp(
                self._conn._session_id, packet.get_remaining_payload(), self._conn._username, secret
            )
            self.send_packet(number + 1, answer, trivial=False)

        _packet_handlers = {60: _challenged, 78: _challenged}

    class Server(asyncssh.auth.ServerAuth):
        @classmethod
        def supported(cls, conn):
            return True

        async def _start(self, packet):
            if packet.get_remaining_payload() == b"hello":
                self.send_packet(60, b"\1" * 100)
            else:
                self.send_failure()

        def _answered(self, number, _, packet):
            challenge = (b"\1" if number == 61 else b"\2") * 100
            right = stamp(self._conn._session_id, challenge, self._username, secret)
            if packet.get_remaining_payload() != right:
                self.send_failure()
            elif number == 61:
                self.send_packet(78, b"\2" * 100)
            else:
                self.create_task(self.send_success())

        _packet_handlers = {61: _answered, 79: _answered}

    asyncssh.auth.register_auth_method(name.encode(), Client, Server)
