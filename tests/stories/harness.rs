//! A world for one story: the sandbox back ends and a gateway as processes, on ports and in a folder of their own.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for any condition. Nothing is expected to take as long.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program under test.
pub(crate) fn crossdock() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossdock"));
    command
        .env("NO_COLOR", "1")
        .env_remove("CROSSDOCK_LOG")
        .stdin(Stdio::null());
    command
}

/// Back ends, issuer and gateway.
pub(crate) struct World {
    folder: TempDir,
    ports: Ports,
    backends: Child,
    gateway: Option<Child>,
    client: Client<HttpConnector, Full<Bytes>>,
}

#[derive(Clone, Copy)]
struct Ports {
    gateway: u16,
    admin: u16,
    /// ERP, WMS, carrier, CRM, issuer follow each other.
    base: u16,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    /// A header field as text.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
            .to_str()
            .unwrap()
    }

    /// That it is this problem, with what every problem has.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:crossdock:problem:{slug}"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["correlationId"], self.header("x-correlation-id"));
        assert!(["technical", "business", "partner"].contains(&problem["class"].as_str().unwrap()));
        problem
    }
}

impl World {
    /// With the repository's own policies and contracts.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same, after `prepare` has changed files in the folder.
    pub(crate) async fn start_with(prepare: impl FnOnce(&Path)) -> Self {
        let mut world = Self::without_gateway(prepare).await;
        world.starts_gateway().await;
        world
    }

    /// The back ends and the files alone.
    pub(crate) async fn without_gateway(prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports = Ports::free();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["policies", "contracts"] {
            copy(&root.join(name), &folder.path().join(name), ports);
        }
        prepare(folder.path());
        let backends = crossdock()
            .args([
                "sandbox",
                "--backends",
                "--port-base",
                &ports.base.to_string(),
                "--config",
            ])
            .arg(folder.path().join("policies/gateway.yaml"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("backends.log")).unwrap())
            .spawn()
            .unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let world = Self {
            folder,
            ports,
            backends,
            gateway: None,
            client,
        };
        for offset in 0..5 {
            world.listens(ports.base + offset).await;
        }
        world
    }

    /// The folder with `policies/` and `contracts/`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the gateway and waits until it is ready.
    pub(crate) async fn starts_gateway(&mut self) {
        self.starts_gateway_with(&[]).await;
    }

    /// The same, with variables of its own in its environment.
    pub(crate) async fn starts_gateway_with(&mut self, environment: &[(&str, String)]) {
        self.spawns_gateway(environment).await;
        self.until("the gateway is ready", async || {
            self.admin("/readyz").await.status == 200
        })
        .await;
    }

    /// The same where it will not get ready, or not for long.
    pub(crate) async fn starts_damaged_gateway(&mut self) {
        self.spawns_gateway(&[]).await;
    }

    async fn spawns_gateway(&mut self, environment: &[(&str, String)]) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("gateway.log"))
            .unwrap();
        let child = crossdock()
            .args(["serve", "--config"])
            .arg(self.config())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(
                fs::File::options()
                    .create(true)
                    .append(true)
                    .open(self.folder.path().join("access.log"))
                    .unwrap(),
            )
            .stderr(log)
            .spawn()
            .unwrap();
        self.gateway = Some(child);
        self.listens(self.ports.admin).await;
    }

    /// `gateway.yaml` of this world.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("policies/gateway.yaml")
    }

    /// Kills the gateway where it stands (SIGKILL).
    pub(crate) fn kills_gateway(&mut self) {
        let mut child = self.gateway.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The most memory that the gateway has had at once, in bytes.
    pub(crate) fn gateway_memory(&self) -> usize {
        let id = self.gateway.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
    }

    /// Sends the gateway a signal by name.
    pub(crate) fn signals_gateway(&self, signal: &str) {
        let id = self.gateway.as_ref().unwrap().id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits until the gateway has ended by itself, and returns whether it says it went well.
    pub(crate) async fn gateway_ends(&mut self) -> bool {
        let mut child = self.gateway.take().unwrap();
        tokio::task::spawn_blocking(move || child.wait().unwrap().success())
            .await
            .unwrap()
    }

    /// What the gateway logged so far.
    pub(crate) fn gateway_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("gateway.log")).unwrap_or_default()
    }

    /// The access log so far.
    pub(crate) fn access_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default()
    }

    /// Replaces text in a file of the folder; the text must be there.
    #[track_caller]
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} does not hold {from:?}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// A development token of a channel.
    pub(crate) fn token(&self, channel: &str) -> String {
        self.token_with(channel, &[])
    }

    /// A development token, made with further arguments.
    #[track_caller]
    pub(crate) fn token_with(&self, channel: &str, arguments: &[&str]) -> String {
        let output = crossdock()
            .args(["token", "--channel", channel, "--config"])
            .arg(self.config())
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Address of the gateway.
    pub(crate) fn gateway_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.gateway)
    }

    /// Address of the gateway's admin listener.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.admin)
    }

    /// A request to the gateway.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let url = format!("{}{path}", self.gateway_url());
        self.send(method, &url, headers, body.into()).await.unwrap()
    }

    /// A request to the gateway that may get no answer.
    pub(crate) async fn tries(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Option<Answer> {
        let url = format!("{}{path}", self.gateway_url());
        self.send(method, &url, headers, body.into()).await.ok()
    }

    /// A request to the admin listener.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let url = format!("http://127.0.0.1:{}{path}", self.ports.admin);
        self.send(Method::GET, &url, &[], Bytes::new()).await.unwrap()
    }

    /// Sets how a back end behaves.
    pub(crate) async fn fault(&self, backend: &str, mode: &str) {
        let url = format!("{}/sandbox/fault", self.backend_url(backend));
        let body = serde_json::json!({ "mode": mode }).to_string();
        let answer = self
            .send(Method::POST, &url, &[("content-type", "application/json")], body.into())
            .await
            .unwrap();
        assert!(answer.status.is_success(), "{answer:?}");
    }

    /// What a back end has done, in the order of effect.
    pub(crate) async fn ledger(&self, backend: &str) -> Vec<Value> {
        let url = format!("{}/sandbox/ledger", self.backend_url(backend));
        let answer = self.send(Method::GET, &url, &[], Bytes::new()).await.unwrap();
        match answer.json() {
            Value::Array(entries) => entries,
            Value::Object(mut object) => match object.remove("entries") {
                Some(Value::Array(entries)) => entries,
                _ => panic!("no entries in {answer:?}"),
            },
            _ => panic!("no ledger: {answer:?}"),
        }
    }

    /// Address of a back end.
    pub(crate) fn backend_url(&self, backend: &str) -> String {
        let offset = ["erp", "wms", "carrier", "crm", "issuer"]
            .iter()
            .position(|name| *name == backend)
            .unwrap();
        format!("http://127.0.0.1:{}", self.ports.base + u16::try_from(offset).unwrap())
    }

    /// A request to any address.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).unwrap();
        let response = tokio::time::timeout(PATIENCE, self.client.request(request))
            .await
            .expect("an answer in time");
        let (parts, body) = response.map_err(|error| format!("{url}: {error:?}"))?.into_parts();
        let bytes = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            text,
        })
    }

    async fn listens(&self, port: u16) {
        let what = format!("something listens on {port}\n{}", self.gateway_log());
        self.until(&what, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
    }

    /// Waits for a condition, and fails the story when it does not come.
    pub(crate) async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let waiting = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, waiting).await.is_ok(),
            "waited in vain until {what}\n--- gateway\n{}",
            self.gateway_log()
        );
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.gateway.iter_mut().chain([&mut self.backends]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- gateway log\n{}", self.gateway_log());
        }
    }
}

impl Ports {
    /// Seven ports in a row that nobody uses. Each world of this process looks in a region of its own.
    fn free() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let base = 20_000 + u16::try_from((std::process::id() * 97 + step * 10) % 10_000).unwrap();
            let all: Vec<_> = (base..base + 7)
                .map(|port| TcpListener::bind(("127.0.0.1", port)))
                .collect();
            if all.iter().all(Result::is_ok) {
                return Self {
                    base,
                    gateway: base + 5,
                    admin: base + 6,
                };
            }
        }
    }
}

/// Copies a folder of YAML, with the world's ports in the place of the usual ones.
fn copy(from: &Path, to: &Path, ports: Ports) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target, ports);
            continue;
        }
        let Ok(mut text) = fs::read_to_string(entry.path()) else {
            continue;
        };
        text = text
            .replace(":8080", &format!(":{}", ports.gateway))
            .replace(":9901", &format!(":{}", ports.admin));
        for offset in 0..5 {
            text = text.replace(&format!(":{}", 9101 + offset), &format!(":{}", ports.base + offset));
        }
        fs::write(target, text).unwrap();
    }
}
