//! Expressions of mappings and rules: CEL's syntax, exact decimals, checked against schemas before they run.
//!
//! An expression is compiled once, against an [`Environment`] that says what its names are, and evaluated often. It
//! neither waits nor asks the clock, and every evaluation ends: its text, depth, steps and memory are bounded.

mod check;
mod date;
mod environment;
mod evaluate;
mod lex;
mod node;
mod number;
mod parse;
mod tree;
mod types;
mod value;

use std::fmt;
use std::ops::Range;

pub use environment::{Environment, Table};
pub use evaluate::EvaluationError;
pub use parse::parse;
pub use tree::{Binary, Tree, TreeKind, Unary};
pub use types::{NoSchemas, Schemas, Shape, Type};
pub use value::Binding;

use crate::json::Out;

/// Longest text of an expression, in bytes.
pub const LENGTH_LIMIT: usize = 8_192;

/// Deepest nesting of an expression. Chains such as `a + b + c` nest to the left.
pub const DEPTH_LIMIT: usize = 64;

/// Most steps of one evaluation: a value, an operator, some bytes of text.
pub const STEP_LIMIT: u64 = 1_000_000;

/// Most bytes that one evaluation makes.
pub const MEMORY_LIMIT: usize = 8 << 20;

/// An expression that was checked, ready to be evaluated.
#[derive(Debug)]
pub struct Expression {
    root: node::Node,
    kind: Type,
    reads: Vec<Read>,
    is_fallible: bool,
    cost: Option<u64>,
}

impl Expression {
    /// Reads and checks an expression. All mistakes are reported at once.
    pub fn compile(text: &str, environment: &Environment<'_>) -> Result<Self, Vec<Mistake>> {
        let tree = parse(text).map_err(|mistake| vec![mistake])?;
        let outcome = check::check(&tree, environment)?;
        let cost = outcome.node.cost();
        if cost.is_some_and(|cost| cost > STEP_LIMIT) {
            let message = format!("this can take more than {STEP_LIMIT} steps");
            let mistake = Mistake::new(tree.span, message);
            return Err(vec![
                mistake.help("lower `maxItems` of the lists it goes through, or split it up"),
            ]);
        }
        Ok(Self {
            is_fallible: outcome.node.is_fallible(),
            root: outcome.node,
            kind: outcome.kind,
            reads: outcome.reads,
            cost,
        })
    }

    /// What it results in.
    pub fn result_type(&self) -> &Type {
        &self.kind
    }

    /// Whether it can fail because of what a value says: a conversion, a division, a table without the code. Limits
    /// aside, which any expression can meet.
    pub fn is_fallible(&self) -> bool {
        self.is_fallible
    }

    /// What it looks at.
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// The most steps it takes, apart from those for long texts, where the schemas bound all lists it goes through.
    pub fn cost(&self) -> Option<u64> {
        self.cost
    }

    /// Its value, given those of the environment's variables in their order. `None` if it is absent.
    pub fn evaluate<'v>(&'v self, bindings: &[Binding<'v>]) -> Result<Option<Out<'v>>, EvaluationError> {
        let value = evaluate::Machine::new(bindings).value(&self.root)?;
        Ok(value.into_out())
    }

    /// Whether a condition holds.
    pub fn holds<'v>(&'v self, bindings: &[Binding<'v>]) -> Result<bool, EvaluationError> {
        evaluate::Machine::new(bindings).truth(&self.root)
    }
}

/// A place that an expression looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    /// Name of the variable.
    pub variable: Box<str>,
    /// The way from there.
    pub steps: Vec<ReadStep>,
    /// All of the value counts, and not only whether or how often it is there.
    pub is_whole: bool,
}

/// A step on the way to a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadStep {
    /// The field of a name.
    Field(Box<str>),
    /// Any item of a list.
    Items,
}

/// `this.lines[].quantity`.
impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.variable)?;
        for step in &self.steps {
            match step {
                ReadStep::Field(name) => write!(f, ".{name}")?,
                ReadStep::Items => f.write_str("[]")?,
            }
        }
        Ok(())
    }
}

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

#[cfg(test)]
mod tests;
