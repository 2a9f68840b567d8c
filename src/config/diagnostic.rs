//! A mistake in a file an operator wrote, with its place and its remedy.

use std::{path::PathBuf, sync::Arc};

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
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// Adds what would be right.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
