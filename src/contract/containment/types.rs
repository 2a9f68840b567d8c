//! Sets of JSON types, as JSON Schema tells them apart.

use std::ops::{BitAnd, BitOr};

use serde_json::Value;

use crate::json::Decimal;

/// A set of types. Whole numbers are told from those with a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::contract) struct Types(u8);

impl Types {
    pub(in crate::contract) const NONE: Self = Self(0);
    pub(in crate::contract) const NULL: Self = Self(1);
    pub(in crate::contract) const BOOL: Self = Self(2);
    pub(in crate::contract) const INTEGER: Self = Self(4);
    pub(in crate::contract) const FRACTION: Self = Self(8);
    pub(in crate::contract) const NUMBER: Self = Self(12);
    pub(in crate::contract) const STRING: Self = Self(16);
    pub(in crate::contract) const ARRAY: Self = Self(32);
    pub(in crate::contract) const OBJECT: Self = Self(64);
    pub(in crate::contract) const ALL: Self = Self(127);

    /// Sets that are looked at one after the other, numbers together.
    pub(in crate::contract) const CLASSES: [Self; 6] = [
        Self::STRING,
        Self::NUMBER,
        Self::BOOL,
        Self::OBJECT,
        Self::ARRAY,
        Self::NULL,
    ];

    /// What a `type` keyword names.
    pub(in crate::contract) fn named(keyword: &Value) -> Self {
        let one = |name: &Value| match name.as_str() {
            Some("null") => Self::NULL,
            Some("boolean") => Self::BOOL,
            Some("integer") => Self::INTEGER,
            Some("number") => Self::NUMBER,
            Some("string") => Self::STRING,
            Some("array") => Self::ARRAY,
            Some("object") => Self::OBJECT,
            _ => Self::NONE,
        };
        match keyword {
            Value::Array(names) => names.iter().map(one).fold(Self::NONE, |all, one| all | one),
            name => one(name),
        }
    }

    /// As a `type` keyword names them; one that admits a fraction is any number.
    pub(in crate::contract) fn names(self) -> Value {
        let number = if self.meets(Self::FRACTION) {
            "number"
        } else {
            "integer"
        };
        let names = [
            (Self::NULL, "null"),
            (Self::BOOL, "boolean"),
            (Self::NUMBER, number),
            (Self::STRING, "string"),
            (Self::ARRAY, "array"),
            (Self::OBJECT, "object"),
        ];
        let names = names.into_iter().filter(|(class, _)| self.meets(*class));
        names.map(|(_, name)| Value::from(name)).collect()
    }

    /// The type of a value.
    pub(in crate::contract) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOL,
            Value::Number(number) => {
                let text = number.to_string();
                if Decimal::parse(&text).is_some_and(|number| number.is_integer()) {
                    Self::INTEGER
                } else {
                    Self::FRACTION
                }
            }
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }

    pub(in crate::contract) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(in crate::contract) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(in crate::contract) fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub(in crate::contract) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The classes it has a share in.
    pub(in crate::contract) fn classes(self) -> impl Iterator<Item = Self> {
        Self::CLASSES
            .into_iter()
            .map(move |class| self & class)
            .filter(|class| !class.is_empty())
    }
}

/// Whether two values are one to JSON Schema: numbers by value, members in any order.
pub(in crate::contract) fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.to_string(), other.to_string());
            one == other || Decimal::parse(&one).is_some_and(|one| Some(one) == Decimal::parse(&other))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let is_in_other =
                |(name, value): (&String, &Value)| other.get(name).is_some_and(|other| equal(value, other));
            one.len() == other.len() && one.iter().all(is_in_other)
        }
        _ => one == other,
    }
}

impl BitAnd for Types {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Types {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
