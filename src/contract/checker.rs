//! What holds bodies against a schema: at hand from the start, or built when the first body comes.

use std::fmt;
use std::sync::{Arc, OnceLock};

use jsonschema::{Registry, Validator};
use serde_json::Value;

use crate::json::{Tape, exact_options};

/// The validator of one schema.
///
/// A validator holds all schemas that its own leads to. In a document of thousands of operations that lead to each
/// other, all of them together are hundreds of times as large as the document, and few of them see a body.
pub(super) enum Checker {
    /// At hand.
    Built(Arc<Validator<Tape>>),
    /// Known to be sound, and built on first use.
    Later {
        schema: Value,
        registry: Arc<Registry<'static>>,
        built: OnceLock<Option<Arc<Validator<Tape>>>>,
    },
}

impl Checker {
    pub(super) fn later(schema: Value, registry: Arc<Registry<'static>>) -> Self {
        Self::Later {
            schema,
            registry,
            built: OnceLock::new(),
        }
    }

    /// The validator; none should it not be built, though it was when the version was loaded.
    pub(super) fn get(&self) -> Option<&Validator<Tape>> {
        match self {
            Self::Built(validator) => Some(validator),
            Self::Later {
                schema,
                registry,
                built,
            } => {
                let build = || exact_options().with_registry(registry).build(schema).ok().map(Arc::new);
                built.get_or_init(build).as_deref()
            }
        }
    }
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checker")
    }
}
