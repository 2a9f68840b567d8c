//! What becomes of a value that two programs change one after the other.

use std::rc::Rc;

use super::given::{Given, Object, Spot, Value};
use super::shape::Shape;
use super::{Document, Fuser, Origin, Path, Producer, Scope, Walk};
use crate::contract::convert::{Change, Codes};
use crate::contract::spec::More;
use crate::json::{Builder, Kind};

/// What becomes of a value in the end.
pub(super) enum Settled {
    Value(Producer, Option<Path>),
    /// An object, by its number among the targets.
    Object(usize),
    /// There is never one.
    Nothing,
}

impl<'p> Fuser<'p> {
    /// What becomes of a value of the first program's result that the second program changes. `stays` names it where the
    /// second leaves it at its place.
    pub(super) fn settle(
        &mut self,
        given: Given<'p>,
        change: &Change,
        walk: &Walk,
        stays: Option<&str>,
    ) -> Option<Settled> {
        let value = match given {
            Given::Value(value) => value,
            Given::Object(object) => {
                let (Change::Keep, true) = (change, stays.is_some() || object.source.is_none()) else {
                    return None;
                };
                return self.inside(&object, walk);
            }
        };
        let otherwise = match &value.otherwise {
            Some(otherwise) => Some(changed(otherwise, change, walk)?),
            None => None,
        };
        let place = value.place;
        let (from, path) = match &value.spot {
            Spot::Made(origin) if is_untouched(change, walk) => (origin.clone(), None),
            Spot::Seen(outward) if is_untouched(change, walk) && value.is_untouched() => {
                (Origin::Copied(outward.clone()), None)
            }
            Spot::Unless(path, unless) if is_untouched(change, walk) && stays.is_some() => {
                (Origin::Unless(unless.clone()), Some(path.clone()))
            }
            Spot::Made(_) | Spot::Seen(_) | Spot::Unless(..) => return None,
            Spot::Stays(path) | Spot::Taken(path) => {
                let is_staying = stays.is_some() && matches!(value.spot, Spot::Stays(_));
                let path = path.clone();
                let (change, walk) = self.joined_value(&value, change, walk)?;
                let slot = if is_staying { 0 } else { self.frame().take(&path)? };
                (Origin::Moved { slot, change, walk }, is_staying.then_some(path))
            }
        };
        Some(Settled::Value(Producer { place, from, otherwise }, path))
    }

    /// What becomes of an object that the first program makes, or reaches into, and the second treats as a type.
    fn inside(&mut self, object: &Rc<Object<'p>>, walk: &Walk) -> Option<Settled> {
        let (programs, way) = self.second;
        let shape = Shape::of(walk, programs, way)?;
        let plan = shape.plan()?;
        let frame = self.frames.len();
        if object.is_moved || object.source.is_some() && object.is_taken_from && plan.sources[0].is_taken_from {
            return None;
        }
        let into = self.frame().target();
        let scope = shape.program().map(|program| Scope {
            program,
            given: object.clone(),
            frame,
        });
        let is_scope = scope.is_some();
        self.scopes.extend(scope);
        let keeps_all = object.source.is_none();
        let done = self.second(&plan, object, into, keeps_all);
        if is_scope {
            self.scopes.pop();
        }
        done?;
        if let Some(path) = &object.source {
            self.frame().node(path)?.target = into;
        }
        Some(Settled::Object(into))
    }

    /// Two changes of one value as one.
    pub(super) fn joined_value(&mut self, value: &Value<'p>, then: &Change, walk: &Walk) -> Option<(Change, Walk)> {
        let whole = Walk::Whole;
        let is_whole = matches!(walk, Walk::Whole);
        let around = &value.around;
        Some(match (&value.change, then) {
            (Change::Keep, Change::Keep) | (Change::Wrap, Change::Single { .. }) => {
                (Change::Keep, self.compose(&value.walk, walk, around)?)
            }
            (Change::Keep, Change::Wrap) => (Change::Wrap, self.compose(&value.walk, walk, around)?),
            (Change::Keep, Change::Single { more, .. }) if !matches!(value.walk, Walk::Whole) => {
                let (programs, way) = self.first;
                match (Shape::of(&value.walk, programs, way)?, more) {
                    (Shape::Items(_), More::Join) => return None,
                    (Shape::Items(items), _) => (then.clone(), self.compose(&items, walk, around)?),
                    _ => return None,
                }
            }
            (Change::Keep, then) if matches!(value.walk, Walk::Whole) => {
                (then.clone(), self.compose(&whole, walk, around)?)
            }
            (Change::Wrap, Change::Keep) => {
                let (programs, way) = self.second;
                let inner = match Shape::of(walk, programs, way)? {
                    Shape::Whole => Walk::Whole,
                    Shape::Items(items) => (*items).clone(),
                    _ => return None,
                };
                (Change::Wrap, self.compose(&value.walk, &inner, around)?)
            }
            (Change::Single { more, .. }, Change::Keep) if is_whole || !matches!(more, More::Join) => {
                (value.change.clone(), self.compose(&value.walk, walk, around)?)
            }
            (change, Change::Keep) if is_whole => (change.clone(), self.compose(&value.walk, &whole, around)?),
            (one, then) if is_whole && matches!(value.walk, Walk::Whole) => (joined_change(one, then)?, Walk::Whole),
            _ => return None,
        })
    }
}

impl Settled {
    /// Left out if it is what was expected.
    pub(super) fn unless(given: Given<'_>, unless: &Document, producer: &Producer) -> Option<Self> {
        match given {
            Given::Value(value) if value.is_untouched() => match value.spot {
                Spot::Stays(path) => {
                    let from = Origin::Unless(unless.clone());
                    let (place, otherwise) = (producer.place, None);
                    Some(Self::Value(Producer { place, from, otherwise }, Some(path)))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// With what is put where nothing comes.
    pub(super) fn or(self, otherwise: Option<&Document>) -> Option<Self> {
        match (self, otherwise) {
            (settled, None) => Some(settled),
            (Self::Value(mut producer, stays), Some(value)) => {
                producer.otherwise.get_or_insert_with(|| value.clone());
                Some(Self::Value(producer, stays))
            }
            (Self::Object(_) | Self::Nothing, Some(_)) => None,
        }
    }
}

fn is_untouched(change: &Change, walk: &Walk) -> bool {
    matches!((change, walk), (Change::Keep, Walk::Whole))
}

/// Two changes of a plain value as one.
pub(super) fn joined_change(one: &Change, then: &Change) -> Option<Change> {
    Some(match (one, then) {
        (Change::Table(one), Change::Table(then)) => Change::Table(joined_codes(one, then).into()),
        (one, then) if one.is_plain() && then.is_plain() => Change::Then(Box::new([one.clone(), then.clone()])),
        _ => return None,
    })
}

fn joined_codes(one: &Codes, then: &Codes) -> Codes {
    let next = |code: &str| match then.rows.get(code) {
        Some(row) => row.clone(),
        None => then.otherwise.clone(),
    };
    let rows = one.rows.iter();
    let rows = rows.map(|(code, between)| (code.clone(), between.as_deref().and_then(next)));
    Codes {
        rows: rows.collect(),
        otherwise: one.otherwise.as_deref().and_then(next),
    }
}

/// A value that is put where nothing comes, as the second program changes it.
fn changed(value: &Document, change: &Change, walk: &Walk) -> Option<Document> {
    let root = value.root();
    let is_plain = !matches!(root.kind(), Kind::Array | Kind::Object);
    match (change, walk) {
        (Change::Keep, Walk::Whole) => Some(value.clone()),
        (Change::Keep, _) if root.is_null() => Some(value.clone()),
        (change, Walk::Whole) if change.is_plain() && is_plain && !root.is_null() => {
            let mut builder = Builder::with_capacity(16, 1);
            change.plain(root, None).ok()?.write(&mut builder);
            builder.finish()
        }
        _ => None,
    }
}
