//! What an import has done, for people and for tools.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

/// Most lines of one section that people are shown.
const SHOWN: usize = 20;

/// What an import has done, and what of the document is not enforced.
#[derive(Debug, Default)]
pub struct Report {
    /// The `OpenAPI` it was written in.
    pub edition: String,
    /// How many files it was made of.
    pub files: usize,
    /// How many operations it has.
    pub operations: usize,
    /// What 3.0 said in other words, and how often.
    pub converted: BTreeMap<&'static str, usize>,
    /// What came from other files, and its name now.
    pub bundled: Vec<String>,
    /// Operations without a name, and the name they were given.
    pub named: Vec<String>,
    /// What had to be changed or left out.
    pub changed: Vec<String>,
    /// What the gateway will not enforce.
    pub unenforced: Vec<String>,
}

impl Report {
    /// For people: a line for each thing, long sections cut.
    pub fn text(&self) -> String {
        let plural = |number: usize| if number == 1 { "" } else { "s" };
        let mut out = format!(
            "OpenAPI {} with {} operation{} from {} file{}\n",
            self.edition,
            self.operations,
            plural(self.operations),
            self.files,
            plural(self.files)
        );
        let converted: Vec<String> = self
            .converted
            .iter()
            .map(|(what, count)| format!("{count} × {what}"))
            .collect();
        for (title, lines) in [
            ("Converted to 3.1", &converted),
            ("Gathered from other files", &self.bundled),
            ("Given a name", &self.named),
            ("Changed or left out", &self.changed),
            ("Not enforced by the gateway", &self.unenforced),
        ] {
            if lines.is_empty() {
                continue;
            }
            let _ = writeln!(out, "\n{title}:");
            for line in lines.iter().take(SHOWN) {
                let _ = writeln!(out, "  {line}");
            }
            if lines.len() > SHOWN {
                let _ = writeln!(out, "  and {} more (all of them: --format json)", lines.len() - SHOWN);
            }
        }
        out
    }

    /// For tools: everything.
    pub fn document(&self) -> Value {
        json!({
            "openapi": self.edition,
            "files": self.files,
            "operations": self.operations,
            "converted": self.converted,
            "bundled": self.bundled,
            "named": self.named,
            "changed": self.changed,
            "unenforced": self.unenforced,
        })
    }
}
