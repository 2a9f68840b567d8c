//! A first mapping between two versions: what can be seen by comparing them is written, the rest is listed to be done.

mod compare;
mod likeness;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::openapi::{OpenApi, PARAMETERS, push_token};
use super::operation::{Media, Operation, RESPONSE_HEADER, Response, StatusKey};
use super::update::json_answer;
use super::{Contract, ContractVersion};
use compare::{Compared, Remark};

/// Pairs of schemas that are looked at. A version has fewer, unless its schemas are made by machines.
const PAIR_LIMIT: usize = 20_000;

/// A first mapping from one version of a contract to another: the text of `v1-v2.map.yaml`.
pub fn scaffold(contract: &Contract, older: &ContractVersion, newer: &ContractVersion) -> String {
    let mut draft = Draft {
        older: &older.document,
        newer: &newer.document,
        types: BTreeMap::new(),
        waiting: Vec::new(),
        seen: BTreeSet::new(),
        tables: BTreeMap::new(),
        operations: Vec::new(),
        remarks: Vec::new(),
    };
    let ours = older.operations.iter().map(|operation| &operation.id);
    for id in ours.filter(|id| newer.operation(id).is_none()) {
        draft
            .remarks
            .push(format!("{} has {id}, and {} has not", older.version, newer.version));
    }
    for operation in &newer.operations {
        match older.operation(&operation.id) {
            Some(other) => {
                let current = read_by(&older.operations, other)
                    .filter(|id| read_by(&newer.operations, operation).as_ref() == Some(id));
                draft.operation(other, operation, current);
            }
            None => draft.remarks.push(format!(
                "{} has {}, and {} has not",
                newer.version, operation.id, older.version
            )),
        }
    }
    while let Some((one, other)) = draft.waiting.pop() {
        draft.compare_types(&one, &other);
    }
    write::write(&contract.name, &older.version, &newer.version, &draft)
}

/// What has been found so far.
struct Draft<'d> {
    older: &'d OpenApi,
    newer: &'d OpenApi,
    /// By the name of the schema in the older version: its name in the newer one, and what is to be written.
    types: BTreeMap<String, (String, Compared)>,
    /// Places of schemas that stand for each other.
    waiting: Vec<(String, String)>,
    seen: BTreeSet<(String, String)>,
    /// Rows by the name of their table; a code without a counterpart has none.
    tables: BTreeMap<String, Table>,
    operations: Vec<OperationDraft>,
    /// What has no place of its own in the file.
    remarks: Vec<String>,
}

/// A skeleton of a code list.
struct Table {
    /// Older code, newer code.
    rows: Vec<(String, String)>,
    /// Older codes without a counterpart, and newer ones.
    open: (Vec<String>, Vec<String>),
}

/// What differs in an operation beside its bodies.
struct OperationDraft {
    id: String,
    /// By `path`, `query`, `header`, `cookie` and `responseHeader`.
    parts: Vec<(&'static str, Compared)>,
    /// Codes that only one version declares, older and newer.
    status: (Vec<u16>, Vec<u16>),
    /// What reads the thing that it updates.
    current: Option<String>,
}

/// The operation that reads what an update is for.
fn read_by(operations: &[Arc<Operation>], update: &Operation) -> Option<String> {
    let is_update = [http::Method::PUT, http::Method::PATCH].contains(&update.method);
    let reads = |operation: &&Arc<Operation>| {
        operation.method == http::Method::GET
            && operation.template == update.template
            && json_answer(operation).is_some()
    };
    let read = operations.iter().filter(|_| is_update).find(reads)?;
    Some(read.id.to_string())
}

impl Draft<'_> {
    fn operation(&mut self, older: &Operation, newer: &Operation, current: Option<String>) {
        let mut parts = Vec::new();
        for part in ["path", "query", "header", "cookie", RESPONSE_HEADER] {
            let mut place = format!("/{PARAMETERS}");
            push_token(&mut place, &older.id);
            push_token(&mut place, part);
            let table = format!("{}_{part}", older.id);
            let mut compared = compare::compare(self, &place, &place, &table);
            if part == "path" {
                compared.settle_path(&older.path_names, &newer.path_names);
            }
            if !matches!(part, "path" | "query") {
                // Header fields and cookies that nothing names are not touched: a difference is no mistake.
                compared
                    .remarks
                    .retain(|remark| matches!(remark, Remark::Likely { .. }));
            }
            parts.push((part, compared));
        }
        if let (Some(one), Some(other)) = (&older.body, &newer.body) {
            self.media(&one.media, &other.media, &format!("the body of {}", older.id));
        } else if older.body.is_some() != newer.body.is_some() {
            self.remarks
                .push(format!("only one version of {} takes a body", older.id));
        }
        let codes = |operation: &Operation, other: &Operation| -> Vec<u16> {
            let exact = operation.responses.iter().filter_map(|response| match response.status {
                StatusKey::Exactly(code) => Some(code),
                _ => None,
            });
            exact.filter(|code| other.response(*code).is_none()).collect()
        };
        let status = (codes(older, newer), codes(newer, older));
        for response in &newer.responses {
            let other = counterpart(older, response, &status);
            if let Some(other) = other {
                self.media(
                    &other.media,
                    &response.media,
                    &format!("the {} answer of {}", response.status, older.id),
                );
            }
        }
        self.operations.push(OperationDraft {
            id: older.id.to_string(),
            parts,
            status,
            current,
        });
    }

    fn media(&mut self, older: &[Media], newer: &[Media], what: &str) {
        for media in newer {
            let Some(other) = older.iter().find(|other| other.name == media.name) else {
                self.remarks
                    .push(format!("{what} is {} in one version only", media.name));
                continue;
            };
            if let (Some(one), Some(other)) = (&other.schema, &media.schema) {
                if OpenApi::schema_name(one).is_none() && self.older.is_structured(one) {
                    self.remarks.push(format!(
                        "{what} has no name: give it one under components/schemas to write steps for it"
                    ));
                }
                self.stand_for_each_other(one, other);
            }
        }
    }

    /// Notes that two schemas are each other's counterpart.
    fn stand_for_each_other(&mut self, older: &str, newer: &str) {
        let one = self.older.resolve(older).unwrap_or_else(|| older.to_owned());
        let other = self.newer.resolve(newer).unwrap_or_else(|| newer.to_owned());
        let is_new = self.seen.len() < PAIR_LIMIT && self.seen.insert((one.clone(), other.clone()));
        if is_new && self.older.is_structured(&one) && self.newer.is_structured(&other) {
            self.waiting.push((one, other));
        }
    }

    fn compare_types(&mut self, older: &str, newer: &str) {
        let name = OpenApi::schema_name(older).map(str::to_owned);
        let table = name.clone().unwrap_or_else(|| "code".to_owned());
        let compared = compare::compare(self, older, newer, &table);
        // Lists and maps lead on to what they hold.
        for (one, other) in [
            (self.older.items(older), self.newer.items(newer)),
            (self.older.additional(older), self.newer.additional(newer)),
        ] {
            if let (Some(one), Some(other)) = (one, other) {
                self.stand_for_each_other(&one, &other);
            }
        }
        let Some(name) = name else { return };
        let newer = OpenApi::schema_name(newer).unwrap_or(&name).to_owned();
        if compared.is_empty() && name == newer {
            return;
        }
        if let Some((other, _)) = self.types.get(&name).filter(|(other, _)| *other != newer) {
            let remark = format!("{name} stands for {other} and for {newer}: a schema has one counterpart");
            self.remarks.push(remark);
            return;
        }
        self.types.insert(name, (newer, compared));
    }
}

/// The older answer that a newer one stands for: the same code, or the only success that is another.
fn counterpart<'o>(older: &'o Operation, newer: &Response, status: &(Vec<u16>, Vec<u16>)) -> Option<&'o Response> {
    let same = older.responses.iter().find(|response| response.status == newer.status);
    let renamed = match (status.0.as_slice(), status.1.as_slice(), newer.status) {
        ([one], [other], StatusKey::Exactly(code)) if code == *other => older.response(*one),
        _ => None,
    };
    same.or(renamed)
}

#[cfg(test)]
mod tests;
