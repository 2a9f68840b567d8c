"""Writes Envoy's configuration: its YAML is deeply nested, and JSON is YAML too."""

import json

from .credentials import AUDIENCE, CHANNELS, ISSUER

TYPES = "type.googleapis.com/envoy.extensions"


def configuration(port, upstream, tls=None, jwks=None, token_cache=False, limit=None, prefix="/"):
    """`tls` is a pair of certificate and key; with `jwks` come authentication and a limit per channel."""
    policies = [_authentication(jwks, token_cache), _limit(limit)] if jwks else []
    route = {"cluster": "erp", "timeout": "30s"}
    if jwks:
        by_channel = {"request_headers": {"header_name": "x-channel", "descriptor_key": "channel"}}
        route["rate_limits"] = [{"actions": [by_channel]}]
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "channels",
        "codec_type": "AUTO",
        # The other peers make no request identifiers either.
        "generate_request_id": False,
        "stream_idle_timeout": "600s",
        "http2_protocol_options": {"max_concurrent_streams": 200},
        "access_log": [_access_log()],
        "http_filters": [*policies, {"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": prefix}, "route": route}]}
            ]
        },
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    if tls:
        chain["transport_socket"] = _tls(*tls)
    listener = {
        "name": "channels",
        "address": _address(port),
        "enable_reuse_port": True,
        "tcp_backlog_size": 8192,
        "filter_chains": [chain],
    }
    bounds = {"max_connections": 20_000, "max_pending_requests": 20_000, "max_requests": 20_000}
    cluster = {
        "name": "erp",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [bounds]},
        "load_assignment": {
            "cluster_name": "erp",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}],
        },
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}, indent=2)


def _authentication(jwks, token_cache):
    provider = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "forward": True,
        "local_jwks": {"filename": str(jwks)},
        "claim_to_headers": [{"header_name": "x-channel", "claim_name": "client_id"}],
    }
    if token_cache:
        provider["jwt_cache_config"] = {"jwt_cache_size": 1000}
    rules = [{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}]
    kind = f"{TYPES}.filters.http.jwt_authn.v3.JwtAuthentication"
    return {"name": "jwt", "typed_config": {"@type": kind, "providers": {"issuer": provider}, "rules": rules}}


def _limit(per_second):
    bucket = {"max_tokens": per_second, "tokens_per_fill": per_second, "fill_interval": "1s"}
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return {
        "name": "limit",
        "typed_config": {
            "@type": f"{TYPES}.filters.http.local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "limit",
            "token_bucket": bucket,
            "filter_enabled": always,
            "filter_enforced": always,
            "descriptors": [
                {"entries": [{"key": "channel", "value": channel}], "token_bucket": bucket} for channel in CHANNELS
            ],
        },
    }


def _access_log():
    line = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "status": "%RESPONSE_CODE%",
        "bytes": "%BYTES_SENT%",
        "milliseconds": "%DURATION%",
        "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    }
    kind = f"{TYPES}.access_loggers.file.v3.FileAccessLog"
    return {
        "name": "file",
        "typed_config": {"@type": kind, "path": "/dev/null", "log_format": {"json_format": line}},
    }


def _tls(certificate, key):
    pair = {"certificate_chain": {"filename": str(certificate)}, "private_key": {"filename": str(key)}}
    context = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificates": [pair],
    }
    kind = f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext"
    return {"name": "tls", "typed_config": {"@type": kind, "common_tls_context": context}}


def _address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
