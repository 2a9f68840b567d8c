//! The warehouse system: stock, reservations, shipments.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::backend::{Call, Reply, System};

const SKUS: [&str; 4] = ["FLOUR-405-25", "SUGAR-1000", "YEAST-42", "BOX-30X20"];
const WAREHOUSES: [&str; 3] = ["LEJ", "HAM", "MUC"];
/// Pieces of each article in each warehouse.
const ON_HAND: u64 = 1_000;

#[derive(Default)]
pub(super) struct Wms {
    reserved: BTreeMap<(String, String), u64>,
    reservations: Vec<Value>,
    shipments: Vec<Value>,
}

impl System for Wms {
    fn call(&mut self, call: &Call<'_>) -> Reply {
        match (call.method, call.segments.as_slice()) {
            ("GET", ["inventory"]) => {
                let wanted = call.query.get("warehouse");
                let warehouses = WAREHOUSES
                    .iter()
                    .filter(|name| wanted.is_none_or(|wanted| wanted == *name));
                let stock: Vec<Value> = warehouses
                    .flat_map(|warehouse| SKUS.map(|sku| self.stock(sku, warehouse)))
                    .collect();
                let limit = call
                    .query
                    .get("limit")
                    .and_then(|limit| limit.parse().ok())
                    .unwrap_or(50);
                Reply::ok(json!({ "stock": stock.into_iter().take(limit).collect::<Vec<_>>() }))
            }
            ("GET", ["inventory", sku]) if SKUS.contains(sku) => {
                Reply::ok(json!({ "stock": WAREHOUSES.map(|warehouse| self.stock(sku, warehouse)) }))
            }
            ("POST", ["reservations"]) => self.reserve(call),
            ("GET", ["reservations", id]) => found(&self.reservations, id, "reservation"),
            ("DELETE", ["reservations", id]) => self.release(id),
            ("POST", ["shipments"]) => self.ship(call),
            ("GET", ["shipments", id]) => found(&self.shipments, id, "shipment"),
            ("POST", ["events"]) => {
                let parcel = call.text("/trackingNumber").unwrap_or_default();
                Reply::done(204, Value::Null, "receiveTrackingEvent", parcel)
            }
            _ => Reply::not_found("such resource in the WMS"),
        }
    }
}

impl Wms {
    fn stock(&self, sku: &str, warehouse: &str) -> Value {
        let reserved = self
            .reserved
            .get(&(sku.to_owned(), warehouse.to_owned()))
            .copied()
            .unwrap_or(0);
        json!({ "sku": sku, "warehouse": warehouse, "onHand": ON_HAND, "reserved": reserved,
                "available": ON_HAND - reserved, "unit": "C62" })
    }

    fn reserve(&mut self, call: &Call<'_>) -> Reply {
        let (sku, warehouse) = (
            call.text("/sku").unwrap_or_default(),
            call.text("/warehouse").unwrap_or_default(),
        );
        let quantity = call.body["quantity"].as_u64().unwrap_or(0);
        if !SKUS.contains(&sku) || !WAREHOUSES.contains(&warehouse) || quantity == 0 {
            return Reply::refused(422, "W422", "unknown article or warehouse, or no quantity");
        }
        let reserved = self.reserved.entry((sku.to_owned(), warehouse.to_owned())).or_default();
        if *reserved + quantity > ON_HAND {
            return Reply::refused(
                409,
                "W409",
                format!("only {} of {sku} are available in {warehouse}", ON_HAND - *reserved),
            );
        }
        *reserved += quantity;
        let id = format!("R{}", self.reservations.len() + 1);
        let mut reservation = call.body.clone();
        reservation["id"] = json!(id);
        reservation["state"] = json!("held");
        self.reservations.push(reservation.clone());
        let order = call.text("/orderNumber").unwrap_or_default();
        Reply::done(201, reservation, "createReservation", order).at(format!("/reservations/{id}"))
    }

    fn release(&mut self, id: &str) -> Reply {
        let Some(reservation) = self.reservations.iter_mut().find(|reservation| reservation["id"] == id) else {
            return Reply::not_found("such reservation");
        };
        if reservation["state"] == "held" {
            reservation["state"] = json!("released");
            let text = |name: &str| reservation[name].as_str().unwrap_or_default().to_owned();
            if let Some(reserved) = self.reserved.get_mut(&(text("sku"), text("warehouse"))) {
                *reserved = reserved.saturating_sub(reservation["quantity"].as_u64().unwrap_or(0));
            }
        }
        let order = reservation["orderNumber"].as_str().unwrap_or_default().to_owned();
        Reply::done(204, Value::Null, "releaseReservation", order)
    }

    fn ship(&mut self, call: &Call<'_>) -> Reply {
        let Some(order) = call.text("/orderNumber") else {
            return Reply::refused(400, "W400", "a shipment needs orderNumber");
        };
        let id = format!("S{}", self.shipments.len() + 1);
        let mut shipment = call.body.clone();
        shipment["id"] = json!(id);
        shipment["state"] = json!("released");
        self.shipments.push(shipment.clone());
        Reply::done(201, shipment, "createShipment", order).at(format!("/shipments/{id}"))
    }
}

fn found(list: &[Value], id: &str, what: &str) -> Reply {
    let found = list.iter().find(|value| value["id"] == id);
    found.map_or_else(
        || Reply::not_found(&format!("such {what}")),
        |value| Reply::ok(value.clone()),
    )
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

    #[test]
    fn stock_that_is_reserved_is_not_available_until_it_is_released() {
        let mut wms = Wms::default();
        let wanted =
            |quantity: u64| json!({ "orderNumber": "A", "sku": "YEAST-42", "warehouse": "LEJ", "quantity": quantity });
        assert_eq!(wms.call(&call("POST", "reservations", wanted(900))).status, 201);
        assert_eq!(wms.call(&call("POST", "reservations", wanted(101))).status, 409);
        assert_eq!(wms.call(&call("DELETE", "reservations/R1", Value::Null)).status, 204);
        assert_eq!(wms.call(&call("POST", "reservations", wanted(101))).status, 201);
    }
}
