//! The only place that knows `jsonschema`'s canonical forms: a second opinion, on a thread that may be left behind.
//!
//! That module is experimental and cannot be interrupted. What it says is only used as proof; a refutation rests on a
//! document that validators confirm.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use jsonschema::canonical::{CanonicalSchema, CanonicalizeOptions, Containment, PreparedDocument, options};
use jsonschema::{Draft, PatternOptions};
use serde_json::Value;

/// Schemas nest, and so does the thread's stack.
const STACK_BYTES: usize = 64 << 20;

/// The longest one question may take, where the budget allows it.
const PATIENCE: Duration = Duration::from_secs(2);

/// A difference longer than this explains nothing.
const DIFFERENCE_BYTES: usize = 2_000;

/// Somebody to ask about two documents.
pub(super) struct Canon {
    ask: Sender<Question>,
    answers: Receiver<Opinion>,
    /// The thread did not answer in time, and is no longer waited for.
    is_lost: bool,
}

/// What is known of one schema within another.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Opinion {
    pub(super) is_within: bool,
    /// All values of the one that the other refuses, as a schema.
    pub(super) difference: Option<Value>,
}

enum Question {
    /// What all these schemas of the one document admit, and a schema of the other.
    Parts(Vec<Arc<str>>, Arc<str>),
    /// Two schemas by themselves; with the difference.
    Plain(Box<(Value, Value)>),
}

impl Canon {
    pub(super) fn new(sub: Arc<Value>, sup: Arc<Value>) -> Self {
        let (ask, questions) = channel();
        let (tell, answers) = channel();
        let spawned = thread::Builder::new()
            .name("containment".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || answer(&sub, &sup, &questions, &tell));
        Self {
            ask,
            answers,
            is_lost: spawned.is_err(),
        }
    }

    /// Whether what all `parts` of the one document admit is within a schema of the other.
    pub(super) fn parts(&mut self, parts: Vec<Arc<str>>, sup: Arc<str>, deadline: Instant) -> Opinion {
        self.put(Question::Parts(parts, sup), deadline)
    }

    /// Whether one schema is within another, and what is beyond.
    pub(super) fn plain(&mut self, sub: Value, sup: Value, deadline: Instant) -> Opinion {
        self.put(Question::Plain(Box::new((sub, sup))), deadline)
    }

    fn put(&mut self, question: Question, deadline: Instant) -> Opinion {
        let left = deadline.saturating_duration_since(Instant::now()).min(PATIENCE);
        if self.is_lost || left.is_zero() || self.ask.send(question).is_err() {
            return Opinion::default();
        }
        self.answers.recv_timeout(left).unwrap_or_else(|_| {
            // A late answer would be taken for that of the next question.
            self.is_lost = true;
            Opinion::default()
        })
    }
}

fn answer(sub: &Value, sup: &Value, questions: &Receiver<Question>, tell: &Sender<Opinion>) {
    // Prepared when first needed: many comparisons never ask.
    let mut documents: Option<Option<(PreparedDocument<'_>, PreparedDocument<'_>)>> = None;
    for question in questions {
        let opinion = match question {
            Question::Parts(parts, pointer) => documents
                .get_or_insert_with(|| settings().prepare(sub).ok().zip(settings().prepare(sup).ok()))
                .as_ref()
                .and_then(|(sub, sup)| compare_parts(sub, &parts, sup, &pointer)),
            Question::Plain(both) => compare(&both.0, &both.1),
        };
        if tell.send(opinion.unwrap_or_default()).is_err() {
            return;
        }
    }
}

fn compare_parts(
    sub: &PreparedDocument<'_>,
    parts: &[Arc<str>],
    sup: &PreparedDocument<'_>,
    pointer: &str,
) -> Option<Opinion> {
    let (first, others) = parts.split_first()?;
    let all = others.iter().try_fold(sub.canonicalize_at(first).ok()?, |all, part| {
        all.intersect(&sub.canonicalize_at(part).ok()?).ok()
    })?;
    Some(Opinion {
        is_within: covers(&sup.canonicalize_at(pointer).ok()?, &all),
        difference: None,
    })
}

fn compare(sub: &Value, sup: &Value) -> Option<Opinion> {
    let sub = settings().canonicalize(sub).ok()?;
    let sup = settings().canonicalize(sup).ok()?;
    let is_within = covers(&sup, &sub);
    let difference = if is_within { None } else { sub.subtract(&sup).ok() };
    let difference = difference.map(|difference| {
        let mut schema = difference.to_json_schema();
        if let Some(keywords) = schema.as_object_mut() {
            keywords.remove("$schema");
        }
        schema
    });
    Some(Opinion {
        is_within,
        difference: difference.filter(|schema| schema.to_string().len() <= DIFFERENCE_BYTES),
    })
}

fn covers(sup: &CanonicalSchema, sub: &CanonicalSchema) -> bool {
    matches!(sup.covers(sub), Ok(Containment::Yes))
}

/// As validators read schemas here: 2020-12, formats asserted, nothing fetched.
fn settings() -> CanonicalizeOptions<'static> {
    options()
        .with_draft(Draft::Draft202012)
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(10_000))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(sub: Value, sup: Value) -> Opinion {
        let mut canon = Canon::new(Value::Null.into(), Value::Null.into());
        canon.plain(sub, sup, Instant::now() + Duration::from_secs(30))
    }

    #[test]
    fn the_difference_is_exactly_what_is_beyond() {
        assert_eq!(
            plain(
                json!({ "type": "string", "maxLength": 40 }),
                json!({ "type": "string", "maxLength": 20 })
            ),
            Opinion {
                is_within: false,
                difference: Some(json!({ "type": "string", "minLength": 21, "maxLength": 40 })),
            }
        );
        assert!(plain(json!({ "const": 3 }), json!({ "type": "integer", "minimum": 3 })).is_within);
        assert!(
            !plain(
                json!({ "type": "string" }),
                json!({ "type": "string", "format": "date" })
            )
            .is_within
        );
    }

    #[test]
    fn a_budget_that_is_used_up_answers_nothing() {
        let mut canon = Canon::new(json!({}).into(), json!({}).into());
        assert_eq!(
            canon.plain(json!(false), json!(true), Instant::now()),
            Opinion::default()
        );
    }
}
