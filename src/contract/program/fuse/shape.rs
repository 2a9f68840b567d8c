//! What a walk does with the value it meets, by its kind.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use super::{Choice, Plan, Program, Programs, Walk};
use crate::contract::program::names::Names;
use crate::contract::program::plan::{Action, Inside, Source};
use crate::contract::spec::Direction;

/// What is done with a value.
pub(super) enum Shape<'p> {
    /// It is copied whole.
    Whole,
    /// It is a list, and this is done with its items.
    Items(Box<Walk>),
    /// It is an object; of a type of its own, if there is a program.
    Object(Laid<'p>, Option<&'p Program>),
    /// It is one of several types.
    Choice(Arc<Choice>),
}

/// The plan of a program, or one for an object that has none.
#[derive(Clone)]
pub(super) enum Laid<'p> {
    Theirs(&'p Plan),
    Own(Rc<Plan>),
}

impl Deref for Laid<'_> {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        match self {
            Self::Theirs(plan) => plan,
            Self::Own(plan) => plan,
        }
    }
}

impl<'p> Shape<'p> {
    /// `None` where it may be a list or an object.
    pub(super) fn of(walk: &Walk, programs: &'p Programs, way: Direction) -> Option<Self> {
        Some(match walk {
            Walk::Whole => Self::Whole,
            Walk::Choice(choice) => Self::Choice(choice.clone()),
            Walk::Program(number) => {
                let program = &programs.list[*number];
                let plan = program.plan(way);
                match &plan.items {
                    _ if program.is_identity => Self::Whole,
                    Some(items) => Self::Items(Box::new(items.clone())),
                    None => Self::Object(Laid::Theirs(plan), Some(program)),
                }
            }
            Walk::Inside(inside) => match &inside.items {
                Some(_) if inside.values.is_some() || !inside.fields.is_empty() => return None,
                Some(items) => Self::Items(Box::new(items.clone())),
                None => Self::Object(Laid::Own(Rc::new(Plan::inside(inside))), None),
            },
        })
    }

    /// The type's own program.
    pub(super) fn program(&self) -> Option<&'p Program> {
        match self {
            Self::Object(_, program) => *program,
            _ => None,
        }
    }

    /// How the members of an object pass, if it may be one.
    pub(super) fn plan(&self) -> Option<Laid<'p>> {
        match self {
            Self::Object(plan, _) => Some(plan.clone()),
            Self::Whole => Some(Laid::Own(Rc::new(Plan::inside(&Inside::default())))),
            Self::Items(_) | Self::Choice(_) => None,
        }
    }
}

impl Plan {
    /// For an object without steps, whose members may be types.
    fn inside(inside: &Inside) -> Self {
        let fields = inside.fields.iter();
        let actions = fields.map(|(name, walk)| (name.clone(), Action::Carry(walk.clone(), None)));
        let source = Source {
            names: Names::new(actions.collect()),
            rest: inside.values.clone().unwrap_or_default(),
            ..Source::default()
        };
        Self {
            sources: vec![source],
            targets: vec![Vec::new()],
            ..Self::default()
        }
    }
}

impl Walk {
    /// A list, with this done to its items.
    pub(super) fn items(items: Self) -> Self {
        let items = Some(items);
        Self::Inside(Box::new(Inside {
            items,
            ..Inside::default()
        }))
    }
}

impl Program {
    /// Of an object that a joined plan is for.
    pub(super) fn joined(plan: Plan) -> Self {
        Self {
            up_plan: plan,
            ..Self::default()
        }
    }

    /// Of a list.
    pub(super) fn list_of(items: Walk) -> Self {
        Self::joined(Plan {
            items: Some(items),
            sources: vec![Source::default()],
            targets: vec![Vec::new()],
            ..Plan::default()
        })
    }
}
