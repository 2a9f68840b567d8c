//! Where a command looks: a running gateway, or the folder of a stopped one.

use std::{collections::HashMap, fmt::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::At;
use crate::{
    admin::queue::{
        entry_document, notice, notice_stats, read_notice_query, read_query, shown_document, stats_document, summary,
        write_copy,
    },
    cli::complain,
    client::{self, Https},
    config::{self, Sources, StoreSpec},
    queue::{Archive, Health},
};

/// How long a gateway may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long it may take to show whether there is one.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);
/// Largest answer that is read, in bytes.
const LARGEST: usize = 256 << 20;
/// Messages asked for at once.
const PAGE: usize = 200;

/// A queue to look at, and where it runs to act on.
pub(super) enum Source {
    Gateway {
        url: String,
        client: Box<Https<Full<Bytes>>>,
    },
    Folder(Box<Archive>),
}

/// A part of a list.
pub(super) struct Found {
    pub(super) messages: Vec<Value>,
    pub(super) has_more: bool,
}

impl Source {
    /// The gateway, if it answers; else the state it left.
    pub(super) async fn find(at: &At) -> anyhow::Result<Self> {
        if let Some(folder) = &at.folder {
            return Ok(Self::Folder(Box::new(Archive::open(folder)?)));
        }
        let (url, folder) = match &at.admin {
            Some(url) => (url.trim_end_matches('/').to_owned(), None),
            None => of_files(&at.config),
        };
        let gateway = Self::Gateway {
            url: url.clone(),
            client: Box::new(client::https()),
        };
        let asked = tokio::time::timeout(FIRST_PATIENCE, gateway.call(Method::GET, "/healthz", None)).await;
        let error = match asked {
            Ok(Ok(_)) => return Ok(gateway),
            Ok(Err(error)) => error,
            Err(_) => anyhow!("no answer in time"),
        };
        let Some(folder) = folder else {
            return Err(error.context(format!("no gateway answers at {url}")));
        };
        let archive = Archive::open(&folder)
            .with_context(|| format!("no gateway answers at {url} ({error:#}), and its state cannot be read"))?;
        complain(&format!(
            "no gateway answers at {url}: this is what is in {}",
            folder.display()
        ));
        Ok(Self::Folder(Box::new(archive)))
    }

    /// Asks a gateway. An answer that is a problem is an error with its detail.
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, String)>,
    ) -> anyhow::Result<(http::HeaderMap, Bytes)> {
        let Self::Gateway { url, client } = self else {
            bail!("this needs a running gateway; start it, or name it by `--admin URL`");
        };
        let mut request = http::Request::builder().method(method).uri(format!("{url}{path}"));
        let mut bytes = Bytes::new();
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type);
            bytes = body.into();
        }
        let request = request.body(Full::new(bytes)).context("this is not a URL")?;
        let answer = tokio::time::timeout(PATIENCE, client.request(request)).await;
        let response = answer.context("no answer in time")?.context("no connection")?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, LARGEST).collect().await;
        let body = body
            .map_err(|cause| anyhow!("its answer broke off: {cause}"))?
            .to_bytes();
        if parts.status.is_success() {
            return Ok((parts.headers, body));
        }
        Err(refused(parts.status, &body))
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (_, body) = self.call(Method::GET, path, None).await?;
        serde_json::from_slice(&body).context("the gateway's answer is not JSON")
    }

    /// Sends JSON text.
    pub(super) async fn post(&self, path: &str, body: String) -> anyhow::Result<Value> {
        let (_, body) = self.call(Method::POST, path, Some(("application/json", body))).await?;
        serde_json::from_slice(&body).context("the gateway's answer is not JSON")
    }

    /// Messages in the order of admission, at most `max`.
    pub(super) async fn list(&self, query: &HashMap<String, String>, max: usize) -> anyhow::Result<Found> {
        self.all("messages", query, max).await
    }

    /// Completion webhooks in the order in which they were written, at most `max`.
    pub(super) async fn webhooks(&self, query: &HashMap<String, String>, max: usize) -> anyhow::Result<Found> {
        self.all("webhooks", query, max).await
    }

    async fn all(&self, what: &str, query: &HashMap<String, String>, max: usize) -> anyhow::Result<Found> {
        let mut messages = Vec::new();
        let mut from: Option<String> = None;
        loop {
            let mut query = query.clone();
            query.insert("limit".to_owned(), (max - messages.len()).clamp(1, PAGE).to_string());
            if let Some(from) = from {
                query.insert("from".to_owned(), from);
            }
            let mut page = self.page(what, &query).await?;
            if let Some(Value::Array(found)) = page.get_mut(what) {
                messages.append(found);
            }
            from = page["next"].as_str().map(str::to_owned);
            if from.is_none() || messages.len() >= max {
                messages.truncate(max);
                let has_more = from.is_some();
                return Ok(Found { messages, has_more });
            }
        }
    }

    async fn page(&self, what: &str, query: &HashMap<String, String>) -> anyhow::Result<Value> {
        match self {
            Self::Gateway { .. } => self.get(&format!("/queue/{what}?{}", encoded(query))).await,
            Self::Folder(archive) if what == "webhooks" => {
                let (filter, from, max) = read_notice_query(query).map_err(anyhow::Error::msg)?;
                let page = archive.notices(&filter, from, max)?;
                Ok(json!({
                    "webhooks": page.items.iter().map(notice).collect::<Vec<_>>(),
                    "next": page.next.map(|next| next.to_string()),
                }))
            }
            Self::Folder(archive) => {
                let (filter, from, max) = read_query(query, Timestamp::now()).map_err(anyhow::Error::msg)?;
                let page = archive.list(&filter, from, max)?;
                Ok(json!({
                    "messages": page.items.iter().map(summary).collect::<Vec<_>>(),
                    "next": page.next.map(|next| next.to_string()),
                }))
            }
        }
    }

    /// One message, as JSON text.
    pub(super) async fn show(&self, id: &str) -> anyhow::Result<String> {
        match self {
            Self::Gateway { .. } => {
                let (_, body) = self
                    .call(Method::GET, &format!("/queue/messages/{}", segment(id)), None)
                    .await?;
                String::from_utf8(body.into()).context("the gateway's answer is not text")
            }
            Self::Folder(archive) => {
                let shown = archive.show(id)?.context("there is no such message")?;
                Ok(shown_document(&shown, Timestamp::now()))
            }
        }
    }

    /// The queue in numbers.
    pub(super) async fn stats(&self) -> anyhow::Result<Value> {
        match self {
            Self::Gateway { .. } => self.get("/queue").await,
            Self::Folder(archive) => {
                let now = Timestamp::now();
                let (stats, room, pauses) = archive.stats(now)?;
                let mut document = stats_document(&stats, &room, &pauses, None, &Health::Ok);
                document["webhooks"] = notice_stats(&archive.notice_stats()?, now);
                document["health"] = "stopped".into();
                Ok(document)
            }
        }
    }

    /// Copies of messages, one on each line, and where the next ones begin.
    pub(super) async fn export(&self, from: Option<u64>) -> anyhow::Result<(String, Option<u64>)> {
        match self {
            Self::Gateway { .. } => {
                let from = from.map_or_else(String::new, |from| format!("?from={from}"));
                let (headers, body) = self.call(Method::GET, &format!("/queue/export{from}"), None).await?;
                let next = headers.get("x-next").and_then(|next| next.to_str().ok()?.parse().ok());
                let text = String::from_utf8(body.into()).context("the gateway's answer is not text")?;
                Ok((text, next))
            }
            Self::Folder(archive) => {
                let page = archive.export(from, PAGE)?;
                let lines = page.items.iter().map(|copy| write_copy(copy) + "\n");
                Ok((lines.collect(), page.next))
            }
        }
    }

    /// Has copies taken over.
    pub(super) async fn import(&self, lines: String, by: &str, reason: &str) -> anyhow::Result<Value> {
        let who = HashMap::from([
            ("by".to_owned(), by.to_owned()),
            ("reason".to_owned(), reason.to_owned()),
        ]);
        let path = format!("/queue/import?{}", encoded(&who));
        let (_, body) = self
            .call(Method::POST, &path, Some(("application/x-ndjson", lines)))
            .await?;
        serde_json::from_slice(&body).context("the gateway's answer is not JSON")
    }

    /// Entries of the audit log after a number.
    pub(super) async fn audit(&self, after: u64) -> anyhow::Result<Vec<Value>> {
        match self {
            Self::Gateway { .. } => match self.get(&format!("/audit?after={after}")).await?["entries"].take() {
                Value::Array(entries) => Ok(entries),
                _ => bail!("the gateway's answer has no entries"),
            },
            Self::Folder(archive) => Ok(archive.audit(after, 1_000)?.iter().map(entry_document).collect()),
        }
    }
}

/// Admin address and state folder of a gateway file; what is usual where it cannot be read.
pub(super) fn of_files(file: &std::path::Path) -> (String, Option<PathBuf>) {
    let policies = Sources::read(file).ok().and_then(|sources| config::parse(&sources).0);
    match policies {
        Some(policies) => {
            let spec = &policies.gateway.spec;
            (
                format!("http://{}", spec.admin.address),
                // What is in a database is asked for at a gateway.
                matches!(spec.state, StoreSpec::Folder(_)).then(|| policies.folder.join(spec.state_folder())),
            )
        }
        None => ("http://127.0.0.1:9901".to_owned(), None),
    }
}

fn refused(status: StatusCode, body: &[u8]) -> anyhow::Error {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut said = document["detail"].as_str().unwrap_or("it gave no reason").to_owned();
    for error in document["errors"].as_array().into_iter().flatten() {
        let (pointer, detail) = (&error["pointer"], error["detail"].as_str().unwrap_or(""));
        let _ = write!(said, "\n  {}: {detail}", pointer.as_str().unwrap_or(""));
    }
    anyhow!("{said} ({status})")
}

fn encoded(query: &HashMap<String, String>) -> String {
    let pairs = query.iter().map(|(name, value)| format!("{name}={}", segment(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Text as a part of a URL.
pub(super) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
