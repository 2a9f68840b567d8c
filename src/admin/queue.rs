//! `/queue`: what waits, what failed, and what persons do about it.

mod copy;
mod document;
mod edit;
mod webhooks;

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use serde_json::{Value, json};

pub use self::copy::{read_copy, write_copy};
pub(crate) use self::{
    document::{entry_document, hex, length, read_entry, shown as shown_document, stats_document, summary},
    webhooks::{notice, notice_stats, read_notice_query},
};
use super::{problem, refuse};
use crate::{
    audit,
    json::{Document, Kind},
    problem::FailureClass,
    queue::{Act, Actor, LogError, MessageFilter, MessageState, PauseScope},
    shared::Shared,
};

/// Messages of a page where the asker does not say, and at most.
const PAGE: usize = 50;
const LONGEST_PAGE: usize = 500;
/// Copies of a page.
const COPIES: usize = 200;
/// Entries of the audit log in a page.
const ENTRIES: usize = 1_000;
/// Largest body of an edit or an import, in bytes.
pub(crate) const LARGEST_BODY: usize = 64 << 20;

/// The resources below `/queue`, and `/audit`.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/queue", get(stats))
        .route("/queue/messages", get(list))
        .route("/queue/messages/{id}", get(show))
        .route("/queue/messages/{id}/{act}", post(act))
        .route("/queue/pauses", get(pauses))
        .route("/queue/pause", post(pause))
        .route("/queue/resume", post(resume))
        .route("/queue/webhooks", get(webhooks::list))
        .route("/queue/webhooks/{id}/resend", post(webhooks::resend))
        .route("/queue/export", get(export))
        .route("/queue/import", post(import))
        .route("/audit", get(entries))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
}

async fn stats(State(shared): State<Arc<Shared>>) -> Response {
    let now = Timestamp::now();
    let stats = shared.log.stats(now).await;
    let room = shared.log.room().await;
    let pauses = shared.log.pauses().await;
    let notices = shared.log.notice_stats().await;
    match (stats, room, pauses, notices) {
        (Ok(stats), Ok(room), Ok(pauses), Ok(notices)) => {
            let pace = shared.arrivals.outlook(&stats, &room, shared.log.members());
            let mut document = stats_document(&stats, &room, &pauses, Some(&pace), &shared.log.health());
            document["webhooks"] = notice_stats(&notices, now);
            Json(document).into_response()
        }
        (Err(error), ..) | (_, Err(error), ..) | (_, _, Err(error), _) | (.., Err(error)) => refusal(&error),
    }
}

async fn list(State(shared): State<Arc<Shared>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let (filter, from, max) = match read_query(&query, Timestamp::now()) {
        Ok(read) => read,
        Err(wrong) => return problem(StatusCode::BAD_REQUEST, &wrong),
    };
    match shared.log.list(filter, from, max).await {
        Ok(page) => Json(json!({
            "messages": page.items.iter().map(summary).collect::<Vec<_>>(),
            "next": page.next.map(|next| next.to_string()),
        }))
        .into_response(),
        Err(error) => refusal(&error),
    }
}

/// Filters, as the command line and the admin API write them.
pub(crate) fn read_query(
    query: &HashMap<String, String>,
    now: Timestamp,
) -> Result<(MessageFilter, Option<u64>, usize), String> {
    let mut filter = MessageFilter::default();
    let mut part = Part::default();
    for (name, value) in query {
        let text = || Some(value.clone());
        match name.as_str() {
            "state" => filter.states = states(value)?,
            "upstream" => filter.upstream = text(),
            "api" => filter.api = text(),
            "operation" => filter.operation = text(),
            "channel" => filter.channel = text(),
            "key" => filter.key = text(),
            "error" => filter.error = text(),
            "class" => {
                let class = FailureClass::named(value)
                    .ok_or_else(|| format!("`{value}` is no failure class: technical, business or partner"))?;
                filter.class = Some(class);
            }
            "olderThan" => filter.until = Some(ago(value, now)?),
            "newerThan" => filter.since = Some(ago(value, now)?),
            _ if part.read(name, value)? => {}
            _ => {
                return Err(format!(
                    "there is no filter `{name}`: state, upstream, api, operation, channel, key, class, error, \
                     olderThan, newerThan, from, limit"
                ));
            }
        }
    }
    Ok((filter, part.from, part.max))
}

/// Which part of a list is asked for.
struct Part {
    /// Where the part before ended.
    from: Option<u64>,
    max: usize,
}

impl Default for Part {
    fn default() -> Self {
        Self { from: None, max: PAGE }
    }
}

impl Part {
    /// Reads `from` and `limit`; whether it was one of them.
    fn read(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "from" => {
                let place = value.parse();
                let place = place.map_err(|_| format!("`{value}` is not what an earlier answer gave as `next`"));
                self.from = Some(place?);
            }
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LONGEST_PAGE).contains(limit));
                self.max = limit.ok_or_else(|| format!("`{value}` is no limit from 1 to {LONGEST_PAGE}"))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn states(text: &str) -> Result<Vec<MessageState>, String> {
    let named = |name: &str| {
        MessageState::named(name).ok_or_else(|| {
            let known = MessageState::ALL.map(MessageState::name).join(", ");
            format!("`{name}` is no state: {known}")
        })
    };
    text.split(',').map(str::trim).map(named).collect()
}

fn ago(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let length: crate::config::Time = text.parse()?;
    now.checked_sub(length.0).map_err(|_| format!("`{text}` is too long"))
}

async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    match shared.log.show(&id).await {
        Ok(Some(shown)) => (
            [(header::CONTENT_TYPE, "application/json")],
            shown_document(&shown, Timestamp::now()),
        )
            .into_response(),
        Ok(None) => refusal(&LogError::Unknown),
        Err(error) => refusal(&error),
    }
}

/// What comes with an act.
#[derive(Default)]
struct ActBody {
    /// Who acts.
    by: String,
    reason: String,
    /// `release`: whether it happened.
    happened: Option<bool>,
    /// `edit`: the new body, in the upstream's words, as it stands in the text. Without one the request is as it was,
    /// but a new one to the upstream: it gets an idempotency key of its own.
    body: Option<Bytes>,
    /// `edit`: also deliver it.
    retry: bool,
    /// `pause`, `resume`: what.
    scope: String,
}

fn read_body(body: &Bytes) -> Result<ActBody, Box<Response>> {
    let wrong = |what: &str| refuse(StatusCode::BAD_REQUEST, what);
    let mut act = ActBody::default();
    if body.is_empty() {
        return Ok(act);
    }
    let document = Document::parse(body.clone()).map_err(|error| wrong(&format!("the body is not JSON: {error}")))?;
    if document.root().kind() != Kind::Object {
        return Err(wrong("the body is not an object"));
    }
    for (name, value) in document.root().members() {
        let text = || {
            let text = value.as_str().map(std::borrow::Cow::into_owned);
            text.ok_or_else(|| wrong(&format!("`{}` is not text", name.text())))
        };
        let flag = || {
            let flag = value.as_bool();
            flag.ok_or_else(|| wrong(&format!("`{}` is neither true nor false", name.text())))
        };
        match &*name.text() {
            "by" => act.by = text()?,
            "reason" => act.reason = text()?,
            "scope" => act.scope = text()?,
            "happened" => act.happened = Some(flag()?),
            "retry" => act.retry = flag()?,
            "body" => act.body = Some(Bytes::copy_from_slice(value.raw().as_bytes())),
            other => {
                let known = "by, reason, happened, body, retry, scope";
                return Err(wrong(&format!("there is no member `{other}`: {known}")));
            }
        }
    }
    Ok(act)
}

impl ActBody {
    fn actor(&self, needs_reason: bool) -> Result<Actor, Box<Response>> {
        if needs_reason && self.reason.trim().is_empty() {
            let detail = "this needs a `reason`: it is kept in the audit log";
            return Err(refuse(StatusCode::BAD_REQUEST, detail));
        }
        let name = if self.by.trim().is_empty() {
            "unnamed"
        } else {
            self.by.trim()
        };
        Ok(Actor {
            name: name.to_owned(),
            reason: self.reason.trim().to_owned(),
        })
    }
}

async fn act(State(shared): State<Arc<Shared>>, Path((id, name)): Path<(String, String)>, body: Bytes) -> Response {
    match try_act(&shared, &id, &name, &body).await {
        Ok(response) => response,
        Err(refused) => *refused,
    }
}

async fn try_act(shared: &Arc<Shared>, id: &str, name: &str, body: &Bytes) -> Result<Response, Box<Response>> {
    let body = read_body(body)?;
    let by = body.actor(name != "retry")?;
    let act = match name {
        "retry" => Act::Retry,
        "discard" => Act::Discard,
        "release" => match body.happened {
            Some(true) => Act::Happened,
            Some(false) => Act::DidNotHappen,
            None => {
                let detail = "say whether it happened: `\"happened\": true` or `false`";
                return Err(refuse(StatusCode::BAD_REQUEST, detail));
            }
        },
        "edit" => {
            let shown = shared.log.show(id).await.map_err(|error| Box::new(refusal(&error)))?;
            let shown = shown.ok_or_else(|| Box::new(refusal(&LogError::Unknown)))?;
            let request = edit::edited(shared, &shown, body.body)?;
            Act::Edit {
                request: Box::new(request),
                retry: body.retry,
            }
        }
        _ => {
            let detail = format!("there is no act `{name}`: retry, edit, discard, release");
            return Err(refuse(StatusCode::NOT_FOUND, &detail));
        }
    };
    match shared.log.act(id, act, by, Timestamp::now()).await {
        Ok(view) => Ok(Json(summary(&view)).into_response()),
        Err(error) => Err(Box::new(refusal(&error))),
    }
}

async fn pauses(State(shared): State<Arc<Shared>>) -> Response {
    match shared.log.pauses().await {
        Ok(pauses) => {
            let pauses: Vec<Value> = pauses.iter().map(document::pause).collect();
            Json(json!({ "pauses": pauses })).into_response()
        }
        Err(error) => refusal(&error),
    }
}

async fn pause(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match hold(&shared, &body, true).await {
        Ok(response) => response,
        Err(refused) => *refused,
    }
}

async fn resume(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match hold(&shared, &body, false).await {
        Ok(response) => response,
        Err(refused) => *refused,
    }
}

async fn hold(shared: &Arc<Shared>, body: &Bytes, is_pause: bool) -> Result<Response, Box<Response>> {
    let body = read_body(body)?;
    let scope: PauseScope = body
        .scope
        .parse()
        .map_err(|wrong: String| refuse(StatusCode::BAD_REQUEST, &wrong))?;
    let by = body.actor(false)?;
    let now = Timestamp::now();
    let done = if is_pause {
        shared.log.pause(scope.clone(), by, now).await.map(|()| true)
    } else {
        shared.log.resume(scope.clone(), by, now).await
    };
    match done {
        Ok(changed) => Ok(Json(json!({ "scope": scope.to_string(), "changed": changed })).into_response()),
        Err(error) => Err(Box::new(refusal(&error))),
    }
}

/// One copy on each line, and `x-next` where there are more.
async fn export(State(shared): State<Arc<Shared>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let from = match query.get("from").map(|from| from.parse()) {
        None => None,
        Some(Ok(from)) => Some(from),
        Some(Err(_)) => return problem(StatusCode::BAD_REQUEST, "`from` is not what an earlier answer gave"),
    };
    match shared.log.pauses().await {
        Ok(pauses) if !pauses.iter().any(|pause| pause.scope == PauseScope::All) => {
            let detail = "deliveries go on, and what is delivered here would be delivered again by the other gateway: \
                          pause `all` first";
            return problem(StatusCode::CONFLICT, detail);
        }
        Ok(_) => {}
        Err(error) => return refusal(&error),
    }
    match shared.log.export(from, COPIES).await {
        Ok(page) => {
            let mut text = String::new();
            for copy in &page.items {
                text.push_str(&write_copy(copy));
                text.push('\n');
            }
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static("application/x-ndjson"));
            if let Some(next) = page.next {
                headers.insert("x-next", next.into());
            }
            (headers, text).into_response()
        }
        Err(error) => refusal(&error),
    }
}

async fn import(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
    body: Bytes,
) -> Response {
    let Ok(text) = std::str::from_utf8(&body) else {
        return problem(StatusCode::BAD_REQUEST, "the body is not text");
    };
    let mut copies = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        match read_copy(line) {
            Ok(copy) => copies.push(copy),
            Err(wrong) => return problem(StatusCode::BAD_REQUEST, &format!("line {number}: {wrong}")),
        }
    }
    let (given, now) = (copies.len(), Timestamp::now());
    let imported = match shared.log.import(copies, now).await {
        Ok(taken) => {
            let text = |name: &str| query.get(name).cloned().unwrap_or_default();
            let entry = audit::NewEntry {
                actor: text("by"),
                act: "import".to_owned(),
                subject: "queue".to_owned(),
                reason: text("reason"),
                detail: format!("{taken} messages taken over, {} known", given - taken),
            };
            shared.log.record(entry, now).await.map(|_| taken)
        }
        Err(error) => Err(error),
    };
    match imported {
        Ok(taken) => Json(json!({ "taken": taken, "known": given - taken })).into_response(),
        Err(error) => refusal(&error),
    }
}

async fn entries(State(shared): State<Arc<Shared>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let Ok(after) = query.get("after").map_or(Ok(0), |after| after.parse()) else {
        return problem(StatusCode::BAD_REQUEST, "`after` is not the number of an entry");
    };
    match shared.log.audit(after, ENTRIES).await {
        Ok(entries) => {
            let entries: Vec<Value> = entries.iter().map(entry_document).collect();
            Json(json!({ "entries": entries })).into_response()
        }
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &LogError) -> Response {
    let status = match error {
        LogError::Unknown => StatusCode::NOT_FOUND,
        LogError::Conflict(_) | LogError::Fenced => StatusCode::CONFLICT,
        LogError::Full | LogError::TooMany(_) | LogError::Draining => StatusCode::INSUFFICIENT_STORAGE,
        LogError::InDoubt(_) | LogError::Unavailable(_) | LogError::Poisoned(_) | LogError::Closed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    problem(status, &error.to_string())
}
