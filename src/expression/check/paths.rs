//! Names, fields and items: what they are, which the expression reads, and whether a condition has asked for them.

use super::{Checked, Checker, Want};
use crate::expression::node::Node;
use crate::expression::tree::{Binary, Tree, TreeKind, Unary};
use crate::expression::types::{Shape, Type};
use crate::expression::{Mistake, Read, ReadStep};

/// The way to a value through fields and items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    root: Root,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Root {
    /// Number of a variable in the environment.
    Variable(usize),
    /// Id of a macro's variable.
    Scope(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(Box<str>),
    /// The item at a position.
    Item(Box<str>),
    /// An item at a position that is computed: not the same one twice.
    SomeItem,
}

/// What a condition established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// Not absent.
    IsPresent,
    /// Neither absent nor `null`.
    HasValue,
}

impl Checker<'_, '_> {
    /// The path that an expression is, if it is one.
    pub(super) fn path(&self, tree: &Tree) -> Option<Path> {
        match &tree.kind {
            TreeKind::Name(name) => {
                let variables = &self.environment.variables;
                let scope = self.scopes.iter().rev().find(|scope| scope.name == *name);
                let variable = variables.iter().position(|(variable, _)| variable == name);
                let (root, steps) = match (scope, variable) {
                    (Some(scope), _) => (Root::Scope(scope.id), Vec::new()),
                    (None, Some(variable)) => (Root::Variable(variable), Vec::new()),
                    (None, None) => (
                        Root::Variable(self.environment.subject?),
                        vec![Step::Field(name.clone())],
                    ),
                };
                Some(Path { root, steps })
            }
            TreeKind::Select { operand, field, .. } => {
                let mut path = self.path(operand)?;
                path.steps.push(Step::Field(field.clone()));
                Some(path)
            }
            TreeKind::Index { operand, index, .. } => {
                let mut path = self.path(operand)?;
                path.steps.push(match &index.kind {
                    TreeKind::Int(position) => Step::Item(position.clone()),
                    TreeKind::Text(name) => Step::Field(name.clone()),
                    _ => Step::SomeItem,
                });
                Some(path)
            }
            _ => None,
        }
    }

    /// Notes that what a path leads to is looked at.
    pub(super) fn read(&mut self, path: &Path, is_whole: bool) {
        let mut steps = Vec::new();
        let mut path = path;
        // From the inside out: the list of a macro around may itself be a field of another macro's variable.
        let variable = loop {
            steps.extend(path.steps.iter().rev().map(|step| match step {
                Step::Field(name) => ReadStep::Field(name.clone()),
                Step::Item(_) | Step::SomeItem => ReadStep::Items,
            }));
            match path.root {
                Root::Variable(number) => break number,
                Root::Scope(id) => {
                    let scope = self.scopes.iter().find(|scope| scope.id == id);
                    // What has no path was read where it was computed.
                    let Some(list) = scope.and_then(|scope| scope.list.as_ref()) else {
                        return;
                    };
                    steps.push(ReadStep::Items);
                    path = list;
                }
            }
        };
        steps.reverse();
        let variable = self.environment.variables[variable].0.clone();
        self.reads.push(Read {
            variable,
            steps,
            is_whole,
        });
    }

    pub(super) fn name(&mut self, tree: &Tree, name: &str) -> Checked {
        if let Some(depth) = self.scopes.iter().rposition(|scope| *scope.name == *name) {
            let kind = self.scopes[depth].kind.clone();
            return self.known(tree, Node::Local(depth), kind);
        }
        let variables = &self.environment.variables;
        if let Some(number) = variables.iter().position(|(variable, _)| **variable == *name) {
            let kind = variables[number].1.clone();
            return self.known(tree, Node::Variable(number), kind);
        }
        if let Some(number) = self.environment.subject {
            let kind = &variables[number].1;
            if let Some(field) = self.field(kind, name) {
                let node = Node::Field(Node::Variable(number).into(), name.into());
                return self.known(tree, node, field);
            }
        }
        let mut names: Vec<String> = self.scopes.iter().map(|scope| scope.name.to_string()).collect();
        names.extend(variables.iter().map(|(variable, _)| variable.to_string()));
        if let Some(number) = self.environment.subject {
            names.extend(self.field_names(&variables[number].1));
        }
        let mistake = Mistake::new(tree.span.clone(), format!("`{name}` is not known"));
        self.mistakes.push(mistake.help(suggestion(name, &names)));
        Checked::wrong()
    }

    pub(super) fn select(&mut self, tree: &Tree, operand: &Tree, field: &str) -> Checked {
        let from = self.navigate(operand);
        if from.kind.shape == Shape::Never {
            return of_nothing(&from.kind);
        }
        let Some(kind) = self.field(&from.kind, field) else {
            let names = self.field_names(&from.kind);
            let is_object = matches!(from.kind.shape, Shape::Object(_) | Shape::Record(_));
            let mistake = if is_object {
                let mistake = Mistake::new(tree.span.clone(), format!("`{operand}` has no field `{field}`"));
                mistake.help(suggestion(field, &names))
            } else {
                let message = format!(
                    "`{operand}` is {} and has no fields",
                    super::article(&from.kind.to_string())
                );
                Mistake::new(tree.span.clone(), message)
            };
            self.mistakes.push(mistake);
            return Checked::wrong();
        };
        self.known(tree, Node::Field(from.node.into(), field.into()), kind)
    }

    pub(super) fn index(&mut self, tree: &Tree, operand: &Tree, index: &Tree) -> Checked {
        if let TreeKind::Text(name) = &index.kind {
            return self.select(tree, operand, name);
        }
        let from = self.navigate(operand);
        match from.kind.shape {
            Shape::List { item, .. } => {
                let index = self.expect(index, Want::Int);
                let node = Node::Item(from.node.into(), index.node.into());
                self.known(tree, node, item.or_absent())
            }
            Shape::Dyn => {
                let kind = Type::from(Shape::Dyn).or_absent();
                let key = self.present(index);
                let node = match key.kind.shape {
                    Shape::Int => Node::Item(from.node.into(), key.node.into()),
                    Shape::String(_) => Node::Member(from.node.into(), key.node.into()),
                    _ => {
                        let message = format!("`{index}` is neither a position nor a name");
                        self.mistake(&index.span, message, "write an int or a string");
                        return Checked::wrong();
                    }
                };
                self.known(tree, node, kind)
            }
            Shape::Never => of_nothing(&from.kind),
            shape => {
                let message = format!("`{operand}` is {} and has no items", super::article(&shape.to_string()));
                self.mistakes.push(Mistake::new(tree.span.clone(), message));
                Checked::wrong()
            }
        }
    }

    /// The type of a field. What leads through nothing leads to nothing.
    fn field(&self, from: &Type, name: &str) -> Option<Type> {
        let mut kind = match &from.shape {
            Shape::Object(place) => self.environment.schemas.field(place, name)?,
            Shape::Record(members) => members.iter().find(|(member, _)| **member == *name)?.1.clone(),
            Shape::Dyn => Type::from(Shape::Dyn).or_absent(),
            _ => return None,
        };
        kind.may_be_absent |= from.may_be_absent || from.may_be_null;
        Some(kind)
    }

    fn field_names(&self, from: &Type) -> Vec<String> {
        match &from.shape {
            Shape::Object(place) => self.environment.schemas.field_names(place),
            Shape::Record(members) => members.iter().map(|(name, _)| name.to_string()).collect(),
            _ => Vec::new(),
        }
    }

    /// A value, with what conditions around say of it.
    fn known(&self, tree: &Tree, node: Node, mut kind: Type) -> Checked {
        if let Some(path) = self.path(tree) {
            for (_, fact) in self.facts.iter().filter(|(known, _)| *known == path) {
                kind.may_be_absent = false;
                kind.may_be_null &= *fact != Fact::HasValue;
            }
        }
        Checked { node, kind }
    }

    /// Checks something under what holds if a condition is true, or false.
    pub(super) fn given<T>(&mut self, condition: &Tree, truth: bool, check: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.facts.len();
        self.learn(condition, truth);
        let checked = check(self);
        self.facts.truncate(before);
        checked
    }

    fn learn(&mut self, condition: &Tree, truth: bool) {
        match &condition.kind {
            TreeKind::Unary(Unary::Not, operand) => self.learn(operand, !truth),
            TreeKind::Binary(Binary::And, one, other) if truth => {
                self.learn(one, true);
                self.learn(other, true);
            }
            TreeKind::Binary(Binary::Or, one, other) if !truth => {
                self.learn(one, false);
                self.learn(other, false);
            }
            TreeKind::Binary(operator @ (Binary::Equal | Binary::NotEqual), one, other)
                if truth == (*operator == Binary::NotEqual) =>
            {
                match (&one.kind, &other.kind) {
                    (TreeKind::Null, _) => self.establish(other, Fact::HasValue),
                    (_, TreeKind::Null) => self.establish(one, Fact::HasValue),
                    _ => {}
                }
            }
            TreeKind::Call {
                target,
                function,
                arguments,
            } if truth && **function == *"has" => {
                if let Some(asked) = target.as_deref().or(arguments.first()) {
                    self.establish(asked, Fact::IsPresent);
                }
            }
            _ => {}
        }
    }

    fn establish(&mut self, tree: &Tree, fact: Fact) {
        let Some(path) = self.path(tree).filter(|path| !path.steps.contains(&Step::SomeItem)) else {
            return;
        };
        // What leads to something is something.
        for length in 0..path.steps.len() {
            let steps = path.steps[..length].to_vec();
            let root = path.root.clone();
            self.facts.push((Path { root, steps }, Fact::HasValue));
        }
        self.facts.push((path, fact));
    }
}

/// A part of `null`, or of something that was wrong.
fn of_nothing(kind: &Type) -> Checked {
    let mut part = Checked::wrong();
    part.kind.may_be_absent = kind.may_be_absent || kind.may_be_null;
    part
}

/// The known name that is most like a wrong one, or all.
pub(super) fn suggestion(wrong: &str, names: &[String]) -> String {
    let close = names
        .iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase()),
                name,
            )
        })
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4);
    match close {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if names.is_empty() => "nothing can be named here".to_owned(),
        None => format!("there is {}", names.join(", ")),
    }
}
