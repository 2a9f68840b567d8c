"""What is measured: the requests, who competes, at which steady rate."""

import json
from dataclasses import dataclass
from pathlib import Path

ORDERS = Path(__file__).parent.parent / "orders"
ITEM = {"sku": "HX-40-M8-ZN", "available": 18400, "unit": "C62", "site": "HAM1", "note": ""}
ITEM_BYTES = 1024


@dataclass(frozen=True)
class Workload:
    """One kind of request, the same for all its peers; the first peer but Crossdock is the reference of ratios."""

    name: str
    title: str
    api: str
    path: str
    peers: tuple
    rate: int
    algorithm: str = None
    tls: bool = False
    body: str = None
    connections: int = 64
    streams: int = 1

    @property
    def method(self):
        return "POST" if self.body else "GET"

    @property
    def reference(self):
        return next(peer for peer in self.peers if peer != "crossdock")


def order(name):
    """One of the four orders, as one line of JSON."""
    return json.dumps(json.loads((ORDERS / f"{name}.json").read_text()), ensure_ascii=False, separators=(",", ":"))


def item():
    """The answer to a GET: one item of stock, padded to its size."""
    bare = len(json.dumps(ITEM, separators=(",", ":")))
    return json.dumps({**ITEM, "note": "x" * (ITEM_BYTES - bare)}, separators=(",", ":"))


_GATEWAYS = ("crossdock", "nginx", "haproxy", "envoy")
_WITH_TOKENS = ("crossdock", "haproxy", "envoy", "envoy-cache", "nginx-lua")

WORKLOADS = [
    Workload("W1", "GET of 1 KB over HTTP/1.1", "plain", "/plain/items/1", _GATEWAYS, 2000),
    Workload(
        "W2-RS256", "W1 with a JWT (RS256) and a limit per channel", "secured", "/secured/items/1",
        _WITH_TOKENS, 2000, algorithm="RS256",
    ),
    Workload(
        "W2-ES256", "W1 with a JWT (ES256) and a limit per channel", "secured", "/secured/items/1",
        _WITH_TOKENS, 2000, algorithm="ES256",
    ),
    Workload(
        "W3", "POST of a 1.3 KB order: JWT (RS256), limit, validation, mapping v1 to v3 and back", "orders",
        "/system/erp/v1/orders", ("crossdock", "nginx-lua", "node"), 1000, algorithm="RS256", body=order("request-v1"),
    ),
    Workload(
        "W4", "W1 over TLS 1.3 and HTTP/2, 10 streams a connection", "plain", "/plain/items/1", _GATEWAYS, 2000,
        tls=True, streams=10,
    ),
]


def chosen(names):
    """The workloads of these names; `W2` means both of its variants."""
    if not names:
        return WORKLOADS
    found = []
    for name in names:
        matching = [w for w in WORKLOADS if w.name.lower() == name.lower() or w.name.lower().startswith(name.lower() + "-")]
        if not matching:
            raise KeyError(name)
        found += [w for w in matching if w not in found]
    return found
