//! Whole policy folders, good and broken.

use std::{fs, path::Path};

use super::*;

const GATEWAY: &str = "kind: Gateway\n";
const ISSUER: &str = "\
kind: Issuer
name: login
issuer: https://login.example
audience: crossdock
jwks: https://login.example/keys
";
const UPSTREAM: &str = "\
kind: Upstream
name: erp
endpoints: [\"http://127.0.0.1:9101\"]
";
const CHANNEL: &str = "\
kind: Channel
name: storefront
tokens: [{ issuer: login, value: shop }]
apiKeys:
  - { id: first, sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 }
scopes: [\"orders:write\"]
";
const CARRIER: &str = "\
kind: Channel
name: carrier
signatures: [{ secrets: [file:secrets/carrier.sandbox] }]
scopes: [\"tracking:write\"]
";
const API: &str = "\
kind: Api
name: erp-orders
tier: system
path: /system/erp/{version}
contract: orders
upstream: { name: erp, version: v3 }
authenticate: [jwt, apiKey]
authorize: { scopes: { createOrder: [\"orders:write\"] } }
idempotency: { required: [createOrder] }
fallback:
  operations: [createOrder]
  orderBy: { v1: /orderNo, v3: /orderNumber }
  lane: { by: header:Service-Level, urgent: [same-day] }
transaction: { key: /orderNumber, type: order }
";

/// A folder with sound policies, some of which are then spoilt.
struct World(tempfile::TempDir);

impl World {
    fn sound() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        world.write("policies/gateway.yaml", GATEWAY);
        world.write("policies/issuers/login.yaml", ISSUER);
        world.write("policies/upstreams/erp.yaml", UPSTREAM);
        world.write("policies/channels/storefront.yaml", CHANNEL);
        world.write("policies/apis/erp-orders.yaml", API);
        world
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn sources(&self) -> Sources {
        Sources::read(&self.0.path().join("policies/gateway.yaml")).unwrap()
    }

    /// All mistakes, one per line, with paths from the policy folder on.
    fn mistakes(&self) -> String {
        let (policies, diagnostics) = parse(&self.sources());
        let is_sound = diagnostics.iter().all(|one| one.severity == Severity::Warning);
        assert_eq!(policies.is_some(), is_sound, "policies come without errors only");
        let folder = format!("{}/policies/", self.0.path().display());
        let lines: Vec<String> = diagnostics
            .iter()
            .map(|one| one.to_string().replace(&folder, ""))
            .collect();
        lines.join("\n")
    }
}

#[test]
fn sound_policies_have_no_mistakes() {
    let world = World::sound();
    assert_eq!(world.mistakes(), "");
    let policies = parse(&world.sources()).0.unwrap();
    assert_eq!(policies.apis[0].spec.name.value, "erp-orders");
    assert!(policies.apis[0].file.path.ends_with("policies/apis/erp-orders.yaml"));
    assert_eq!(policies.folder, world.0.path().join("policies"));
}

/// File, what is replaced in it, by what, and what is then said.
const SPOILT: [(&str, &str, &str, &str); 95] = [
    // What a file is.
    (
        "apis/erp-orders.yaml",
        "kind: Api\n",
        "",
        "apis/erp-orders.yaml:1:1: error: the file does not state its `kind` (help: start with `kind:` and one of `Gateway`, `Issuer`, `Upstream`, `Channel`, `Api`)",
    ),
    (
        "apis/erp-orders.yaml",
        "kind: Api",
        "kind: APIs",
        "apis/erp-orders.yaml:1:7: error: unknown kind `APIs` (help: did you mean `Api`? A file is one of `Gateway`, `Issuer`",
    ),
    (
        "apis/erp-orders.yaml",
        "kind: Api",
        "kind: Gateway",
        "1:7: error: a second file of kind `Gateway`",
    ),
    (
        "gateway.yaml",
        "kind: Gateway",
        "kind: Api",
        "gateway.yaml:1:7: error: the file given by `--config` is of kind `Api`",
    ),
    (
        "apis/erp-orders.yaml",
        "transaction:",
        "trasaction:",
        "14:1: error: unknown key `trasaction` (help: did you mean `transaction`?)",
    ),
    // Completion webhooks.
    (
        "channels/storefront.yaml",
        "kind: Channel\n",
        "kind: Channel\nwebhook: { url: ftp://shop/hooks?t=hunter2, secrets: [] }\n",
        "2:17: error: this is not an `http://` or `https://` URL",
    ),
    (
        "channels/storefront.yaml",
        "kind: Channel\n",
        "kind: Channel\nwebhook: { url: https://shop/hooks, secrets: [] }\n",
        "2:37: error: no secret, so no signature",
    ),
    (
        "channels/storefront.yaml",
        "kind: Channel\n",
        "kind: Channel\nwebhook: { url: https://shop/hooks, secrets: [file:no.secret] }\n",
        "2:47: error: the file `no.secret` cannot be read",
    ),
    (
        "channels/storefront.yaml",
        "kind: Channel\n",
        "kind: Channel\nwebhook: { url: http://shop/hooks?t=1, secrets: [] }\n",
        "2:17: warning: webhooks go over the network in clear text",
    ),
    (
        "channels/storefront.yaml",
        "kind: Channel\n",
        "kind: Channel\nwebhook: { url: https://shop/hooks, secrets: [], events: [], timeout: 31s }\n",
        "2:50: error: no event, so nothing is sent",
    ),
    (
        "channels/storefront.yaml",
        "kind: Channel\n",
        "kind: Channel\nwebhook: { url: https://shop/hooks, secrets: [], timeout: 31s }\n",
        "2:59: error: `timeout` is out of bounds (help: write a duration from 1ms to 30 s)",
    ),
    (
        "channels/storefront.yaml",
        "kind: Channel\n",
        "kind: Channel\nwebhook: { url: https://shop/hooks, secrets: [], giveUpAfter: 29d }\n",
        "2:63: error: `giveUpAfter` is out of bounds (help: write a duration from 60s to 2419200 s)",
    ),
    // The gateway.
    (
        "gateway.yaml",
        "Gateway\n",
        "Gateway\nadmin: { address: 0.0.0.0:9901 }\n",
        "gateway.yaml:2:19: error: the admin address `0.0.0.0:9901` is not a loopback address",
    ),
    (
        "gateway.yaml",
        "Gateway\n",
        "Gateway\nlisteners: []\n",
        "2:1: error: there is no listener",
    ),
    (
        "gateway.yaml",
        "Gateway\n",
        "Gateway\nlisteners: [{ address: 127.0.0.1:9901 }]\n",
        "2:24: error: the address `127.0.0.1:9901` is used twice",
    ),
    (
        "gateway.yaml",
        "Gateway\n",
        "Gateway\nlisteners:\n  - address: 127.0.0.1:1\n    tls: { certificate: no.pem, key: file:no.key }\n",
        "4:25: error: the file `no.pem` cannot be read",
    ),
    (
        "gateway.yaml",
        "Gateway\n",
        "Gateway\nstate: postgres://crossdock:hunter2@db/crossdock?sslmode=disable\n",
        "2:8: error: the database's URL holds a password; keep it elsewhere",
    ),
    (
        "gateway.yaml",
        "Gateway\n",
        "Gateway\nstate: postgres://crossdock@db/crossdock?sslmode=require\n",
        "2:8: error: `sslmode=require` would encrypt without knowing for whom; write `verify-full`",
    ),
    (
        "gateway.yaml",
        "Gateway\n",
        "Gateway\nstate: mysql://db/crossdock\n",
        "2:8: error: `mysql://` is not a place for state (help: write a folder, or postgres://USER@HOST/DATABASE)",
    ),
    (
        "gateway.yaml",
        "Gateway\n",
        "Gateway\ndatabase: { schema: crossdock }\n",
        "2:1: error: there is no database: `state` names a folder",
    ),
    (
        "gateway.yaml",
        "Gateway\n",
        "Gateway\nstate: postgres://crossdock@localhost/crossdock\ndatabase: { schema: Fleet-1 }\n",
        "3:21: error: `Fleet-1` cannot be the name of a schema",
    ),
    (
        "gateway.yaml",
        "Gateway\n",
        "Gateway\nstate: postgres://crossdock@localhost/crossdock\ndatabase: { password: file:no.secret }\n",
        "3:23: error: the file `no.secret` cannot be read",
    ),
    (
        "gateway.yaml",
        "Gateway\n",
        "Gateway\nqueue: { lease: 10s }\n",
        "2:17: error: a lease of 10s is too short for upstream",
    ),
    (
        "gateway.yaml",
        "Gateway\n",
        "Gateway\nlimits: { headerBytes: 1KiB }\n",
        "2:24: error: `headerBytes` is out of bounds",
    ),
    (
        "gateway.yaml",
        "Gateway\n",
        "Gateway\ntelemetry: { traces: { endpoint: collector } }\n",
        "2:34: error: this is not an `http://` or `https://` URL",
    ),
    // Issuers.
    (
        "issuers/login.yaml",
        "audience",
        "leeway: 6m\naudience",
        "issuers/login.yaml:4:9: error: the leeway is more than 5m",
    ),
    (
        "issuers/login.yaml",
        "audience",
        "algorithms: []\naudience",
        "4:1: error: no algorithm is accepted",
    ),
    (
        "issuers/login.yaml",
        "https://login.example/keys",
        "ftp://login.example",
        "5:7: error: this is not an `http://` or `https://` URL",
    ),
    (
        "issuers/login.yaml",
        "https://login.example/keys",
        "file:keys.json",
        "5:7: error: the file `keys.json` cannot be read",
    ),
    (
        "issuers/login.yaml",
        "name: login",
        "name: log in",
        "2:7: error: `log in` cannot be a name",
    ),
    // Channels.
    (
        "channels/storefront.yaml",
        "issuer: login",
        "issuer: logn",
        "channels/storefront.yaml:3:20: error: there is no Issuer named `logn` (help: did you mean `login`?)",
    ),
    (
        "channels/storefront.yaml",
        "value: shop }",
        "value: shop }, { issuer: login, value: shop }",
        "3:66: error: tokens of `login` for `shop` name two channels",
    ),
    (
        "channels/storefront.yaml",
        "9f86",
        "9F86",
        "5:26: error: this is not a SHA-256 digest (help: write 64 lower-case hexadecimal digits",
    ),
    (
        "channels/storefront.yaml",
        "name: storefront",
        "name: anonymous",
        "2:7: error: the name `anonymous` is reserved",
    ),
    // Upstreams.
    (
        "upstreams/erp.yaml",
        "http://127.0.0.1:9101",
        "127.0.0.1:9101",
        "upstreams/erp.yaml:3:13: error: this is not an `http://` or `https://` URL",
    ),
    (
        "upstreams/erp.yaml",
        "http://127",
        "http://me:pass@127",
        "3:13: error: the URL carries a user name or password",
    ),
    (
        "upstreams/erp.yaml",
        "9101",
        "9101/x?y=1",
        "3:13: error: the URL has a query",
    ),
    (
        "upstreams/erp.yaml",
        "9101",
        "9101/x#y",
        "3:13: error: the URL has a fragment",
    ),
    ("upstreams/erp.yaml", "9101", "99999", "3:13: error: "),
    (
        "upstreams/erp.yaml",
        "[\"http://127.0.0.1:9101\"]",
        "[]",
        "3:1: error: there is no endpoint",
    ),
    (
        "upstreams/erp.yaml",
        "9101\"",
        "9101\", \"http://127.0.0.1:9101\"",
        "3:38: error: the endpoint `http://127.0.0.1:9101` is named twice",
    ),
    (
        "upstreams/erp.yaml",
        "endpoints",
        "attempts: 11\nendpoints",
        "3:11: error: 11 attempts are too many (help: write 1 to 10",
    ),
    (
        "upstreams/erp.yaml",
        "endpoints",
        "timeouts: { connect: 0s }\nendpoints",
        "3:22: error: with `connect: 0` no request succeeds",
    ),
    (
        "upstreams/erp.yaml",
        "endpoints",
        "credentials: [{ header: A B, value: 'env:PATH' }]\nendpoints",
        "3:25: error: `A B` is not the name of a header field",
    ),
    (
        "upstreams/erp.yaml",
        "endpoints",
        "credentials: [{ header: Host, value: 'env:PATH' }]\nendpoints",
        "3:25: error: the header field `host` is the gateway's own",
    ),
    (
        "upstreams/erp.yaml",
        "endpoints",
        "credentials: [{ header: A, value: 'env:CROSSDOCK_UNSET' }]\nendpoints",
        "3:35: error: the environment variable `CROSSDOCK_UNSET` is not set",
    ),
    (
        "upstreams/erp.yaml",
        "endpoints",
        "credentials: [{ header: A, value: 'file:no.txt' }]\nendpoints",
        "3:35: error: the file `no.txt` cannot be read: No such file",
    ),
    (
        "upstreams/erp.yaml",
        "endpoints",
        "credentials: [{ header: A, value: 'file:apis/erp-orders.yaml' }]\nendpoints",
        "3:35: error: the value kept in `file:apis/erp-orders.yaml` cannot be sent in a header field",
    ),
    (
        "upstreams/erp.yaml",
        "endpoints",
        "repeats: { honoured: { header: 'x y' } }\nendpoints",
        "3:32: error: `x y` is not the name of a header field",
    ),
    // APIs.
    (
        "apis/erp-orders.yaml",
        "name: erp,",
        "name: epr,",
        "apis/erp-orders.yaml:6:19: error: there is no Upstream named `epr` (help: did you mean `erp`?)",
    ),
    (
        "apis/erp-orders.yaml",
        "/system/erp",
        "system/erp",
        "4:7: error: the path `system/erp/{version}` does not start with `/`",
    ),
    (
        "apis/erp-orders.yaml",
        "/system/erp",
        "/system//erp",
        "4:7: error: the path `/system//erp/{version}` has an empty segment",
    ),
    (
        "apis/erp-orders.yaml",
        "{version}\n",
        "{id}\n",
        "4:7: error: the segment `{id}` is not `{version}`",
    ),
    (
        "apis/erp-orders.yaml",
        "/system/erp",
        "/status/erp",
        "4:7: error: paths below `/status` are the gateway's own",
    ),
    (
        "apis/erp-orders.yaml",
        "/system/erp/",
        "/",
        "4:7: error: a path that starts with `{version}` would cover `/status`",
    ),
    (
        "apis/erp-orders.yaml",
        "contract: orders\n",
        "",
        "5:33: error: the upstream speaks version `v3` of no contract",
    ),
    (
        "apis/erp-orders.yaml",
        ", version: v3",
        "",
        "5:11: error: contract `orders` without the version the upstream speaks",
    ),
    (
        "apis/erp-orders.yaml",
        "[jwt, apiKey]",
        "[]",
        "7:1: error: nothing authenticates callers",
    ),
    (
        "channels/carrier.yaml",
        "file:secrets/carrier.sandbox",
        "whsec_hunter2",
        "3:26: error: a secret is named by where it is kept (help: write `file:PATH` or `env:NAME`)",
    ),
    (
        "channels/carrier.yaml",
        "carrier.sandbox]",
        "carrier.live]",
        "error: the file `secrets/carrier.live` cannot be read",
    ),
    (
        "channels/carrier.yaml",
        "carrier.sandbox] }",
        "carrier.sandbox], hmac: { header: X-Signature, encoding: hex, signs: '{timestamp}' } }",
        "3:108: error: `{timestamp}` leaves the body unsigned (help: write {body} into it)",
    ),
    (
        "channels/carrier.yaml",
        "carrier.sandbox] }",
        "carrier.sandbox], hmac: { header: X-Signature, encoding: hex, signs: '{timestamp}.{body}' } }",
        "error: `{timestamp}` is signed, but found nowhere (help: name its header field under `timestamp`",
    ),
    (
        "channels/carrier.yaml",
        "carrier.sandbox] }",
        "carrier.sandbox], hmac: { header: X-Signature, encoding: hex, timestamp: X-Time } }",
        "error: the time of signing is not signed itself (help: write `{timestamp}` into `signs`",
    ),
    (
        "channels/carrier.yaml",
        "carrier.sandbox] }",
        "carrier.sandbox], hmac: { header: X-Signature, encoding: hex, format: 'sha256=' } }",
        "error: `sha256=` does not say where the signature stands",
    ),
    (
        "apis/erp-orders.yaml",
        "[jwt, apiKey]",
        "[jwt, basic]",
        "7:21: error: unknown value `basic` (help: write one of `jwt`, `apiKey`, `signature`, `anonymous`)",
    ),
    (
        "apis/erp-orders.yaml",
        "orders:write",
        "orders:wriet",
        "8:38: warning: no Channel has the scope `orders:wriet`, so nobody may call `createOrder` (help: did you mean `orders:write`?)",
    ),
    (
        "apis/erp-orders.yaml",
        "[createOrder] }\n",
        "[] }\n",
        "11:16: error: `createOrder` may be queued, but needs no idempotency key (help: add it to `idempotency.required`",
    ),
    (
        "apis/erp-orders.yaml",
        "/orderNo,",
        "orderNo,",
        "12:18: error: `orderNo` is not a place in a request (help: write a JSON Pointer",
    ),
    (
        "apis/erp-orders.yaml",
        "key: /orderNumber",
        "key: /order~Number",
        "14:21: error: `/order~Number` is not a JSON Pointer",
    ),
    (
        "apis/erp-orders.yaml",
        "header:Service-Level",
        "'header:Service Level'",
        "13:15: error: `Service Level` is not the name of a header field",
    ),
    (
        "apis/erp-orders.yaml",
        "header:Service-Level",
        "'path:'",
        "13:15: error: `` is not the name of a path parameter",
    ),
    (
        "apis/erp-orders.yaml",
        "[same-day]",
        "[same-day], bulk: [same-day]",
        "13:64: error: `same-day` is both urgent and bulk",
    ),
    (
        "apis/erp-orders.yaml",
        "upstream:",
        "defaultVersion: v1\nupstream:",
        "6:17: error: `defaultVersion`, but the path names the version of every request (help: remove it",
    ),
    (
        "channels/storefront.yaml",
        "scopes:",
        "versions: { erp-order: v1 }\nscopes:",
        "6:24: error: there is no Api named `erp-order` (help: did you mean `erp-orders`?)",
    ),
    (
        "channels/storefront.yaml",
        "scopes:",
        "versions: { erp-orders: v1 }\nscopes:",
        "6:25: error: the path of API `erp-orders` names the version of every request: a pin changes nothing",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "versions:\n  v1: { state: deprecated }\nauthenticate:",
        "8:16: error: `deprecated` without the time since when (help: add `since: 2026-06-01`",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "versions:\n  v1: { state: old }\nauthenticate:",
        "8:16: error: unknown value `old` (help: expected one of `draft`",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "versions:\n  v1: oldest\nauthenticate:",
        "8:7: error: unknown value `oldest`",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "versions:\n  v1: { state: draft, sunset: 2027-01-01 }\nauthenticate:",
        "8:31: error: `sunset` says nothing of a version that is `draft` (help: beside `state: draft` may stand `channels`)",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "versions:\n  v1: { state: deprecated, since: 2026-06-01, sunset: 2026-01-01 }\nauthenticate:",
        "8:55: error: its sunset, 2026-01-01T00:00:00Z, comes before it is deprecated",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "versions:\n  v1: { state: deprecated, since: 2026-06-01, successor: v2 }\nauthenticate:",
        "8:58: error: `v2` is no version that callers could move to (help: offer it: add `v2: active`",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "versions:\n  v1: { state: deprecated, since: 2026-06-31 }\nauthenticate:",
        "8:35: error: `2026-06-31` is not a point in time (help: write a day, 2026-06-01",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "versions:\n  v1: { state: deprecated, since: 2026-06-01, brownOuts: [{ from: 2027-01-02, to: 2027-01-01 }] }\nauthenticate:",
        "8:67: error: the brown-out ends before it begins",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "versions:\n  v1: { state: deprecated, since: 2026-06-01, brownOuts: [{ from: 2026-01-01, to: 2026-01-02 }] }\nauthenticate:",
        "8:67: error: the brown-out comes before the version is deprecated",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "versions:\n  v1: { state: canary }\nauthenticate:",
        "8:16: error: `canary` for nobody (help: add `share: 5%`",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "versions:\n  v1: { state: canary, percent: 5 }\nauthenticate:",
        "8:24: error: unknown key `percent`",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "versions:\n  v1: { state: draft, channels: [storefrnt] }\nauthenticate:",
        "8:34: error: there is no Channel named `storefrnt` (help: did you mean `storefront`?)",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "versions:\n  v1: { state: retired, link: docs }\nauthenticate:",
        "8:31: error: `docs` is not a URL that an answer could point to",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "candidate: { mode: shadow, share: 5% }\nauthenticate:",
        "7:35: error: `share` says nothing of a candidate that is a shadow (help: beside `mode: shadow` may stand `sample`)",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "candidate: { mode: canary, sample: 5% }\nauthenticate:",
        "7:36: error: `sample` says nothing of a candidate that is a canary",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "candidate: { mode: canary }\nauthenticate:",
        "7:20: error: a canary for nobody (help: add `share: 5%`",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "candidate: { mode: canary, share: 5%, upstream: { name: erp } }\nauthenticate:",
        "7:57: error: the candidate's upstream without the version it speaks",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "candidate: { mode: canary, share: 5%, rollback: { failures: 2 } }\nauthenticate:",
        "error: `2` is not a percentage",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "validate: { channels: { storefrnt: { request: report } } }\nauthenticate:",
        "error: there is no Channel named `storefrnt` (help: did you mean `storefront`?)",
    ),
    (
        "apis/erp-orders.yaml",
        "authenticate:",
        "validate: { request: { sampled: 5 } }\nauthenticate:",
        "error: `5` is not a percentage",
    ),
];

#[test]
fn every_mistake_is_named_with_its_place_and_remedy() {
    let mut wrong = Vec::new();
    for (file, what, by, expected) in SPOILT {
        let world = World::sound();
        world.write("policies/channels/carrier.yaml", CARRIER);
        world.write(
            "policies/secrets/carrier.sandbox",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
        );
        let path = format!("policies/{file}");
        let text = fs::read_to_string(world.0.path().join(&path)).unwrap();
        assert!(text.contains(what), "{what} is in {file}");
        world.write(&path, text.replacen(what, by, 1));
        let said = world.mistakes();
        if !said.contains(expected) {
            wrong.push(format!("{file}: {what} -> {by}\nexpected {expected}\nsaid {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_mistakes_of_all_files_are_said_in_one_run() {
    let world = World::sound();
    world.write(
        "policies/apis/erp-orders.yaml",
        API.replace("path: /", "path: ").replace("[jwt, apiKey]", "[]"),
    );
    world.write("policies/upstreams/erp.yaml", UPSTREAM.replace("endpoints", "endpoint"));
    world.write("policies/channels/storefront.yaml", b"kind: Channel\nname: caf\xe9\n");
    world.write("policies/empty.yaml", "");
    let said = world.mistakes();
    let places: Vec<&str> = said.lines().map(|line| line.split(": ").next().unwrap()).collect();
    let expected = [
        "apis/erp-orders.yaml:4:7",
        "apis/erp-orders.yaml:7:1",
        "channels/storefront.yaml:2:10",
        "empty.yaml",
        "upstreams/erp.yaml:3:1",
    ];
    assert_eq!(places, expected, "{said}");
    assert!(said.contains("the byte 0xe9 is not UTF-8"), "{said}");
}

#[test]
fn what_refers_to_a_broken_file_is_not_a_second_mistake() {
    let world = World::sound();
    world.write("policies/issuers/login.yaml", ISSUER.replace("jwks", "jwsk"));
    let said = world.mistakes();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.starts_with("issuers/login.yaml:5:1: error: unknown key `jwsk`"),
        "{said}"
    );
}

#[test]
fn names_paths_keys_and_tokens_are_unique() {
    let world = World::sound();
    world.write("policies/apis/second.yaml", API);
    world.write(
        "policies/channels/zweiter.yaml",
        CHANNEL.replace("name: storefront", "name: marketplace"),
    );
    world.write(
        "policies/issuers/second.yaml",
        ISSUER.replace("name: login", "name: other"),
    );
    let said = world.mistakes();
    for expected in [
        "apis/second.yaml:2:7: error: a second Api named `erp-orders` (help: the first one is in ",
        "apis/second.yaml:4:7: error: a second API at `/system/erp/{version}`",
        "channels/zweiter.yaml:3:34: error: tokens of `login` for `shop` name two channels (help: channel `storefront`",
        "channels/zweiter.yaml:5:26: error: the API key `first` is used twice (help: channel `storefront` has the same key",
        "issuers/second.yaml:3:9: error: a second Issuer with `issuer: https://login.example`",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}

#[test]
fn ways_in_that_nobody_can_use_are_named() {
    let world = World::sound();
    fs::remove_dir_all(world.0.path().join("policies/issuers")).unwrap();
    fs::remove_dir_all(world.0.path().join("policies/channels")).unwrap();
    let said = world.mistakes();
    assert!(said.contains("7:16: error: `jwt` without any Issuer"), "{said}");
    assert!(
        said.contains("7:21: warning: `apiKey`, but no Channel has API keys"),
        "{said}"
    );
}

#[test]
fn passwords_and_keys_are_not_shown() {
    let world = World::sound();
    world.write(
        "policies/upstreams/erp.yaml",
        UPSTREAM.replace("http://", "http://me:hunter2@"),
    );
    world.write(
        "policies/channels/storefront.yaml",
        CHANNEL.replace("sha256: 9f86", "sha256: hunter2"),
    );
    let (_, diagnostics) = parse(&world.sources());
    assert_eq!(diagnostics.len(), 2);
    assert!(!format!("{diagnostics:?}").contains("hunter2"));
}

#[test]
fn contracts_are_found_by_their_folder() {
    let world = World::sound();
    world.write("contracts/orders/v1/openapi.yaml", "openapi: 3.1.0\n");
    world.write("contracts/orders/samples/a.json", "{}");
    world.write("contracts/orders/readme.md", "x");
    world.write("contracts/stray.yaml", "x");
    let sources = world.sources();
    let below: Vec<&Path> = sources.contracts["orders"]
        .iter()
        .map(|file| file.path.strip_prefix(&sources.contracts_folder).unwrap())
        .collect();
    assert_eq!(
        below,
        [Path::new("orders/samples/a.json"), Path::new("orders/v1/openapi.yaml")]
    );
    assert_eq!(sources.contracts.len(), 1);
    assert_eq!(
        sources.contracts_folder,
        world.0.path().join("contracts"),
        "shown without `..`"
    );
    assert_eq!(sources.count(), 7);
}

#[test]
fn contracts_within_the_policy_folder_are_not_policies() {
    let world = World::sound();
    world.write("policies/gateway.yaml", "kind: Gateway\ncontracts: contracts\n");
    world.write("policies/contracts/orders/v1/openapi.yaml", "openapi: 3.1.0\n");
    assert_eq!(world.mistakes(), "");
    assert_eq!(world.sources().contracts["orders"].len(), 1);
}

#[test]
fn the_digest_changes_with_names_and_texts() {
    let world = World::sound();
    let before = world.sources().digest;
    assert_eq!(world.sources().digest, before);
    world.write("policies/upstreams/erp.yaml", format!("{UPSTREAM}# a comment\n"));
    let commented = world.sources().digest;
    assert_ne!(commented, before);
    let upstreams = world.0.path().join("policies/upstreams");
    fs::rename(upstreams.join("erp.yaml"), upstreams.join("sap.yaml")).unwrap();
    assert_ne!(world.sources().digest, commented);
}

#[cfg(unix)]
#[test]
fn links_of_a_mounted_config_map_are_followed_once_and_loops_end() {
    use std::os::unix::fs::symlink;
    let world = World::sound();
    let policies = world.0.path().join("policies");
    fs::create_dir(policies.join("..2026")).unwrap();
    fs::rename(policies.join("apis"), policies.join("..2026/apis")).unwrap();
    fs::rename(policies.join("upstreams/erp.yaml"), policies.join("..2026/erp.yaml")).unwrap();
    symlink("..2026", policies.join("..data")).unwrap();
    symlink("..data/apis", policies.join("apis")).unwrap();
    symlink("..data/erp.yaml", policies.join("erp.yaml")).unwrap();
    symlink("..", policies.join("upstreams/loop")).unwrap();
    symlink(".", policies.join("upstreams/self")).unwrap();
    assert_eq!(world.mistakes(), "");
    assert_eq!(world.sources().count(), 5);

    symlink("nowhere", policies.join("dangling.yaml")).unwrap();
    assert!(
        world
            .mistakes()
            .starts_with("dangling.yaml: error: the file cannot be read")
    );
}

#[test]
fn reading_is_bounded() {
    let world = World::sound();
    world.write("policies/large.yaml", vec![b'#'; 17 << 20]);
    assert_eq!(world.mistakes(), "large.yaml: error: the file is larger than 16 MiB");

    let bounds = Bounds { files: 3, depth: 8 };
    let wrong = files_below(&world.0.path().join("policies"), &[], &bounds, &|_| true).unwrap_err();
    assert!(wrong.message.contains("more than 3 files"), "{wrong}");
}

#[test]
fn a_gateway_file_that_is_not_there_is_said_so() {
    let wrong = Sources::read(Path::new("no/such/gateway.yaml")).unwrap_err();
    assert!(
        wrong[0]
            .to_string()
            .starts_with("no/such/gateway.yaml: error: the file cannot be read: No such file")
    );
}

#[test]
fn a_secret_is_the_content_of_its_file_without_the_final_line_break() {
    let folder = tempfile::tempdir().unwrap();
    for (text, value) in [("a b\n", "a b"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a")] {
        fs::write(folder.path().join("key"), text).unwrap();
        assert_eq!(*resolve(&Secret::File("key".into()), folder.path()).unwrap(), value);
    }
    for wrong in ["", "\n"] {
        fs::write(folder.path().join("key"), wrong).unwrap();
        assert_eq!(
            resolve(&Secret::File("key".into()), folder.path()).unwrap_err(),
            "the secret `file:key` is empty"
        );
    }
    fs::write(folder.path().join("key"), vec![b'x'; 70_000]).unwrap();
    assert!(
        resolve(&Secret::File("key".into()), folder.path())
            .unwrap_err()
            .contains("longer than 65536 bytes")
    );
    assert!(
        resolve(&Secret::File(".".into()), folder.path())
            .unwrap_err()
            .contains("not a regular file")
    );
}

#[test]
fn the_repositorys_own_policies_are_sound() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let gateway = root.join("policies/gateway.yaml");
    if !gateway.exists() {
        return;
    }
    let (policies, diagnostics) = parse(&Sources::read(&gateway).unwrap());
    assert!(
        policies.is_some(),
        "{}",
        crate::config::report(&diagnostics, 0, crate::config::ReportStyle::Plain)
    );
}
