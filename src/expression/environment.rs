//! What names an expression may use.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::types::{Schemas, Type};

/// The names that an expression may use, and what they stand for.
pub struct Environment<'s> {
    pub(super) schemas: &'s dyn Schemas,
    pub(super) variables: Vec<(Box<str>, Type)>,
    /// The variable whose fields are names of their own.
    pub(super) subject: Option<usize>,
    pub(super) tables: BTreeMap<Box<str>, Arc<dyn Table>>,
}

/// A code list: what `table(name, code)` looks into.
pub trait Table: fmt::Debug + Send + Sync {
    /// What a code stands for.
    fn find(&self, code: &str) -> Option<&str>;
}

impl Table for BTreeMap<String, String> {
    fn find(&self, code: &str) -> Option<&str> {
        self.get(code).map(String::as_str)
    }
}

impl<'s> Environment<'s> {
    /// No names; objects are described by `schemas`.
    pub fn new(schemas: &'s dyn Schemas) -> Self {
        Self {
            schemas,
            variables: Vec::new(),
            subject: None,
            tables: BTreeMap::new(),
        }
    }

    /// A variable. Bindings are given in the order of these calls.
    #[must_use]
    pub fn variable(mut self, name: &str, kind: Type) -> Self {
        self.variables.push((name.into(), kind));
        self
    }

    /// A variable, an object whose fields are names of their own: `total` is `this.total`. The last one counts.
    #[must_use]
    pub fn subject(mut self, name: &str, kind: Type) -> Self {
        self.subject = Some(self.variables.len());
        self.variable(name, kind)
    }

    /// A code list.
    #[must_use]
    pub fn table(mut self, name: &str, table: Arc<dyn Table>) -> Self {
        self.tables.insert(name.into(), table);
        self
    }
}
