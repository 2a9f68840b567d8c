//! The service desk: cases and what was said, and the numbers that customers had before there was an ERP.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::backend::{Call, Reply, System};

/// Accounts of customers 10001 to 10999 exist.
const CUSTOMERS: std::ops::RangeInclusive<u32> = 10_001..=10_999;
/// What a customer's former number is more than the ERP's.
const FORMER: u32 = 690_000;

#[derive(Default)]
pub(super) struct Crm {
    cases: Vec<Value>,
    /// Events that it knows, by their ids: they may come more than once.
    events: HashSet<String>,
}

impl System for Crm {
    fn call(&mut self, call: &Call<'_>) -> Reply {
        match (call.method, call.segments.as_slice()) {
            ("GET", ["cases"]) => {
                let wanted = call.query.get("orderNumber");
                let newest_first = self.cases.iter().rev();
                let cases: Vec<&Value> = newest_first
                    .filter(|case| wanted.is_none_or(|wanted| case["orderNumber"] == **wanted))
                    .collect();
                Reply::ok(json!({ "cases": cases }))
            }
            ("POST", ["cases"]) => self.open(call),
            ("GET", ["cases", id]) => {
                let found = self.cases.iter().find(|case| case["id"] == **id);
                found.map_or_else(|| Reply::not_found("such case"), |case| Reply::ok(case.clone()))
            }
            ("POST", ["cases", id, "notes"]) => self.note(id, call),
            ("GET", ["accounts"]) => {
                let wanted = call
                    .query
                    .get("formerNumber")
                    .and_then(|number| number.parse::<u32>().ok());
                let number = wanted.and_then(|number| number.checked_sub(FORMER));
                let found: Vec<Value> = number.and_then(account).into_iter().collect();
                Reply::ok(json!({ "accounts": found }))
            }
            ("GET", ["accounts", number]) => {
                let found = number.parse().ok().and_then(account);
                found.map_or_else(|| Reply::not_found("such account"), Reply::ok)
            }
            ("POST", ["order-events"]) => self.told(call),
            _ => Reply::not_found("such resource in the CRM"),
        }
    }
}

impl Crm {
    fn open(&mut self, call: &Call<'_>) -> Reply {
        let Some(order) = call.text("/orderNumber") else {
            return Reply::refused(400, "C400", "a case needs orderNumber");
        };
        let id = format!("C{}", self.cases.len() + 1);
        let mut case = call.body.clone();
        case["id"] = json!(id);
        case["state"] = json!("open");
        case["notes"] = json!([]);
        self.cases.push(case.clone());
        Reply::done(201, case, "createCase", order).at(format!("/cases/{id}"))
    }

    /// How an order of the storefront ended. A real receiver would also check who signed it.
    fn told(&mut self, call: &Call<'_>) -> Reply {
        let (Some(id), Some(message)) = (call.text("/id"), call.text("/subject")) else {
            return Reply::refused(400, "E400", "this is no event: it has no id or no subject");
        };
        if !self.events.insert(id.to_owned()) {
            return Reply::ok(json!({}));
        }
        let key = call.text("/data/transaction/key").unwrap_or(message);
        Reply::done(202, json!({}), "orderEvent", key)
    }

    fn note(&mut self, id: &str, call: &Call<'_>) -> Reply {
        let Some(case) = self.cases.iter_mut().find(|case| case["id"] == id) else {
            return Reply::not_found("such case");
        };
        if let Some(notes) = case["notes"].as_array_mut() {
            notes.push(call.body.clone());
        }
        let order = case["orderNumber"].as_str().unwrap_or_default().to_owned();
        Reply::done(201, case.clone(), "addNote", order)
    }
}

fn account(number: u32) -> Option<Value> {
    CUSTOMERS
        .contains(&number)
        .then(|| json!({ "customerNumber": number.to_string(), "formerNumber": format!("{:0>10}", number + FORMER) }))
}
