//! A comparison as people and pipelines read it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Change, Comparison, Impact, Place};

/// The schema that SARIF files name.
const SARIF_SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

const IMPACTS: [Impact; 3] = [Impact::Breaking, Impact::Risky, Impact::Safe];

impl Comparison {
    /// Lines for people: grouped by operation, requests before responses, the worst first, a summary at the end.
    pub fn text(&self) -> String {
        let mut out = format!("{} {} → {}\n", self.contract, self.older, self.newer);
        let mut before: Option<&Change> = None;
        for change in &self.changes {
            if before.is_none_or(|before| before.operation != change.operation) {
                let _ = write!(out, "\n{}", change.operation);
                if change.operation != change.endpoint {
                    let _ = write!(out, "  {}", change.endpoint);
                }
                out.push('\n');
                before = None;
            }
            if before.is_none_or(|before| before.side != change.side) {
                let _ = writeln!(out, "  {}", change.side.as_str());
            }
            let _ = writeln!(out, "    {:<8}  {}", change.impact.as_str(), change.sentence());
            let places = [&change.older, &change.newer].into_iter().flatten();
            let places: Vec<String> = places.map(ToString::to_string).collect();
            let _ = writeln!(out, "              {}  {}", change.rule, places.join(" → "));
            before = Some(change);
        }
        if !self.changes.is_empty() {
            out.push('\n');
        }
        out + &self.summary() + "\n"
    }

    /// `3 breaking, 1 risky and 4 safe changes in 2 operations`.
    fn summary(&self) -> String {
        let operations: BTreeSet<&str> = self.changes.iter().map(|change| change.operation.as_str()).collect();
        let [breaking, risky, safe] = IMPACTS.map(|impact| self.count(impact));
        let changes = if self.changes.len() == 1 { "change" } else { "changes" };
        let what = if operations.len() == 1 {
            "operation"
        } else {
            "operations"
        };
        match self.changes.len() {
            0 => "nothing changed for those who call".to_owned(),
            _ => format!(
                "{breaking} breaking, {risky} risky and {safe} safe {changes} in {} {what}",
                operations.len()
            ),
        }
    }

    /// One JSON document.
    pub fn json(&self) -> String {
        let changes: Vec<Value> = self.changes.iter().map(Change::document).collect();
        let document = json!({
            "contract": self.contract,
            "older": self.older,
            "newer": self.newer,
            "summary": {
                "breaking": self.count(Impact::Breaking),
                "risky": self.count(Impact::Risky),
                "safe": self.count(Impact::Safe),
            },
            "changes": changes,
        });
        format!("{document:#}\n")
    }

    /// Workflow commands, which GitHub shows beside the lines of a pull request.
    pub fn github(&self) -> String {
        let mut out = String::new();
        for change in &self.changes {
            let command = match change.impact {
                Impact::Breaking => "error",
                Impact::Risky => "warning",
                Impact::Safe => "notice",
            };
            let place = change.place().map_or(String::new(), |place| {
                let file = property(&place.file.display().to_string());
                format!("file={file},line={},col={},", place.line, place.column)
            });
            let message = format!("{} ({}): {}", change.operation, change.side.as_str(), change.sentence());
            let _ = writeln!(
                out,
                "::{command} {place}title={}::{}",
                property(&change.rule),
                data(&message)
            );
        }
        out
    }

    /// A SARIF 2.1.0 log with one run.
    pub fn sarif(&self) -> String {
        let rules: BTreeSet<&str> = self.changes.iter().map(|change| change.rule.as_str()).collect();
        let rules: Vec<Value> = rules.into_iter().map(|rule| json!({ "id": rule })).collect();
        let results: Vec<Value> = self.changes.iter().map(Change::result).collect();
        let driver = json!({ "name": "crossdock", "version": env!("CARGO_PKG_VERSION"), "rules": rules });
        let log = json!({
            "$schema": SARIF_SCHEMA,
            "version": "2.1.0",
            "runs": [{ "tool": { "driver": driver }, "columnKind": "unicodeCodePoints", "results": results }],
        });
        format!("{log:#}\n")
    }
}

impl Change {
    /// What changed, led by what it concerns.
    fn sentence(&self) -> String {
        match self.at.as_str() {
            "" => self.what.clone(),
            at => format!("{at} {}", self.what),
        }
    }

    /// Where a reader of the newer version looks.
    fn place(&self) -> Option<&Place> {
        self.newer.as_ref().or(self.older.as_ref())
    }

    fn document(&self) -> Value {
        let place = |place: &Option<Place>| {
            place
                .as_ref()
                .map(|place| json!({ "file": file(place), "line": place.line, "column": place.column }))
        };
        json!({
            "operation": self.operation,
            "endpoint": self.endpoint,
            "side": self.side.as_str(),
            "rule": self.rule,
            "impact": self.impact.as_str(),
            "at": self.at,
            "what": self.what,
            "older": place(&self.older),
            "newer": place(&self.newer),
            "example": self.example,
        })
    }

    fn result(&self) -> Value {
        let level = match self.impact {
            Impact::Breaking => "error",
            Impact::Risky => "warning",
            Impact::Safe => "note",
        };
        let location = |place: &Place| {
            let region = json!({ "startLine": place.line.max(1), "startColumn": place.column.max(1) });
            json!({ "physicalLocation": { "artifactLocation": { "uri": file(place) }, "region": region } })
        };
        let message = format!("{} ({}): {}", self.operation, self.side.as_str(), self.sentence());
        let related: Vec<Value> = self
            .older
            .iter()
            .filter(|_| self.newer.is_some())
            .map(location)
            .collect();
        json!({
            "ruleId": self.rule,
            "level": level,
            "message": { "text": message },
            "locations": self.place().map(location).into_iter().collect::<Vec<_>>(),
            "relatedLocations": related,
        })
    }
}

/// `contracts/orders/v1/openapi.yaml:12:9`.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

fn file(place: &Place) -> String {
    place.file.display().to_string().replace('\\', "/")
}

/// Text in a workflow command, where line breaks end it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command, where colons and commas end it too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
