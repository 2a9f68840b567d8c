//! Counterparts for keys that only other systems know: made up, each key's its own, so that it leads back.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::generate::Generator;
use super::sample::Sample;
use crate::contract::lookup::{Answer, Answers, Field, Lookup};
use crate::contract::spec::Direction;
use crate::contract::{Contract, ContractVersion};
use crate::json::Document;

/// Different keys of one field that have a counterpart in one document.
const KEYS: usize = 128;
/// How many draws are made for them.
const DRAWS: usize = 2_000;
/// One key of so many has no counterpart, as happens.
const MISSING: u8 = 16;

/// Makes counterparts up, for one way between two versions and back.
#[derive(Debug)]
pub(super) struct StandIn {
    /// On which keys are missing.
    way: Direction,
    fields: Mutex<HashMap<Arc<Field>, Keys>>,
}

/// The keys of one field, the older version's first.
#[derive(Debug, Default)]
struct Keys {
    /// What there is to take from.
    drawn: [Vec<Arc<str>>; 2],
    /// Keys of a version and their counterparts.
    paired: [HashMap<Arc<str>, Arc<str>>; 2],
}

impl StandIn {
    /// For the versions between two, by position.
    pub(super) fn new(contract: &Contract, from: usize, to: usize) -> Self {
        let steps = contract.steps[from.min(to)..from.max(to)].iter().flatten();
        let fields = steps.flat_map(|step| &step.lookups).map(|lookup| &lookup.field);
        let mut known: HashMap<Arc<Field>, Keys> = HashMap::new();
        for field in fields {
            known.entry(field.clone()).or_insert_with(|| {
                let drawn = [0, 1].map(|side| {
                    let version = contract.version(&field.versions[side]);
                    let keys = version.zip(field.schemas[side].as_deref());
                    let keys = keys.map(|(version, schema)| draw(version, schema));
                    let mut keys =
                        keys.unwrap_or_else(|| (0..KEYS).map(|number| format!("key-{number}").into()).collect());
                    // Those come back as what was chosen for them.
                    keys.retain(|key: &Arc<str>| !field.chosen[side].iter().any(|chosen| **chosen == **key));
                    keys
                });
                Keys {
                    drawn,
                    paired: Default::default(),
                }
            });
        }
        Self {
            way: if from < to { Direction::Up } else { Direction::Down },
            fields: Mutex::new(known),
        }
    }

    /// Another document begins.
    pub(super) fn forget(&self) {
        for keys in self.fields().values_mut() {
            keys.paired.iter_mut().for_each(HashMap::clear);
        }
    }

    fn fields(&self) -> MutexGuard<'_, HashMap<Arc<Field>, Keys>> {
        self.fields.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers for StandIn {
    fn answer(&self, lookup: &Arc<Lookup>, key: &str) -> Option<Answer> {
        let mut fields = self.fields();
        let Some(keys) = fields.get_mut(&lookup.field) else {
            return Some(Answer::Nothing);
        };
        let (from, to) = match lookup.way {
            Direction::Up => (0, 1),
            Direction::Down => (1, 0),
        };
        if let Some(known) = keys.paired[from].get(key) {
            return Some(Answer::Key(known.clone()));
        }
        if lookup.way == self.way && blake3::hash(key.as_bytes()).as_bytes()[0].is_multiple_of(MISSING) {
            return Some(Answer::Nothing);
        }
        let Keys { drawn, paired } = keys;
        let Some(other) = drawn[to].iter().find(|other| !paired[to].contains_key(*other)) else {
            return Some(Answer::Nothing);
        };
        let key: Arc<str> = key.into();
        paired[from].insert(key.clone(), other.clone());
        paired[to].insert(other.clone(), key);
        Some(Answer::Key(other.clone()))
    }

    fn is_waiting(&self) -> bool {
        false
    }
}

/// Different texts that a schema admits.
fn draw(version: &ContractVersion, schema: &str) -> Vec<Arc<str>> {
    let mut generator = Generator::new(&version.document, 0);
    let validator = version.document.validator(schema).ok();
    let mut seen = HashSet::new();
    let mut keys = Vec::new();
    for _ in 0..DRAWS {
        let Sample::Str(text) = generator.draw(schema) else {
            continue;
        };
        let is_valid = validator
            .as_ref()
            .is_none_or(|validator| validator.is_valid(Document::of_string(&text).root()));
        if is_valid && !text.is_empty() && seen.insert(text.clone()) {
            keys.push(text.as_str().into());
        }
        if keys.len() == KEYS {
            break;
        }
    }
    keys
}
