//! Lets `jsonschema` validate our documents directly, with exact numbers.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use jsonschema::json::{Array, Json, JsonNumber, Node, NodeIdentity, Object};
use jsonschema::{Draft, JsonType, Keyword, PatternOptions, Retrieve, ValidationError, ValidationOptions};

use super::{Decimal, Document, Elements, Kind, Members, Value};

/// Steps a pattern may take back for one value; one that needs more is not matched.
const BACKTRACK_LIMIT: usize = 20_000;

/// The representation `jsonschema` validates: [`Value`]s of a [`Document`].
pub struct Tape;

/// Options for validators of this house: JSON Schema 2020-12, formats asserted, numbers exact, nothing fetched.
pub fn exact_options<'i>() -> ValidationOptions<'i, Arc<dyn Retrieve>, Tape> {
    jsonschema::options_for::<Tape>()
        .offline()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        // A pattern that looks around tries many ways: not for longer than a request can wait.
        .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(BACKTRACK_LIMIT))
        .with_keyword("minimum", |_, limit, _| Bound::keyword(limit, Limit::Minimum))
        .with_keyword("maximum", |_, limit, _| Bound::keyword(limit, Limit::Maximum))
        .with_keyword("exclusiveMinimum", |_, limit, _| {
            Bound::keyword(limit, Limit::ExclusiveMinimum)
        })
        .with_keyword("exclusiveMaximum", |_, limit, _| {
            Bound::keyword(limit, Limit::ExclusiveMaximum)
        })
        .with_keyword("multipleOf", |_, limit, _| Bound::keyword(limit, Limit::MultipleOf))
}

#[derive(Clone, Copy)]
enum Limit {
    Minimum,
    Maximum,
    ExclusiveMinimum,
    ExclusiveMaximum,
    MultipleOf,
}

/// Replaces the numeric keywords of `jsonschema`, which compare through floats.
struct Bound {
    limit: Limit,
    text: String,
    small: Option<Small>,
}

impl Bound {
    fn keyword<'a>(
        value: &serde_json::Value,
        limit: Limit,
    ) -> Result<Box<dyn for<'i> Keyword<'i, Tape>>, ValidationError<'a>> {
        let text = value.to_string();
        let is_usable = value.is_number()
            && Decimal::parse(&text).is_some_and(|number| match limit {
                Limit::MultipleOf => !number.is_negative() && number.is_multiple_of(&number).is_some(),
                _ => true,
            });
        if is_usable {
            let small = Small::parse(&text);
            Ok(Box::new(Self { limit, text, small }))
        } else {
            let wanted = match limit {
                Limit::MultipleOf => "a number above zero of at most 18 digits",
                _ => "a number",
            };
            Err(ValidationError::schema(format!("{text} is not {wanted}")))
        }
    }

    fn admits(&self, number: &str) -> bool {
        if let (Some(number), Some(bound)) = (Small::parse(number), self.small) {
            let (number, bound) = number.at_scale_of(bound);
            return match self.limit {
                Limit::Minimum => number >= bound,
                Limit::Maximum => number <= bound,
                Limit::ExclusiveMinimum => number > bound,
                Limit::ExclusiveMaximum => number < bound,
                Limit::MultipleOf => bound != 0 && number % bound == 0,
            };
        }
        let (Some(number), Some(bound)) = (Decimal::parse(number), Decimal::parse(&self.text)) else {
            return false;
        };
        match self.limit {
            Limit::Minimum => number.cmp(&bound) != Ordering::Less,
            Limit::Maximum => number.cmp(&bound) != Ordering::Greater,
            Limit::ExclusiveMinimum => number.cmp(&bound) == Ordering::Greater,
            Limit::ExclusiveMaximum => number.cmp(&bound) == Ordering::Less,
            Limit::MultipleOf => number.is_multiple_of(&bound) == Some(true),
        }
    }
}

/// A number of at most 18 digits without an exponent: what nearly all numbers are. `mantissa` / 10^`scale`.
#[derive(Clone, Copy)]
struct Small {
    mantissa: i64,
    scale: u32,
}

impl Small {
    fn parse(text: &str) -> Option<Self> {
        if text.len() > 18 {
            return None;
        }
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mut mantissa, mut scale, mut has_point) = (0_i64, 0, false);
        for byte in unsigned.bytes() {
            match byte {
                b'0'..=b'9' => {
                    mantissa = mantissa * 10 + i64::from(byte - b'0');
                    scale += u32::from(has_point);
                }
                b'.' => has_point = true,
                _ => return None,
            }
        }
        if unsigned.len() < text.len() {
            mantissa = -mantissa;
        }
        Some(Self { mantissa, scale })
    }

    /// Both as whole numbers of the finer of their units.
    fn at_scale_of(self, other: Self) -> (i128, i128) {
        let scale = self.scale.max(other.scale);
        let at = |number: Self| i128::from(number.mantissa) * 10_i128.pow(scale - number.scale);
        (at(self), at(other))
    }
}

impl<'i> Keyword<'i, Tape> for Bound {
    fn validate(&self, instance: Value<'i>) -> Result<(), ValidationError<'i>> {
        if Keyword::<Tape>::is_valid(self, instance) {
            return Ok(());
        }
        let found = instance.as_number_text().unwrap_or_default();
        let bound = &self.text;
        let rule = match self.limit {
            Limit::Minimum => "less than the minimum of",
            Limit::Maximum => "greater than the maximum of",
            Limit::ExclusiveMinimum => "not greater than",
            Limit::ExclusiveMaximum => "not less than",
            Limit::MultipleOf => "not a multiple of",
        };
        Err(ValidationError::custom(format!("{found} is {rule} {bound}")))
    }

    fn is_valid(&self, instance: Value<'i>) -> bool {
        instance.as_number_text().is_none_or(|number| self.admits(number))
    }
}

impl Json for Tape {
    type Node<'a> = Value<'a>;
    type PreparedKey = Box<str>;
    type StringBuffer = Option<Document>;

    // A lookup walks the members, so one pass over them replaces several lookups.
    const KEYS_PER_LOOKUP: usize = 4;

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>(buffer: &mut Option<Document>, string: &str, f: impl FnOnce(Self::Node<'_>) -> T) -> T {
        f(buffer.insert(Document::of_string(string)).root())
    }
}

/// A number as it was written.
pub struct NumberText<'a>(&'a str);

impl JsonNumber for NumberText<'_> {
    fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    fn as_f64(&self) -> Option<f64> {
        self.0.parse().ok()
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.0)
    }

    fn to_number(&self) -> Cow<'_, serde_json::Number> {
        // Only reported, never compared: a number beyond every float is shown as the largest one.
        let number = serde_json::from_str(self.0).ok();
        Cow::Owned(
            number
                .or_else(|| serde_json::Number::from_f64(f64::MAX))
                .unwrap_or_else(|| 0.into()),
        )
    }

    fn is_integer(&self) -> bool {
        Decimal::parse(self.0).is_some_and(|number| number.is_integer())
    }
}

impl<'a> Node<'a, Tape> for Value<'a> {
    type Object = Value<'a>;
    type Array = Value<'a>;
    type Number = NumberText<'a>;

    fn as_object(&self) -> Option<Value<'a>> {
        (self.kind() == Kind::Object).then_some(*self)
    }

    fn as_array(&self) -> Option<Value<'a>> {
        (self.kind() == Kind::Array).then_some(*self)
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        Value::as_str(*self)
    }

    fn as_number(&self) -> Option<NumberText<'a>> {
        self.as_number_text().map(NumberText)
    }

    fn as_boolean(&self) -> Option<bool> {
        self.as_bool()
    }

    fn is_null(&self) -> bool {
        Value::is_null(*self)
    }

    fn is_string(&self) -> bool {
        self.kind() == Kind::String
    }

    fn json_type(&self) -> JsonType {
        match self.kind() {
            Kind::Null => JsonType::Null,
            Kind::Bool => JsonType::Boolean,
            Kind::Number => JsonType::Number,
            Kind::String => JsonType::String,
            Kind::Array => JsonType::Array,
            Kind::Object => JsonType::Object,
        }
    }

    fn equals_value(&self, expected: &serde_json::Value) -> bool {
        use serde_json::Value as Plain;
        match (self.kind(), expected) {
            (Kind::Null, Plain::Null) => true,
            (Kind::Bool, Plain::Bool(expected)) => self.as_bool() == Some(*expected),
            (Kind::Number, Plain::Number(expected)) => Decimal::parse(self.slice())
                .is_some_and(|number| Decimal::parse(&expected.to_string()).is_some_and(|expected| number == expected)),
            (Kind::String, Plain::String(expected)) => Value::as_str(*self).is_some_and(|text| text == *expected),
            (Kind::Array, Plain::Array(expected)) => {
                Value::len(*self) == expected.len()
                    && Value::elements(*self)
                        .zip(expected)
                        .all(|(one, other)| one.equals_value(other))
            }
            (Kind::Object, Plain::Object(expected)) => {
                Value::len(*self) == expected.len()
                    && Value::members(*self).all(|(name, value)| {
                        expected
                            .get(name.text().as_ref())
                            .is_some_and(|other| value.equals_value(other))
                    })
            }
            _ => false,
        }
    }

    fn to_value(&self) -> Cow<'a, serde_json::Value> {
        Cow::Owned(plain(*self))
    }

    fn identity(&self) -> Option<NodeIdentity> {
        let tag = u32::try_from(self.index).ok()?;
        Some(NodeIdentity::tagged(std::ptr::from_ref(self.document) as usize, tag))
    }
}

/// For messages only: numbers go through floats here.
fn plain(value: Value<'_>) -> serde_json::Value {
    match value.kind() {
        Kind::Null => serde_json::Value::Null,
        Kind::Bool => (value.as_bool() == Some(true)).into(),
        Kind::Number => NumberText(value.slice()).to_number().into_owned().into(),
        Kind::String => value.as_str().unwrap_or_default().into_owned().into(),
        Kind::Array => value.elements().map(plain).collect(),
        Kind::Object => value
            .members()
            .map(|(name, value)| (name.text().into_owned(), plain(value)))
            .collect(),
    }
}

/// Members as `jsonschema` walks them.
pub struct NamedMembers<'a>(Members<'a>);

impl<'a> Iterator for NamedMembers<'a> {
    type Item = (Cow<'a, str>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, value)| (name.text(), value))
    }
}

impl<'a> Object<'a, Tape> for Value<'a> {
    type Node = Value<'a>;
    type MemberName = Cow<'a, str>;
    type MembersIter = NamedMembers<'a>;

    fn len(&self) -> usize {
        Value::len(*self)
    }

    fn get(&self, key: &Box<str>) -> Option<Value<'a>> {
        Value::get(*self, key)
    }

    fn members(&self) -> NamedMembers<'a> {
        NamedMembers(Value::members(*self))
    }
}

impl<'a> Array<'a, Tape> for Value<'a> {
    type Node = Value<'a>;
    type ElementsIter = Elements<'a>;

    fn len(&self) -> usize {
        Value::len(*self)
    }

    fn elements(&self) -> Elements<'a> {
        Value::elements(*self)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn admits(schema: &serde_json::Value, text: &str) -> bool {
        let validator = exact_options().build(schema).unwrap();
        let document = Document::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap();
        let is_valid = validator.is_valid(document.root());
        assert_eq!(validator.iter_errors(document.root()).count() == 0, is_valid, "{text}");
        is_valid
    }

    #[test]
    fn multiples_of_a_cent_are_exact() {
        let cents = json!({ "multipleOf": 0.01 });
        for good in [
            "19.90",
            "0.07",
            "1.1e2",
            "12345678901234567890.12",
            "99999999.99",
            "4.35",
            "\"text\"",
        ] {
            assert!(admits(&cents, good), "{good}");
        }
        for bad in ["19.905", "12345678901234567890.123", "0.001", "1e-400"] {
            assert!(!admits(&cents, bad), "{bad}");
        }
    }

    #[test]
    fn bounds_are_exact_beyond_what_floats_hold() {
        let bounded = json!({ "maximum": 18_446_744_073_709_551_615_u64, "exclusiveMinimum": 0.1 });
        assert!(admits(&bounded, "18446744073709551615"));
        assert!(admits(&bounded, "18446744073709551615.000"));
        assert!(!admits(&bounded, "18446744073709551615.1"));
        assert!(!admits(&bounded, "18446744073709551616"));
        assert!(!admits(&bounded, "0.1"));
        assert!(admits(&bounded, "0.10000000000000000001"));
        assert!(!admits(&bounded, "1e999999"));
    }

    #[test]
    fn integers_and_constants_compare_by_value() {
        let integer = json!({ "type": "integer" });
        assert!(admits(&integer, "1.0") && admits(&integer, "12345678901234567890123") && admits(&integer, "1e400"));
        assert!(!admits(&integer, "9007199254740993.5"));
        assert!(admits(&json!({ "enum": [1, 2.5] }), "2.50"));
        assert!(admits(&json!({ "const": { "a": [1] } }), r#"{"a":[1.0]}"#));
    }

    #[test]
    fn a_pattern_that_never_ends_is_given_up() {
        let slow = json!({ "pattern": "^(?=(a+)+$)(a+)+$" });
        assert!(admits(&slow, "\"aa\""));
        assert!(!admits(&slow, &format!("\"{}!\"", "a".repeat(5_000))));
    }

    #[test]
    fn a_broken_bound_is_a_broken_schema() {
        for schema in [
            json!({ "multipleOf": 0 }),
            json!({ "multipleOf": -1 }),
            json!({ "minimum": "1" }),
        ] {
            assert!(exact_options().build(&schema).is_err(), "{schema}");
        }
    }

    #[test]
    fn strings_names_and_references_are_validated() {
        let schema = json!({
            "$ref": "#/$defs/Tree",
            "$defs": { "Tree": {
                "type": "object",
                "required": ["id"],
                "propertyNames": { "pattern": "^[a-z]+$" },
                "properties": {
                    "id": { "type": "string", "maxLength": 2, "format": "date" },
                    "id2": false,
                    "parts": { "type": "array", "uniqueItems": true, "items": { "$ref": "#/$defs/Tree" } },
                },
            } },
        });
        let short = json!({ "type": "object", "properties": { "id": { "maxLength": 2 } } });
        assert!(admits(&short, r#"{"id":"\u00e9é"}"#));
        assert!(!admits(&short, r#"{"id":"\u00e9éa"}"#));
        assert!(!admits(&schema, r#"{"id":"x"}"#));
        assert!(!admits(&schema, r#"{"ID":"2026-01-01"}"#));
    }
}
