//! Functions: `f(x, y)` and `x.f(y)` are the same.

use jiff::tz::TimeZone;
use regex::RegexBuilder;

use super::operators::has_order;
use super::paths::suggestion;
use super::{Checked, Checker, Want, article, coerced, macros};
use crate::expression::Mistake;
use crate::expression::date::DatePattern;
use crate::expression::node::{Arithmetic, Call, Node};
use crate::expression::number::Rounding;
use crate::expression::tree::{Binary, Tree, TreeKind};
use crate::expression::types::{Shape, Type};

/// Most memory a compiled pattern may take, in bytes.
const PATTERN_LIMIT: usize = 1 << 18;

/// Most digits after the point that are rounded to.
const DIGITS_LIMIT: u8 = 20;

/// Names of functions, and how many arguments they take.
const FUNCTIONS: [(&str, usize, usize); 52] = [
    ("abs", 1, 1),
    ("all", 3, 3),
    ("bool", 1, 1),
    ("ceil", 1, 1),
    ("coalesce", 1, 32),
    ("contains", 2, 2),
    ("count", 1, 3),
    ("date", 1, 2),
    ("day", 1, 1),
    ("decimal", 1, 1),
    ("distinct", 1, 1),
    ("endsWith", 2, 2),
    ("exists", 3, 3),
    ("existsOne", 3, 3),
    ("exists_one", 3, 3),
    ("filter", 3, 3),
    ("first", 1, 1),
    ("floor", 1, 1),
    ("format", 2, 2),
    ("has", 1, 1),
    ("int", 1, 1),
    ("join", 1, 2),
    ("last", 1, 1),
    ("list", 1, 1),
    ("lower", 1, 1),
    ("lowerAscii", 1, 1),
    ("map", 3, 4),
    ("matches", 2, 2),
    ("max", 1, 32),
    ("min", 1, 32),
    ("month", 1, 1),
    ("or", 2, 2),
    ("orValue", 2, 2),
    ("pad", 3, 3),
    ("padEnd", 3, 3),
    ("replace", 3, 3),
    ("round", 1, 3),
    ("size", 1, 1),
    ("sort", 1, 1),
    ("sortBy", 3, 3),
    ("split", 2, 2),
    ("startsWith", 2, 2),
    ("string", 1, 1),
    ("substring", 2, 3),
    ("sum", 1, 3),
    ("table", 2, 2),
    ("timestamp", 1, 1),
    ("trim", 1, 1),
    ("upper", 1, 1),
    ("upperAscii", 1, 1),
    ("weekday", 1, 1),
    ("year", 1, 1),
];

impl Checker<'_, '_> {
    /// `arguments` begins with the target, where there is one.
    pub(super) fn call(&mut self, tree: &Tree, target: Option<&Tree>, function: &str, arguments: &[&Tree]) -> Checked {
        if let Some(checked) = self.optional(target, function, arguments) {
            return checked;
        }
        let Some((_, fewest, most)) = FUNCTIONS.into_iter().find(|(name, ..)| *name == function) else {
            let names: Vec<String> = FUNCTIONS.iter().map(|(name, ..)| (*name).to_owned()).collect();
            let mistake = Mistake::new(tree.span.clone(), format!("there is no function `{function}`"));
            self.mistakes.push(mistake.help(suggestion(function, &names)));
            return Checked::wrong();
        };
        if arguments.len() < fewest || arguments.len() > most {
            let count = if fewest == most {
                format!("{fewest}")
            } else {
                format!("{fewest} to {most}")
            };
            let message = format!("`{function}` takes {count} values and was given {}", arguments.len());
            let help = "in `x.f(y)` the first of them is `x`";
            self.mistake(&tree.span, message, help);
            return Checked::wrong();
        }
        if let Some(kind) = macros::find(function, arguments.len()) {
            return self.each(tree, kind, arguments);
        }
        let first = arguments[0];
        match function {
            "has" => self.has(first),
            "coalesce" | "orValue" => self.coalesce(tree, arguments),
            "or" => self.rescue(tree, arguments),
            "size" | "count" => self.size(first),
            "contains" => self.texts(Call::Contains, arguments, Shape::Bool),
            "startsWith" => self.texts(Call::StartsWith, arguments, Shape::Bool),
            "endsWith" => self.texts(Call::EndsWith, arguments, Shape::Bool),
            "matches" => self.matches(arguments),
            "substring" => {
                let mut nodes = vec![self.expect(first, Want::String).node];
                for place in &arguments[1..] {
                    nodes.push(self.expect(place, Want::Int).node);
                }
                Checked::new(Node::Call(Call::Substring, nodes.into()), Type::string())
            }
            "upper" | "upperAscii" => self.texts(Call::Upper, arguments, Shape::String(None)),
            "lower" | "lowerAscii" => self.texts(Call::Lower, arguments, Shape::String(None)),
            "trim" => self.texts(Call::Trim, arguments, Shape::String(None)),
            "replace" => self.texts(Call::Replace, arguments, Shape::String(None)),
            "split" => {
                let split = self.texts(Call::Split, arguments, Shape::Never);
                Checked::new(split.node, Type::list(Type::string()))
            }
            "join" => self.join(arguments),
            "pad" => self.padded(Call::Pad, arguments),
            "padEnd" => self.padded(Call::PadEnd, arguments),
            "format" => self.format(arguments),
            "string" => self.as_text(first),
            "int" => self.convert(first, Call::ToInt, Shape::Int),
            "decimal" => self.convert(first, Call::ToDecimal, Shape::Decimal),
            "bool" => self.convert(first, Call::ToBool, Shape::Bool),
            "list" => self.known_list(first),
            "abs" => {
                let number = self.expect(first, Want::Number);
                Checked::new(Node::Call(Call::Abs, [number.node].into()), number.kind)
            }
            "round" => self.round(arguments),
            "floor" => self.rounded(first, 0, Rounding::Floor),
            "ceil" => self.rounded(first, 0, Rounding::Ceiling),
            "min" => self.extreme(arguments, Call::Smallest, Call::Least),
            "max" => self.extreme(arguments, Call::Largest, Call::Most),
            "sum" => self.sum(first),
            "first" => self.one_of(first, Call::First),
            "last" => self.one_of(first, Call::Last),
            "distinct" => self.selected(first, Call::Distinct),
            "sort" => self.selected(first, Call::Sort),
            "date" => self.date(arguments),
            "timestamp" => self.timestamp(first),
            "year" => self.part_of_date(first, Call::Year),
            "month" => self.part_of_date(first, Call::Month),
            "day" => self.part_of_date(first, Call::Day),
            "weekday" => self.part_of_date(first, Call::Weekday),
            _ => self.table(arguments),
        }
    }

    /// CEL's way to write what may be absent: `optional.none()`, `optional.of(x)`.
    fn optional(&mut self, target: Option<&Tree>, function: &str, arguments: &[&Tree]) -> Option<Checked> {
        let is_optional = target.is_some_and(|target| target.kind == TreeKind::Name("optional".into()));
        match (function, arguments) {
            ("none", [_]) if is_optional => Some(Checked::new(Node::Absent, Type::from(Shape::Never).or_absent())),
            ("of", [_, value]) if is_optional => Some(self.present(value)),
            _ => None,
        }
    }

    fn has(&mut self, asked: &Tree) -> Checked {
        let path = self.path(asked);
        let is_field = matches!(
            asked.kind,
            TreeKind::Name(_) | TreeKind::Select { .. } | TreeKind::Index { .. }
        );
        if let Some(path) = path.filter(|_| is_field) {
            self.read(&path, false);
        } else if !is_field {
            let message = format!("`{asked}` is no field that could be asked for");
            self.mistake(&asked.span, message, "write `has(a.b)`");
        }
        let asked = self.navigate(asked);
        Checked::new(Node::Has(asked.node.into()), Shape::Bool)
    }

    fn coalesce(&mut self, tree: &Tree, arguments: &[&Tree]) -> Checked {
        let (mut nodes, mut kinds) = (Vec::new(), Vec::new());
        for (position, argument) in arguments.iter().enumerate() {
            let checked = self.check(argument);
            nodes.push(checked.node);
            kinds.push(if position + 1 < arguments.len() {
                checked.kind.present()
            } else {
                checked.kind
            });
        }
        let kind = self.joined(tree, &kinds);
        Checked::new(Node::Coalesce(nodes.into()), kind)
    }

    fn rescue(&mut self, tree: &Tree, arguments: &[&Tree]) -> Checked {
        let (one, other) = (self.check(arguments[0]), self.check(arguments[1]));
        if !one.node.is_fallible() && one.kind.shape != Shape::Never {
            let message = format!("`{}` never fails", arguments[0]);
            let help = "for what may be absent or null, write `orValue`";
            self.mistake(&tree.span, message, help);
        }
        let kind = self.joined(tree, &[one.kind, other.kind]);
        Checked::new(Node::Rescue(one.node.into(), other.node.into()), kind)
    }

    fn size(&mut self, argument: &Tree) -> Checked {
        let checked = self.present(argument);
        let node = if checked.kind.shape.is_string() {
            checked.node
        } else {
            self.as_list(argument, checked.node, checked.kind).0
        };
        Checked::new(Node::Call(Call::Size, [node].into()), Shape::Int)
    }

    /// A function of strings alone.
    fn texts(&mut self, call: Call, arguments: &[&Tree], result: Shape) -> Checked {
        let nodes: Vec<Node> = arguments
            .iter()
            .map(|argument| self.expect(argument, Want::String).node)
            .collect();
        Checked::new(Node::Call(call, nodes.into()), result)
    }

    fn matches(&mut self, arguments: &[&Tree]) -> Checked {
        let text = self.expect(arguments[0], Want::String);
        let Some(pattern) = self.literal(arguments[1], "a pattern") else {
            return Checked::new(Node::Absent, Shape::Bool);
        };
        match RegexBuilder::new(pattern).size_limit(PATTERN_LIMIT).build() {
            Ok(regex) => Checked::new(Node::Call(Call::Matches(regex), [text.node].into()), Shape::Bool),
            Err(error) => {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                let message = format!("this pattern cannot be used: {reason}");
                self.mistake(
                    &arguments[1].span,
                    message,
                    "patterns are RE2's: without look-around and back-references",
                );
                Checked::new(Node::Absent, Shape::Bool)
            }
        }
    }

    /// A string that has to be known when the expression is read.
    fn literal<'t>(&mut self, tree: &'t Tree, what: &str) -> Option<&'t str> {
        if let TreeKind::Text(text) = &tree.kind {
            return Some(text);
        }
        let message = format!("`{tree}` is computed, and {what} has to be written out");
        self.mistake(&tree.span, message, "write a string");
        None
    }

    fn join(&mut self, arguments: &[&Tree]) -> Checked {
        let (list, item, ..) = self.expect_list(arguments[0]);
        if !item.shape.is_string() || item.may_be_null {
            let message = format!("`{}` is a list of {item}, not of string", arguments[0]);
            let help = format!("write `{}.map(x, string(x))`", arguments[0]);
            self.mistake(&arguments[0].span, message, help);
        }
        let mut nodes = vec![list];
        for separator in &arguments[1..] {
            nodes.push(self.expect(separator, Want::String).node);
        }
        Checked::new(Node::Call(Call::Join, nodes.into()), Type::string())
    }

    fn padded(&mut self, call: Call, arguments: &[&Tree]) -> Checked {
        let wants = [Want::String, Want::Int, Want::String];
        let nodes: Vec<Node> = arguments
            .iter()
            .zip(wants)
            .map(|(argument, want)| self.expect(argument, want).node)
            .collect();
        if let TreeKind::Text(filler) = &arguments[2].kind
            && filler.chars().count() != 1
        {
            self.mistake(
                &arguments[2].span,
                "what is padded with is one character",
                "such as '0'",
            );
        }
        Checked::new(Node::Call(call, nodes.into()), Type::string())
    }

    /// `date.format('dd.MM.yyyy')`, or `'%s of %s'.format([a, b])`.
    fn format(&mut self, arguments: &[&Tree]) -> Checked {
        let (TreeKind::Text(template), TreeKind::List(items)) = (&arguments[0].kind, &arguments[1].kind) else {
            let date = self.expect(arguments[0], Want::Date);
            let call = self.pattern(arguments[1]).map(Call::FormatDate);
            let node = call.map_or(Node::Absent, |call| Node::Call(call, [date.node].into()));
            return Checked::new(node, Type::string());
        };
        let mut texts: Vec<Box<str>> = Vec::new();
        let mut text = String::new();
        let mut rest = template.chars();
        while let Some(char) = rest.next() {
            match (char, char == '%') {
                (_, false) => text.push(char),
                _ => match rest.next() {
                    Some('%') => text.push('%'),
                    Some('s') => texts.push(std::mem::take(&mut text).into()),
                    _ => self.mistake(
                        &arguments[0].span,
                        "`%` stands before `s`, for a value, or another `%`",
                        "such as '%s of %s'.format([a, b])",
                    ),
                },
            }
        }
        texts.push(text.into());
        if texts.len() != items.len() + 1 {
            let message = format!("{} places for {} values", texts.len() - 1, items.len());
            self.mistake(&arguments[0].span, message, "write `%s` once for each value");
        }
        let nodes: Vec<Node> = items.iter().map(|item| self.as_text(item).node).collect();
        Checked::new(Node::Call(Call::Format(texts.into()), nodes.into()), Type::string())
    }

    fn as_text(&mut self, argument: &Tree) -> Checked {
        let checked = coerced(self.present(argument));
        let call = match checked.kind.shape {
            Shape::String(_) | Shape::Never => return checked,
            Shape::Int | Shape::Decimal | Shape::Bool | Shape::Date | Shape::Timestamp => Call::ToString,
            Shape::Dyn => Call::AnyToString,
            shape => {
                let message = format!("`{argument}` is {}, which is no text", article(&shape.to_string()));
                let mistake = Mistake::new(argument.span.clone(), message);
                self.mistakes.push(match shape {
                    Shape::List { .. } => mistake.help(format!("write `{argument}.join(', ')`")),
                    _ => mistake,
                });
                return Checked::wrong();
            }
        };
        Checked::new(Node::Call(call, [checked.node].into()), Type::string())
    }

    /// `int`, `decimal` and `bool`: of text, or of what is one already.
    fn convert(&mut self, argument: &Tree, call: Call, result: Shape) -> Checked {
        let checked = self.present(argument);
        let is_done = match &checked.kind.shape {
            Shape::Never => true,
            shape if *shape == result => true,
            Shape::Int => result == Shape::Decimal,
            Shape::String(_) | Shape::Dyn => false,
            Shape::Decimal if result == Shape::Int => false,
            shape => {
                let message = format!("`{argument}` is {}, which is no {result}", article(&shape.to_string()));
                self.mistakes.push(Mistake::new(argument.span.clone(), message));
                return Checked::wrong();
            }
        };
        let node = if is_done {
            checked.node
        } else {
            Node::Call(call, [checked.node].into())
        };
        Checked::new(node, result)
    }

    fn known_list(&mut self, argument: &Tree) -> Checked {
        let checked = self.present(argument);
        match checked.kind.shape {
            Shape::List { .. } => checked,
            Shape::Dyn => Checked::new(
                Node::Call(Call::ToList, [checked.node].into()),
                Type::list(Shape::Dyn.into()),
            ),
            _ => {
                let (node, item, ..) = self.as_list(argument, checked.node, checked.kind);
                Checked::new(node, Type::list(item))
            }
        }
    }

    /// `round(x, digits, mode)`: without digits to a whole number, without a mode half up.
    fn round(&mut self, arguments: &[&Tree]) -> Checked {
        let digits = match arguments.get(1).map(|digits| &digits.kind) {
            None => Some(0),
            Some(TreeKind::Int(digits)) => digits.parse().ok().filter(|digits| *digits <= DIGITS_LIMIT),
            Some(_) => None,
        };
        let mode = match arguments.get(2).map(|mode| &mode.kind) {
            None => Some(Rounding::HalfUp),
            Some(TreeKind::Text(mode)) => Rounding::ALL
                .into_iter()
                .find(|(name, _)| **name == **mode)
                .map(|it| it.1),
            Some(_) => None,
        };
        if digits.is_none() {
            let message = format!("`{}` is no number of digits", arguments[1]);
            let help = format!("write a number from 0 to {DIGITS_LIMIT}");
            self.mistake(&arguments[1].span, message, help);
        }
        if mode.is_none() {
            let names = Rounding::ALL.map(|(name, _)| format!("'{name}'")).join(", ");
            let message = format!("`{}` is no way of rounding", arguments[2]);
            self.mistake(&arguments[2].span, message, format!("write one of {names}"));
        }
        self.rounded(
            arguments[0],
            digits.unwrap_or_default(),
            mode.unwrap_or(Rounding::HalfUp),
        )
    }

    fn rounded(&mut self, argument: &Tree, digits: u8, rounding: Rounding) -> Checked {
        let shape = if digits == 0 { Shape::Int } else { Shape::Decimal };
        let number = self.expect(argument, Want::Number);
        let is_quotient = matches!(argument.kind, TreeKind::Binary(Binary::Divide, ..));
        let node = match number.node {
            // In one step, so that the quotient need not have an end.
            Node::Arithmetic(Arithmetic::Divide, one, other) if is_quotient => {
                Node::RoundQuotient(one, other, digits, rounding)
            }
            node => Node::Round(node.into(), digits, rounding),
        };
        Checked::new(node, shape)
    }

    fn extreme(&mut self, arguments: &[&Tree], of_values: Call, of_list: Call) -> Checked {
        if let [list] = arguments {
            let (node, item, least, _) = self.expect_list(list);
            self.require_scalars(list, &item, true);
            let mut kind = item.present();
            kind.may_be_absent = least == 0;
            return Checked::new(Node::Call(of_list, [node].into()), kind);
        }
        let (mut nodes, mut kinds) = (Vec::new(), Vec::new());
        for argument in arguments {
            let checked = coerced(self.present(argument));
            nodes.push(checked.node);
            kinds.push(checked.kind);
        }
        for (position, argument) in arguments.iter().enumerate().skip(1) {
            self.ordered(arguments[0], &kinds[0], argument, &kinds[position]);
        }
        let mut kind: Type = Shape::Never.into();
        for other in &kinds {
            kind = kind.join(other).unwrap_or(Shape::Never.into());
        }
        Checked::new(Node::Call(of_values, nodes.into()), kind)
    }

    fn sum(&mut self, argument: &Tree) -> Checked {
        let (node, item, ..) = self.expect_list(argument);
        if !item.shape.is_number() || item.may_be_null {
            let message = format!("`{argument}` is a list of {item}, not of numbers");
            let help = format!("say what to add up: `{argument}.sum(x, x.amount)`");
            self.mistake(&argument.span, message, help);
            return Checked::wrong();
        }
        Checked::new(Node::Call(Call::Sum, [node].into()), item)
    }

    fn one_of(&mut self, argument: &Tree, call: Call) -> Checked {
        let (node, mut item, least, _) = self.expect_list(argument);
        item.may_be_absent |= least == 0;
        Checked::new(Node::Call(call, [node].into()), item)
    }

    fn selected(&mut self, argument: &Tree, call: Call) -> Checked {
        let (node, item, least, most) = self.expect_list(argument);
        self.require_scalars(argument, &item, matches!(call, Call::Sort));
        let shape = Shape::List {
            item: item.into(),
            least: least.min(1),
            most,
        };
        Checked::new(Node::Call(call, [node].into()), shape)
    }

    fn require_scalars(&mut self, list: &Tree, item: &Type, in_order: bool) {
        let is_scalar = has_order(&item.shape) || !in_order && item.shape == Shape::Bool;
        // Timestamps are text in documents, where the same instant is written in many ways.
        if !is_scalar || item.may_be_null || item.shape == Shape::Timestamp {
            let message = format!("`{list}` is a list of {item}, which cannot be told apart or put in order");
            let help = format!("take one field of each: `{list}.map(x, x.name)`, or `{list}.sortBy(x, x.name)`");
            self.mistake(&list.span, message, help);
        }
    }

    fn pattern(&mut self, tree: &Tree) -> Option<DatePattern> {
        let text = self.literal(tree, "a way to write days")?;
        match DatePattern::parse(text) {
            Ok(pattern) => Some(pattern),
            Err(message) => {
                let help = "write yyyy, MM and dd, such as 'dd.MM.yyyy'";
                self.mistake(&tree.span, message, help);
                None
            }
        }
    }

    /// `date(text)`, `date(text, 'dd.MM.yyyy')`, or `date(timestamp, 'Europe/Berlin')`.
    fn date(&mut self, arguments: &[&Tree]) -> Checked {
        let wrong = || Checked::new(Node::Absent, Shape::Date);
        let from = self.present(arguments[0]);
        match (&from.kind.shape, arguments.get(1)) {
            (Shape::Date | Shape::Never, None) => from,
            (Shape::Timestamp, Some(zone)) => {
                let Some(name) = self.literal(zone, "a time zone") else {
                    return wrong();
                };
                let Ok(timezone) = TimeZone::get(name) else {
                    let message = format!("`{name}` is no time zone that is known");
                    self.mistake(&zone.span, message, "write one of the IANA database: 'Europe/Berlin'");
                    return wrong();
                };
                Checked::new(
                    Node::Call(Call::DateIn(timezone), [coerced(from).node].into()),
                    Shape::Date,
                )
            }
            (Shape::Timestamp, None) => {
                let help = format!("write `date({}, 'Europe/Berlin')`", arguments[0]);
                self.mistake(&arguments[0].span, "which day it is depends on where", help);
                wrong()
            }
            (Shape::String(_), pattern) => {
                let pattern = match pattern {
                    Some(tree) => self.pattern(tree),
                    None => Some(DatePattern::iso()),
                };
                let Some(pattern) = pattern else { return wrong() };
                let Node::Text(text) = &from.node else {
                    return Checked::new(Node::Call(Call::ParseDate(pattern), [from.node].into()), Shape::Date);
                };
                if let Some(date) = pattern.read(text) {
                    return Checked::new(Node::Date(date), Shape::Date);
                }
                let message = format!("`{text}` is not a day written as {}", pattern.text);
                self.mistakes.push(Mistake::new(arguments[0].span.clone(), message));
                wrong()
            }
            _ => {
                self.refuse(arguments[0], &from.kind, Want::String);
                wrong()
            }
        }
    }

    fn timestamp(&mut self, argument: &Tree) -> Checked {
        let from = self.present(argument);
        match (&from.kind.shape, &from.node) {
            (Shape::Timestamp | Shape::Never, _) => from,
            (Shape::String(_), Node::Text(text)) => {
                if let Ok(time) = text.parse() {
                    return Checked::new(Node::Timestamp(time), Shape::Timestamp);
                }
                let message = format!("`{text}` is not a time");
                self.mistake(&argument.span, message, "write it as 2026-11-20T18:00:00Z");
                Checked::wrong()
            }
            (Shape::String(_), _) => {
                Checked::new(Node::Call(Call::ParseTimestamp, [from.node].into()), Shape::Timestamp)
            }
            _ => {
                self.refuse(argument, &from.kind, Want::String);
                Checked::wrong()
            }
        }
    }

    fn part_of_date(&mut self, argument: &Tree, call: Call) -> Checked {
        let date = self.expect(argument, Want::Date);
        Checked::new(Node::Call(call, [date.node].into()), Shape::Int)
    }

    fn table(&mut self, arguments: &[&Tree]) -> Checked {
        let code = self.expect(arguments[1], Want::String);
        let Some(name) = self.literal(arguments[0], "the name of a table") else {
            return Checked::wrong();
        };
        let Some(table) = self.environment.tables.get(name) else {
            let names: Vec<String> = self.environment.tables.keys().map(ToString::to_string).collect();
            let mistake = Mistake::new(arguments[0].span.clone(), format!("there is no table `{name}`"));
            self.mistakes.push(mistake.help(suggestion(name, &names)));
            return Checked::wrong();
        };
        let call = Call::Lookup(table.clone(), name.into());
        Checked::new(Node::Call(call, [code.node].into()), Type::string())
    }
}
