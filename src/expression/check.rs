//! Checks an expression against the types of what it names, and turns it into what is evaluated.

mod functions;
mod macros;
mod operators;
mod paths;

use std::ops::Range;

use self::paths::{Fact, Path};
use super::environment::Environment;
use super::node::{Call, Node};
use super::number::Number;
use super::tree::{Tree, TreeKind};
use super::types::{Shape, Type};
use super::{Mistake, Read};

/// What is at hand while an expression is checked.
pub(super) struct Checker<'e, 's> {
    environment: &'e Environment<'s>,
    mistakes: Vec<Mistake>,
    /// Variables of the macros around, the innermost last.
    scopes: Vec<Scope>,
    /// How many macros there were.
    loops: usize,
    /// What conditions around have established.
    facts: Vec<(Path, Fact)>,
    reads: Vec<Read>,
}

/// The variable of a macro.
struct Scope {
    name: Box<str>,
    kind: Type,
    /// No two macros have the same.
    id: usize,
    /// The list it goes through, if that has a path.
    list: Option<Path>,
}

/// An expression that was checked.
struct Checked {
    node: Node,
    kind: Type,
}

impl Checked {
    fn new(node: Node, kind: impl Into<Type>) -> Self {
        Self {
            node,
            kind: kind.into(),
        }
    }

    /// What stands for something that was wrong, and is not complained about again.
    fn wrong() -> Self {
        Self::new(Node::Absent, Shape::Never)
    }
}

/// What an operand has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Bool,
    Int,
    Number,
    String,
    Date,
}

impl Want {
    fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Number => "number",
            Self::String => "string",
            Self::Date => "date",
        }
    }

    fn admits(self, shape: &Shape) -> bool {
        matches!(
            (self, shape),
            (_, Shape::Never)
                | (Self::Bool, Shape::Bool)
                | (Self::Int | Self::Number, Shape::Int)
                | (Self::Number, Shape::Decimal)
                | (Self::String, Shape::String(_))
                | (Self::Date, Shape::Date)
        )
    }

    /// The function that makes one.
    fn conversion(self) -> &'static str {
        match self {
            Self::Number => "decimal",
            other => other.name(),
        }
    }
}

/// What a whole expression became.
pub(super) struct Outcome {
    pub(super) node: Node,
    pub(super) kind: Type,
    pub(super) reads: Vec<Read>,
}

/// Checks an expression. All mistakes are returned at once.
pub(super) fn check(tree: &Tree, environment: &Environment<'_>) -> Result<Outcome, Vec<Mistake>> {
    let mut checker = Checker {
        environment,
        mistakes: Vec::new(),
        scopes: Vec::new(),
        loops: 0,
        facts: Vec::new(),
        reads: Vec::new(),
    };
    let Checked { node, kind } = checker.check(tree);
    if !checker.mistakes.is_empty() {
        return Err(checker.mistakes);
    }
    let mut reads = checker.reads;
    reads.sort();
    reads.dedup();
    Ok(Outcome { node, kind, reads })
}

impl Checker<'_, '_> {
    fn mistake(&mut self, at: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.mistakes.push(Mistake::new(at.clone(), message).help(help));
    }

    /// A part of an expression whose value is used.
    fn check(&mut self, tree: &Tree) -> Checked {
        if let Some(path) = self.path(tree) {
            self.read(&path, true);
        }
        self.navigate(tree)
    }

    /// A part of an expression on the way to a field of it.
    fn navigate(&mut self, tree: &Tree) -> Checked {
        match &tree.kind {
            TreeKind::Null => Checked::new(Node::Null, Type::null()),
            TreeKind::Bool(value) => Checked::new(Node::Bool(*value), Shape::Bool),
            TreeKind::Int(digits) => number(digits, Shape::Int),
            TreeKind::Decimal(digits) => number(digits, Shape::Decimal),
            TreeKind::Text(text) => {
                let code = Shape::String(Some([text.clone()].into()));
                Checked::new(Node::Text(text.clone()), code)
            }
            TreeKind::Name(name) => self.name(tree, name),
            TreeKind::Select { operand, field, .. } => self.select(tree, operand, field),
            TreeKind::Index { operand, index, .. } => self.index(tree, operand, index),
            TreeKind::Call {
                target,
                function,
                arguments,
            } => {
                let all: Vec<&Tree> = target.iter().map(|target| &**target).chain(arguments).collect();
                self.call(tree, target.as_deref(), function, &all)
            }
            TreeKind::List(items) => self.list(items),
            TreeKind::Map(members) => self.map(members),
            TreeKind::Unary(operator, operand) => self.unary(*operator, operand),
            TreeKind::Binary(operator, left, right) => self.binary(*operator, left, right),
            TreeKind::Conditional(condition, then, otherwise) => self.conditional(tree, condition, then, otherwise),
        }
    }

    /// A part of an expression that must have a value.
    fn present(&mut self, tree: &Tree) -> Checked {
        let checked = self.check(tree);
        self.demand(tree, checked)
    }

    /// Complains about a value that may not be there.
    fn demand(&mut self, tree: &Tree, checked: Checked) -> Checked {
        let Checked { node, kind } = checked;
        // `null` is one of the values that a schema which says nothing allows.
        if kind.may_be_null && kind.shape != Shape::Dyn {
            let help = format!("write `{tree}.orValue(…)`, or ask `{tree} != null` before");
            self.mistake(&tree.span, format!("`{tree}` may be null"), help);
        } else if kind.may_be_absent {
            let help = match self.path(tree) {
                Some(_) => format!("write `{tree}.orValue(…)`, or ask `has({tree})` before"),
                None => format!("write `{tree}.orValue(…)`"),
            };
            self.mistake(&tree.span, format!("`{tree}` may be absent"), help);
        }
        Checked {
            node,
            kind: kind.present(),
        }
    }

    /// An operand of a certain kind.
    fn expect(&mut self, tree: &Tree, want: Want) -> Checked {
        let checked = self.present(tree);
        if !want.admits(&checked.kind.shape) {
            self.refuse(tree, &checked.kind, want);
            return Checked::wrong();
        }
        coerced(checked)
    }

    fn refuse(&mut self, tree: &Tree, kind: &Type, want: Want) {
        let message = format!(
            "`{tree}` is {}, not {}",
            article(&kind.to_string()),
            article(want.name())
        );
        let convertible = matches!(
            (&kind.shape, want),
            (Shape::Dyn, _)
                | (Shape::String(_), Want::Bool | Want::Date | Want::Number | Want::Int)
                | (Shape::Decimal, Want::Int)
                | (
                    Shape::Int | Shape::Decimal | Shape::Bool | Shape::Date | Shape::Timestamp,
                    Want::String
                )
        );
        let mistake = Mistake::new(tree.span.clone(), message);
        self.mistakes.push(if convertible {
            mistake.help(format!("write `{}({tree})`", want.conversion()))
        } else {
            mistake
        });
    }

    /// The items of a list.
    fn expect_list(&mut self, tree: &Tree) -> (Node, Type, u64, Option<u64>) {
        let Checked { node, kind } = self.present(tree);
        self.as_list(tree, node, kind)
    }

    fn as_list(&mut self, tree: &Tree, node: Node, kind: Type) -> (Node, Type, u64, Option<u64>) {
        match kind.shape {
            Shape::List { item, least, most } => (node, *item, least, most),
            Shape::Never => (node, Shape::Never.into(), 0, Some(0)),
            shape => {
                let mistake = Mistake::new(tree.span.clone(), format!("`{tree}` is {shape}, not a list"));
                self.mistakes.push(match shape {
                    Shape::Dyn => mistake.help(format!("write `list({tree})`")),
                    _ => mistake,
                });
                (Node::Absent, Shape::Never.into(), 0, Some(0))
            }
        }
    }

    fn list(&mut self, items: &[Tree]) -> Checked {
        let mut item: Type = Shape::Never.into();
        let mut nodes = Vec::new();
        for tree in items {
            let checked = if tree.kind == TreeKind::Null {
                self.check(tree)
            } else {
                self.present(tree)
            };
            // A list may hold anything; what is done with its items shows whether that makes sense.
            item = item.join(&checked.kind).unwrap_or(Type {
                shape: Shape::Dyn,
                ..item
            });
            nodes.push(checked.node);
        }
        let count = nodes.len() as u64;
        let shape = Shape::List {
            item: item.into(),
            least: count,
            most: Some(count),
        };
        Checked::new(Node::List(nodes.into()), shape)
    }

    fn map(&mut self, members: &[(Tree, Tree)]) -> Checked {
        let mut nodes: Vec<(Box<str>, Node)> = Vec::new();
        let mut kinds: Vec<(Box<str>, Type)> = Vec::new();
        for (name, value) in members {
            let value = self.check(value);
            let TreeKind::Text(text) = &name.kind else {
                self.mistake(
                    &name.span,
                    format!("`{name}` is no name of a member"),
                    "write a string, such as {'amount': 1}",
                );
                continue;
            };
            if kinds.iter().any(|(other, _)| other == text) {
                self.mistake(&name.span, format!("a second member `{text}`"), "keep one of the two");
            }
            nodes.push((text.clone(), value.node));
            kinds.push((text.clone(), value.kind));
        }
        Checked::new(Node::Record(nodes.into()), Shape::Record(kinds.into()))
    }
}

/// A day or a time of a document is text until it is computed with.
fn coerced(checked: Checked) -> Checked {
    let Checked { node, kind } = checked;
    let call = match (&kind.shape, &node) {
        (_, Node::Date(_) | Node::Timestamp(_)) => return Checked { node, kind },
        (Shape::Date, _) => Call::AsDate,
        (Shape::Timestamp, _) => Call::AsTimestamp,
        _ => return Checked { node, kind },
    };
    Checked {
        node: Node::Call(call, [node].into()),
        kind,
    }
}

fn number(digits: &str, shape: Shape) -> Checked {
    let node = match Number::parse(digits) {
        Some(number) => Node::Number(number, digits.into()),
        None => Node::Digits(digits.into()),
    };
    Checked::new(node, shape)
}

/// `a string`, `an int`.
fn article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) && !noun.starts_with("any") {
        "an "
    } else if noun.starts_with("any") || noun.starts_with("null") {
        ""
    } else {
        "a "
    };
    format!("{article}{noun}")
}
