//! A `PostgreSQL` server for tests: the one that is installed, with data and a port of its own.

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Longest wait for a server. Nothing is expected to take as long.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server. It ends with this value, and with this process.
pub(crate) struct Server {
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
    keeper: Option<Child>,
}

impl Server {
    /// Starts a server, or says loudly why there is none. In CI there has to be one.
    pub(crate) fn start() -> Option<Self> {
        Self::made(|_| {})
    }

    /// The same, reached by TLS alone. Its certificate is for `localhost`.
    pub(crate) fn start_encrypted() -> Option<Self> {
        Self::made(Self::encrypt)
    }

    fn made(prepare: impl FnOnce(&Self)) -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(std::env::var_os("CI").is_none(), "PostgreSQL is not installed");
            eprintln!("SKIPPED: PostgreSQL (15 or later) is not installed, so this test tests nothing");
            return None;
        };
        let folder = tempfile::Builder::new()
            .prefix("crossdock-postgres")
            .tempdir()
            .unwrap()
            .keep();
        // The server does not run as root, and has to get at its data.
        run(Command::new("chmod").arg("755").arg(&folder));
        let data = folder.join("data");
        fs::create_dir(&data).unwrap();
        if is_root() {
            run(Command::new("chown").arg("-R").arg("postgres").arg(&data));
        }
        run(as_user(&programs.join("initdb"))
            .args([
                "--username=crossdock",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(&data));
        let mut server = Self {
            folder,
            programs,
            port: TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
            keeper: None,
        };
        prepare(&server);
        server.run();
        Some(server)
    }

    /// Two authorities, and a certificate by the first of them.
    fn encrypt(&self) {
        for authority in ["authority", "another"] {
            let (key, certificate) = (format!("{authority}.key"), format!("{authority}.pem"));
            self.openssl(&[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                &format!("/CN={authority}"),
                "-addext",
                "basicConstraints=critical,CA:TRUE",
                "-keyout",
                &key,
                "-out",
                &certificate,
            ]);
        }
        self.openssl(&[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
            "data/server.key",
            "-out",
            "server.csr",
        ]);
        fs::write(self.folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "authority.pem",
            "-CAkey",
            "authority.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "names",
            "-out",
            "data/server.crt",
        ]);
        let data = self.folder.join("data");
        let mut settings = fs::File::options()
            .append(true)
            .open(data.join("postgresql.conf"))
            .unwrap();
        settings.write_all(b"ssl = on\n").unwrap();
        fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\n").unwrap();
        run(Command::new("chmod").arg("600").arg(data.join("server.key")));
        if is_root() {
            run(Command::new("chown")
                .arg("postgres")
                .args(["server.key", "server.crt"].map(|name| data.join(name))));
        }
    }

    fn openssl(&self, arguments: &[&str]) {
        run(Command::new("openssl").args(arguments).current_dir(&self.folder));
    }

    /// The certificate of an authority, `authority` or `another`.
    pub(crate) fn certificate(&self, authority: &str) -> PathBuf {
        self.folder.join(format!("{authority}.pem"))
    }

    /// Starts it again after [`Server::kill`].
    pub(crate) fn run(&mut self) {
        self.let_go();
        // A shell keeps it as long as this process holds the other end of its input.
        let script = "\"$@\" & server=$!; read -r word; test \"$word\" = stay && exit; \
                      kill -INT $server; wait $server; rm -rf \"$FOLDER\"";
        let server = as_user(&self.programs.join("postgres"));
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .unwrap();
        let keeper = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(server.get_program())
            .args(server.get_args())
            .arg("-D")
            .arg(self.folder.join("data"))
            .args([
                "-p",
                &self.port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
            ])
            .args(["-c", "max_connections=300", "-c", "autovacuum_naptime=5s"])
            .env("FOLDER", &self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.keeper = Some(keeper);
        let since = Instant::now();
        while !self.is_ready() {
            assert!(
                since.elapsed() < PATIENCE,
                "the database does not start:\n{}",
                self.log()
            );
            pause();
        }
    }

    fn is_ready(&self) -> bool {
        let mut asking = Command::new(self.programs.join("pg_isready"));
        asking.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        asking.status().unwrap().success()
    }

    /// Kills it where it stands (SIGKILL), and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        let file = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        let id = file.lines().next().unwrap();
        run(Command::new("kill").args(["-s", "KILL", id]));
        let since = Instant::now();
        // Its children notice, and hold its memory until then.
        while Path::new("/proc").join(id).exists() && !is_dead(id) || self.is_ready() {
            assert!(since.elapsed() < PATIENCE, "the database does not end");
            pause();
        }
    }

    fn let_go(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            keeper.stdin.take().unwrap().write_all(b"stay\n").unwrap();
            keeper.wait().unwrap();
        }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("postgres://crossdock@127.0.0.1:{}/postgres", self.port)
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Has it do something, by `psql`. Returns what it printed.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let output = Command::new(self.programs.join("psql"))
            .args(["-XAtq", "-c", sql, &self.url()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

/// Debian keeps the programs of each version apart; elsewhere they are in the path.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    all.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    all.into_iter()
        .rev()
        .chain(std::env::split_paths(&path))
        .find(|folder| folder.join("initdb").is_file())
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

/// A program that must not run as root.
fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"])
        .arg(program);
    command
}

fn is_dead(id: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(id).join("status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:\tZ")) || status.is_empty()
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Between two looks at a program that starts or ends. Also called where no runtime is.
#[expect(
    clippy::disallowed_methods,
    reason = "a database is waited for before anything else is done"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
