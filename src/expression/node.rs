//! A checked expression as it is evaluated: names are numbered, constants read, patterns compiled.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use regex::Regex;

use super::date::DatePattern;
use super::number::{Number, Rounding};
use super::{STEP_LIMIT, Table};

#[derive(Debug)]
pub(super) enum Node {
    Null,
    /// Nothing at all: `optional.none()`.
    Absent,
    Bool(bool),
    /// A number and how it was written.
    Number(Number, Box<str>),
    /// Digits that are too many to compute with.
    Digits(Box<str>),
    Text(Box<str>),
    Date(Date),
    Timestamp(Timestamp),
    /// Number of a variable in the environment.
    Variable(usize),
    /// Number of a macro's variable.
    Local(usize),
    Field(Box<Node>, Box<str>),
    /// The item at a position, from 0.
    Item(Box<Node>, Box<Node>),
    /// The field of a computed name.
    Member(Box<Node>, Box<Node>),
    List(Box<[Node]>),
    Record(Box<[(Box<str>, Node)]>),
    Not(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Conditional(Box<Node>, Box<Node>, Box<Node>),
    Equal(Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    /// Whether the first is among the items of the second.
    Among(Box<Node>, Box<Node>),
    Negate(Box<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    Round(Box<Node>, u8, Rounding),
    /// A quotient and its rounding in one step, so that it need not have an end.
    RoundQuotient(Box<Node>, Box<Node>, u8, Rounding),
    /// Whether there is a value, be it `null`.
    Has(Box<Node>),
    /// Whether there is none, or `null`.
    IsNothing(Box<Node>),
    /// The first that is neither absent nor `null`, else the last.
    Coalesce(Box<[Node]>),
    /// The second where the first fails.
    Rescue(Box<Node>, Box<Node>),
    Loop(Box<Loop>),
    Call(Call, Box<[Node]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A macro.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    pub(super) range: Node,
    /// Most items, where the schema bounds them.
    pub(super) most: Option<u64>,
    /// Number of its variable.
    pub(super) local: usize,
    /// Which items are looked at.
    pub(super) filter: Option<Node>,
    pub(super) body: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Count,
    Filter,
    Map,
    Sum,
    SortBy,
}

/// A function and what is fixed of its arguments.
#[derive(Debug)]
pub(super) enum Call {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Matches(Regex),
    Substring,
    Upper,
    Lower,
    Trim,
    Replace,
    Split,
    Join,
    Pad,
    PadEnd,
    /// Texts between which the arguments stand.
    Format(Box<[Box<str>]>),
    /// Of a scalar.
    ToString,
    /// Of what may be no scalar.
    AnyToString,
    ToInt,
    ToDecimal,
    ToBool,
    ToList,
    Concatenate,
    ConcatenateLists,
    Abs,
    Smallest,
    Largest,
    Least,
    Most,
    Sum,
    First,
    Last,
    Distinct,
    Sort,
    ParseDate(DatePattern),
    ParseTimestamp,
    /// A text of a schema whose format says that it is a date.
    AsDate,
    AsTimestamp,
    DateIn(TimeZone),
    FormatDate(DatePattern),
    AddDays,
    SubtractDays,
    DaysBetween,
    Year,
    Month,
    Day,
    Weekday,
    Lookup(Arc<dyn Table>, Box<str>),
}

impl Node {
    /// Whether evaluation can fail because of what a value says, apart from limits.
    pub(super) fn is_fallible(&self) -> bool {
        let fails = match self {
            Self::Rescue(_, otherwise) => return otherwise.is_fallible(),
            Self::Arithmetic(Arithmetic::Divide, ..) => true,
            Self::Arithmetic(Arithmetic::Remainder, _, divisor) | Self::RoundQuotient(_, divisor, ..) => {
                !matches!(&**divisor, Self::Number(number, _) if !number.is_zero())
            }
            Self::Call(call, _) => matches!(
                call,
                Call::ToInt
                    | Call::ToDecimal
                    | Call::ToBool
                    | Call::ToList
                    | Call::AnyToString
                    | Call::ParseDate(_)
                    | Call::ParseTimestamp
                    | Call::Lookup(..)
            ),
            _ => false,
        };
        fails || self.children().iter().any(|child| child.is_fallible())
    }

    /// The most steps that evaluation takes, where the schemas bound the lists. Never more than [`STEP_LIMIT`] + 1.
    pub(super) fn cost(&self) -> Option<u64> {
        let add = |sum: Option<u64>, node: &Self| Some(sum?.saturating_add(node.cost()?));
        let cost = match self {
            Self::Loop(inner) => {
                let round = add(inner.filter.as_ref().map_or(Some(1), Self::cost), &inner.body)?;
                let rounds = round.saturating_mul(inner.most?);
                inner.range.cost()?.saturating_add(rounds).saturating_add(1)
            }
            _ => self.children().into_iter().fold(Some(1), add)?,
        };
        Some(cost.min(STEP_LIMIT + 1))
    }

    fn children(&self) -> Vec<&Node> {
        match self {
            Self::Null
            | Self::Absent
            | Self::Bool(_)
            | Self::Number(..)
            | Self::Digits(_)
            | Self::Text(_)
            | Self::Date(_)
            | Self::Timestamp(_)
            | Self::Variable(_)
            | Self::Local(_) => Vec::new(),
            Self::Field(one, _)
            | Self::Not(one)
            | Self::Negate(one)
            | Self::Round(one, ..)
            | Self::Has(one)
            | Self::IsNothing(one) => vec![one],
            Self::Item(one, other)
            | Self::Member(one, other)
            | Self::And(one, other)
            | Self::Or(one, other)
            | Self::Equal(one, other)
            | Self::Compare(_, one, other)
            | Self::Among(one, other)
            | Self::Arithmetic(_, one, other)
            | Self::RoundQuotient(one, other, ..)
            | Self::Rescue(one, other) => vec![one, other],
            Self::Conditional(one, other, third) => vec![one, other, third],
            Self::List(nodes) | Self::Coalesce(nodes) | Self::Call(_, nodes) => nodes.iter().collect(),
            Self::Record(members) => members.iter().map(|(_, node)| node).collect(),
            Self::Loop(inner) => {
                let mut nodes = vec![&inner.range, &inner.body];
                nodes.extend(&inner.filter);
                nodes
            }
        }
    }
}
