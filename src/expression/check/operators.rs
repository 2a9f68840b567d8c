//! Operators: which types they take and give.

use super::{Checked, Checker, Want, article, coerced};
use crate::expression::Mistake;
use crate::expression::node::{Arithmetic, Call, Comparison, Node};
use crate::expression::tree::{Binary, Tree, TreeKind, Unary};
use crate::expression::types::{Shape, Type};

impl Checker<'_, '_> {
    pub(super) fn unary(&mut self, operator: Unary, operand: &Tree) -> Checked {
        match operator {
            Unary::Not => {
                let operand = self.expect(operand, Want::Bool);
                Checked::new(Node::Not(operand.node.into()), Shape::Bool)
            }
            Unary::Negate => {
                let checked = self.expect(operand, Want::Number);
                let node = match checked.node {
                    Node::Number(number, text) => match number.negate() {
                        Ok(negative) => Node::Number(negative, negated(&text)),
                        Err(_) => Node::Digits(negated(&text)),
                    },
                    Node::Digits(text) => Node::Digits(negated(&text)),
                    node => Node::Negate(node.into()),
                };
                Checked::new(node, checked.kind)
            }
        }
    }

    pub(super) fn binary(&mut self, operator: Binary, left: &Tree, right: &Tree) -> Checked {
        let bool = |node| Checked::new(node, Shape::Bool);
        match operator {
            Binary::And | Binary::Or => {
                let one = self.expect(left, Want::Bool).node.into();
                let is_and = operator == Binary::And;
                let other = self.given(left, is_and, |checker| checker.expect(right, Want::Bool));
                let other = other.node.into();
                bool(if is_and {
                    Node::And(one, other)
                } else {
                    Node::Or(one, other)
                })
            }
            Binary::Equal => bool(self.equal(left, right)),
            Binary::NotEqual => bool(Node::Not(self.equal(left, right).into())),
            Binary::Less => bool(self.compare(Comparison::Less, left, right)),
            Binary::LessOrEqual => bool(self.compare(Comparison::LessOrEqual, left, right)),
            Binary::Greater => bool(self.compare(Comparison::Greater, left, right)),
            Binary::GreaterOrEqual => bool(self.compare(Comparison::GreaterOrEqual, left, right)),
            Binary::In => bool(self.among(left, right)),
            Binary::Add => self.add(left, right),
            Binary::Subtract => self.subtract(left, right),
            Binary::Multiply => self.arithmetic(Arithmetic::Multiply, left, right),
            Binary::Divide => {
                let quotient = self.arithmetic(Arithmetic::Divide, left, right);
                Checked::new(quotient.node, Shape::Decimal)
            }
            Binary::Remainder => self.arithmetic(Arithmetic::Remainder, left, right),
        }
    }

    pub(super) fn conditional(&mut self, tree: &Tree, condition: &Tree, then: &Tree, otherwise: &Tree) -> Checked {
        let asked = self.expect(condition, Want::Bool).node.into();
        let then_checked = self.given(condition, true, |checker| checker.check(then));
        let otherwise_checked = self.given(condition, false, |checker| checker.check(otherwise));
        let kind = self.joined(tree, &[then_checked.kind, otherwise_checked.kind]);
        let (then, otherwise) = (then_checked.node.into(), otherwise_checked.node.into());
        Checked::new(Node::Conditional(asked, then, otherwise), kind)
    }

    /// The type of a value that is one of several.
    pub(super) fn joined(&mut self, tree: &Tree, kinds: &[Type]) -> Type {
        let mut joined: Type = Shape::Never.into();
        for kind in kinds {
            let Some(wider) = joined.join(kind) else {
                let (one, other) = (article(&joined.shape.to_string()), article(&kind.shape.to_string()));
                let message = format!("`{tree}` is now {one} and now {other}");
                self.mistake(&tree.span, message, "let both be of one type");
                return Shape::Never.into();
            };
            joined = wider;
        }
        joined
    }

    fn equal(&mut self, left: &Tree, right: &Tree) -> Node {
        let other = match (&left.kind, &right.kind) {
            (TreeKind::Null, _) => right,
            (_, TreeKind::Null) => left,
            _ => {
                let (one, other) = (self.present(left), self.present(right));
                self.comparable(left, &one.kind, right, &other.kind);
                return Node::Equal(coerced(one).node.into(), coerced(other).node.into());
            }
        };
        Node::IsNothing(self.check(other).node.into())
    }

    /// Complains where two values are never equal.
    fn comparable(&mut self, left: &Tree, one: &Type, right: &Tree, other: &Type) {
        let (start, end) = (left.span.start.min(right.span.start), left.span.end.max(right.span.end));
        let at = start..end;
        if let (Some(codes), Some(others)) = (one.shape.codes(), other.shape.codes())
            && !codes.iter().any(|code| others.contains(code))
        {
            let (tree, codes, wrong) = if others.len() == 1 {
                (left, codes, &others[0])
            } else {
                (right, others, codes.first().unwrap_or(&others[0]))
            };
            let known: Vec<String> = codes.iter().map(ToString::to_string).collect();
            let help = super::paths::suggestion(wrong, &known);
            self.mistake(&at, format!("`{tree}` is never `{wrong}`"), help);
            return;
        }
        if !is_comparable(&one.shape, &other.shape) {
            let message = format!(
                "`{left}` is {} and `{right}` {}: they are never equal",
                article(&one.to_string()),
                article(&other.to_string())
            );
            let mistake = Mistake::new(at, message);
            let converted = match (&one.shape, &other.shape) {
                (Shape::Date | Shape::Timestamp | Shape::Int | Shape::Decimal | Shape::Bool, Shape::String(_)) => {
                    Some((&one.shape, right))
                }
                (Shape::String(_), Shape::Date | Shape::Timestamp | Shape::Int | Shape::Decimal | Shape::Bool) => {
                    Some((&other.shape, left))
                }
                _ => None,
            };
            self.mistakes.push(match converted {
                Some((shape, tree)) => mistake.help(format!("write `{shape}({tree})`")),
                None => mistake,
            });
        }
    }

    fn compare(&mut self, comparison: Comparison, left: &Tree, right: &Tree) -> Node {
        let (one, other) = (self.present(left), self.present(right));
        self.ordered(left, &one.kind, right, &other.kind);
        Node::Compare(comparison, coerced(one).node.into(), coerced(other).node.into())
    }

    /// Complains where of two values neither comes first.
    pub(super) fn ordered(&mut self, left: &Tree, one: &Type, right: &Tree, other: &Type) {
        for (tree, kind) in [(left, one), (right, other)] {
            if !has_order(&kind.shape) {
                let message = format!("`{tree}` is {}, which has no order", article(&kind.to_string()));
                let mistake = Mistake::new(tree.span.clone(), message);
                self.mistakes.push(match kind.shape {
                    Shape::Dyn => mistake.help(format!("say what it is, such as `decimal({tree})`")),
                    _ => mistake,
                });
                return;
            }
        }
        if !is_comparable(&one.shape, &other.shape) {
            self.comparable(left, one, right, other);
        }
    }

    fn among(&mut self, left: &Tree, right: &Tree) -> Node {
        let item = self.present(left);
        let range = self.present(right);
        if matches!(range.kind.shape, Shape::Object(_) | Shape::Record(_)) {
            let message = format!("`{right}` is an object, not a list");
            self.mistake(
                &right.span,
                message,
                format!("to ask for a field, write `has({right}.…)`"),
            );
            return Node::Absent;
        }
        let (list, kind, ..) = self.as_list(right, range.node, range.kind);
        match &right.kind {
            // Each code by itself: one that is never met is as wrong as if all were.
            TreeKind::List(items) => {
                let is_literal = |tree: &&Tree| {
                    matches!(
                        tree.kind,
                        TreeKind::Text(_) | TreeKind::Int(_) | TreeKind::Decimal(_) | TreeKind::Bool(_)
                    )
                };
                for tree in items.iter().filter(is_literal) {
                    let other = self.navigate(tree).kind;
                    self.comparable(left, &item.kind, tree, &other);
                }
            }
            _ => self.comparable(left, &item.kind, right, &kind),
        }
        if item.kind.shape == Shape::Timestamp {
            let help = format!("write `{right}.exists(x, x == {left})`");
            self.mistake(&left.span, "timestamps are not looked for with `in`", help);
        }
        Node::Among(item.node.into(), list.into())
    }

    fn add(&mut self, left: &Tree, right: &Tree) -> Checked {
        let (one, other) = (self.present(left), self.present(right));
        match (&one.kind.shape, &other.kind.shape) {
            (Shape::String(_), Shape::String(_)) => Checked::new(
                Node::Call(Call::Concatenate, [one.node, other.node].into()),
                Type::string(),
            ),
            (
                Shape::List { item, least, most },
                Shape::List {
                    item: items,
                    least: fewest,
                    most: more,
                },
            ) => {
                let item = item.join(items).unwrap_or(Shape::Dyn.into());
                let shape = Shape::List {
                    item: item.into(),
                    least: least.saturating_add(*fewest),
                    most: most.zip(*more).map(|(one, other)| one.saturating_add(other)),
                };
                Checked::new(Node::Call(Call::ConcatenateLists, [one.node, other.node].into()), shape)
            }
            (Shape::Date, Shape::Int) => {
                let arguments = [coerced(one).node, other.node];
                Checked::new(Node::Call(Call::AddDays, arguments.into()), Shape::Date)
            }
            (Shape::String(_), _) => {
                self.refuse(right, &other.kind, Want::String);
                Checked::wrong()
            }
            (_, Shape::String(_)) => {
                self.refuse(left, &one.kind, Want::String);
                Checked::wrong()
            }
            _ => self.computed(Arithmetic::Add, (left, one), (right, other)),
        }
    }

    fn subtract(&mut self, left: &Tree, right: &Tree) -> Checked {
        let (one, other) = (self.present(left), self.present(right));
        let (call, shape) = match (&one.kind.shape, &other.kind.shape) {
            (Shape::Date, Shape::Date) => (Call::DaysBetween, Shape::Int),
            (Shape::Date, Shape::Int) => (Call::SubtractDays, Shape::Date),
            _ => return self.computed(Arithmetic::Subtract, (left, one), (right, other)),
        };
        let arguments = [coerced(one).node, coerced(other).node];
        Checked::new(Node::Call(call, arguments.into()), shape)
    }

    fn arithmetic(&mut self, operator: Arithmetic, left: &Tree, right: &Tree) -> Checked {
        let (one, other) = (self.present(left), self.present(right));
        self.computed(operator, (left, one), (right, other))
    }

    fn computed(&mut self, operator: Arithmetic, left: (&Tree, Checked), right: (&Tree, Checked)) -> Checked {
        let mut is_whole = true;
        for (tree, checked) in [&left, &right] {
            if !checked.kind.shape.is_number() {
                self.refuse(tree, &checked.kind, Want::Number);
                return Checked::wrong();
            }
            is_whole &= checked.kind.shape != Shape::Decimal;
        }
        let shape = if is_whole { Shape::Int } else { Shape::Decimal };
        let (one, other) = (left.1.node.into(), right.1.node.into());
        Checked::new(Node::Arithmetic(operator, one, other), shape)
    }
}

/// Digits with the other sign.
fn negated(digits: &str) -> Box<str> {
    match digits.strip_prefix('-') {
        Some(positive) => positive.into(),
        None => format!("-{digits}").into(),
    }
}

/// Whether values of the two can be equal at all.
fn is_comparable(one: &Shape, other: &Shape) -> bool {
    match (one, other) {
        (Shape::Dyn | Shape::Never, _)
        | (_, Shape::Dyn | Shape::Never)
        | (Shape::Object(_) | Shape::Record(_), Shape::Object(_) | Shape::Record(_)) => true,
        (Shape::List { item: one, .. }, Shape::List { item: other, .. }) => is_comparable(&one.shape, &other.shape),
        _ => {
            one.is_number() && other.is_number()
                || one.is_string() && other.is_string()
                || *one == Shape::Bool && *other == Shape::Bool
                || *one == Shape::Date && *other == Shape::Date
                || *one == Shape::Timestamp && *other == Shape::Timestamp
        }
    }
}

/// Whether of two such values one comes first.
pub(super) fn has_order(shape: &Shape) -> bool {
    shape.is_number() || shape.is_string() || matches!(shape, Shape::Date | Shape::Timestamp)
}
