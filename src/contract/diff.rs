//! What changed between two versions of a contract, for those who call it.
//!
//! What a channel sends has to fit the newer version, what it receives has to fit the older one. For bodies,
//! parameters and header fields `containment` decides that; what is written differently (`schema`) only says where and
//! why. A change of words that changes nothing is safe.

mod judge;
mod message;
mod operation;
mod paging;
mod report;
mod rules;
mod schema;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use super::containment::{Answer, Containment};
use super::openapi::OpenApi;
use crate::config::{Diagnostic, Severity, SourceFile};
use schema::Edit;

/// How long two schemas are compared; a document has hundreds of pairs.
const BUDGET: Duration = Duration::from_secs(2);

/// How long all of them are compared: what is left then is undecided.
const WHOLE_BUDGET: Duration = Duration::from_mins(1);

/// What is looked at besides the two versions.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How many days ahead a sunset has to be when it is announced.
    pub sunset_days: Option<u16>,
    /// Versions before the older one, each its document and its overlays: names that were removed there are not to come
    /// back as something else.
    pub earlier: Vec<Vec<SourceFile>>,
}

/// All changes from one version of a contract to another.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The contract's name.
    pub contract: String,
    /// Name of the older version.
    pub older: String,
    /// Name of the newer version.
    pub newer: String,
    /// Grouped by operation, requests before responses, the worst first.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// `operationId`, in the newer version where it has one there.
    pub operation: String,
    /// Method and path: `POST /orders`.
    pub endpoint: String,
    /// Which message it concerns.
    pub side: Side,
    /// Its rule: a name that stays.
    pub rule: String,
    /// What it means to those who call.
    pub impact: Impact,
    /// What it concerns: `body lines[].uom`, `query limit`; may be empty.
    pub at: String,
    /// What changed, as a sentence without a full stop.
    pub what: String,
    /// Where it stands in the older document.
    pub older: Option<Place>,
    /// Where it stands in the newer document.
    pub newer: Option<Place>,
    /// A value that was good and is not any more (or the other way round, of what is received).
    pub example: Option<Value>,
}

/// A place in a document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file, as shown to the operator.
    pub file: PathBuf,
    /// 1-based.
    pub line: u32,
    /// 1-based, in characters.
    pub column: u32,
}

/// What of an operation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The operation itself.
    Operation,
    /// What it takes.
    Request,
    /// What it answers.
    Response,
}

/// What a change means to those who call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Impact {
    /// Somebody who did everything right fails.
    Breaking,
    /// It depends on how they were written, or could not be decided.
    Risky,
    /// Nobody notices who does not want to.
    Safe,
}

impl Side {
    /// As written in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

impl Impact {
    /// As written in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Breaking => "breaking",
            Self::Risky => "risky",
            Self::Safe => "safe",
        }
    }
}

impl Comparison {
    /// Compares two versions of a contract by their documents, each followed by its overlays; the folders they lie in are
    /// their names.
    pub fn new(
        contract: &str,
        older: &[SourceFile],
        newer: &[SourceFile],
        options: &Options,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut mistakes = Vec::new();
        let mut read = |files: &[SourceFile]| {
            let folder = files.first().and_then(|file| file.path.parent());
            let version = folder.and_then(std::path::Path::file_name).unwrap_or_default();
            match OpenApi::parse(&version.to_string_lossy(), files) {
                Ok((document, _)) => Some(document),
                Err(found) => {
                    mistakes.extend(found.into_iter().filter(|mistake| mistake.severity == Severity::Error));
                    None
                }
            }
        };
        let (older, newer) = (read(older), read(newer));
        let earlier: Vec<OpenApi> = options.earlier.iter().filter_map(|files| read(files)).collect();
        let (Some(older), Some(newer), true) = (older, newer, mistakes.is_empty()) else {
            return Err(mistakes);
        };
        let mut differ = Differ::new(&older, &newer);
        differ.sunset_days = options.sunset_days;
        differ.compare();
        for before in &earlier {
            differ.names_that_return(before);
        }
        Ok(Self {
            contract: contract.to_owned(),
            older: older.version.to_string(),
            newer: newer.version.to_string(),
            changes: differ.sorted(),
        })
    }

    /// How many changes are of an impact.
    pub fn count(&self, impact: Impact) -> usize {
        self.changes.iter().filter(|change| change.impact == impact).count()
    }

    /// Whether any change is as bad as this.
    pub fn has(&self, impact: Impact) -> bool {
        self.changes.iter().any(|change| change.impact <= impact)
    }
}

/// Two documents while they are compared.
struct Differ<'a> {
    older: &'a OpenApi,
    newer: &'a OpenApi,
    /// The older version within the newer one: what is sent.
    forth: Containment,
    /// The newer version within the older one: what is received.
    back: Containment,
    deadline: Instant,
    /// Whether schemas are compared by meaning, and not only by what is written.
    is_deciding: bool,
    sunset_days: Option<u16>,
    answers: HashMap<(Way, String, String), Rc<Answer>>,
    edits: HashMap<(String, String), Rc<Vec<Edit>>>,
    /// Where pointers lead to in the older and the newer file: shared schemas are named by many operations.
    places: RefCell<HashMap<(bool, String), Place>>,
    /// In the order of the documents.
    operations: Vec<String>,
    changes: Vec<Change>,
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    /// From those who call: what was good has to stay good.
    Sent,
    /// To those who call: nothing may come that could not come before.
    Received,
}

/// What is compared, for those who read the report.
#[derive(Clone)]
struct Scope {
    operation: String,
    endpoint: String,
    side: Side,
    way: Way,
    /// The first words of its rules: `request-body`.
    subject: &'static str,
    /// What it is: `body`, `query limit`.
    place: String,
}

/// One change as it is found: the rest is known from its scope.
struct Found {
    rule: String,
    impact: Impact,
    what: String,
    /// Pointers in the documents.
    older: Option<String>,
    newer: Option<String>,
}

impl<'a> Differ<'a> {
    fn new(older: &'a OpenApi, newer: &'a OpenApi) -> Self {
        let (old, new) = (Arc::new(older.root.clone()), Arc::new(newer.root.clone()));
        Self {
            older,
            newer,
            deadline: Instant::now() + WHOLE_BUDGET,
            is_deciding: true,
            sunset_days: None,
            forth: Containment::new(old.clone(), new.clone()),
            back: Containment::new(new, old),
            answers: HashMap::new(),
            edits: HashMap::new(),
            places: RefCell::default(),
            operations: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Whether a schema of the older document still serves, the way its values go.
    fn answer(&mut self, way: Way, older: &str, newer: &str) -> Rc<Answer> {
        if !self.is_deciding {
            return Rc::new(Answer::Proved);
        }
        let key = (way, older.to_owned(), newer.to_owned());
        if let Some(answer) = self.answers.get(&key) {
            return answer.clone();
        }
        let budget = self.deadline.saturating_duration_since(Instant::now()).min(BUDGET);
        self.forth.set_budget(budget);
        self.back.set_budget(budget);
        let answer = Rc::new(match way {
            Way::Sent => self.forth.decide(older, newer),
            Way::Received => self.back.decide(newer, older),
        });
        self.answers.insert(key, answer.clone());
        answer
    }

    /// Where two schemas are written differently.
    fn edits(&mut self, older: &str, newer: &str) -> Rc<Vec<Edit>> {
        let key = (older.to_owned(), newer.to_owned());
        let (own, its) = (self.older, self.newer);
        let edits = self
            .edits
            .entry(key)
            .or_insert_with(|| Rc::new(schema::edits(own, its, older, newer)));
        edits.clone()
    }

    /// Names that an earlier version had, the older one has not, and the newer one has with another type.
    fn names_that_return(&mut self, earlier: &OpenApi) {
        let is_addition = |change: &&Change| {
            let rules = ["property-added", "parameter-added", "response-header-added"];
            rules.iter().any(|rule| change.rule.ends_with(rule))
        };
        let added: Vec<Change> = self.changes.iter().filter(is_addition).cloned().collect();
        if added.is_empty() {
            return;
        }
        let mut since = Differ::new(earlier, self.newer);
        since.is_deciding = false;
        since.compare();
        for change in added {
            let is_same = |other: &&Change| {
                (&other.operation, other.side, &other.at) == (&change.operation, change.side, &change.at)
                    && other.rule.ends_with("-type-changed")
            };
            let Some(other) = since.changes.iter().find(is_same) else {
                continue;
            };
            let subject = other.rule.trim_end_matches("-type-changed");
            self.push(Change {
                rule: format!("{subject}-removed-name-reused"),
                impact: Impact::Risky,
                what: format!("comes back as something else: {}, in {}", other.what, earlier.version),
                older: other.older.clone(),
                ..change
            });
        }
    }

    fn report(&mut self, scope: &Scope, found: Found) {
        let change = self.change(scope, found);
        self.push(change);
    }

    fn push(&mut self, change: Change) {
        let mut of_operation = self
            .changes
            .iter()
            .rev()
            .take_while(|known| known.operation == change.operation);
        if of_operation.all(|known| *known != change) {
            self.changes.push(change);
        }
    }

    fn change(&self, scope: &Scope, found: Found) -> Change {
        debug_assert!(rules::is_known(&found.rule), "{} is not among the rules", found.rule);
        Change {
            operation: scope.operation.clone(),
            endpoint: scope.endpoint.clone(),
            side: scope.side,
            rule: found.rule,
            impact: found.impact,
            at: scope.place.clone(),
            what: found.what,
            older: found.older.map(|pointer| self.place(false, pointer)),
            newer: found.newer.map(|pointer| self.place(true, pointer)),
            example: None,
        }
    }

    /// Where a pointer leads to in the file of a document.
    fn place(&self, is_newer: bool, pointer: String) -> Place {
        let key = (is_newer, pointer);
        if let Some(place) = self.places.borrow().get(&key) {
            return place.clone();
        }
        let document = if is_newer { self.newer } else { self.older };
        let found = document.mistake(&key.1, "");
        let place = Place {
            file: found.file,
            line: found.line,
            column: found.column,
        };
        self.places.borrow_mut().insert(key, place.clone());
        place
    }

    fn sorted(self) -> Vec<Change> {
        let mut changes = self.changes;
        let order = |operation: &str| self.operations.iter().position(|known| known == operation);
        changes.sort_by_cached_key(|change| (order(&change.operation), change.side, change.impact));
        changes
    }
}

impl Scope {
    /// Another message of the same operation.
    fn with(&self, side: Side, way: Way, subject: &'static str, place: impl Into<String>) -> Self {
        Self {
            side,
            way,
            subject,
            place: place.into(),
            ..self.clone()
        }
    }
}

/// Method and path as people write them.
fn endpoint(method: &Method, template: &str) -> String {
    format!("{method} {template}")
}

#[cfg(test)]
mod tests;
