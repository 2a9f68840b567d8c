//! The half of a check that needs no documents: the image of the source's schema under the mapping, held against the
//! target's schema; steps that may refuse; steps whose way back is not known to restore a value.
//!
//! What holds here holds for every document there can be. What does not hold is no refutation: the image may admit more
//! than is ever made. Only a document that fails in the engine refutes (see `run`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::engine::Lens;
use crate::contract::containment::{Answer, Containment, Difference};
use crate::contract::program::{Doubtful, Image, Question, excerpt};
use crate::contract::translation::Running;

/// The longest that one kind of body is looked at.
const LENS_BUDGET: Duration = Duration::from_secs(3);

/// What is known of one lens without a document.
#[derive(Debug, Default)]
pub(super) struct Statics {
    /// Fields of the target that are made, in its words.
    pub(super) places: Vec<String>,
    /// Places for which something is not known, and what.
    pub(super) open: Vec<Open>,
    /// Values that the image admits and the target refuses. A document has to show them.
    pub(super) differences: Vec<Difference>,
    /// Values of the source, by their places, that might be refused or come back otherwise.
    pub(super) suspects: Vec<(Vec<String>, Value)>,
}

/// Something that is not proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    /// In the target's words; empty for the whole body.
    pub(super) path: String,
    /// One lower-case phrase.
    pub(super) why: String,
    /// The mapping, and the line and column of the step.
    pub(super) place: Option<(usize, (u32, u32))>,
}

/// Proves what can be proved of a lens before a point in time.
pub(super) fn prove(lens: &Lens<'_>, deadline: Instant) -> Statics {
    let mut statics = Statics::default();
    let now = Instant::now();
    let (Some(there), Some(last)) = (lens.programs(), lens.schemas.last()) else {
        statics.open("the way cannot be followed without a document");
        return statics;
    };
    if now >= deadline {
        statics.open("undecided: the time for proving was used up");
        return statics;
    }
    let deadline = deadline.min(now + LENS_BUDGET);
    let source = Arc::new(excerpt(&lens.source.document.root, &[&lens.schemas[0]]));
    let begin = Image {
        document: source,
        root: lens.schemas[0].clone(),
        places: Vec::new(),
        doubts: Vec::new(),
    };
    let image = run(lens, begin, &there, 0, false, deadline, &mut statics);
    statics.places.clone_from(&image.places);
    if !lens.writes_lists_alike() {
        statics.open("lists are written in another way in the two versions");
    }
    let target = Arc::new(excerpt(&lens.target.document.root, &[last]));
    if has_own_names(&image.document) || has_own_names(&target) {
        statics.open("a schema with a name of its own (`$id`, `$anchor`, `$dynamicRef`) is not followed");
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let mut containment = Containment::new(image.document.clone(), target).with_budget(left);
    let (differences, doubts) = match containment.decide(&image.root, last) {
        Answer::Proved => (Vec::new(), Vec::new()),
        Answer::Refuted { differences, doubts } => (differences, doubts),
        Answer::Unknown(doubts) => (Vec::new(), doubts),
    };
    statics.open.extend(doubts.into_iter().map(|doubt| Open {
        why: if Instant::now() >= deadline {
            "undecided: the time for proving was used up".to_owned()
        } else {
            doubt.why
        },
        path: doubt.at,
        place: None,
    }));
    statics.differences = differences;
    if !lens.is_parameters() {
        match lens.programs_back() {
            Some(back) => {
                run(lens, image, &back, there.len(), true, deadline, &mut statics);
            }
            None => statics.open("the way back cannot be followed without a document"),
        }
    }
    statics
}

/// Whether references in a document may mean something else than what stands at their pointers.
fn has_own_names(document: &Value) -> bool {
    match document {
        Value::Object(members) => members.iter().any(|(name, value)| {
            let is_own = ["$id", "$anchor", "$dynamicRef", "$recursiveRef"].contains(&name.as_str());
            (is_own && value.is_string()) || has_own_names(value)
        }),
        Value::Array(items) => items.iter().any(has_own_names),
        _ => false,
    }
}

/// Runs programs over an image, one after the other.
fn run(
    lens: &Lens<'_>,
    begin: Image,
    programs: &[Running<'_>],
    before: usize,
    is_return: bool,
    deadline: Instant,
    statics: &mut Statics,
) -> Image {
    let mut image = begin;
    for (stage, (step, program, way)) in programs.iter().enumerate() {
        let next = step.programs.flow(
            *program,
            &Question {
                source: &image.document,
                root: &image.root,
                way: *way,
                stage: before + stage,
                is_return,
                is_wire: lens.is_parameters(),
                deadline,
            },
        );
        let leg = if is_return { programs.len() - 1 - stage } else { stage };
        let index = lens.versions[leg].min(lens.versions[leg + 1]);
        for doubt in &next.doubts {
            statics.doubt(doubt, index, is_return, stage == 0);
        }
        image = next;
    }
    image
}

impl Statics {
    fn open(&mut self, why: &str) {
        self.open.push(Open {
            path: String::new(),
            why: why.to_owned(),
            place: None,
        });
    }

    fn doubt(&mut self, doubt: &Doubtful, index: usize, is_return: bool, is_first: bool) {
        let place = (doubt.place != (0, 0)).then_some((index, doubt.place));
        // On the way back, what is a source is the target.
        let (path, why) = if is_return {
            let from = doubt.from.iter().map(|token| if token == "0" { "[]" } else { token });
            let path = from.fold(String::new(), |path, token| match token {
                "[]" => path + token,
                name if path.is_empty() => name.to_owned(),
                name => format!("{path}.{name}"),
            });
            (path, format!("{}, on the way back", doubt.why))
        } else {
            (doubt.to.clone(), doubt.why.clone())
        };
        let open = Open { path, why, place };
        if !self.open.contains(&open) {
            self.open.push(open);
        }
        if is_first && !is_return {
            self.suspects
                .extend(doubt.value.clone().map(|value| (doubt.from.clone(), value)));
        }
    }
}

/// All values of a schema in words: `texts of 21 to 40 characters`.
pub(super) fn described(values: &Value) -> Option<String> {
    let quoted = |value: &Value| match value.as_str() {
        Some(text) => format!("`{text}`"),
        None => value.to_string(),
    };
    let between = |least: Option<&Value>, most: Option<&Value>, what: &str| match (least, most) {
        (Some(least), Some(most)) if least == most => Some(format!("of {least}{what}")),
        (Some(least), Some(most)) => Some(format!("of {least} to {most}{what}")),
        (Some(least), None) => Some(format!("of {least}{what} and more")),
        (None, Some(most)) => Some(format!("of up to {most}{what}")),
        (None, None) => None,
    };
    let get = |name: &str| values.get(name);
    if let Some(only) = get("const") {
        return Some(quoted(only));
    }
    if let Some(listed) = get("enum").and_then(Value::as_array) {
        return Some(listed.iter().map(quoted).collect::<Vec<_>>().join(", "));
    }
    if let Some(length) = between(get("minLength"), get("maxLength"), " characters") {
        return Some(format!("texts {length}"));
    }
    let least = get("minimum").or(get("exclusiveMinimum"));
    let most = get("maximum").or(get("exclusiveMaximum"));
    between(least, most, "").map(|size| format!("numbers {size}"))
}
