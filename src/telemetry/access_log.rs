//! One JSON line per request, written by a thread of its own: a stuck disk or pipe delays no request.

use std::{
    cell::RefCell,
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant, UNIX_EPOCH},
};

use http::Method;
use jiff::{Timestamp, tz::TimeZone};

use super::{context::hex, metrics::Metrics};
use crate::{config::AccessLogSpec, exchange::Exchange, upstream::headers as address};

/// Lines gathered by a thread before they are handed over, in bytes.
const CHUNK: usize = 64 << 10;
/// Chunks that wait for the writer at most; further ones are dropped and counted.
const WAITING: usize = 64;

/// Where access lines go.
pub struct AccessLog {
    /// `None` when the log is off.
    sender: Option<SyncSender<Message>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    metrics: Metrics,
}

enum Message {
    Lines(Vec<u8>),
    Reopen,
    Stop,
}

enum Target {
    Stdout(io::Stdout),
    File(PathBuf, File),
}

#[derive(Default)]
struct Buffer {
    lines: String,
    /// The wall clock's second and its text: formatting a date for each line would cost more than the rest.
    second: u64,
    text: String,
}

thread_local! {
    static BUFFER: RefCell<Buffer> = RefCell::default();
}

impl AccessLog {
    /// Opens the log; a file's path is relative to `folder`.
    pub fn new(spec: &AccessLogSpec, folder: &Path, metrics: &Metrics) -> io::Result<Self> {
        let target = match spec {
            AccessLogSpec::Off => return Ok(Self::off(metrics)),
            AccessLogSpec::Stdout => Target::Stdout(io::stdout()),
            AccessLogSpec::File(path) => {
                let path = folder.join(path);
                let file = append(&path)
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
                Target::File(path, file)
            }
        };
        let (sender, receiver) = sync_channel(WAITING);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_out(&receiver, target))?;
        Ok(Self {
            sender: Some(sender),
            writer: Mutex::new(Some(writer)),
            metrics: metrics.clone(),
        })
    }

    /// Writes nothing.
    pub fn off(metrics: &Metrics) -> Self {
        Self {
            sender: None,
            writer: Mutex::default(),
            metrics: metrics.clone(),
        }
    }

    /// Notes a request that has ended.
    pub fn write(&self, exchange: &Exchange, status: u16, method: &Method, path: &str, ended: Instant) {
        if self.sender.is_none() {
            return;
        }
        BUFFER.with_borrow_mut(|buffer| {
            buffer.line(exchange, status, method, path, ended);
            if buffer.lines.len() >= CHUNK {
                self.hand_over(buffer);
            }
        });
    }

    /// Hands over what this thread has gathered. Called some times a second by each worker.
    pub fn tick(&self) {
        BUFFER.with_borrow_mut(|buffer| self.hand_over(buffer));
    }

    /// The same, when a thread ends.
    pub fn flush_thread(&self) {
        self.tick();
    }

    fn hand_over(&self, buffer: &mut Buffer) {
        let Some(sender) = &self.sender else { return };
        if buffer.lines.is_empty() {
            return;
        }
        let lines = std::mem::replace(&mut buffer.lines, String::with_capacity(CHUNK + 1_024));
        if let Err(error) = sender.try_send(Message::Lines(lines.into_bytes())) {
            let (std::sync::mpsc::TrySendError::Full(lost) | std::sync::mpsc::TrySendError::Disconnected(lost)) = error;
            if let Message::Lines(lost) = lost {
                self.metrics
                    .log_lines_dropped(lost.split(|byte| *byte == b'\n').count() as u64 - 1);
            }
        }
    }

    /// Opens the file again, after it was moved away.
    pub fn reopen(&self) {
        if let Some(sender) = &self.sender {
            let _ = sender.try_send(Message::Reopen);
        }
    }

    /// Writes what is left and ends the writer. Blocks for as long as the target takes it.
    pub fn shutdown(&self) {
        if let Some(sender) = &self.sender {
            let _ = sender.send(Message::Stop);
        }
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writer.join();
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn write_out(receiver: &Receiver<Message>, mut target: Target) {
    while let Ok(message) = receiver.recv() {
        let written = match message {
            Message::Stop => return,
            Message::Lines(lines) => match &mut target {
                Target::Stdout(stdout) => stdout.write_all(&lines).and_then(|()| stdout.flush()),
                Target::File(_, file) => file.write_all(&lines),
            },
            Message::Reopen => match &mut target {
                Target::Stdout(_) => Ok(()),
                Target::File(path, file) => append(path).map(|fresh| *file = fresh),
            },
        };
        if let Err(error) = written {
            tracing::warn!(%error, "access lines could not be written");
        }
    }
}

impl Buffer {
    // A line is made for every request: numbers are written without the formatting machinery, which costs more than all else.
    fn line(&mut self, exchange: &Exchange, status: u16, method: &Method, path: &str, ended: Instant) {
        let took = ended.duration_since(exchange.started);
        let now = (exchange.started_at + took)
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        if self.second != now.as_secs() || self.text.is_empty() {
            self.second = now.as_secs();
            self.text = Timestamp::UNIX_EPOCH
                .saturating_add(now)
                .unwrap_or_default()
                .to_zoned(TimeZone::UTC)
                .strftime("%Y-%m-%dT%H:%M:%S")
                .to_string();
        }
        let line = &mut self.lines;
        let trail = exchange.trail();
        line.push_str("{\"time\":\"");
        line.push_str(&self.text);
        line.push('.');
        padded(line, now.subsec_micros(), 6);
        line.push_str("Z\"");
        plain(line, key!("requestId"), &exchange.id);
        text(line, key!("correlationId"), &exchange.correlation);
        plain(
            line,
            key!("traceId"),
            hex(exchange.trace.trace_id.to_be_bytes(), &mut [0; 32]),
        );
        let client = address::text_of(exchange.peer.ip().to_canonical());
        plain(line, key!("client"), &client);
        plain(line, key!("method"), method.as_str());
        text(line, key!("path"), path);
        line.push_str(",\"status\":");
        padded(line, status.into(), 3);
        line.push_str(",\"durationMs\":");
        milliseconds(line, took);
        if let Some((first, last)) = trail.attempts.first().zip(trail.attempts.last()) {
            line.push_str(",\"upstreamMs\":");
            milliseconds(line, last.ended.duration_since(first.started));
        }
        if let Some(caller) = exchange.caller.get() {
            text(line, key!("channel"), &caller.channel);
        }
        if let Some(route) = exchange.route.get() {
            text(line, key!("api"), &route.api);
            text(line, key!("operation"), &route.operation);
            text(line, key!("version"), &route.version);
        }
        plain(line, key!("decision"), trail.decision());
        if let Some((slug, class)) = trail.refusal {
            plain(line, key!("problem"), slug);
            plain(line, key!("class"), class.as_str());
        }
        for (name, value) in &trail.facts {
            match *name {
                "crossdock.queue.id" => text(line, key!("queueId"), value),
                "crossdock.transaction.key" => text(line, key!("transaction"), value),
                "crossdock.limit" => text(line, key!("limit"), value),
                "crossdock.contract" => text(line, key!("contract"), value),
                "crossdock.mapping.step" => text(line, key!("step"), value),
                "crossdock.mapping.pointer" => text(line, key!("pointer"), value),
                "crossdock.mapping.cause" => text(line, key!("cause"), value),
                _ => {}
            }
        }
        line.push_str("}\n");
    }
}

/// All that stands before a member's text, in one piece.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":\"")
    };
}
use key;

/// Milliseconds with three places.
fn milliseconds(line: &mut String, span: Duration) {
    let micros = u32::try_from(span.as_micros()).unwrap_or(u32::MAX);
    padded(line, micros / 1_000, 1);
    line.push('.');
    padded(line, micros % 1_000, 3);
}

/// A number with at least so many digits.
fn padded(line: &mut String, mut number: u32, width: usize) {
    let mut digits = [b'0'; 10];
    let mut start = digits.len();
    while number > 0 || digits.len() - start < width {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    line.push_str(str::from_utf8(&digits[start..]).unwrap_or_default());
}

/// One member, its value escaped as JSON asks.
fn text(line: &mut String, key: &str, value: &str) {
    if value
        .bytes()
        .any(|byte| !matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~'))
    {
        line.push_str(key);
        escaped(line, value);
        line.push('"');
    } else {
        plain(line, key, value);
    }
}

/// One member whose value has nothing to escape.
fn plain(line: &mut String, key: &str, value: &str) {
    line.push_str(key);
    line.push_str(value);
    line.push('"');
}

fn escaped(line: &mut String, value: &str) {
    for character in value.chars() {
        if character == '"' || character == '\\' || character.is_control() {
            let _ = write!(line, "\\u{:04x}", u32::from(character));
        } else {
            line.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::TraceContext;

    fn exchange() -> Exchange {
        let trace = TraceContext {
            trace_id: 7,
            span_id: 8,
            parent: None,
            sampled: false,
        };
        Exchange::new("r".into(), "c".into(), trace, "127.0.0.1:1".parse().unwrap(), false)
    }

    #[test]
    fn a_line_is_json_whatever_the_path() {
        for path in ["/plain", "/\"quoted\"", "/back\\slash", "/\u{1}\n", "/ü€😀", "/%22"] {
            let mut buffer = Buffer::default();
            buffer.line(&exchange(), 200, &Method::GET, path, Instant::now());
            let line: serde_json::Value = serde_json::from_str(buffer.lines.trim_end()).unwrap();
            assert_eq!(line["path"], path);
            assert!(line["time"].as_str().unwrap().parse::<Timestamp>().is_ok());
            assert_eq!(buffer.lines.matches('\n').count(), 1);
        }
    }

    #[test]
    fn lines_reach_the_file_and_a_moved_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::new(
            &AccessLogSpec::File("access.log".into()),
            folder.path(),
            &Metrics::default(),
        )
        .unwrap();
        log.write(&exchange(), 200, &Method::GET, "/first", Instant::now());
        log.tick();
        log.sender.as_ref().unwrap().send(Message::Lines(Vec::new())).unwrap();
        while !std::fs::read_to_string(&path).unwrap().contains("/first") {
            std::thread::yield_now();
        }
        std::fs::rename(&path, folder.path().join("access.log.1")).unwrap();
        log.reopen();
        log.write(&exchange(), 200, &Method::GET, "/second", Instant::now());
        log.tick();
        log.shutdown();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("/second") && !text.contains("/first"), "{text}");
    }

    #[test]
    fn a_stuck_target_costs_lines_and_not_time() {
        let (sender, receiver) = sync_channel(1);
        let metrics = Metrics::default();
        let log = AccessLog {
            sender: Some(sender),
            writer: Mutex::default(),
            metrics: metrics.clone(),
        };
        for _ in 0..3 {
            log.write(&exchange(), 200, &Method::GET, "/", Instant::now());
            log.tick();
        }
        assert_eq!(receiver.try_iter().count(), 1);
        assert!(
            metrics.text().contains("crossdock_access_log_lines_dropped_total 2"),
            "{}",
            metrics.text()
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let missing = AccessLogSpec::File("nowhere/access.log".into());
        let error = AccessLog::new(&missing, Path::new("/nonexistent"), &Metrics::default())
            .err()
            .unwrap();
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
}
