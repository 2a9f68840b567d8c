//! Macros: expressions over each item of a list.

use super::{Checked, Checker, Scope, Want, coerced};
use crate::expression::node::{Loop, LoopKind, Node};
use crate::expression::tree::{Tree, TreeKind};
use crate::expression::types::{Shape, Type};

/// Macros by their names.
const MACROS: [(&str, LoopKind); 9] = [
    ("all", LoopKind::All),
    ("exists", LoopKind::Exists),
    ("exists_one", LoopKind::ExistsOne),
    ("existsOne", LoopKind::ExistsOne),
    ("count", LoopKind::Count),
    ("filter", LoopKind::Filter),
    ("map", LoopKind::Map),
    ("sum", LoopKind::Sum),
    ("sortBy", LoopKind::SortBy),
];

/// Whether a macro is called: `sum` and `count` are functions of a list, too.
pub(super) fn find(function: &str, arguments: usize) -> Option<LoopKind> {
    let (_, kind) = MACROS.into_iter().find(|(name, _)| *name == function)?;
    let is_function = matches!(kind, LoopKind::Sum | LoopKind::Count) && arguments == 1;
    (!is_function).then_some(kind)
}

impl Checker<'_, '_> {
    pub(super) fn each(&mut self, tree: &Tree, kind: LoopKind, arguments: &[&Tree]) -> Checked {
        let (list, name, filter, body) = match (kind, arguments) {
            (_, [list, name, body]) => (list, name, None, body),
            (LoopKind::Map, [list, name, filter, body]) => (list, name, Some(filter), body),
            _ => {
                let help = "it takes a list, a name for its items and an expression: `lines.all(l, l.quantity > 0)`";
                self.mistake(&tree.span, "this macro has too few or too many parts", help);
                return Checked::wrong();
            }
        };
        let TreeKind::Name(name) = &name.kind else {
            let message = format!("`{name}` is no name for the items");
            self.mistake(&name.span, message, "write a name: `lines.all(l, l.quantity > 0)`");
            return Checked::wrong();
        };
        // Filtered items are used as they are; of others, only what the body reads.
        let keeps_items = matches!(kind, LoopKind::Filter | LoopKind::SortBy);
        let path = self.path(list);
        let (range, item, least, most) = match &path {
            Some(path) if !keeps_items => {
                self.read(path, false);
                self.present_list(list)
            }
            _ => self.expect_list(list),
        };
        self.loops += 1;
        self.scopes.push(Scope {
            name: name.clone(),
            kind: item.clone(),
            id: self.loops,
            list: path,
        });
        let filter_node = filter.map(|filter| self.expect(filter, Want::Bool).node);
        let body = match filter {
            Some(filter) => self.given(filter, true, |checker| checker.body(kind, body)),
            None => self.body(kind, body),
        };
        self.scopes.pop();
        let list_of = |item: Type, least| {
            let item = Box::new(item);
            Type::from(Shape::List { item, least, most })
        };
        let result = match kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => Shape::Bool.into(),
            LoopKind::Count => Shape::Int.into(),
            LoopKind::Sum => body.kind.clone(),
            LoopKind::Filter => list_of(item, 0),
            LoopKind::SortBy => list_of(item, least),
            LoopKind::Map => list_of(body.kind.clone(), if filter.is_some() { 0 } else { least }),
        };
        let inner = Loop {
            kind,
            range,
            most,
            local: self.scopes.len(),
            filter: filter_node,
            body: body.node,
        };
        Checked::new(Node::Loop(inner.into()), result)
    }

    fn body(&mut self, kind: LoopKind, body: &Tree) -> Checked {
        match kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne | LoopKind::Count | LoopKind::Filter => {
                self.expect(body, Want::Bool)
            }
            LoopKind::Sum => self.expect(body, Want::Number),
            LoopKind::Map => {
                let checked = self.check(body);
                if checked.kind.may_be_absent {
                    self.present(body)
                } else {
                    checked
                }
            }
            LoopKind::SortBy => {
                let checked = self.present(body);
                self.ordered(body, &checked.kind, body, &checked.kind);
                coerced(checked)
            }
        }
    }

    /// A list of which not everything is read.
    fn present_list(&mut self, tree: &Tree) -> (Node, Type, u64, Option<u64>) {
        let checked = self.navigate(tree);
        let Checked { node, kind } = self.demand(tree, checked);
        self.as_list(tree, node, kind)
    }
}
