//! Expressions of mappings and rules: CEL's syntax, exact decimals, checked against schemas before they run.

mod lex;
mod parse;
mod tree;

use std::fmt;
use std::ops::Range;

pub use parse::parse;
pub use tree::{Binary, Tree, TreeKind, Unary};

/// Longest text of an expression, in bytes.
pub const LENGTH_LIMIT: usize = 8_192;

/// Deepest nesting of an expression. Chains such as `a + b + c` nest to the left.
pub const DEPTH_LIMIT: usize = 64;

/// What is wrong with an expression, where, and what instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Bytes of the expression's text.
    pub at: Range<usize>,
    /// One lower-case phrase that quotes the offending text.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Mistake {
    fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
            help: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.message, self.at.start)?;
        match &self.help {
            Some(help) => write!(f, " (help: {help})"),
            None => Ok(()),
        }
    }
}
