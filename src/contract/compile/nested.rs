//! Finds the types inside a type, so that each is translated by its own steps wherever a `$ref` leads to it.

use super::{Compiler, Type};
use crate::contract::openapi::OpenApi;
use crate::contract::program::{Inner, Nested, Step as Inward};
use crate::contract::steps::Steps;

/// The search for types inside a type.
pub(super) struct Search<'s, 't> {
    pub(super) subject: &'s Type<'t>,
    pub(super) steps: &'s Steps<'s>,
    /// Places that have a program already.
    pub(super) taken: Vec<Vec<Inward>>,
    pub(super) nested: Vec<Nested>,
    /// Schemas without a name on the way to where the search is.
    pub(super) way: Vec<String>,
}

impl Compiler<'_> {
    /// Finds named types inside a type.
    pub(super) fn search(&mut self, search: &mut Search<'_, '_>, schema: &str, inward: &mut Vec<Inward>, depth: usize) {
        let document = self.older.document;
        if search.taken.contains(inward) {
            return;
        }
        let Some(schema) = document.resolve(schema) else { return };
        if depth > 0 && OpenApi::schema_name(&schema).is_some() {
            if document.is_structured(&schema) {
                self.nest(search, &schema, inward);
            }
            return;
        }
        if search.way.contains(&schema) {
            self.refuse_circle(search, &schema);
            return;
        }
        search.way.push(schema.clone());
        for choice in document.choices(&schema) {
            self.refuse_choice(search, &choice);
        }
        for (name, property) in document.properties(&schema) {
            inward.push(Inward::Field(name.into()));
            self.search(search, &property, inward, depth + 1);
            inward.pop();
        }
        for (inner, step) in [
            (document.items(&schema), Inward::Items),
            (document.additional(&schema), Inward::Values),
        ] {
            if let Some(inner) = inner {
                inward.push(step);
                self.search(search, &inner, inward, depth + 1);
                inward.pop();
            }
        }
        search.way.pop();
    }

    fn nest(&mut self, search: &mut Search<'_, '_>, schema: &str, inward: &[Inward]) {
        let subject = search.subject;
        let Some(counterpart) = self.counterpart(subject, search.steps, inward) else {
            // It is dropped, or its absence is found by the check of what is carried.
            return;
        };
        let mut around = subject.around.to_vec();
        around.push(subject.older.to_owned());
        let what = format!("`{}` of {}", written(inward), subject.name);
        let program = self.program(schema, &counterpart, &what, &around, subject.place);
        if !self.programs[program].is_identity {
            search.nested.push(Nested {
                path: inward.to_vec(),
                what: Inner::Program(program),
            });
        }
    }

    /// Where the newer version has what stands at a place of the older one.
    fn counterpart(&self, subject: &Type<'_>, steps: &Steps<'_>, inward: &[Inward]) -> Option<String> {
        let fields = inward.iter().map_while(|step| match step {
            Inward::Field(name) => Some(name.clone()),
            Inward::Items | Inward::Values => None,
        });
        let fields: Vec<Box<str>> = fields.collect();
        let moved = steps.forward(&fields)?;
        let document = self.newer.document;
        let mut place = document.find(subject.newer, &moved)?;
        for step in &inward[fields.len()..] {
            place = match step {
                Inward::Field(name) => document.find(&place, std::slice::from_ref(name))?,
                Inward::Items => document.resolve(&document.items(&place)?)?,
                Inward::Values => document.resolve(&document.additional(&place)?)?,
            };
        }
        Some(place)
    }

    /// A type inside itself needs a name: its program calls itself by it.
    fn refuse_circle(&mut self, search: &Search<'_, '_>, schema: &str) {
        let help = "give it a name under `components/schemas`, and let every `$ref` lead there";
        self.mistake(
            search.subject.place,
            format!("the schema at {schema} contains itself"),
            help,
        );
    }

    /// Which of several schemas a value follows is not looked at, so none of them may need translation.
    fn refuse_choice(&mut self, search: &Search<'_, '_>, choice: &str) {
        let document = self.older.document;
        let Some(schema) = document.resolve(choice) else { return };
        let name = OpenApi::schema_name(&schema).filter(|name| self.spec.types.contains_key(*name));
        if let Some(name) = name.map(str::to_owned) {
            let message = format!("{} may hold {name} as one of several choices", search.subject.name);
            let help = "a type that is translated cannot be one of `oneOf`, `anyOf` or `prefixItems`";
            self.mistake(search.subject.place, message, help);
        }
    }
}

fn written(inward: &[Inward]) -> String {
    let mut text = String::new();
    for step in inward {
        match step {
            Inward::Field(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Inward::Items => text.push_str("[]"),
            Inward::Values => text.push_str("{}"),
        }
    }
    text
}
