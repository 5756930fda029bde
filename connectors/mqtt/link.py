"""One connection to an MQTT broker on the running loop: paho speaks MQTT 5, this reads, writes, and comes back.

paho reads a packet with three system calls and writes each with one. Its socket is therefore a buffer here, filled
and emptied once per loop tick, which also gives every tick's packets to the owner together.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any, cast

from penstock.connectors.mqtt.broker import Broker
from penstock.connectors.mqtt.client import Owner, dial, greet, leave, make
from penstock.connectors.mqtt.requests import ANSWER, Requests
from penstock.connectors.mqtt.socket import Buffered, Packed
from penstock.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

log = logging.getLogger(__name__)

FIRST, LONGEST = 0.1, 10.0  # seconds between attempts to come back
TAKEN_OVER = 0x8E  # somebody else has connected under our client id
_REFUSED = {"Bad user name or password", "Not authorized", "Bad authentication method", "Banned"}


class Link:
    """One client of one broker.

    - `requests`: what is asked of the broker and waited for.
    - `problem`: why it is not connected, None while it is.
    - `resumed`: the broker still knew our session.
    - `lost`: another one has our name and we have yielded.
    - `ended`: why the broker ended the last connection, by MQTT's number; 0 where it hung up without a word, None where
      it was not the broker that did.
    """

    def __init__(self, broker: Broker, client_id: str, owner: Owner, *, keeps: bool, yields: bool = False) -> None:
        """With `keeps` the broker keeps our session for ever; without, it starts a clean one each time.

        With `yields`, we do not come back when another one connects under our name.
        """
        self.broker = broker
        self.problem: str | None = "not connected yet"
        self.resumed = False
        self.lost = False
        self.ended: int | None = None
        self.receive_maximum = 65535
        self.packet_maximum = 268_435_455
        self._client_id = client_id
        self._owner = owner
        self._keeps = keeps
        self._yields = yields
        self._context = broker.context()
        self._socket: Buffered | None = None
        self._closed = False
        self._opened = False
        self._greeting: asyncio.Future[None] | None = None
        self._again: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0
        self._wait = FIRST
        self._writing = False
        self._paused = False
        self._client = make(broker, client_id, lambda: self._socket)
        self.requests = Requests(self._client, broker, lambda: self.problem)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_message = lambda _client, _data, message: owner.arrived(message)
        self._client.on_publish = lambda _client, _data, mid, reason, _properties: owner.published(mid, reason)
        self._client.on_socket_register_write = self._want_write

    async def open(self) -> None:
        """Connect. Raises `Unavailable`, or `ConfigError` where the broker does not let us in."""
        self._loop = asyncio.get_running_loop()
        self._closed = False
        try:
            await self._connect()
        except PermissionError as error:
            self.problem = str(error)
            raise ConfigError(f"{self.broker.variable}: {error}") from None
        except OSError as error:
            self.problem = self.broker.why(error)
            raise Unavailable(self.broker.name, self.problem) from None
        if self._socket is None:  # lost again in the meantime
            raise Unavailable(self.broker.name, self.problem or "connection lost")
        self._opened = True
        self._tick()

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, properties: bytes) -> int:
        """Publish, and give back the number that `published` will name; 0 where there is no connection.

        `properties` are packed already. Raises ValueError for a topic or payload that MQTT cannot carry.
        """
        if self._socket is None:
            return 0
        info = self._client.publish(topic, payload, qos, retain, cast(Any, Packed(properties)))
        return info.mid if info.rc == 0 else 0

    def pause(self) -> None:
        """Read nothing for now. A broker that hears nothing for long ends the connection; we come back to it."""
        if self._socket is not None and not self._paused:
            self._paused = True
            self._socket.pause()

    def resume(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            if self._socket is not None:
                self._socket.resume()

    def forget(self) -> None:
        """Do not send again what was published and not answered: the owner does."""
        self._client.drop_out_messages()

    @property
    def age(self) -> float:
        """Seconds since the broker accepted us."""
        return self._loop.time() - self._since

    def hurry(self) -> None:
        """Should the connection end now, come back soon: it works."""
        self._wait = FIRST

    async def heard(self) -> None:
        """Wait until the broker has taken everything sent so far, or the connection is lost."""
        if self.problem is None and not self._paused:
            await self.requests.heard()

    def acknowledge(self, mid: int) -> None:
        """Confirm a received message of QoS 1."""
        self._client.ack(mid, 1)

    async def close(self, *, forget: bool = False) -> None:
        """Leave as a client that says goodbye, and with `forget` ends its session. Safe to call twice."""
        self._closed = True
        if self._again is not None:
            self._again.cancel()
            await asyncio.wait([self._again])
            self._again = None
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            leave(self._client, forget=forget)
            self._write()
        self._drop()
        self.problem = "closed"

    async def _connect(self) -> None:
        """One attempt. Raises OSError."""
        dialing = self._loop.run_in_executor(None, dial, self.broker, self._context, ANSWER)
        try:
            raw = await asyncio.shield(dialing)
        except asyncio.CancelledError:
            dialing.add_done_callback(lambda done: None if done.exception() else done.result().close())
            raise
        self._paused = False
        self._socket = Buffered(raw, self._loop, self._readable, self._lost)
        self._greeting = self._loop.create_future()
        try:
            greet(self._client, self.broker, keeps=self._keeps)
            self._write()
            await asyncio.wait_for(self._greeting, ANSWER)
        except TimeoutError:
            self._drop()
            raise TimeoutError("the broker does not answer") from None
        except BaseException:
            self._drop()
            raise
        finally:
            self._greeting = None

    def _readable(self) -> None:
        """Read once, pass on everything that came with it."""
        connection = self._socket
        if connection is None or self._paused:
            return
        connection.fill()
        try:
            while connection.waiting and self._socket is connection:
                self._client.loop_read()
        except Exception as error:
            log.exception("%s: what the broker sent could not be read; connecting again", self.broker.name)
            self._lost(error)
        self._owner.read()
        if self._socket is connection and connection.hidden():
            self._loop.call_soon(self._readable)

    def _want_write(self, *_: object) -> None:
        if not self._writing:
            self._writing = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._writing = False
        if self._socket is not None:
            connection = self._socket
            self._client.loop_write()
            connection.flush()

    def _tick(self) -> None:
        """Once a second: pings, and noticing that a silent broker is gone."""
        if self._socket is not None:
            self._client.loop_misc()
        self._timer = self._loop.call_later(1.0, self._tick)

    def _connected(self, _client: object, _data: object, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            kind = PermissionError if str(reason) in _REFUSED else ConnectionError
            self._refuse(kind(f"the broker refuses the connection: {reason}"))
            return
        self.receive_maximum = getattr(properties, "ReceiveMaximum", 65535)
        self.packet_maximum = getattr(properties, "MaximumPacketSize", 268_435_455)
        self.problem = None
        self._since = self._loop.time()
        if self._greeting is not None and not self._greeting.done():
            self._greeting.set_result(None)
        self.resumed = flags.session_present
        self._owner.up(self.resumed)

    def _disconnected(self, _client: object, _data: object, flags: Any, reason: ReasonCode, _props: object) -> None:
        if not flags.is_disconnect_packet_from_server:
            self._lost(ConnectionError("connection lost"))
            return
        if self._yields and reason.value == TAKEN_OVER:
            self._closed = self.lost = True
        self._lost(ConnectionError(f"the broker ended the connection: {reason}"), reason.value)
        if reason.value == TAKEN_OVER:
            self._wait = LONGEST  # two processes under one name would else drive each other out all the time

    def _lost(self, error: BaseException, reason: int = 0) -> None:
        """The connection is gone, whoever noticed; `reason` where the broker gave one."""
        if self._socket is None:
            return
        self.ended = reason if reason or self._socket.cut else None
        greeted = self.problem is None
        self.problem = self.broker.why(error)
        self._drop()
        self._refuse(ConnectionError(self.problem))
        self.requests.fail(ConnectionError(self.problem))
        if greeted:
            self._owner.down()
            if self._opened and not self._closed:
                if self.age > LONGEST:
                    self._wait = FIRST  # else it breaks as soon as it stands: no hurry
                elif self._keeps and self._wait > 4 * FIRST:
                    self.problem += f", again and again: is another process connected as {self._client_id!r}? "
                    self.problem += "Where several hosts run this pipeline, give each its own PENSTOCK_HOST"
                log.warning("%s: %s; connecting again", self.broker.name, self.problem)
                self._again = self._loop.create_task(self._return())

    def _refuse(self, error: OSError) -> None:
        if self._greeting is not None and not self._greeting.done():
            self._greeting.set_exception(error)

    def _drop(self) -> None:
        if self._socket is not None:
            connection, self._socket = self._socket, None
            connection.close()

    async def _return(self) -> None:
        """Come back, however long it takes."""
        while not self._closed:
            # A random half off, so that many clients do not come back together.
            await asyncio.sleep(self._wait * (1 - random.random() / 2))
            self._wait = min(self._wait * 2, LONGEST)
            try:
                await self._connect()
            except OSError as error:
                self.problem = self.broker.why(error)
            except Exception as error:  # whatever it is, nobody else would come back
                self.problem = self.broker.why(error)
                log.exception("%s: connecting failed and is tried again", self.broker.name)
            else:
                log.info("%s: connected again", self.broker.name)
                return
