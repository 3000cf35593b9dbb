#!/usr/bin/python3
"""Commands to a server of MongoDB's protocol, by somebody who knows nothing of us or of any library: those
are too new for old servers, and too old for new ones.

    mongo_tell.py initiate PORT             a replica set of this one
    mongo_tell.py primary PORT              0 when it takes writes
    mongo_tell.py user PORT NAME DATABASE   who may read and write that; the password is read from standard input
"""
import socket
import struct
import sys


def document(fields):
    """BSON, of texts, numbers, dicts and lists."""
    out = b""
    for name, value in fields.items():
        if isinstance(value, str):
            text = value.encode() + b"\0"
            kind, data = 2, struct.pack("<i", len(text)) + text
        elif isinstance(value, bool):
            kind, data = 8, struct.pack("<?", value)
        elif isinstance(value, int):
            kind, data = 16, struct.pack("<i", value)
        elif isinstance(value, dict):
            kind, data = 3, document(value)
        else:
            kind, data = 4, document({str(i): v for i, v in enumerate(value)})
        out += bytes([kind]) + name.encode() + b"\0" + data
    return struct.pack("<i", len(out) + 5) + out + b"\0"


def tell(port, database, seconds=10, **command):
    """The answer as it came."""
    body = document(dict(command, **{"$db": database}))
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        connection.sendall(struct.pack("<iiiiI", 21 + len(body), 1, 0, 2013, 0) + b"\0" + body)
        head = connection.recv(16, socket.MSG_WAITALL)
        answer = connection.recv(struct.unpack("<i", head[:4])[0] - 16, socket.MSG_WAITALL)
    if b"\x01ok\0" + struct.pack("<d", 1) not in answer or b"writeErrors" in answer:
        raise AssertionError(f"{next(iter(command))}: {answer!r}")
    return answer


def initiate(port):
    tell(port, "admin", replSetInitiate={"_id": "rs0", "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]})


def primary(port):
    return b"\x08ismaster\0\x01" in tell(port, "admin", isMaster=1)


def user(port, name, database):
    tell(port, "admin", createUser=name, pwd=sys.stdin.readline().rstrip("\n"),
         roles=[{"role": "readWrite", "db": database}])


def main():
    verbs = {"initiate": initiate, "primary": primary, "user": user}
    if len(sys.argv) < 3 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    return verbs[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:]) is False


if __name__ == "__main__":
    sys.exit(main())
