"""A TCP proxy before a server, whose network the tests break on purpose.

    proxy = Proxy(cluster.port)          # then use proxy.uri(database.uri())
    proxy.cut()                          # resets every connection
    proxy.refuse()                       # ... and lets nobody in again until accept()
    proxy.pause("to_client")             # half-open: that direction is silent, nothing is closed
    proxy.half_close("to_server")        # end of data in one direction only
    proxy.delay(0.05)
    proxy.cut_after(100000)              # wherever in a message that byte is
    proxy.cut_in_message(b"d", longer_than=1000, which=5)   # half of the fifth such CopyData arrives
    proxy.lose_answer(b"COMMIT")         # the server executes it, the client never learns
    proxy.cut_before(b"COMMIT")          # the server never gets it
    proxy.answer(b"COMMIT", "25P02", "no")  # ... and the client gets that error
    proxy.pretend_version(12)            # what new connections are told that the server is

One thread moves the bytes of all connections without ever blocking in a socket, because a socket in
which a thread waits cannot be reset. All state belongs to that thread; the methods hand it their work.
It follows the protocol's message borders in both directions all the time, so a rule can begin at any
moment. A rule acts once; `rule.wait()` tells when it has. `only` limits a rule or action to some
connections, for example only=lambda connection: connection.is_replication. (SSL is answered by the
server with "no"; patterns need plain text.)
"""
import collections
import queue
import re
import selectors
import socket
import struct
import threading
import time

TO_SERVER, TO_CLIENT = "to_server", "to_client"
DIRECTIONS = (TO_SERVER, TO_CLIENT)
MATCHED_BYTES = 1 << 20   # longer messages are forwarded without a look into them
BUFFERED_BYTES = 1 << 18  # of a direction; beyond it nothing is read, so back-pressure passes through
DELAYED_BYTES_PER_SECOND = 200 << 20  # what a delay keeps back comes on top: a line holds that much
SSL_REQUEST, GSS_REQUEST, PROTOCOL_3 = 80877103, 80877104, 3 << 16


class Rule:
    """matches(message) → bool, or a count of bytes; then act(flow, message) decides what is forwarded."""

    def __init__(self, direction, only, act, matches=None, bytes_left=None):
        self.direction, self.only, self.act = direction, only, act
        self.matches, self.bytes_left = matches, bytes_left
        self.done = threading.Event()

    @property
    def happened(self):
        return self.done.is_set()

    def wait(self, seconds=60):
        if not self.done.wait(seconds):
            raise AssertionError(f"within {seconds} s nothing passed the proxy that the rule waits for")


class Flow:
    """One direction of one connection: follows message borders, forwards or asks the rules first."""

    def __init__(self, connection, direction, source, sink):
        self.connection, self.direction, self.source, self.sink = connection, direction, source, sink
        self.untyped = direction == TO_SERVER  # the first messages of a client have no type byte
        self.single_bytes = 0                  # answers of one byte (to SSL requests) that are due
        self.part = b""                        # the beginning of a message that is not complete
        self.to_pass = 0                       # bytes of the present message, forwarded unread
        self.out = collections.deque()         # (when due, bytes)
        self.out_bytes = 0
        self.ended = self.end_passed = False   # source has ended; sink was told
        self.swallow = None                    # called with the bytes instead of forwarding them

    def wants_read(self):
        buffered = BUFFERED_BYTES + self.connection.proxy.delay_seconds * DELAYED_BYTES_PER_SECOND
        return not self.ended and self.out_bytes < buffered and not self.is_paused()

    def wants_write(self, now):
        if self.is_paused():
            return False
        return bool(self.out and self.out[0][0] <= now)

    def is_paused(self):
        return any(only(self.connection) for only in self.connection.proxy.paused[self.direction])

    def read(self):
        try:
            chunk = self.source.recv(1 << 16)
        except BlockingIOError:
            return
        if not chunk:
            self.ended = True
        elif self.swallow:
            self.swallow(chunk)
        else:
            self.take(chunk)

    def write(self):
        while self.out and self.out[0][0] <= time.monotonic():
            due, data = self.out[0]
            try:
                count = self.sink.send(data)
            except BlockingIOError:
                return
            self.out_bytes -= count
            if count < len(data):
                self.out[0] = (due, data[count:])
                return
            self.out.popleft()

    def pass_end(self):
        """Tells the sink that the source has ended, once everything before it is out."""
        if self.ended and not self.out and not self.end_passed and not self.swallow:
            self.end_passed = True
            shut(self.sink)

    def send(self, data):
        proxy = self.connection.proxy
        for rule in self.rules():
            if rule.bytes_left is not None:
                rule.bytes_left -= len(data)
                if rule.bytes_left <= 0 and proxy.take_rule(rule):
                    self.put(data[:len(data) + rule.bytes_left])
                    rule.act(self, b"")
                    rule.done.set()
                    return
        self.put(data)

    def put(self, data):
        if data and not self.swallow:
            major = self.connection.proxy.pretended_major
            if major is not None and self.direction == TO_CLIENT:
                data = re.sub(rb"(?<=server_version\0)\d\d", b"%02d" % major, data)
            self.out.append((time.monotonic() + self.connection.proxy.delay_seconds, bytes(data)))
            self.out_bytes += len(data)

    def rules(self):
        return [rule for rule in self.connection.proxy.rules
                if rule.direction == self.direction and (rule.only is None or rule.only(self.connection))]

    def take(self, chunk):
        """Whole messages are shown to the rules if there are any; otherwise bytes go at once."""
        data, position, sent = self.part + chunk, 0, 0
        self.part = b""
        looking = any(rule.matches for rule in self.rules())
        while position < len(data) and not self.connection.closed:
            if self.to_pass:
                step = min(self.to_pass, len(data) - position)
                self.to_pass -= step
                position += step
                continue
            if self.single_bytes:
                self.single_bytes -= 1
                position += 1
                continue
            header = 4 if self.untyped else 5
            if len(data) - position < header:
                self.part = data[position:]
                break
            length, = struct.unpack_from("!I", data, position + header - 4)
            length += header - 4
            if not self.untyped and (not looking or length > MATCHED_BYTES):
                self.to_pass = length
                continue
            if len(data) - position < length:
                self.part = data[position:]
                break
            self.send(data[sent:position])
            self.message(data[position:position + length])
            position += length
            sent = position
        if not self.connection.closed:
            self.send(data[sent:len(data) - len(self.part)])

    def message(self, message):
        if self.untyped:
            self.startup(message)
        for rule in self.rules():
            if rule.matches and rule.matches(message) and self.connection.proxy.take_rule(rule):
                rule.act(self, message)
                if not getattr(rule, "acts_later", False):
                    rule.done.set()
                return
        self.send(message)

    def startup(self, message):
        code, = struct.unpack_from("!I", message, 4)
        if code in (SSL_REQUEST, GSS_REQUEST):
            self.connection.flows[TO_CLIENT].single_bytes += 1
        elif code >> 16 == 3:
            parts = message[8:].split(b"\0")
            self.connection.parameters = {key.decode(): value.decode("utf-8", "replace")
                                          for key, value in zip(parts[0::2], parts[1::2]) if key}
            self.untyped = False


class ProxyConnection:
    """A client and the server it was connected to. parameters: of its startup packet."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.parameters = {}
        self.flows = {TO_SERVER: Flow(self, TO_SERVER, client, server),
                      TO_CLIENT: Flow(self, TO_CLIENT, server, client)}
        self.closed = False
        self.timers = []  # (when, function)

    @property
    def is_replication(self):
        return "replication" in self.parameters

    @property
    def application_name(self):
        return self.parameters.get("application_name", "")

    def close(self, reset=True):
        """Ends both sides; without `reset` what was forwarded still arrives."""
        if self.closed:
            return
        self.closed = True
        for flow in self.flows.values():
            if not reset and flow.sink.fileno() >= 0:  # else it was abandoned
                flow.sink.settimeout(1)
                try:
                    flow.sink.sendall(b"".join(data for _, data in flow.out))
                except OSError:
                    pass
        for end in (self.client, self.server):
            self.proxy.drop_socket(end, reset)
        self.proxy.connections.remove(self)

    def abandon_client(self):
        """Resets the client; the server's side stays open and silent: it has not noticed anything."""
        to_server, to_client = self.flows[TO_SERVER], self.flows[TO_CLIENT]
        to_server.ended, to_server.end_passed = True, True
        to_client.swallow = lambda data: None
        to_client.out.clear()
        to_client.out_bytes = 0
        self.proxy.drop_socket(self.client, True)


def shut(end):
    try:
        end.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def matcher(pattern):
    """bytes: contained in the message; a compiled pattern: found in it; a function: itself."""
    if isinstance(pattern, bytes):
        return lambda message: pattern in message
    if callable(pattern):
        return pattern
    return lambda message: pattern.search(message) is not None


class Proxy:
    def __init__(self, server_port, server_host="127.0.0.1"):
        self.server = (server_host, server_port)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.connections, self.rules, self.paused = [], [], {direction: [] for direction in DIRECTIONS}
        self.delay_seconds, self.refusing, self.running, self.accepted = 0, False, True, 0
        self.pretended_major = None
        self.selector, self.interest = selectors.DefaultSelector(), {}
        self.work, self.wake_in, self.wake_out = queue.SimpleQueue(), *socket.socketpair()
        self.wake_out.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        self.selector.register(self.wake_out, selectors.EVENT_READ, None)
        self.thread = threading.Thread(target=self._loop, daemon=True, name="proxy")
        self.thread.start()

    def uri(self, uri):
        """The URI of the server's database, with the proxy's port instead."""
        return re.sub(r":\d+/", f":{self.port}/", uri, count=1)

    # --- the thread

    def _loop(self):
        while self.running:
            now = time.monotonic()
            for connection in list(self.connections):
                self._tend(connection, now)
            for key, mask in self.selector.select(self._wait_seconds(now)):
                if key.fileobj is self.listener:
                    self._accept()
                elif key.fileobj is self.wake_out:
                    self._run_work()
                else:
                    self._ready(key.data, key.fileobj, mask)
        for connection in list(self.connections):
            connection.close()
        self.listener.close()

    def _wait_seconds(self, tended):
        """Until the next delayed bytes are due. What was due when they were tended waits for its socket."""
        if any(connection.timers for connection in self.connections):
            return 0.005
        due = [flow.out[0][0] for connection in self.connections for flow in connection.flows.values() if flow.out]
        return min([max(0, when - time.monotonic()) for when in due if when > tended] + [1])

    def _tend(self, connection, now):
        for timer in [timer for timer in connection.timers if timer[0] <= now]:
            connection.timers.remove(timer)
            timer[1]()
        if connection.closed:
            return
        to_server, to_client = connection.flows[TO_SERVER], connection.flows[TO_CLIENT]
        for flow in (to_server, to_client):
            flow.pass_end()
        if to_server.end_passed and to_client.end_passed:
            connection.close(reset=False)
            return
        self._want(connection, connection.client, to_server.wants_read(), to_client.wants_write(now))
        self._want(connection, connection.server, to_client.wants_read(), to_server.wants_write(now))

    def _want(self, connection, end, read, write):
        mask = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        if end.fileno() < 0 or self.interest.get(end, 0) == mask:
            return
        if not mask:
            self.selector.unregister(end)
        elif self.interest.get(end, 0):
            self.selector.modify(end, mask, connection)
        else:
            self.selector.register(end, mask, connection)
        self.interest[end] = mask

    def _ready(self, connection, end, mask):
        reads = connection.flows[TO_SERVER if end is connection.client else TO_CLIENT]
        writes = connection.flows[TO_CLIENT if end is connection.client else TO_SERVER]
        try:
            if mask & selectors.EVENT_WRITE and not connection.closed:
                writes.write()
            if mask & selectors.EVENT_READ and not connection.closed:
                reads.read()
        except OSError:  # one end is gone: so is the other
            connection.close()

    def _accept(self):
        try:
            client, _ = self.listener.accept()
        except OSError:
            return
        try:
            if self.refusing:
                raise OSError("refused")
            server = socket.create_connection(self.server, timeout=5)
        except OSError:
            self.drop_socket(client, True)
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setblocking(False)
        self.accepted += 1
        self.connections.append(ProxyConnection(self, client, server))

    def drop_socket(self, end, reset):
        if end.fileno() < 0:
            return
        if self.interest.pop(end, 0):
            self.selector.unregister(end)
        if reset:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.close()

    def _run_work(self):
        self.wake_out.recv(4096)
        while not self.work.empty():
            function, answer = self.work.get()
            try:
                answer.put((function(), None))
            except Exception as error:  # handed to the caller
                answer.put((None, error))

    def _do(self, function):
        """Runs it in the proxy's thread and returns its result."""
        if threading.current_thread() is self.thread:
            return function()
        answer = queue.SimpleQueue()
        self.work.put((function, answer))
        self.wake_in.send(b"x")
        value, error = answer.get(timeout=30)
        if error is not None:
            raise error
        return value

    def take_rule(self, rule):
        if rule not in self.rules:
            return False
        self.rules.remove(rule)
        return True

    def _chosen(self, only):
        return [connection for connection in self.connections if only is None or only(connection)]

    # --- what tests do to the network at once

    def cut(self, only=None, reset=True):
        """Ends the connections at both ends; returns how many."""
        def work():
            chosen = self._chosen(only)
            for connection in chosen:
                connection.close(reset)
            return len(chosen)
        return self._do(work)

    def refuse(self):
        """New connections are reset until accept()."""
        self._do(lambda: setattr(self, "refusing", True))

    def accept(self):
        self._do(lambda: setattr(self, "refusing", False))

    def half_close(self, direction, only=None):
        """The receiver of that direction sees the end of data; the other direction goes on."""
        def work():
            for connection in self._chosen(only):
                connection.flows[direction].ended = True
        self._do(work)

    def delay(self, seconds):
        """Everything takes that much longer, in both directions."""
        self._do(lambda: setattr(self, "delay_seconds", seconds))

    def pretend_version(self, major):
        """Clients that connect from now on are told another major version; the server stays what it is."""
        self._do(lambda: setattr(self, "pretended_major", major))

    def pause(self, direction=None, only=None):
        """A black hole: nothing passes, nothing is closed, new connections hang as well."""
        def work():
            for one in (direction,) if direction else DIRECTIONS:
                self.paused[one].append(only or (lambda connection: True))
        self._do(work)

    def resume(self):
        self._do(lambda: [waiting.clear() for waiting in self.paused.values()])

    def pause_present(self, only=None):
        """The connections of this moment fall silent; new ones pass."""
        present = self._do(lambda: self._chosen(only))
        self.pause(only=lambda connection: connection in present)

    def abandon_clients(self, only=None):
        """The clients are reset; the server's side stays open and has not noticed anything."""
        self._do(lambda: [connection.abandon_client() for connection in self._chosen(only)])

    def count(self, only=None):
        return self._do(lambda: len(self._chosen(only)))

    # --- what happens when something passes

    def _add(self, rule):
        self._do(lambda: self.rules.append(rule))
        return rule

    def cancel(self, rule):
        self._do(lambda: self.take_rule(rule))

    def cut_after(self, count, direction=TO_CLIENT, only=None):
        """Cuts the connection that carries the last of `count` more bytes; they still arrive."""
        return self._add(Rule(direction, only, lambda flow, _: flow.connection.close(reset=False),
                              bytes_left=count))

    def cut_in_message(self, kind, longer_than=0, which=1, direction=TO_CLIENT, only=None):
        """Half of the which-th message of that type byte with more than so many bytes arrives."""
        seen = [0]

        def matches(message):
            if message[:1] != kind or len(message) <= longer_than:
                return False
            seen[0] += 1
            return seen[0] == which
        return self._add(Rule(direction, only, pass_half, matches))

    def cut_in_answer(self, pattern, only=None):
        """Half of a server's message that holds the bytes arrives."""
        return self._add(Rule(TO_CLIENT, only, pass_half, matcher(pattern)))

    def cut_before(self, pattern, only=None):
        """A client's message that holds the bytes never arrives."""
        return self._add(Rule(TO_SERVER, only, lambda flow, _: flow.connection.close(), matcher(pattern)))

    def answer(self, pattern, sqlstate, text, only=None):
        """A client's message that holds the bytes never arrives: it is answered by this error, as a pooler would,
        and the connection ends."""
        fields = f"SFATAL\0VFATAL\0C{sqlstate}\0M{text}\0\0".encode()

        def act(flow, _):
            flow.connection.flows[TO_CLIENT].put(b"E" + struct.pack("!I", len(fields) + 4) + fields)
            flow.connection.close(reset=False)
        return self._add(Rule(TO_SERVER, only, act, matcher(pattern)))

    def lose_answer(self, pattern, only=None, answer_seconds=10, then=None):
        """The client's message that holds the bytes arrives, its answer does not: then both ends are
        cut. With answer_seconds=0 the client is reset at once and the server, which is still at work,
        notices nothing. `then` is called before the client is cut (in the proxy's thread: be short)."""
        def act(flow, message):
            flow.send(message)
            connection = flow.connection

            def finish():
                if rule.done.is_set():
                    return
                if then is not None:
                    then()
                if answer_seconds:
                    connection.close()
                else:
                    connection.abandon_client()
                rule.done.set()

            if not answer_seconds:
                finish()
                return
            connection.flows[TO_CLIENT].swallow = lambda data: finish()
            connection.timers.append((time.monotonic() + answer_seconds, finish))
        rule = Rule(TO_SERVER, only, act, matcher(pattern))
        rule.acts_later = True
        return self._add(rule)

    def close(self):
        if self.running:
            self._do(lambda: setattr(self, "running", False))
            self.thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def pass_half(flow, message):
    flow.put(message[:len(message) // 2])
    flow.connection.close(reset=False)
