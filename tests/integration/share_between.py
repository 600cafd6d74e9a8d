# SPDX-License-Identifier: BSD-2-Clause
# Stands between vtpmctl and the manager, and changes one thing in what ShareBegin answers: argv 1: the real control.sock; 2: the directory for
# its own; 3: "key" puts another key (hex, argv 4) in its place, "replay" gives the answer to the first call again, "salt" another salt.
import json
import socket
import sys

real, directory, what = sys.argv[1:4]
server = socket.socket(socket.AF_UNIX)
server.bind(directory + "/control.sock")
server.listen()
print("ready", flush=True)
first = None


def message(sock):
    data = b""
    while not data.endswith(b"\0"):
        more = sock.recv(65536)
        if not more:
            return None
        data += more
    return data


while True:
    client, _ = server.accept()
    upstream = socket.socket(socket.AF_UNIX)
    upstream.connect(real)
    while request := message(client):
        upstream.sendall(request)
        reply = json.loads(message(upstream)[:-1])
        if json.loads(request[:-1])["method"].endswith(".ShareBegin"):
            first = first or reply
            if what == "key":
                reply["parameters"]["keeper"] = sys.argv[4]
            elif what == "replay":
                reply = first
            elif what == "salt":
                reply["parameters"]["share"]["salt"] = "00" * 32
        client.sendall(json.dumps(reply).encode() + b"\0")
    client.close()
    upstream.close()
