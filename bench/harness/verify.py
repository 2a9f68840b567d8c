"""Proves before measuring that all peers do the same work: what they let through, refuse, forward and answer."""

import copy
import http.client
import json
import ssl
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import workloads
from .processes import Failed

# Each breaks one rule of version 1 of the contract; `None` removes a member.
WRONG_ORDERS = {
    "no number": {"orderNo": None},
    "no customer": {"customerNo": None},
    "no date": {"orderDate": None},
    "no currency": {"currency": None},
    "no lines": {"lines": None},
    "no total": {"total": None},
    "an unknown member": {"unknown": 1},
    "a number in lower case": {"orderNo": "so-1"},
    "a number of 31 characters": {"orderNo": "A" * 31},
    "a customer of nine digits": {"customerNo": "123456789"},
    "a name of 81 characters": {"custName": "ü" * 81},
    "a date as in ISO 8601": {"orderDate": "2026-11-20"},
    "a requested date of one digit": {"reqDate": "1.1.2026"},
    "a day the calendar lacks": {"orderDate": "31.02.2026"},
    "an unknown class": {"delivClass": "XX"},
    "an unknown status": {"status": "open"},
    "a reference of 36 characters": {"custRef": "x" * 36},
    "a consignee of 81 characters": {"shipName": "x" * 81},
    "a street of 81 characters": {"shipStreet": "x" * 81},
    "a postal code of 11 characters": {"shipZip": "x" * 11},
    "a city of 61 characters": {"shipCity": "x" * 61},
    "a country of three letters": {"shipCountry": "DEU"},
    "a remark of 1001 characters": {"remark": "x" * 1001},
    "a remark that is a number": {"remark": 7},
    "a currency in lower case": {"currency": "eur"},
    "lines that are an object": {"lines": {}},
    "an empty list of lines": {"lines": []},
    "a negative total": {"total": -1},
    "a total of a tenth of a cent": {"total": 1.001},
    "a total as text": {"total": "1.00"},
    "a total past its bound": {"total": 100000000},
    "a position of zero": {"lines.0.pos": 0},
    "a position of 9991": {"lines.0.pos": 9991},
    "half a position": {"lines.0.pos": 1.5},
    "no position": {"lines.0.pos": None},
    "an empty article": {"lines.0.sku": ""},
    "an article of 41 characters": {"lines.0.sku": "x" * 41},
    "no article": {"lines.0.sku": None},
    "a description of 81 characters": {"lines.0.desc": "x" * 81},
    "a quantity of zero": {"lines.0.qty": 0},
    "a quantity past its bound": {"lines.0.qty": 10000000},
    "no quantity": {"lines.0.qty": None},
    "an unknown unit": {"lines.0.uom": "PCS"},
    "no unit": {"lines.0.uom": None},
    "a negative price": {"lines.0.price": -0.01},
    "a price of a tenth of a cent": {"lines.0.price": 0.001},
    "no price": {"lines.0.price": None},
    "an unknown member of a line": {"lines.0.unknown": 1},
    "a line that is text": {"lines.0": "x"},
}


def check(workload, port, credentials):
    """Fails unless the gateway on this port gives the right answer, and refuses whom it must."""
    tokens = credentials.tokens.get(workload.algorithm, [None])
    status, body = ask(workload, port, tokens[0])
    expected = 201 if workload.body else 200
    if status != expected:
        raise Failed(f"a good request was answered {status} instead of {expected}: {body[:300]!r}")
    if workload.body:
        _expect_same("the answer", body, workloads.order("answer-v1"))
    elif body.decode() != workloads.item():
        raise Failed(f"the answer of {len(body)} bytes is not the upstream's {workloads.ITEM_BYTES}")
    if workload.algorithm:
        wrong = {"no token": None, **credentials.wrong_tokens[workload.algorithm]}
        for what, token in wrong.items():
            status, _ = ask(workload, port, token)
            if status not in (401, 403):
                raise Failed(f"a request with {what} was answered {status} instead of 401")


def check_mapping(workload, port, credentials, recorder):
    """Fails unless the upstream gets the expected order, and none that breaks a rule of the contract."""
    token = credentials.tokens[workload.algorithm][0]
    recorder.bodies.clear()
    status, body = ask(workload, port, token)
    if status != 201 or len(recorder.bodies) != 1:
        raise Failed(f"a good order was answered {status} and forwarded {len(recorder.bodies)} times: {body[:300]!r}")
    _expect_same("the forwarded order", recorder.bodies[0], workloads.order("request-v3"))
    for what, change in WRONG_ORDERS.items():
        recorder.bodies.clear()
        status, body = ask(workload, port, token, json.dumps(_changed(json.loads(workload.body), change)))
        if not 400 <= status < 500 or recorder.bodies:
            raise Failed(f"an order with {what} was answered {status} instead of refused: {body[:300]!r}")


def ask(workload, port, token, body=None):
    """One request on a connection of its own: the answer's status and body."""
    if workload.tls:
        trusting = ssl.create_default_context()
        trusting.check_hostname = False
        trusting.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=trusting)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    sent = body or workload.body
    if sent:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(workload.method, workload.path, sent.encode() if sent else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"a request was not answered: {error!r}") from None
    finally:
        connection.close()


class Recorder:
    """An ERP that keeps the bodies it gets, for as long as the `with` block lasts."""

    def __init__(self):
        recorder = self
        self.bodies = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self._body()
                if self.path == "/orders":
                    recorder.bodies.append(body)
                answer = workloads.order("answer-v3").encode()
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def _body(self):
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def _changed(order, change):
    order = copy.deepcopy(order)
    for path, value in change.items():
        at = order
        *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        for step in way:
            at = at[step]
        if value is None:
            del at[last]
        else:
            at[last] = value
    return order


def _expect_same(what, got, expected):
    """Equal as JSON: order of members and spelling of numbers aside, values exact."""
    got, expected = (json.loads(text, parse_float=Decimal, parse_int=Decimal) for text in (got, expected))
    if got != expected:
        raise Failed(f"{what} differs: {_difference(got, expected)}")


def _difference(got, expected, at=""):
    if isinstance(got, dict) and isinstance(expected, dict):
        for name in [*expected, *got]:
            if got.get(name) != expected.get(name):
                return _difference(got.get(name), expected.get(name), f"{at}/{name}")
    if isinstance(got, list) and isinstance(expected, list) and len(got) == len(expected):
        for number, pair in enumerate(zip(got, expected)):
            if pair[0] != pair[1]:
                return _difference(*pair, f"{at}/{number}")
    return f"at `{at}` {got!r} instead of {expected!r}"
