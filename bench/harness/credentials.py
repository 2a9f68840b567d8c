"""Makes the keys, the key set, the tokens and the certificate of a run; nothing of it outlives the run."""

import base64
import json
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

ISSUER = "https://issuer.bench.test"
AUDIENCE = "crossdock-bench"
CHANNELS = [f"channel-{number}" for number in range(10)]
TOKENS_PER_CHANNEL = 10
LIFETIME = 12 * 3600


@dataclass
class Credentials:
    """What proves who calls: files for the gateways, tokens for the load generator."""

    jwks: Path
    public_keys: dict
    certificate: Path
    certificate_key: Path
    certificate_and_key: Path
    tokens: dict = field(default_factory=dict)
    wrong_tokens: dict = field(default_factory=dict)


def make(folder):
    folder = Path(folder)
    keys = {"RS256": folder / "rs256.key.pem", "ES256": folder / "es256.key.pem"}
    _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", keys["RS256"])
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", keys["ES256"])
    public_keys = {}
    for algorithm, key in keys.items():
        public_keys[algorithm] = folder / f"{algorithm.lower()}.pub.pem"
        _openssl("pkey", "-in", key, "-pubout", "-out", public_keys[algorithm])

    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": [_rsa_jwk(keys["RS256"]), _ec_jwk(keys["ES256"])]}))

    made = Credentials(jwks, public_keys, folder / "tls.crt.pem", folder / "tls.key.pem", folder / "tls.both.pem")
    _openssl(
        *"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost".split(),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-keyout", made.certificate_key, "-out", made.certificate),
    )
    made.certificate_and_key.write_text(made.certificate.read_text() + made.certificate_key.read_text())

    for algorithm, key in keys.items():
        made.tokens[algorithm] = [
            _token(algorithm, key, client_id=channel, jti=f"{channel}.{number}")
            for number in range(TOKENS_PER_CHANNEL)
            for channel in CHANNELS
        ]
        good = made.tokens[algorithm][0]
        made.wrong_tokens[algorithm] = {
            "a forged signature": _forge(good),
            "an expired token": _token(algorithm, key, client_id=CHANNELS[0], exp=int(time.time()) - 3600),
            "a token for another audience": _token(algorithm, key, client_id=CHANNELS[0], aud="somebody-else"),
            "a token of another issuer": _token(algorithm, key, client_id=CHANNELS[0], iss="https://other.test"),
        }
    return made


def _token(algorithm, key, **claims):
    now = int(time.time())
    header = {"alg": algorithm, "typ": "at+jwt", "kid": algorithm.lower()}
    payload = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": claims["client_id"],
        "scope": "orders:read orders:write",
        "iat": now - 60,
        "exp": now + LIFETIME,
        **claims,
    }
    signed = ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, payload))
    signature = _openssl("dgst", "-sha256", "-sign", key, input=signed.encode())
    if algorithm == "ES256":
        signature = _two_integers(signature)
    return f"{signed}.{_base64url(signature)}"


def _forge(token):
    signed, _, signature = token.rpartition(".")
    middle = len(signature) // 2
    other = "A" if signature[middle] != "A" else "B"
    return f"{signed}.{signature[:middle]}{other}{signature[middle + 1:]}"


def _two_integers(der):
    """An ECDSA signature as RFC 7518 §3.4 writes it: r and s of 32 bytes each, instead of DER."""
    integers, at = [], 2
    for _ in range(2):
        length = der[at + 1]
        integers.append(int.from_bytes(der[at + 2 : at + 2 + length], "big").to_bytes(32, "big"))
        at += 2 + length
    return b"".join(integers)


def _rsa_jwk(key):
    modulus = _openssl("rsa", "-in", key, "-noout", "-modulus").decode().strip().partition("=")[2]
    return {
        "kty": "RSA",
        "kid": "rs256",
        "use": "sig",
        "alg": "RS256",
        "n": _base64url(bytes.fromhex(modulus)),
        "e": "AQAB",
    }


def _ec_jwk(key):
    point = _openssl("pkey", "-in", key, "-pubout", "-outform", "DER")[-64:]
    return {
        "kty": "EC",
        "crv": "P-256",
        "kid": "es256",
        "use": "sig",
        "alg": "ES256",
        "x": _base64url(point[:32]),
        "y": _base64url(point[32:]),
    }


def _base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _openssl(*arguments, input=None):
    done = subprocess.run(
        ["openssl", *map(str, arguments)], input=input, capture_output=True, check=True, timeout=60
    )
    return done.stdout
