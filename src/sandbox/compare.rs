//! Holds what a gateway acknowledged against what the ERP did.

use std::collections::HashMap;

use serde_json::Value;

/// A request that was answered with success, or with 202.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its idempotency key.
    pub key: String,
    /// The order it belongs to.
    pub order: String,
    /// When it was acknowledged, among all of its order.
    pub sequence: u64,
}

/// What does not agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disagreement {
    /// Acknowledged and not in the ledger.
    pub lost: Vec<String>,
    /// More than once in the ledger.
    pub doubled: Vec<String>,
    /// In the ledger before an earlier one of the same order.
    pub out_of_order: Vec<String>,
    /// In the ledger and never sent.
    pub unknown: Vec<String>,
}

impl Disagreement {
    /// Nothing to complain about.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares. `ended` are keys that were acknowledged and then told to be dead: those need not be in the ledger. `sent`
/// are all keys that were ever sent, acknowledged or not.
pub fn compare(acknowledged: &[Acknowledged], ended: &[String], sent: &[String], ledger: &[Value]) -> Disagreement {
    let keys: Vec<&str> = ledger
        .iter()
        .filter_map(|entry| entry["idempotencyKey"].as_str())
        .collect();
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, key) in keys.iter().enumerate() {
        places.entry(key).or_default().push(place);
    }
    let mut found = Disagreement::default();
    for one in acknowledged {
        match places.get(one.key.as_str()).map(Vec::len) {
            None if !ended.contains(&one.key) => found.lost.push(one.key.clone()),
            Some(count) if count > 1 => found.doubled.push(one.key.clone()),
            _ => {}
        }
    }
    let mut by_order: HashMap<&str, Vec<&Acknowledged>> = HashMap::new();
    for one in acknowledged {
        by_order.entry(&one.order).or_default().push(one);
    }
    for mut requests in by_order.into_values() {
        requests.sort_by_key(|one| one.sequence);
        let mut last = None;
        for one in requests {
            let Some(place) = places.get(one.key.as_str()).and_then(|places| places.first().copied()) else {
                continue;
            };
            if last.is_some_and(|last| place < last) {
                found.out_of_order.push(one.key.clone());
            }
            last = last.max(Some(place));
        }
    }
    let is_unknown = |key: &&str| !sent.iter().any(|known| known == key);
    found
        .unknown
        .extend(places.keys().filter(|key| is_unknown(key)).map(|key| (*key).to_owned()));
    found.out_of_order.sort();
    found.unknown.sort();
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn acknowledged() -> Vec<Acknowledged> {
        let one = |key: &str, order: &str, sequence| Acknowledged {
            key: key.into(),
            order: order.into(),
            sequence,
        };
        vec![one("a1", "A", 0), one("a2", "A", 1), one("b1", "B", 0)]
    }

    fn with(keys: &[&str]) -> Disagreement {
        let ledger: Vec<Value> = keys.iter().map(|key| json!({ "idempotencyKey": key })).collect();
        let sent: Vec<String> = ["a1", "a2", "b1"].map(str::to_owned).into();
        compare(&acknowledged(), &[], &sent, &ledger)
    }

    #[test]
    fn a_ledger_that_agrees_has_every_key_once_and_in_order() {
        assert!(with(&["b1", "a1", "a2"]).is_none());
    }

    #[test]
    fn a_missing_key_is_lost_unless_it_was_told_dead() {
        assert_eq!(with(&["a1", "a2"]).lost, ["b1"]);
        let found = compare(&acknowledged()[2..], &["b1".to_owned()], &["b1".to_owned()], &[]);
        assert!(found.is_none());
    }

    #[test]
    fn a_second_effect_is_doubled() {
        assert_eq!(with(&["a1", "a2", "b1", "a1"]).doubled, ["a1"]);
    }

    #[test]
    fn a_later_one_before_an_earlier_one_is_out_of_order() {
        assert_eq!(with(&["a2", "b1", "a1"]).out_of_order, ["a2"]);
    }

    #[test]
    fn what_nobody_sent_is_unknown() {
        assert_eq!(with(&["a1", "a2", "b1", "x"]).unknown, ["x"]);
    }
}
