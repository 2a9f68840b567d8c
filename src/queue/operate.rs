//! What operators do with messages: find, decide, pause.

use std::{fmt, str::FromStr};

use jiff::Timestamp;

use super::{
    AttemptView, MessageState, MessageView, NewMessage, NoticeView, OrderKey, Standing, StoredRequest, StoredResponse,
};
use crate::{audit, problem::FailureClass};

/// A person's decision on one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Dead, expired or parked: it is delivered after all, in its old place. Waiting: it goes out at once. What may have
    /// had its effect is asked about or repeated by the API's rules, never blindly.
    Retry,
    /// Its request is another one now; the former one is kept. With `retry` it is also delivered.
    Edit { request: Box<StoredRequest>, retry: bool },
    /// It is taken out, and lets go of its order key.
    Discard,
    /// It was in doubt: the upstream did it.
    Happened,
    /// It was in doubt: the upstream did not do it, so it is sent again.
    DidNotHappen,
}

impl Act {
    /// As the audit log writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Edit { retry: false, .. } => "edit",
            Self::Edit { retry: true, .. } => "edit and retry",
            Self::Discard => "discard",
            Self::Happened => "release: it happened",
            Self::DidNotHappen => "release: it did not happen",
        }
    }
}

/// Who acts, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub name: String,
    pub reason: String,
}

/// Which messages are meant. What is not said is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageFilter {
    pub states: Vec<MessageState>,
    pub upstream: Option<String>,
    pub api: Option<String>,
    pub operation: Option<String>,
    pub channel: Option<String>,
    /// Value of the order key.
    pub key: Option<String>,
    /// Class of what went wrong last.
    pub class: Option<FailureClass>,
    /// Text in what went wrong last, in any case.
    pub error: Option<String>,
    /// Admitted at this time or before.
    pub until: Option<Timestamp>,
    /// Admitted at this time or later.
    pub since: Option<Timestamp>,
}

impl MessageFilter {
    /// Whether a message is meant. The stores ask in their own words; this is what they have to mean.
    pub fn matches(&self, view: &MessageView) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        (self.states.is_empty() || self.states.contains(&view.state))
            && is(&self.upstream, &view.upstream)
            && is(&self.api, &view.api)
            && is(&self.operation, &view.operation)
            && is(&self.channel, &view.channel)
            && is(&self.key, &view.order_key)
            && self
                .class
                .is_none_or(|class| view.failure.as_ref().is_some_and(|failure| failure.class == class))
            && self.error.as_ref().is_none_or(|error| {
                let error = error.to_ascii_lowercase();
                view.failure
                    .as_ref()
                    .is_some_and(|failure| failure.cause.to_ascii_lowercase().contains(&error))
            })
            && self.until.is_none_or(|until| view.admitted <= until)
            && self.since.is_none_or(|since| view.admitted >= since)
    }
}

/// A part of a list, in the order of admission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next part begins; `None` at the end. A part may be short, or empty, and not be the last one: a store
    /// looks at a bounded number of messages at a time.
    pub next: Option<u64>,
}

/// One message with all that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub view: MessageView,
    /// What goes to the upstream; gone once it is delivered.
    pub request: Option<StoredRequest>,
    /// What it was before it was edited, oldest first.
    pub former: Vec<StoredRequest>,
    /// What persons did with it.
    pub history: Vec<audit::Entry>,
}

/// A message as it moves from one store to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageCopy {
    pub message: NewMessage,
    /// Whether the request is still kept.
    pub has_request: bool,
    pub admitted: Timestamp,
    pub standing: Standing,
    pub attempts: Vec<AttemptView>,
    pub response: Option<StoredResponse>,
    pub former: Vec<StoredRequest>,
    /// What its channel was told of its ends, or will be.
    pub notices: Vec<NoticeView>,
}

/// What is held back. Written `all`, `intake`, `upstream:NAME`, `api:NAME`, `key:UPSTREAM/VALUE`,
/// `webhook:URL`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PauseScope {
    /// All deliveries, those of webhooks included.
    All,
    /// New messages: they are refused, and what is there is delivered.
    Intake,
    /// Deliveries to an upstream.
    Upstream(String),
    /// Deliveries of an API.
    Api(String),
    /// Deliveries of an order key.
    Key(OrderKey),
    /// Completion webhooks to a URL. The gateway does so itself when the URL answers 410.
    Webhook(String),
}

impl PauseScope {
    /// Whether deliveries of these messages are held back.
    pub(crate) fn covers(&self, api: &str, key: &OrderKey) -> bool {
        match self {
            Self::All => true,
            Self::Intake | Self::Webhook(_) => false,
            Self::Upstream(name) => *name == key.upstream,
            Self::Api(name) => name == api,
            Self::Key(paused) => paused == key,
        }
    }

    /// Whether nothing goes to an upstream at all.
    pub(crate) fn closes(&self, upstream: &str) -> bool {
        matches!(self, Self::All) || matches!(self, Self::Upstream(name) if name == upstream)
    }
}

impl fmt::Display for PauseScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Intake => f.write_str("intake"),
            Self::Upstream(name) => write!(f, "upstream:{name}"),
            Self::Api(name) => write!(f, "api:{name}"),
            Self::Key(key) => write!(f, "key:{}/{}", key.upstream, key.value),
            Self::Webhook(url) => write!(f, "webhook:{url}"),
        }
    }
}

impl FromStr for PauseScope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no scope: write `all`, `intake`, `upstream:NAME`, `api:NAME`, `key:UPSTREAM/VALUE` or \
                 `webhook:URL`"
            )
        };
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            None if text == "intake" => Ok(Self::Intake),
            Some(("upstream", name)) if !name.is_empty() => Ok(Self::Upstream(name.to_owned())),
            Some(("api", name)) if !name.is_empty() => Ok(Self::Api(name.to_owned())),
            Some(("webhook", url)) if !url.is_empty() => Ok(Self::Webhook(url.to_owned())),
            Some(("key", key)) => {
                let (upstream, value) = key.split_once('/').ok_or_else(wrong)?;
                if upstream.is_empty() || value.is_empty() {
                    return Err(wrong());
                }
                Ok(Self::Key(OrderKey {
                    upstream: upstream.to_owned(),
                    value: value.to_owned(),
                }))
            }
            _ => Err(wrong()),
        }
    }
}

/// Something that is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    pub scope: PauseScope,
    pub since: Timestamp,
    pub by: Actor,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for text in [
            "all",
            "intake",
            "upstream:erp",
            "api:erp-orders",
            "key:erp/4711/a:b",
            "webhook:https://shop/a:b",
        ] {
            assert_eq!(text.parse::<PauseScope>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "erp",
            "upstream:",
            "key:erp",
            "key:/4711",
            "key:erp/",
            "lane:bulk",
            "webhook:",
        ] {
            assert!(
                text.parse::<PauseScope>().unwrap_err().contains("write `all`"),
                "{text}"
            );
        }
    }
}
