//! Evaluates a checked expression within bounds.

mod functions;

use std::borrow::Cow;
use std::cmp::Ordering;

use super::node::{Arithmetic, Comparison, Loop, LoopKind, Node};
use super::number::{Fault, Number, Rounding};
use super::value::{Binding, Items, Val};
use super::{MEMORY_LIMIT, STEP_LIMIT};

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// A value says something that cannot be used, such as a day that does not exist. `or` catches this.
    #[error("{0}")]
    Failed(String),
    /// A number has more digits than are computed with. `or` catches this.
    #[error("a number has more than 38 digits")]
    Overflow,
    /// A value is not what its schema says: the document was not validated.
    #[error("{found} where {expected} is expected")]
    Unfit {
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// It takes too long.
    #[error("this takes more than {STEP_LIMIT} steps")]
    Steps,
    /// It makes too much.
    #[error("this makes more than {MEMORY_LIMIT} bytes")]
    Memory,
}

impl EvaluationError {
    fn is_rescued(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Overflow)
    }
}

impl From<Fault> for EvaluationError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Overflow => Self::Overflow,
            Fault::ByZero => Self::Failed("a division by zero".to_owned()),
            Fault::Inexact => Self::Failed("a quotient without an end, which nothing rounds".to_owned()),
        }
    }
}

type Result<T> = std::result::Result<T, EvaluationError>;

/// What one evaluation has at hand and how much it may still take.
pub(super) struct Machine<'v, 'b> {
    bindings: &'b [Binding<'v>],
    locals: Vec<Val<'v>>,
    steps: u64,
    memory: usize,
}

impl<'v, 'b> Machine<'v, 'b> {
    pub(super) fn new(bindings: &'b [Binding<'v>]) -> Self {
        Self {
            bindings,
            locals: Vec::new(),
            steps: STEP_LIMIT,
            memory: MEMORY_LIMIT,
        }
    }

    /// The value of a node. Recursion is as deep as the expression.
    pub(super) fn value(&mut self, node: &'v Node) -> Result<Val<'v>> {
        self.spend(1)?;
        Ok(match node {
            Node::Null => Val::Null,
            Node::Absent => Val::Absent,
            Node::Bool(value) => Val::Bool(*value),
            Node::Number(_, digits) | Node::Digits(digits) => Val::Digits(Cow::Borrowed(digits)),
            Node::Text(text) => Val::Text(Cow::Borrowed(text)),
            Node::Date(date) => Val::Date(*date),
            Node::Timestamp(time) => Val::Timestamp(*time),
            Node::Variable(number) => self
                .bindings
                .get(*number)
                .map_or(Val::Absent, |binding| Val::from(*binding)),
            Node::Local(number) => self.locals.get(*number).cloned().unwrap_or(Val::Absent),
            Node::Field(operand, name) => self.value(operand)?.field(name),
            Node::Item(list, index) => self.item(list, index)?,
            Node::Member(object, name) => {
                let object = self.value(object)?;
                let name = self.text(name)?;
                object.field(&name)
            }
            Node::List(nodes) => {
                let mut items = Vec::with_capacity(nodes.len());
                for node in nodes {
                    let item = self.value(node)?;
                    self.push(&mut items, item)?;
                }
                Val::List(items.into())
            }
            Node::Record(nodes) => {
                let mut members = Vec::with_capacity(nodes.len());
                for (name, node) in nodes {
                    let value = self.value(node)?;
                    self.keep(ITEM_SIZE)?;
                    members.push((Cow::Borrowed(&**name), value));
                }
                Val::Record(members.into())
            }
            Node::Not(_)
            | Node::And(..)
            | Node::Or(..)
            | Node::Equal(..)
            | Node::Compare(..)
            | Node::Among(..)
            | Node::Has(_)
            | Node::IsNothing(_) => Val::Bool(self.truth(node)?),
            Node::Conditional(condition, then, otherwise) => {
                let chosen = if self.truth(condition)? { then } else { otherwise };
                self.value(chosen)?
            }
            Node::Negate(_) | Node::Arithmetic(..) | Node::Round(..) | Node::RoundQuotient(..) => {
                Val::Number(self.number(node)?)
            }
            Node::Coalesce(nodes) => {
                let mut value = Val::Absent;
                for node in nodes {
                    value = self.value(node)?;
                    if value.is_something() {
                        break;
                    }
                }
                value
            }
            Node::Rescue(node, otherwise) => match self.value(node) {
                Err(error) if error.is_rescued() => self.value(otherwise)?,
                result => result?,
            },
            Node::Loop(inner) => self.each(inner)?,
            Node::Call(call, arguments) => self.call(call, arguments)?,
        })
    }

    /// A condition. Constants and operators do without the detour over values.
    pub(super) fn truth(&mut self, node: &'v Node) -> Result<bool> {
        Ok(match node {
            Node::Not(operand) => !self.truth(operand)?,
            Node::And(one, other) => self.truth(one)? && self.truth(other)?,
            Node::Or(one, other) => self.truth(one)? || self.truth(other)?,
            Node::Equal(one, other) => {
                let (one, other) = (self.value(one)?, self.value(other)?);
                self.look(&one)?;
                one.equals(&other)
            }
            Node::Compare(comparison, one, other) => {
                let order = self.order(one, other)?;
                match comparison {
                    Comparison::Less => order == Ordering::Less,
                    Comparison::LessOrEqual => order != Ordering::Greater,
                    Comparison::Greater => order == Ordering::Greater,
                    Comparison::GreaterOrEqual => order != Ordering::Less,
                }
            }
            Node::Among(item, list) => {
                let item = self.value(item)?;
                let weight = item.weight();
                for other in self.items(list)? {
                    self.spend(1 + steps_for(weight))?;
                    if item.equals(&other) {
                        return Ok(true);
                    }
                }
                false
            }
            Node::Has(operand) => !matches!(self.value(operand)?, Val::Absent),
            Node::IsNothing(operand) => !self.value(operand)?.is_something(),
            _ => match self.value(node)? {
                Val::Bool(value) => value,
                other => return Err(unfit(&other, "true or false")),
            },
        })
    }

    fn order(&mut self, one: &'v Node, other: &'v Node) -> Result<Ordering> {
        let (one, other) = (self.value(one)?, self.value(other)?);
        self.look(&one)?;
        one.compare(&other)
            .ok_or_else(|| unfit(&other, "what it is compared with"))
    }

    /// A number to compute with.
    fn number(&mut self, node: &'v Node) -> Result<Number> {
        self.spend(1)?;
        Ok(match node {
            Node::Number(number, _) => *number,
            Node::Negate(operand) => self.number(operand)?.negate()?,
            Node::Arithmetic(operator, one, other) => {
                let (one, other) = (self.number(one)?, self.number(other)?);
                match operator {
                    Arithmetic::Add => one.add(other)?,
                    Arithmetic::Subtract => one.subtract(other)?,
                    Arithmetic::Multiply => one.multiply(other)?,
                    Arithmetic::Divide => one.divide(other)?,
                    Arithmetic::Remainder => one.remainder(other)?,
                }
            }
            Node::Round(operand, digits, rounding) => self.number(operand)?.round(*digits, *rounding)?,
            Node::RoundQuotient(one, other, digits, rounding) => {
                let (one, other) = (self.number(one)?, self.number(other)?);
                one.divide_rounded(other, *digits, *rounding)?
            }
            _ => {
                let value = self.value(node)?;
                number_of(&value)?
            }
        })
    }

    /// A number of things. Fractions are cut off, and what is too large is as large as can be.
    fn whole(&mut self, node: &'v Node) -> Result<i64> {
        let number = self.number(node)?.round(0, Rounding::Down)?;
        let is_negative = number < Number::ZERO;
        let extreme = if is_negative { i64::MIN } else { i64::MAX };
        Ok(number.to_i64().unwrap_or(extreme))
    }

    fn text(&mut self, node: &'v Node) -> Result<Cow<'v, str>> {
        match self.value(node)? {
            Val::Text(text) => Ok(text),
            // A day or a time of the document is text to some functions.
            other => Err(unfit(&other, "a string")),
        }
    }

    fn items(&mut self, node: &'v Node) -> Result<Items<'v>> {
        let value = self.value(node)?;
        value.items().ok_or_else(|| unfit(&value, "a list"))
    }

    fn item(&mut self, list: &'v Node, index: &'v Node) -> Result<Val<'v>> {
        let value = self.value(list)?;
        let index = usize::try_from(self.whole(index)?).ok();
        let Some(index) = index else { return Ok(Val::Absent) };
        if let Val::List(items) = &value {
            return Ok(items.get(index).cloned().unwrap_or(Val::Absent));
        }
        // The tape is walked item by item.
        self.spend(index.min(value.count().unwrap_or_default()))?;
        let item = value.items().and_then(|mut items| items.nth(index));
        Ok(item.unwrap_or(Val::Absent))
    }

    fn each(&mut self, inner: &'v Loop) -> Result<Val<'v>> {
        let items = self.items(&inner.range)?;
        if self.locals.len() <= inner.local {
            self.locals.resize(inner.local + 1, Val::Absent);
        }
        let mut count = 0_i64;
        let mut sum = Number::ZERO;
        let mut made = Vec::new();
        let mut keyed = Vec::new();
        for item in items {
            self.locals[inner.local] = item;
            if let Some(filter) = &inner.filter
                && !self.truth(filter)?
            {
                continue;
            }
            match inner.kind {
                LoopKind::All => {
                    if !self.truth(&inner.body)? {
                        return Ok(Val::Bool(false));
                    }
                }
                LoopKind::Exists => {
                    if self.truth(&inner.body)? {
                        return Ok(Val::Bool(true));
                    }
                }
                LoopKind::ExistsOne | LoopKind::Count => count += i64::from(self.truth(&inner.body)?),
                LoopKind::Filter => {
                    if self.truth(&inner.body)? {
                        let item = self.locals[inner.local].clone();
                        self.push(&mut made, item)?;
                    }
                }
                LoopKind::Map => {
                    let value = self.value(&inner.body)?;
                    self.push(&mut made, value)?;
                }
                LoopKind::Sum => sum = sum.add(self.number(&inner.body)?)?,
                LoopKind::SortBy => {
                    let key = self.value(&inner.body)?;
                    self.keep(2 * ITEM_SIZE)?;
                    let item = self.locals[inner.local].clone();
                    keyed.push((key, item));
                }
            }
        }
        Ok(match inner.kind {
            LoopKind::All => Val::Bool(true),
            LoopKind::Exists => Val::Bool(false),
            LoopKind::ExistsOne => Val::Bool(count == 1),
            LoopKind::Count => Val::Number(count.into()),
            LoopKind::Filter | LoopKind::Map => Val::List(made.into()),
            LoopKind::Sum => Val::Number(sum),
            LoopKind::SortBy => self.sorted(keyed)?,
        })
    }

    /// Items in the order of their keys; of equals the first stays first.
    fn sorted(&mut self, mut keyed: Vec<(Val<'v>, Val<'v>)>) -> Result<Val<'v>> {
        let levels = usize::BITS - keyed.len().leading_zeros();
        self.spend(keyed.len() * levels as usize)?;
        let mut fault = None;
        keyed.sort_by(|(one, _), (other, _)| {
            one.compare(other).unwrap_or_else(|| {
                fault.get_or_insert_with(|| unfit(other, "what it is compared with"));
                Ordering::Equal
            })
        });
        match fault {
            Some(fault) => Err(fault),
            None => Ok(Val::List(
                keyed.into_iter().map(|(_, item)| item).collect::<Vec<_>>().into(),
            )),
        }
    }

    fn push(&mut self, items: &mut Vec<Val<'v>>, item: Val<'v>) -> Result<()> {
        self.keep(ITEM_SIZE)?;
        items.push(item);
        Ok(())
    }

    /// Counts steps.
    fn spend(&mut self, steps: usize) -> Result<()> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        self.steps = self.steps.checked_sub(steps).ok_or(EvaluationError::Steps)?;
        Ok(())
    }

    /// Counts what looking at all of a value takes.
    fn look(&mut self, value: &Val<'v>) -> Result<()> {
        match value {
            Val::Text(_) | Val::Json(_) | Val::Out(_) | Val::List(_) | Val::Record(_) => {
                self.spend(steps_for(value.weight()))
            }
            _ => Ok(()),
        }
    }

    /// Counts bytes that are made.
    fn keep(&mut self, bytes: usize) -> Result<()> {
        self.memory = self.memory.checked_sub(bytes).ok_or(EvaluationError::Memory)?;
        self.spend(steps_for(bytes))
    }
}

/// What an item of a list takes in memory, at least.
const ITEM_SIZE: usize = size_of::<Val<'static>>();

/// How many steps it takes to look at so many bytes.
fn steps_for(bytes: usize) -> usize {
    bytes / 32
}

fn number_of(value: &Val<'_>) -> Result<Number> {
    match value {
        Val::Number(_) | Val::Digits(_) => value.number().ok_or(EvaluationError::Overflow),
        _ => Err(unfit(value, "a number")),
    }
}

fn unfit(value: &Val<'_>, expected: &'static str) -> EvaluationError {
    EvaluationError::Unfit {
        found: value.name(),
        expected,
    }
}
