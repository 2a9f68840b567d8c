//! The program itself, on a core of its own.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Longest wait for it.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Gateway {
    process: Child,
    admin: u16,
}

impl Gateway {
    /// Writes its policies into `folder`; `state` are the lines that say where its queue is. Returns its admin port.
    pub(crate) fn configure(folder: &Path, state: &str, upstream: u16) -> u16 {
        let contracts = Path::new(env!("CARGO_MANIFEST_DIR")).join("contracts");
        let admin = free_port();
        let files = [
            (
                "gateway.yaml",
                format!(
                    "kind: Gateway\nlisteners: [{{ address: 127.0.0.1:{} }}]\nadmin: {{ address: 127.0.0.1:{admin} }}\n\
                     contracts: {}\n{state}\nworkers: 1\nqueue: {{ maxBytes: 32GiB, retention: 1s }}\n\
                     telemetry: {{ accessLog: {{ file: /dev/null }} }}\n",
                    free_port(),
                    contracts.display(),
                ),
            ),
            (
                "upstreams/erp.yaml",
                format!(
                    "kind: Upstream\nname: erp\nendpoints: [http://127.0.0.1:{upstream}]\n\
                     breaker: {{ failures: 5, openFor: 1s }}\nrepeats: {{ honoured: {{ header: Idempotency-Key, \
                     perChannel: false, retention: 24h }} }}\n"
                ),
            ),
            (
                "apis/orders.yaml",
                "kind: Api\nname: orders\ntier: system\npath: /orders/{version}\ncontract: orders\n\
                 upstream: { name: erp, version: v3 }\nauthenticate: [anonymous]\nvalidate: { request: enforce, \
                 response: off }\nidempotency: { required: [createOrder] }\nfallback: { operations: [createOrder], \
                 orderBy: { v1: /orderNo, v2: /orderId, v3: /orderNumber } }\n"
                    .to_owned(),
            ),
        ];
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        admin
    }

    /// Starts it on the first core. Returns how long it took to be ready.
    pub(crate) fn start(folder: &Path, admin: u16) -> (Self, Duration) {
        let started = Instant::now();
        let log = fs::File::create(folder.join("log")).unwrap();
        let process = Command::new("taskset")
            .args(["-c", "0", env!("CARGO_BIN_EXE_crossdock"), "serve", "--config"])
            .arg(folder.join("gateway.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut gateway = Self { process, admin };
        while gateway.ask("/readyz").is_none_or(|(status, _)| status != 200) {
            let ended = gateway.process.try_wait().unwrap();
            assert!(
                ended.is_none() && started.elapsed() < PATIENCE,
                "the gateway does not start: {}",
                fs::read_to_string(folder.join("log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        (gateway, started.elapsed())
    }

    /// Status and body of a resource of its admin listener.
    fn ask(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    /// How long the resource takes, the median of five, and what it is.
    pub(crate) fn time(&self, path: &str) -> (Duration, Value) {
        let mut times = Vec::new();
        let mut last = Value::Null;
        for _ in 0..5 {
            let asked = Instant::now();
            let (status, text) = self.ask(path).unwrap();
            times.push(asked.elapsed());
            assert_eq!(status, 200, "{path}: {text}");
            last = serde_json::from_str(&text).unwrap_or_default();
        }
        times.sort_unstable();
        (times[2], last)
    }

    /// Bytes of memory: now, and at most so far.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// Seconds of CPU so far.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        // Fields 14 and 15 of proc(5), in hundredths.
        fields[11..13]
            .iter()
            .map(|ticks| ticks.parse::<f64>().unwrap() / 100.0)
            .sum()
    }

    /// Kills it where it stands.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
