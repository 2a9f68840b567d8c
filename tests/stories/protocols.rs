//! Real clients on real wires: curl and nghttp2, clear text and TLS.

use std::process::Command;

use crate::{harness::World, orders::order_v2};

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether a program is installed. In CI it must be.
pub(crate) fn has(program: &str) -> bool {
    // Not every program knows the argument; one that is there starts all the same.
    let found = Command::new(program).arg("--version").output().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "{program} is not installed");
    if !found {
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

#[expect(clippy::too_many_lines, reason = "one story, told by the arguments of two programs")]
#[tokio::test(flavor = "multi_thread")]
async fn curl_speaks_http2_over_tls_and_without() {
    if !has("curl") || !has("openssl") {
        return;
    }
    let world = World::start_with(|folder| {
        let tls = folder.join("policies");
        let (key, certificate) = (tls.join("key.pem"), tls.join("certificate.pem"));
        run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-keyout",
                key.to_str().unwrap(),
                "-out",
                certificate.to_str().unwrap(),
            ],
        );
        let gateway = tls.join("gateway.yaml");
        let text = std::fs::read_to_string(&gateway).unwrap();
        let line = text
            .lines()
            .find(|line| line.contains("- { address:"))
            .expect("the demo's listener")
            .to_owned();
        let second = "  - { address: 127.0.0.1:0, tls: { certificate: certificate.pem, key: file:key.pem } }";
        std::fs::write(gateway, text.replace(&line, &format!("{line}\n{second}"))).unwrap();
    })
    .await;
    let token = world.token("storefront");
    let authorization = format!("authorization: Bearer {token}");
    let format = "%{http_version} %{http_code} %{ssl_verify_result}";
    let clear = format!("{}/system/erp/v2/orders", world.gateway_url());
    let answer = run(
        "curl",
        &[
            "-s",
            "--http2-prior-knowledge",
            "-o",
            "/dev/null",
            "-w",
            format,
            "-H",
            &authorization,
            &clear,
        ],
    );
    assert_eq!(answer, "2 200 0");

    let port = tls_port(&world.gateway_log());
    let secure = format!("https://localhost:{port}/system/erp/v2/orders");
    let authority = world.folder().join("policies/certificate.pem");
    let authority = authority.to_str().unwrap();
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let answer = run(
            "curl",
            &[
                "-s",
                option,
                "--cacert",
                authority,
                "-o",
                "/dev/null",
                "-w",
                format,
                "-H",
                &authorization,
                &secure,
            ],
        );
        assert_eq!(answer, format!("{version} 200 0"));
    }
    let order = order_v2("TLS-1").to_string();
    let answer = run(
        "curl",
        &[
            "-s",
            "--cacert",
            authority,
            "-w",
            "%{http_code}",
            "-o",
            "/dev/null",
            "-H",
            &authorization,
            "-H",
            "content-type: application/json",
            "-H",
            "idempotency-key: tls-1",
            "-d",
            &order,
            &secure,
        ],
    );
    assert_eq!(answer, "201");
}

/// Second of the addresses that the gateway says it listens on.
fn tls_port(log: &str) -> String {
    let line = log
        .lines()
        .find(|line| line.contains("listening"))
        .expect("the gateway says where it listens");
    let ports: Vec<&str> = line.split("127.0.0.1:").skip(1).collect();
    ports[1].chars().take_while(char::is_ascii_digit).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nghttp2_sends_many_streams_over_one_connection() {
    if !has("h2load") {
        return;
    }
    let world = World::start().await;
    let url = format!("{}/nothing", world.gateway_url());
    let report = run("h2load", &["-n", "200", "-c", "2", "-m", "20", &url]);
    assert!(report.contains("200 4xx"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_what_is_in_flight() {
    let mut world = World::start().await;
    let token = world.token("agent-desktop");
    world.fault("crm", "slow").await;
    let url = format!("{}/system/crm/v1/cases", world.gateway_url());
    let headers = format!("authorization: Bearer {token}");
    let curl = tokio::task::spawn_blocking(move || {
        let arguments = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", &headers, &url];
        String::from_utf8(Command::new("curl").args(arguments).output().unwrap().stdout).unwrap()
    });
    let in_flight = async || {
        world.admin("/metrics").await.text.lines().any(|line| {
            line.starts_with("crossdock_http_requests_in_flight") && line.contains("crm-cases") && !line.ends_with(" 0")
        })
    };
    world.until("the request is under way", in_flight).await;
    world.signals_gateway("TERM");
    assert!(world.gateway_ends().await, "it ended well");
    let status = curl.await.unwrap();
    assert!(["200", "504"].contains(&status.as_str()), "an answer came: {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_nothing_or_nonsense_is_not_waited_for() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let world = World::start_with(|folder| {
        let path = folder.join("policies/gateway.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{text}\nlimits: {{ headerTimeout: 1s }}\n")).unwrap();
    })
    .await;
    let address = world.gateway_url().replace("http://", "");
    for first in ["", "PR", "GET / HTTP/1.1\r\nhost: x\r\n", "\u{1}\u{2}\u{3}\u{4}"] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(std::time::Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
        assert!(closed.is_ok(), "{first:?} was waited for");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_framing_is_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let world = World::start().await;
    let address = world.gateway_url().replace("http://", "");
    for head in [
        "POST /system/erp/v1/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "POST /system/erp/v1/orders HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "GET /system/erp/v1/orders HTTP/1.1\r\nhost: x\r\nbad header: 1\r\n\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        let read = stream.read(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{head:?}: {text}");
    }
}
