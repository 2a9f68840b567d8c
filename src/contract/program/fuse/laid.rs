//! The plan of an object that two programs pass as one, in the making.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::given::Object;
use super::{Combined, Document, Entry, Made, Opened, Origin, Path, Plan, Producer, Walk};
use crate::contract::convert::Change;
use crate::contract::program::Place;
use crate::contract::program::names::Names;
use crate::contract::program::plan::{Action, Agreement, Source};

/// Of an object that nothing is put into.
const NOTHING: usize = usize::MAX;

/// An object of the source and all that is made of it.
pub(super) struct Frame<'p> {
    root: Node,
    slots: usize,
    pub(super) targets: Vec<Vec<Entry>>,
    pub(super) agreements: Vec<Agreement>,
    pub(super) discarded: Vec<Producer>,
    combinations: Vec<Combined>,
    pub(super) parts: usize,
    /// Objects that were reached into, by where they stand.
    pub(super) inlined: HashMap<Path, Rc<Object<'p>>>,
}

/// What is done with the members of an object of the source.
#[derive(Debug)]
pub(super) struct Node {
    members: BTreeMap<Box<str>, Leaf>,
    pub(super) is_closed: bool,
    pub(super) is_taken_from: bool,
    pub(super) is_dissolved: bool,
    pub(super) rest: Walk,
    /// What is put into it.
    pub(super) target: usize,
}

#[derive(Debug)]
pub(super) enum Leaf {
    Skip(Place),
    Take(usize),
    Change(Producer),
    Carry(Walk),
    Open(Node),
    /// Nobody knows what would become of it.
    Refuse,
}

impl Default for Frame<'_> {
    fn default() -> Self {
        let root = Node {
            target: 0,
            ..Node::default()
        };
        Self {
            root,
            slots: 0,
            targets: vec![Vec::new()],
            agreements: Vec::new(),
            discarded: Vec::new(),
            combinations: Vec::new(),
            parts: 0,
            inlined: HashMap::new(),
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self {
            members: BTreeMap::new(),
            is_closed: false,
            is_taken_from: false,
            is_dissolved: false,
            rest: Walk::Whole,
            target: NOTHING,
        }
    }
}

impl Node {
    /// A member that would be doubtful if it came.
    pub(super) fn refuse(&mut self, name: &str) -> Option<()> {
        match self.members.insert(name.into(), Leaf::Refuse) {
            None | Some(Leaf::Refuse) => Some(()),
            Some(_) => None,
        }
    }
}

impl Frame<'_> {
    /// A new object that is made, by its number.
    pub(super) fn target(&mut self) -> usize {
        self.targets.push(Vec::new());
        self.targets.len() - 1
    }

    /// The object at a path of the source, to be reached into. `None` if it goes elsewhere as a whole.
    pub(super) fn node(&mut self, path: &[Box<str>]) -> Option<&mut Node> {
        path.iter().try_fold(&mut self.root, |node, name| {
            let leaf = node.members.entry(name.clone());
            let leaf = leaf.or_insert_with(|| Leaf::Open(Node::default()));
            if let Leaf::Skip(_) = leaf {
                *leaf = Leaf::Open(Node::default());
            }
            match leaf {
                Leaf::Open(inner) => Some(inner),
                _ => None,
            }
        })
    }

    fn around<'s, 'n>(&'s mut self, path: &'n [Box<str>]) -> Option<(&'s mut Node, &'n str)> {
        let (name, way) = path.split_last()?;
        Some((self.node(way)?, name))
    }

    /// Says what becomes of a value; `None` if something else was said already.
    pub(super) fn put(&mut self, path: &[Box<str>], leaf: Leaf) -> Option<()> {
        let (node, name) = self.around(path)?;
        match node.members.get(name) {
            None | Some(Leaf::Skip(_)) => {
                node.members.insert(name.into(), leaf);
                Some(())
            }
            Some(_) => None,
        }
    }

    /// A value that is left out, unless it is picked up.
    pub(super) fn skip(&mut self, path: &[Box<str>], place: Place) -> Option<()> {
        let (node, name) = self.around(path)?;
        match node.members.entry(name.into()).or_insert(Leaf::Skip(place)) {
            Leaf::Skip(_) | Leaf::Take(_) => Some(()),
            _ => None,
        }
    }

    /// Picks a value up.
    pub(super) fn take(&mut self, path: &[Box<str>]) -> Option<usize> {
        let next = self.slots;
        let (node, name) = self.around(path)?;
        let leaf = node.members.entry(name.into()).or_insert(Leaf::Skip((0, 0)));
        if let Leaf::Skip(_) = leaf {
            *leaf = Leaf::Take(next);
        }
        match leaf {
            Leaf::Take(slot) => {
                let slot = *slot;
                self.slots = self.slots.max(slot + 1);
                Some(slot)
            }
            _ => None,
        }
    }

    /// A slot that nothing is picked up into.
    pub(super) fn empty_slot(&mut self) -> usize {
        self.slots += 1;
        self.slots - 1
    }

    /// A value that stays where it is, changed or not.
    pub(super) fn stay(&mut self, path: &[Box<str>], producer: Producer) -> Option<()> {
        let leaf = match producer.from {
            Origin::Moved {
                change: Change::Keep,
                walk,
                ..
            } => Leaf::Carry(walk),
            _ => Leaf::Change(producer),
        };
        self.put(path, leaf)
    }

    /// Puts a value where no other came, in a target that has a place for it or gets what stays there.
    pub(super) fn fill(&mut self, into: usize, name: &str, value: &Document, by: &Producer) -> Option<()> {
        let known = self.targets[into].iter_mut().find(|entry| *entry.name == *name);
        match known.map(|entry| &mut entry.what) {
            Some(Made::Value(producer)) => {
                producer.otherwise.get_or_insert_with(|| value.clone());
            }
            Some(Made::Object(_)) => return None,
            None => self.targets[into].push(Entry::new(
                name,
                Made::Value(Producer {
                    place: by.place,
                    from: Origin::Nothing,
                    otherwise: Some(value.clone()),
                }),
            )),
        }
        Some(())
    }

    pub(super) fn combine(&mut self, combined: Combined) {
        self.parts += combined.count;
        self.combinations.push(combined);
    }

    pub(super) fn finish(self) -> Plan {
        let mut plan = Plan {
            targets: self.targets,
            agreements: self.agreements,
            discarded: self.discarded,
            combinations: self.combinations,
            parts: self.parts,
            slots: self.slots,
            is_busy: true,
            is_joined: true,
            ..Plan::default()
        };
        lay(self.root, &mut plan);
        plan
    }
}

/// Lays out what is done with an object's members. Gives its numbers among the sources and the targets.
fn lay(node: Node, plan: &mut Plan) -> (usize, usize) {
    let number = plan.sources.len();
    plan.sources.push(Source::default());
    let target = if node.target == NOTHING {
        plan.targets.push(Vec::new());
        plan.targets.len() - 1
    } else {
        node.target
    };
    let mut actions = Vec::with_capacity(node.members.len());
    if !node.is_closed {
        for entry in &plan.targets[target] {
            if !node.members.contains_key(&entry.name) {
                actions.push((entry.name.clone(), Action::Refuse));
            }
        }
    }
    for (name, leaf) in node.members {
        let entry = plan.targets[target].iter().position(|entry| entry.name == name);
        let action = match leaf {
            Leaf::Skip(place) => Action::Skip(place),
            Leaf::Take(slot) => Action::Take(slot),
            Leaf::Refuse => Action::Refuse,
            Leaf::Carry(walk) => Action::Carry(walk, entry),
            Leaf::Change(producer) => Action::Change(producer, entry),
            Leaf::Open(inner) => {
                let is_dissolved = inner.is_dissolved;
                let (source, target) = lay(inner, plan);
                Action::Open(Opened {
                    source,
                    target,
                    entry: entry.filter(|_| !is_dissolved),
                    is_dissolved,
                    is_known: true,
                })
            }
        };
        actions.push((name, action));
    }
    plan.sources[number] = Source {
        names: Names::new(actions),
        is_closed: node.is_closed,
        rest: node.rest,
        is_taken_from: node.is_taken_from,
    };
    (number, target)
}
