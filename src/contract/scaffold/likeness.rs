//! How much two names are alike.

use strsim::{jaro_winkler, normalized_damerau_levenshtein};

/// Short forms that people write in ERP systems, and what they stand for.
const SHORT_FORMS: [(&str, &str); 24] = [
    ("addr", "address"),
    ("amt", "amount"),
    ("ccy", "currency"),
    ("cur", "currency"),
    ("cust", "customer"),
    ("del", "delivery"),
    ("deliv", "delivery"),
    ("desc", "description"),
    ("dt", "date"),
    ("id", "number"),
    ("item", "line"),
    ("mat", "material"),
    ("no", "number"),
    ("nr", "number"),
    ("num", "number"),
    ("ord", "order"),
    ("pos", "line"),
    ("qty", "quantity"),
    ("ref", "reference"),
    ("req", "requested"),
    ("ship", "shipping"),
    ("uom", "unit"),
    ("wh", "warehouse"),
    ("zip", "postal"),
];

/// From 0 for nothing in common to 1 for the same. A path counts by its last name and by all of it.
pub(super) fn likeness(one: &[Box<str>], other: &[Box<str>]) -> f64 {
    let words = |names: &[Box<str>]| -> Vec<String> { names.iter().flat_map(|name| words(name)).collect() };
    let whole = (words(one), words(other));
    let last = |names: &[Box<str>]| words(&names[names.len().saturating_sub(1)..]);
    let last = (last(one), last(other));
    let of = |(one, other): &(Vec<String>, Vec<String>)| shared(one, other).max(spelling(one, other));
    (0.5 * of(&whole) + 0.5 * of(&last))
        .max(0.95 * of(&whole))
        .max(0.85 * of(&last))
}

/// How many words of the two have a counterpart, by how alike that is.
fn shared(one: &[String], other: &[String]) -> f64 {
    let best = |word: &String, among: &[String]| {
        let likenesses = among.iter().map(|candidate| alike(word, candidate));
        likenesses.fold(0.0_f64, f64::max)
    };
    let sum: f64 =
        one.iter().map(|word| best(word, other)).sum::<f64>() + other.iter().map(|word| best(word, one)).sum::<f64>();
    let count = one.len() + other.len();
    if count == 0 {
        0.0
    } else {
        sum / f64::from(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

fn alike(one: &str, other: &str) -> f64 {
    if one == other {
        return 1.0;
    }
    let meaning = |word: &str| {
        let word = word.strip_suffix('s').filter(|one| one.len() > 2).unwrap_or(word);
        let known = SHORT_FORMS.iter().find(|(short, _)| *short == word);
        known.map_or(word.to_owned(), |(_, long)| (*long).to_owned())
    };
    if meaning(one) == meaning(other) {
        return 0.9;
    }
    // Two words that only look a little alike have nothing in common.
    let spelt = jaro_winkler(one, other);
    if spelt > 0.85 { spelt * 0.9 } else { 0.0 }
}

fn spelling(one: &[String], other: &[String]) -> f64 {
    normalized_damerau_levenshtein(&one.concat(), &other.concat())
}

/// The words of a name: `custName`, `cust_name` and `CUST-NAME` have the same.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        let starts = !c.is_alphanumeric() || (c.is_uppercase() && was_lower);
        if starts {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase() || c.is_ascii_digit();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(one: &str, other: &str) -> f64 {
        let path = |text: &str| text.split('.').map(Into::into).collect::<Vec<Box<str>>>();
        likeness(&path(one), &path(other))
    }

    #[test]
    fn names_are_taken_apart_however_they_are_written() {
        for name in ["custName", "cust_name", "CUST-NAME", "Cust.Name"] {
            assert_eq!(words(name), ["cust", "name"], "{name}");
        }
    }

    #[test]
    fn what_means_the_same_is_more_alike_than_what_does_not() {
        for (one, same, other) in [
            ("orderNo", "orderId", "customer.name"),
            ("custName", "customer.name", "shipTo.name"),
            ("shipCity", "shipTo.address.city", "customer.name"),
            ("qty", "quantity", "price"),
            ("lines", "items", "notes"),
            ("customer_number", "customerNumber", "customerName"),
        ] {
            assert!(
                of(one, same) > of(one, other),
                "{one}: {} {}",
                of(one, same),
                of(one, other)
            );
        }
        assert!(of("qty", "quantity") > 0.8);
        assert!(of("remark", "currency") < 0.5);
    }
}
