//! A mistake in a file an operator wrote, with its place and its remedy.

use std::{fmt, path::PathBuf, sync::Arc};

use super::{Spanned, yaml::Place};

/// One mistake: what, where, and what instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the files can go live in spite of it.
    pub severity: Severity,
    /// The file, as shown to the operator: `policies/apis/erp-orders.yaml`.
    pub file: PathBuf,
    /// The file's text, to show the line; empty where the file could not be read.
    pub source: Arc<str>,
    /// 1-based line; 0 where the whole file is meant.
    pub line: u32,
    /// 1-based column in characters.
    pub column: u32,
    /// Characters to underline; 0 where unknown.
    pub length: u32,
    /// What is wrong: one lower-case phrase that quotes the offending text.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

/// Whether files with this mistake can go live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// They cannot.
    Error,
    /// They can, but somebody should look.
    Warning,
}

/// A file of policies or contracts as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFile {
    /// As shown to the operator, with `/` between folders: `contracts/orders/v1/openapi.yaml`.
    pub path: PathBuf,
    /// Its text.
    pub text: Arc<str>,
}

impl Diagnostic {
    /// A mistake in a file, at a 1-based line and column.
    pub fn error(file: &SourceFile, line: u32, column: u32, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.path.clone(),
            source: file.text.clone(),
            line,
            column,
            length: 0,
            message: message.into(),
            help: None,
        }
    }

    /// A mistake in a value that remembers where it was written.
    pub fn at<T>(file: &SourceFile, value: &Spanned<T>, message: impl Into<String>) -> Self {
        Self::in_file(file, Place::of(file, value), message)
    }

    /// A mistake in the value at a path of keys and list positions: `["credentials", "0", "header"]`.
    ///
    /// For values whose type does not remember their place. Reads the text again, so only for what is known to be wrong.
    pub fn at_path(file: &SourceFile, path: &[&str], message: impl Into<String>) -> Self {
        Self::in_file(file, Place::at(file, path), message)
    }

    /// A mistake in a stretch of a line.
    pub fn in_file(file: &SourceFile, place: Place, message: impl Into<String>) -> Self {
        Self {
            length: place.length,
            ..Self::error(file, place.line, place.column, message)
        }
    }

    /// Something to look at, which keeps nothing from going live.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Shows the place but not the text: it may hold a secret.
    #[must_use]
    pub fn concealed(mut self) -> Self {
        self.source = Arc::from("");
        self
    }

    /// Adds what would be right.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// `file:line:col: error: message (help: …)`, on one line.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}: {}", self.severity.as_str(), self.message)?;
        match &self.help {
            Some(help) => write!(f, " (help: {help})"),
            None => Ok(()),
        }
    }
}

impl Severity {
    /// As written in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// How diagnostics are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportStyle {
    /// With the line and the text underlined, for a terminal.
    Graphical {
        /// With colours.
        is_coloured: bool,
    },
    /// One line each, for logs and tools.
    Plain,
    /// A JSON array.
    Json,
}

impl ReportStyle {
    /// Graphical on a terminal, with colours unless `NO_COLOR` is set; plain elsewhere.
    pub fn of(is_terminal: bool) -> Self {
        let is_coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if is_terminal {
            Self::Graphical { is_coloured }
        } else {
            Self::Plain
        }
    }
}

/// All diagnostics as text that ends with a line break. Plain and graphical ones end with a summary.
pub fn report(diagnostics: &[Diagnostic], files: usize, style: ReportStyle) -> String {
    let mut out = String::new();
    match style {
        ReportStyle::Json => {
            let all: Vec<_> = diagnostics.iter().map(Diagnostic::document).collect();
            return format!("{:#}\n", serde_json::Value::from(all));
        }
        ReportStyle::Plain => {
            for diagnostic in diagnostics {
                out.push_str(&format!("{diagnostic}\n").replace('\r', "\\r"));
            }
        }
        ReportStyle::Graphical { is_coloured } => {
            for diagnostic in diagnostics {
                out.push_str(&diagnostic.graphical(is_coloured));
                out.push('\n');
            }
        }
    }
    out + &summary(diagnostics, files) + "\n"
}

/// `3 errors, 1 warning in 12 files`.
fn summary(diagnostics: &[Diagnostic], files: usize) -> String {
    let count = |severity| {
        diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    };
    let say = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let files = say(files, "file");
    match (count(Severity::Error), count(Severity::Warning)) {
        (0, 0) => format!("no mistakes in {files}"),
        (errors, 0) => format!("{} in {files}", say(errors, "error")),
        (0, warnings) => format!("{} in {files}", say(warnings, "warning")),
        (errors, warnings) => format!("{}, {} in {files}", say(errors, "error"), say(warnings, "warning")),
    }
}

impl Diagnostic {
    fn document(&self) -> serde_json::Value {
        serde_json::json!({
            "severity": self.severity.as_str(),
            "file": self.file.display().to_string(),
            "line": self.line,
            "column": self.column,
            "length": self.length,
            "message": self.message,
            "help": self.help,
        })
    }

    /// The message, the line with the text underlined, and the help.
    fn graphical(&self, is_coloured: bool) -> String {
        let has_place = self.line > 0 && !self.source.is_empty();
        let message = match (has_place, self.line) {
            (true, _) => self.message.clone(),
            (false, 0) => format!("{}: {}", self.file.display(), self.message),
            (false, line) => format!("{}:{line}:{}: {}", self.file.display(), self.column, self.message),
        };
        let mut diagnostic = miette::MietteDiagnostic::new(message).with_severity(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        });
        diagnostic.help.clone_from(&self.help);
        if has_place {
            let label = miette::LabeledSpan::new(None, self.offset(), self.length_in_bytes());
            diagnostic.labels = Some(vec![label]);
        }
        // Its own column counts bytes.
        let place = format!("{}:{}:{}", self.file.display(), self.line, self.column);
        let source = miette::NamedSource::new(place, self.source.to_string());
        let report = miette::Report::new(diagnostic).with_source_code(source);
        let theme = if is_coloured {
            miette::GraphicalTheme::unicode()
        } else {
            miette::GraphicalTheme::unicode_nocolor()
        };
        let handler = miette::GraphicalReportHandler::new_themed(theme)
            .without_primary_span_start()
            .with_width(120)
            .with_context_lines(1);
        let mut out = String::new();
        // Writing to a string does not fail; should the parts not fit together, the plain line says it all.
        match handler.render_report(&mut out, report.as_ref()) {
            Ok(()) => out,
            Err(fmt::Error) => self.to_string(),
        }
    }

    /// Byte offset of the place in the text.
    fn offset(&self) -> usize {
        let before: usize = self
            .source
            .split_inclusive('\n')
            .take(self.line as usize - 1)
            .map(str::len)
            .sum();
        let line = &self.source[before.min(self.source.len())..];
        before + bytes_of(line, self.column.saturating_sub(1))
    }

    fn length_in_bytes(&self) -> usize {
        bytes_of(&self.source[self.offset()..], self.length)
    }
}

/// Bytes of the first so many characters of a line.
fn bytes_of(text: &str, characters: u32) -> usize {
    let line = text.lines().next().unwrap_or("");
    line.char_indices()
        .nth(characters as usize)
        .map_or(line.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> SourceFile {
        SourceFile {
            path: "policies/orders.yaml".into(),
            text: "kind: Api\nlimits:\n  - rate: 2/s\n    größe: wïndow_secs: 60\ntier: system\n".into(),
        }
    }

    fn mistakes() -> [Diagnostic; 2] {
        let place = Place {
            line: 4,
            column: 12,
            length: 11,
        };
        [
            Diagnostic::in_file(&file(), place, "unknown key `wïndow_secs`").help("did you mean `window`?"),
            Diagnostic::error(&file(), 0, 0, "nobody asks for this").warning(),
        ]
    }

    #[test]
    fn a_plain_report_has_a_line_per_mistake_and_a_summary() {
        assert_eq!(
            report(&mistakes(), 12, ReportStyle::Plain),
            "policies/orders.yaml:4:12: error: unknown key `wïndow_secs` (help: did you mean `window`?)\n\
             policies/orders.yaml: warning: nobody asks for this\n\
             1 error, 1 warning in 12 files\n"
        );
        assert_eq!(report(&[], 1, ReportStyle::Plain), "no mistakes in 1 file\n");
    }

    #[test]
    fn a_graphical_report_underlines_the_text() {
        let out = report(&mistakes(), 2, ReportStyle::Graphical { is_coloured: false });
        let expected = "  × unknown key `wïndow_secs`
   ╭─[policies/orders.yaml:4:12]
 3 │   - rate: 2/s
 4 │     größe: wïndow_secs: 60
   ·            ───────────
 5 │ tier: system
   ╰────
  help: did you mean `window`?

  ⚠ policies/orders.yaml: nobody asks for this

1 error, 1 warning in 2 files
";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_json_report_is_an_array() {
        let out: serde_json::Value = serde_json::from_str(&report(&mistakes(), 2, ReportStyle::Json)).unwrap();
        assert_eq!(out[0]["file"], "policies/orders.yaml");
        assert_eq!(
            (&out[0]["line"], &out[0]["column"], &out[0]["length"]),
            (&4.into(), &12.into(), &11.into())
        );
        assert_eq!(out[1]["severity"], "warning");
        assert_eq!(out[1]["help"], serde_json::Value::Null);
    }

    #[test]
    fn a_place_outside_the_text_is_survived() {
        for (line, column, length) in [(1, 900, 9), (99, 1, 1), (5, 13, 40), (1, 0, 0)] {
            let place = Place { line, column, length };
            let mistake = Diagnostic::in_file(&file(), place, "x");
            assert!(report(&[mistake], 1, ReportStyle::Graphical { is_coloured: true }).contains('x'));
        }
    }

    #[test]
    fn a_concealed_mistake_shows_its_place_without_the_text() {
        let [mistake, _] = mistakes();
        let out = report(&[mistake.concealed()], 1, ReportStyle::Graphical { is_coloured: false });
        assert!(out.contains("policies/orders.yaml:4:12: unknown key"), "{out}");
        assert!(!out.contains("größe"), "{out}");
    }
}
