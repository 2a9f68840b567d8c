//! The parcel carrier: labels and tracking.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::backend::{Call, Reply, System};

#[derive(Default)]
pub(super) struct Carrier {
    /// When each parcel was booked; its tracking number is its place.
    parcels: Vec<Timestamp>,
}

impl System for Carrier {
    fn call(&mut self, call: &Call<'_>) -> Reply {
        match (call.method, call.segments.as_slice()) {
            ("POST", ["labels"]) => self.book(call),
            ("GET", ["tracking", number]) => self.track(number),
            _ => Reply::not_found("such resource at the carrier"),
        }
    }
}

impl Carrier {
    fn book(&mut self, call: &Call<'_>) -> Reply {
        let Some(order) = call.text("/orderNumber") else {
            return Reply::refused(400, "P400", "a parcel needs orderNumber");
        };
        if call.text("/shipTo/countryCode") == Some("AQ") {
            return Reply::refused(422, "P422", "nobody delivers to Antarctica");
        }
        self.parcels.push(Timestamp::now());
        let number = format!("{:012}", self.parcels.len());
        let label =
            json!({ "trackingNumber": number, "format": "ZPL", "data": format!("^XA^FO50,50^FD{number}^FS^XZ") });
        Reply::done(201, label, "createLabel", order).at(format!("/tracking/{number}"))
    }

    fn track(&self, number: &str) -> Reply {
        let place = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let Some(booked) = place.and_then(|place| self.parcels.get(place)) else {
            return Reply::not_found("such parcel");
        };
        let events: [Value; 1] = [json!({ "at": booked.to_string(), "what": "The label was printed." })];
        Reply::ok(json!({ "trackingNumber": number, "state": "booked", "events": events }))
    }
}
