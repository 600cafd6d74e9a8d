# SPDX-License-Identifier: BSD-2-Clause
"""A client of swtpm's control channel and its data channel, for tests: it sends any bytes, and looks at all that comes."""
import array
import socket
import struct

GET_CAPABILITY, INIT, SHUTDOWN, GET_TPMESTABLISHED, SET_LOCALITY, HASH_START, HASH_DATA, HASH_END = range(1, 9)
CANCEL_TPM_CMD, STORE_VOLATILE, RESET_TPMESTABLISHED, GET_STATEBLOB, SET_STATEBLOB, STOP, GET_CONFIG = range(9, 16)
SET_DATAFD, SET_BUFFERSIZE, GET_INFO, LOCK_STORAGE = range(16, 20)

SUCCESS, BAD_PARAMETER, FAIL, BAD_ORDINAL, IOERROR, BAD_LOCALITY, NO_BLOB = 0, 3, 9, 10, 0x1F, 0x3D, 0x800
PERMANENT, VOLATILE, SAVESTATE = 1, 2, 3

LIMIT = 60  # seconds, for whoever does not answer at all


def words(*values):
    return b"".join(struct.pack(">I", v) for v in values)


class Gone(Exception):
    """The other end has hung up."""


class Control:
    """One connection. Its first request is GET_CAPABILITY, whose reply then marks the end of any other reply."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        self.sock.connect(path)
        self.sock.sendall(words(GET_CAPABILITY))
        self.capabilities = self.receive(8)

    def send(self, data, fds=()):
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            if self.sock.sendmsg([data], extra) < len(data):
                raise Gone("half of a request was taken")
        except OSError as error:
            raise Gone(str(error)) from error

    def some(self, most):
        try:
            data = self.sock.recv(most)
        except ConnectionError as error:
            raise Gone(str(error)) from error
        if not data:
            raise Gone("hung up")
        return data

    def receive(self, n):
        data = b""
        while len(data) < n:
            data += self.some(n - len(data))
        return data

    def result(self):
        return struct.unpack(">I", self.receive(4))[0]

    def call(self, *values, body=b"", fds=()):
        """A request whose reply is its result alone."""
        self.send(words(*values) + body, fds)
        return self.result()

    def exchange(self, request, fds=()):
        """The whole reply, however long: what comes before the reply to the next GET_CAPABILITY."""
        self.send(request, fds)
        data = self.receive(4)
        self.send(words(GET_CAPABILITY))
        while len(data) < 12 or not data.endswith(self.capabilities):
            data += self.some(65536)
        return data[:-8]

    def get_blob(self, kind):
        self.send(words(GET_STATEBLOB, 0, kind, 0))
        result, _, total, length = struct.unpack(">IIII", self.receive(16))
        if total != length:
            raise ValueError("a blob in pieces: %d of %d bytes" % (length, total))
        return result, self.receive(length)

    def set_blob(self, kind, blob):
        """As QEMU does: head and body apart."""
        self.send(words(SET_STATEBLOB, 0, kind, len(blob)))
        if blob:
            self.sock.sendall(blob)
        return self.result()

    def data(self):
        """SET_DATAFD with a new pair."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        result = self.call(SET_DATAFD, fds=[theirs.fileno()])
        theirs.close()
        if result:
            raise ValueError("SET_DATAFD is answered with 0x%x" % result)
        return Data(ours)

    def power_on(self):
        """What QEMU does before the guest runs; returns the data channel. The TPM has been started up."""
        data = self.data()
        for request in ((STOP,), (INIT, 0), (SET_LOCALITY, 0)):
            if self.call(*request):
                raise ValueError("request %s failed" % (request,))
        data.must(STARTUP)
        return data

    def close(self):
        self.sock.close()


class Data:
    """The data channel: TPM commands as hex, with their own size filled in."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(LIMIT)

    def send(self, data):
        self.sock.sendall(data)

    def answer(self):
        response = b""
        while len(response) < 10 or len(response) < struct.unpack(">I", response[2:6])[0]:
            data = self.sock.recv(4096)
            if not data:
                raise Gone("the data channel was closed")
            response += data
        return response

    def run(self, request):
        self.send(request)
        return self.answer()

    def code(self, request):
        return code_of(self.run(request))

    def must(self, request):
        response = self.run(request)
        if code_of(response):
            raise ValueError("command %s is answered with 0x%x" % (request.hex(), code_of(response)))
        return response

    def close(self):
        self.sock.close()


def code_of(response):
    return struct.unpack(">I", response[6:10])[0]


def command(tag, rest):
    rest = bytes.fromhex(rest)
    return struct.pack(">HI", tag, 6 + len(rest)) + rest


# TPM 2.0 Part 3. Owner authorisation with the empty password; the RSA key is another one for each number.
PASSWORD = "00000009" "40000009" "0000" "00" "0000"
INDEX = "01500040"
SIZE = 32
STARTUP = command(0x8001, "00000144" "0000")
READ_CLOCK = command(0x8001, "00000181")
GET_RANDOM = command(0x8001, "0000017b" "0010")
PCR_EXTEND = command(0x8002, "00000182" "00000010" + PASSWORD + "00000001" "000b" + "11" * 32)
PCR_READ = command(0x8001, "0000017e" "00000001" "000b" "03" "000001")
NV_DEFINE = command(0x8002, "0000012a" "40000001" + PASSWORD + "0000" "000e" + INDEX + "000b" "00020002" "0000" + "%04x" % SIZE)
NV_UNDEFINE = command(0x8002, "00000122" "40000001" + INDEX + PASSWORD)
# An index with a PIN that the dictionary-attack logic guards: once it was used, not to be shut down counts as a wrong one.
GUARDED, PIN = "01500041", "%04x" % 3 + b"pin".hex()
GUARDED_DEFINE = command(0x8002, "0000012a" "40000001" + PASSWORD + PIN + "000e" + GUARDED + "000b" "00040004" "0000" "0008")
GUARDED_WRITE = command(0x8002, "00000137" + GUARDED * 2 + "0000000c" "40000009" "0000" "00" + PIN + "0001" "2a" "0000")
NV_READ = command(0x8002, "0000014e" "40000001" + INDEX + PASSWORD + "%04x" % SIZE + "0000")


def nv_write(data):
    return command(0x8002, "00000137" "40000001" + INDEX + PASSWORD + "%04x" % SIZE + data.hex() + "0000")


def flush(handle):
    return command(0x8001, "00000165" + handle.hex())


def rsa_key(number):
    public = "0001" "000b" "00030072" "0000" "0006" "0080" "0043" "0010" "0800" "00000000" "0004" "%08x" % number
    return command(0x8002, "00000131" "40000001" + PASSWORD + "0004" "00000000" + "%04x" % (len(public) // 2) + public +
                   "0000" "00000000")
