//! The ERP: orders in contract version 3, customers and their credit.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::backend::{Call, Reply, System};

/// Customers 10001 to 10050 exist.
const CUSTOMERS: std::ops::RangeInclusive<u32> = 10_001..=10_050;

#[derive(Default)]
pub(super) struct Erp {
    orders: BTreeMap<String, Value>,
    /// Order numbers in the order of their creation.
    sequence: Vec<String>,
}

impl System for Erp {
    fn call(&mut self, call: &Call<'_>) -> Reply {
        match (call.method, call.segments.as_slice()) {
            ("GET", ["orders"]) => self.list(call),
            ("POST", ["orders"]) => self.create(call),
            ("GET", ["orders", number]) => self.get(number, call),
            ("PUT", ["orders", number]) => self.update(number, call, |_, body| body.clone()),
            ("PATCH", ["orders", number]) => self.update(number, call, patched),
            ("POST", ["orders", number, "cancel"]) => self.cancel(number),
            ("POST", ["orders", number, "shipments"]) => self.ship(number, call),
            ("GET", ["customers", number]) => {
                customer(number).map_or_else(|| Reply::not_found("such customer"), Reply::ok)
            }
            ("GET", ["customers", number, "credit"]) => self.credit(number),
            _ => Reply::not_found("such resource in the ERP"),
        }
    }
}

impl Erp {
    fn create(&mut self, call: &Call<'_>) -> Reply {
        let (Some(number), Some(sold_to)) = (call.text("/orderNumber"), call.text("/parties/soldTo/number")) else {
            return Reply::refused(400, "E400", "an order needs orderNumber and parties.soldTo.number");
        };
        if customer(sold_to).is_none() {
            let detail = format!("customer {sold_to} does not exist");
            return Reply::refused_at(422, "E101", detail, "/parties/soldTo/number");
        }
        if self.orders.contains_key(number) {
            let detail = format!("order {number} exists already");
            return Reply::refused_at(409, "E102", detail, "/orderNumber");
        }
        let mut order = call.body.clone();
        order["status"] = json!("received");
        order["createdAt"] = json!(Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        self.orders.insert(number.to_owned(), order.clone());
        self.sequence.push(number.to_owned());
        let tag = tag(&order);
        Reply::done(201, order, "createOrder", number)
            .at(format!("/orders/{number}"))
            .tagged(tag)
    }

    fn get(&self, number: &str, call: &Call<'_>) -> Reply {
        let Some(order) = self.orders.get(number) else {
            return unknown(number);
        };
        let tag = tag(order);
        let is_known = call.if_none_match.as_deref().is_some_and(|tags| names(tags, &tag));
        let reply = if is_known {
            Reply::not_modified()
        } else {
            Reply::ok(order.clone())
        };
        reply.tagged(tag)
    }

    /// Replaces an order, or merges into it. What a PUT leaves out is gone.
    fn update(&mut self, number: &str, call: &Call<'_>, change: impl Fn(&Value, &Value) -> Value) -> Reply {
        let Some(order) = self.orders.get(number) else {
            return unknown(number);
        };
        let before = tag(order);
        let has_changed = call.if_match.as_deref().is_some_and(|tags| !names(tags, &before));
        if has_changed || call.if_none_match.as_deref().is_some_and(|tags| names(tags, &before)) {
            return Reply::refused(412, "E412", format!("order {number} was changed in the meantime"));
        }
        if order["status"] == "shipped" || order["status"] == "cancelled" {
            return Reply::refused(409, "E105", format!("order {number} cannot be changed any more"));
        }
        let updated = change(order, &call.body);
        if updated["orderNumber"] != number {
            return Reply::refused(422, "E106", "an order keeps its number");
        }
        let tag = tag(&updated);
        self.orders.insert(number.to_owned(), updated.clone());
        Reply::done(200, updated, "updateOrder", number).tagged(tag)
    }

    fn list(&self, call: &Call<'_>) -> Reply {
        let matches = |order: &&Value| {
            let customer = call
                .query
                .get("customer")
                .is_none_or(|wanted| order["parties"]["soldTo"]["number"] == **wanted);
            customer
                && call
                    .query
                    .get("status")
                    .is_none_or(|wanted| order["status"] == **wanted)
        };
        let limit = call
            .query
            .get("limit")
            .and_then(|limit| limit.parse().ok())
            .unwrap_or(50);
        let newest_first = self.sequence.iter().rev().filter_map(|number| self.orders.get(number));
        let orders: Vec<&Value> = newest_first.filter(matches).collect();
        // A page begins after the order that its cursor names.
        let begin = match call.query.get("cursor") {
            None => 0,
            Some(cursor) => match orders.iter().position(|order| order["orderNumber"] == **cursor) {
                Some(position) => position + 1,
                None => return Reply::refused_at(400, "E105", "the cursor is none of ours", "query:cursor"),
            },
        };
        let shown: Vec<&&Value> = orders.iter().skip(begin).take(limit).collect();
        let mut page = json!({ "orders": shown, "totalCount": orders.len() });
        if let Some(last) = shown.last().filter(|_| begin + shown.len() < orders.len()) {
            page["next"] = json!(next_page(call, last["orderNumber"].as_str().unwrap_or_default()));
        }
        Reply::ok(page)
    }

    fn cancel(&mut self, number: &str) -> Reply {
        let Some(order) = self.orders.get_mut(number) else {
            return unknown(number);
        };
        if order["status"] == "shipped" {
            return Reply::refused(409, "E103", format!("order {number} has been shipped"));
        }
        order["status"] = json!("cancelled");
        Reply::done(200, order.clone(), "cancelOrder", number)
    }

    fn ship(&mut self, number: &str, call: &Call<'_>) -> Reply {
        let Some(order) = self.orders.get_mut(number) else {
            return unknown(number);
        };
        if order["status"] == "cancelled" {
            return Reply::refused(409, "E104", format!("order {number} has been cancelled"));
        }
        order["status"] = json!("shipped");
        Reply::done(201, call.body.clone(), "confirmShipment", number)
    }

    fn credit(&self, number: &str) -> Reply {
        if customer(number).is_none() {
            return Reply::not_found("such customer");
        }
        let own = self
            .orders
            .values()
            .filter(|order| order["parties"]["soldTo"]["number"] == number);
        let amounts = own.filter_map(|order| {
            order["totals"]["net"]["amount"]
                .as_str()?
                .parse::<rust_decimal::Decimal>()
                .ok()
        });
        let used: rust_decimal::Decimal = amounts.sum();
        let limit = rust_decimal::Decimal::new(5_000_000, 2);
        let money = |amount: rust_decimal::Decimal| json!({ "amount": amount.to_string(), "currency": "EUR" });
        Reply::ok(
            json!({ "number": number, "limit": money(limit), "used": money(used), "available": money(limit - used) }),
        )
    }
}

/// The link to the page after an order: what was asked for, and where it goes on.
fn next_page(call: &Call<'_>, last: &str) -> String {
    let encoded =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let asked: BTreeMap<_, _> = call.query.iter().filter(|(name, _)| *name != "cursor").collect();
    let asked = asked
        .iter()
        .map(|(name, value)| format!("{}={}&", encoded(name), encoded(value)));
    format!("/orders?{}cursor={}", asked.collect::<String>(), encoded(last))
}

/// A strong entity tag: another order has another one.
fn tag(order: &Value) -> String {
    let digest = blake3::hash(order.to_string().as_bytes()).to_hex();
    format!("\"{}\"", &digest[..16])
}

/// Whether a list of entity tags names this one.
fn names(tags: &str, tag: &str) -> bool {
    tags.trim() == "*"
        || tags
            .split(',')
            .any(|known| known.trim().trim_start_matches("W/") == tag)
}

/// A document after a merge patch (RFC 7396).
fn patched(document: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else {
        return patch.clone();
    };
    let mut members = document.as_object().cloned().unwrap_or_default();
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            let inner = patched(members.get(name).unwrap_or(&Value::Null), change);
            members.insert(name.clone(), inner);
        }
    }
    Value::Object(members)
}

fn unknown(number: &str) -> Reply {
    Reply::refused(404, "E404", format!("order {number} does not exist"))
}

fn customer(number: &str) -> Option<Value> {
    let known: u32 = number.parse().ok().filter(|number| CUSTOMERS.contains(number))?;
    let (name, city) = [
        ("Bäckerei Öz & Söhne", "Leipzig"),
        ("Huber Baustoffe", "München"),
        ("Nordlicht Apotheke", "Hamburg"),
    ][known as usize % 3];
    Some(json!({
        "number": number, "name": name,
        "address": { "street": "Hauptstraße 5", "postalCode": "04109", "city": city, "countryCode": "DE" },
        "paymentTerms": "NET30", "blocked": false
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(method: &'a str, path: &'a str, body: Value) -> Call<'a> {
        Call {
            method,
            segments: path.split('/').collect(),
            query: std::collections::HashMap::new(),
            if_match: None,
            if_none_match: None,
            body,
        }
    }

    fn order(number: &str, customer: &str) -> Value {
        json!({ "orderNumber": number, "parties": { "soldTo": { "number": customer } },
                "totals": { "net": { "amount": "19.90", "currency": "EUR" } } })
    }

    #[test]
    fn an_order_lives_from_received_to_shipped() {
        let mut erp = Erp::default();
        assert_eq!(erp.call(&call("POST", "orders", order("A-1", "10001"))).status, 201);
        assert_eq!(
            erp.call(&call("GET", "orders/A-1", Value::Null)).body["status"],
            "received"
        );
        assert_eq!(erp.call(&call("POST", "orders/A-1/shipments", json!({}))).status, 201);
        assert_eq!(erp.call(&call("POST", "orders/A-1/cancel", json!({}))).status, 409);
        assert_eq!(erp.call(&call("GET", "orders", Value::Null)).body["totalCount"], 1);
        assert_eq!(
            erp.call(&call("GET", "customers/10001/credit", Value::Null)).body["used"]["amount"],
            "19.90"
        );
    }

    #[test]
    fn an_order_is_changed_by_whoever_has_seen_it() {
        let mut erp = Erp::default();
        erp.call(&call("POST", "orders", order("A-1", "10001")));
        let first = erp.call(&call("GET", "orders/A-1", Value::Null)).etag.unwrap();
        let on_condition = |method, condition: &str, body: Value| Call {
            if_match: Some(condition.to_owned()),
            ..call(method, "orders/A-1", body)
        };
        let changed = erp.call(&on_condition(
            "PATCH",
            &first,
            json!({ "status": null, "notes": ["x"] }),
        ));
        assert_eq!((changed.status, changed.body.get("status")), (200, None));
        assert_ne!(changed.etag.as_ref(), Some(&first));
        assert_eq!(
            erp.call(&on_condition("PUT", &first, order("A-1", "10001"))).status,
            412
        );
        assert_eq!(erp.call(&on_condition("PUT", "*", order("A-1", "10001"))).status, 200);
        assert_eq!(erp.call(&on_condition("PUT", "*", order("A-2", "10001"))).status, 422);
        assert_eq!(erp.call(&call("PUT", "orders/B-1", order("B-1", "10001"))).status, 404);
        let now = erp.call(&call("GET", "orders/A-1", Value::Null)).etag.unwrap();
        let known = Call {
            if_none_match: Some(now),
            ..call("GET", "orders/A-1", Value::Null)
        };
        assert_eq!(erp.call(&known).status, 304);
    }

    #[test]
    fn rules_of_the_business_are_kept() {
        let mut erp = Erp::default();
        assert_eq!(erp.call(&call("POST", "orders", order("A-1", "404"))).status, 422);
        assert_eq!(erp.call(&call("POST", "orders", json!({}))).status, 400);
        erp.call(&call("POST", "orders", order("A-1", "10001")));
        assert_eq!(erp.call(&call("POST", "orders", order("A-1", "10001"))).status, 409);
        assert_eq!(erp.call(&call("POST", "orders/B-2/cancel", json!({}))).status, 404);
    }
}
