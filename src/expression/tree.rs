//! What an expression says, as a tree. Printing it gives text that reads as the same tree.

use std::fmt::{self, Write};
use std::ops::Range;

/// A part of an expression and where it stands.
///
/// Equality is of what is said, not of where.
#[derive(Clone, Debug)]
pub struct Tree {
    /// What it is.
    pub kind: TreeKind,
    /// Bytes of the text.
    pub span: Range<usize>,
}

/// What a part of an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum TreeKind {
    Null,
    Bool(bool),
    /// A whole number: JSON digits.
    Int(Box<str>),
    /// A number with a point or an exponent: a JSON number, as precise as it was written.
    Decimal(Box<str>),
    Text(Box<str>),
    Name(Box<str>),
    /// `operand.field`, or `operand.?field`.
    Select {
        operand: Box<Tree>,
        field: Box<str>,
        is_optional: bool,
    },
    /// `operand[index]`, or `operand[?index]`.
    Index {
        operand: Box<Tree>,
        index: Box<Tree>,
        is_optional: bool,
    },
    /// `function(arguments)`, or `target.function(arguments)`.
    Call {
        target: Option<Box<Tree>>,
        function: Box<str>,
        arguments: Vec<Tree>,
    },
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
    Unary(Unary, Box<Tree>),
    Binary(Binary, Box<Tree>, Box<Tree>),
    /// `condition ? then : otherwise`.
    Conditional(Box<Tree>, Box<Tree>, Box<Tree>),
}

/// An operator before its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    Not,
    Negate,
}

/// An operator between its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// How tightly the conditional binds: less than everything else.
pub(super) const CONDITIONAL: u8 = 0;
/// How tightly `!` and `-` bind.
pub(super) const PREFIX: u8 = 6;
/// How tightly `.`, `[` and `(` bind.
const POSTFIX: u8 = 7;

impl Binary {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    /// How tightly it binds.
    pub(super) fn power(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessOrEqual
            | Self::Greater
            | Self::GreaterOrEqual
            | Self::In => 3,
            Self::Add | Self::Subtract => 4,
            Self::Multiply | Self::Divide | Self::Remainder => 5,
        }
    }
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            TreeKind::Null => f.write_str("null"),
            TreeKind::Bool(value) => write!(f, "{value}"),
            TreeKind::Int(digits) | TreeKind::Decimal(digits) => f.write_str(digits),
            TreeKind::Text(text) => write_text(f, text),
            TreeKind::Name(name) => write_name(f, name),
            TreeKind::Select {
                operand,
                field,
                is_optional,
            } => {
                operand.write(f, POSTFIX)?;
                f.write_str(if *is_optional { ".?" } else { "." })?;
                write_name(f, field)
            }
            TreeKind::Index {
                operand,
                index,
                is_optional,
            } => {
                operand.write(f, POSTFIX)?;
                write!(f, "[{}{index}]", if *is_optional { "?" } else { "" })
            }
            TreeKind::Call {
                target,
                function,
                arguments,
            } => {
                if let Some(target) = target {
                    target.write(f, POSTFIX)?;
                    f.write_char('.')?;
                }
                write!(f, "{function}(")?;
                write_list(f, arguments)?;
                f.write_char(')')
            }
            TreeKind::List(items) => {
                f.write_char('[')?;
                write_list(f, items)?;
                f.write_char(']')
            }
            TreeKind::Map(members) => {
                f.write_char('{')?;
                for (position, (name, value)) in members.iter().enumerate() {
                    let comma = if position > 0 { ", " } else { "" };
                    write!(f, "{comma}{name}: {value}")?;
                }
                f.write_char('}')
            }
            TreeKind::Unary(operator, operand) => {
                f.write_char(match operator {
                    Unary::Not => '!',
                    Unary::Negate => '-',
                })?;
                operand.write(f, PREFIX)
            }
            TreeKind::Binary(operator, left, right) => {
                left.write(f, operator.power())?;
                write!(f, " {} ", operator.symbol())?;
                right.write(f, operator.power() + 1)
            }
            TreeKind::Conditional(condition, then, otherwise) => {
                condition.write(f, CONDITIONAL + 1)?;
                f.write_str(" ? ")?;
                then.write(f, CONDITIONAL + 1)?;
                write!(f, " : {otherwise}")
            }
        }
    }
}

impl Tree {
    /// How tightly its outermost operator binds.
    fn power(&self) -> u8 {
        match &self.kind {
            TreeKind::Conditional(..) => CONDITIONAL,
            TreeKind::Binary(operator, ..) => operator.power(),
            TreeKind::Unary(..) => PREFIX,
            _ => POSTFIX,
        }
    }

    /// In parentheses where something around it binds more tightly.
    fn write(&self, f: &mut fmt::Formatter<'_>, around: u8) -> fmt::Result {
        if self.power() < around {
            write!(f, "({self})")
        } else {
            write!(f, "{self}")
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, items: &[Tree]) -> fmt::Result {
    for (position, item) in items.iter().enumerate() {
        let comma = if position > 0 { ", " } else { "" };
        write!(f, "{comma}{item}")?;
    }
    Ok(())
}

fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    if super::lex::is_name(name) {
        f.write_str(name)
    } else {
        write!(f, "`{name}`")
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for char in text.chars() {
        match char {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            char if char.is_control() => write!(f, "\\U{:08x}", u32::from(char))?,
            char => f.write_char(char)?,
        }
    }
    f.write_char('"')
}
