//! `/queue/webhooks`: what channels were told, or will be, and having it told again.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Part, read_body, refusal};
use crate::{
    admin::problem,
    queue::{LogError, NoticeFilter, NoticeState, NoticeStats, NoticeView},
    shared::Shared,
};

pub(super) async fn list(State(shared): State<Arc<Shared>>, Query(query): Query<HashMap<String, String>>) -> Response {
    let (filter, from, max) = match read_notice_query(&query) {
        Ok(read) => read,
        Err(wrong) => return problem(StatusCode::BAD_REQUEST, &wrong),
    };
    match shared.log.notices(filter, from, max).await {
        Ok(page) => Json(json!({
            "webhooks": page.items.iter().map(notice).collect::<Vec<_>>(),
            "next": page.next.map(|next| next.to_string()),
        }))
        .into_response(),
        Err(error) => refusal(&error),
    }
}

/// Filters, as the command line and the admin API write them.
pub(crate) fn read_notice_query(query: &HashMap<String, String>) -> Result<(NoticeFilter, Option<u64>, usize), String> {
    let mut filter = NoticeFilter::default();
    let mut part = Part::default();
    for (name, value) in query {
        match name.as_str() {
            "state" => {
                let named = |name: &str| {
                    NoticeState::named(name).ok_or_else(|| {
                        let known = NoticeState::ALL.map(NoticeState::name).join(", ");
                        format!("`{name}` is no state of a webhook: {known}")
                    })
                };
                filter.states = value.split(',').map(str::trim).map(named).collect::<Result<_, _>>()?;
            }
            "channel" => filter.channel = Some(value.clone()),
            "message" => filter.message = Some(value.clone()),
            _ if part.read(name, value)? => {}
            _ => {
                return Err(format!(
                    "there is no filter `{name}`: state, channel, message, from, limit"
                ));
            }
        }
    }
    Ok((filter, part.from, part.max))
}

/// A webhook in a list.
pub(crate) fn notice(view: &NoticeView) -> Value {
    let NoticeView { notice, standing } = view;
    let mut document = json!({
        "id": notice.id,
        "message": notice.message,
        "channel": notice.channel,
        "event": notice.state.name(),
        "finished": notice.finished,
        "state": standing.state.name(),
        "tries": standing.tries,
        "since": standing.since,
    });
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            document[name] = value;
        }
    };
    put("nextTry", standing.next_try.map(|at| json!(at)));
    put("ended", standing.ended.map(|at| json!(at)));
    put("error", standing.error.as_ref().map(|error| json!(error)));
    document
}

/// How many wait and failed, by channel.
pub(crate) fn notice_stats(stats: &NoticeStats, now: Timestamp) -> Value {
    let groups = stats.groups.iter();
    let groups =
        groups.map(|((channel, state), count)| json!({ "channel": channel, "state": state.name(), "count": count }));
    json!({
        "waiting": stats.in_state(NoticeState::Waiting),
        "failed": stats.in_state(NoticeState::Failed),
        "oldestSeconds": stats.oldest.map(|since| now.duration_since(since).as_secs().max(0)),
        "groups": groups.collect::<Vec<_>>(),
    })
}

pub(super) async fn resend(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> Response {
    let by = match read_body(&body).and_then(|body| body.actor(false)) {
        Ok(by) => by,
        Err(refused) => return *refused,
    };
    match shared.log.resend(&id, by, Timestamp::now()).await {
        Ok(view) => Json(notice(&view)).into_response(),
        Err(LogError::Unknown) => problem(StatusCode::NOT_FOUND, "there is no such webhook"),
        Err(error) => refusal(&error),
    }
}
