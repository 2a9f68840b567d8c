"""Holds idle connections: reads what to open as a line of JSON, says `held`, and counts on request which are alive.

It runs as a process of its own, so that its memory and time are not the harness's.
"""

import json
import socket
import ssl
import struct
import sys

H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04\x00" + bytes(4)
H2_SETTINGS_ACK = bytes(3) + b"\x04\x01" + bytes(4)


def main():
    plan = json.loads(sys.stdin.readline())
    held = [open_one(plan, number) for number in range(plan["count"])]
    print("held", flush=True)
    for _ in sys.stdin:
        print(sum(map(is_alive, held)), flush=True)


def open_one(plan, number):
    plain = socket.create_connection(("127.0.0.1", plan["port"]), timeout=10)
    # A reset at the end instead of thousands of connections in TIME_WAIT, which would cost the next peer ports.
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if plan["tls"]:
        return greet_h2(plain)
    plain.sendall(request(plan, number))
    read_answer(plain)
    return plain


def trusting():
    """One context for all: a default one reads the system's certificates, which takes longer than the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


TLS = trusting()


def greet_h2(plain):
    secure = TLS.wrap_socket(plain)
    secure.sendall(H2_PREFACE)
    if not secure.recv(65_536):
        raise SystemExit("closed instead of greeting")
    secure.sendall(H2_SETTINGS_ACK)
    return secure


def request(plan, number):
    body = (plan["body"] or "").encode()
    headers = {"Host": f"127.0.0.1:{plan['port']}", **plan["headers"]}
    if body:
        headers["Content-Length"] = len(body)
    if plan["tokens"]:
        headers["Authorization"] = "Bearer " + plan["tokens"][number % len(plan["tokens"])]
    lines = [f"{plan['method']} {plan['path']} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_answer(plain):
    """Reads one answer to its end, by its length or its last chunk."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += more(plain)
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    if not lines[0].startswith("http/1.1 2"):
        raise SystemExit(f"answered {lines[0]}")
    fields = dict(line.split(":", 1) for line in lines[1:])
    if "content-length" in fields:
        while len(body) < int(fields["content-length"]):
            body += more(plain)
    else:
        while not body.endswith(b"0\r\n\r\n"):
            body += more(plain)


def more(plain):
    data = plain.recv(65_536)
    if not data:
        raise SystemExit("closed before the answer's end")
    return data


def is_alive(held):
    with socket.fromfd(held.fileno(), socket.AF_INET, socket.SOCK_STREAM) as view:
        try:
            return view.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False


if __name__ == "__main__":
    main()
