"""On the peers' import path: connections to the model hub go to its stand-in on this machine; others are refused."""

import os
import socket

HOST = "huggingface.co"
PORT = int(os.environ["STAND_IN_PORT"])
_resolve, _connect = socket.getaddrinfo, socket.socket.connect


def getaddrinfo(host, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    return _resolve("127.0.0.1" if name == HOST else host, *args, **kwargs)


def connect(self, address):
    if self.family in {socket.AF_INET, socket.AF_INET6}:
        if address[0] not in {"127.0.0.1", HOST} or address[1] != 443:
            raise ConnectionRefusedError(f"only {HOST} has a stand-in here")
        address = ("127.0.0.1", PORT)
    return _connect(self, address)


socket.getaddrinfo = getaddrinfo
socket.socket.connect = connect
