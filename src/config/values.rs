//! The small values operators write as text: durations, sizes, rates, percentages, secrets.

use std::{fmt, num::NonZeroU32, path::PathBuf, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// Gives a text value its `Deserialize` (through `FromStr`) and its JSON Schema (a pattern).
macro_rules! text_value {
    ($type:ident, $pattern:literal, $description:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    };
}

pub(super) use text_value;

/// A span of time: a whole number and a unit, `250ms`, `2s`, `5m`, `24h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

text_value!(
    Time,
    "^[0-9]+(ms|s|m|h|d)$",
    "A duration such as 250ms, 2s, 5m, 24h or 7d."
);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration; write a whole number and a unit: 250ms, 2s, 5m, 24h, 7d");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let millis = match &text[digits..] {
            "ms" => Some(number),
            "s" => number.checked_mul(1_000),
            "m" => number.checked_mul(60_000),
            "h" => number.checked_mul(3_600_000),
            "d" => number.checked_mul(86_400_000),
            _ => None,
        };
        millis
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(wrong)
    }
}

/// A number of bytes: `64KiB`, `1MiB`, `512B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

text_value!(
    Size,
    "^[0-9]+(B|KiB|MiB|GiB)$",
    "A size in bytes such as 512B, 64KiB, 1MiB or 2GiB."
);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size; write a whole number and a unit: 512B, 64KiB, 1MiB, 2GiB");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let bytes = match &text[digits..] {
            "B" => Some(number),
            "KiB" => number.checked_mul(1 << 10),
            "MiB" => number.checked_mul(1 << 20),
            "GiB" => number.checked_mul(1 << 30),
            _ => None,
        };
        bytes.map(Self).ok_or_else(wrong)
    }
}

/// So many in a unit of time: `100/s`, `600/m`, `5000/h`, `100000/d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many are allowed.
    pub count: NonZeroU32,
    /// In how long.
    pub per: Duration,
}

text_value!(
    Rate,
    "^[1-9][0-9]*/(s|m|h|d)$",
    "A rate such as 100/s, 600/m, 5000/h or 100000/d."
);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not a rate; write a count of at least 1 and a unit: 100/s, 600/m, 5000/h, 100000/d")
        };
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(wrong()),
        };
        Ok(Self {
            count: count.parse().map_err(|_| wrong())?,
            per: Duration::from_secs(seconds),
        })
    }
}

/// A share of all: `1%`, `0.5%`, `100%`. Kept as a fraction from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent(pub f64);

text_value!(
    Percent,
    "^[0-9]+(\\.[0-9]+)?%$",
    "A percentage such as 1%, 0.5% or 100%."
);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a percentage from 0% to 100%, such as 1% or 0.5%");
        let number: f64 = text
            .strip_suffix('%')
            .and_then(|number| number.parse().ok())
            .ok_or_else(wrong)?;
        if (0.0..=100.0).contains(&number) {
            Ok(Self(number / 100.0))
        } else {
            Err(wrong())
        }
    }
}

/// A point in time: a day, which begins at midnight UTC, or RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub jiff::Timestamp);

text_value!(
    Moment,
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+)?$",
    "A day such as 2026-06-01, from midnight UTC, or a point in time such as 2026-06-01T12:00:00Z."
);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let midnight = |day: jiff::civil::Date| day.to_zoned(jiff::tz::TimeZone::UTC).map(|time| time.timestamp());
        let moment = match text.len() {
            10 => text.parse().and_then(midnight),
            _ => text.parse(),
        };
        moment.map(Self).map_err(|_| {
            format!("`{text}` is not a point in time; write a day, 2026-06-01, or RFC 3339, 2026-06-01T12:00:00Z")
        })
    }
}

/// Where a secret is kept: `file:PATH` or `env:NAME`. Never the secret itself.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The content of a file, without a final line break. Relative to the folder of `gateway.yaml`.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

text_value!(
    Secret,
    "^(file|env):.+$",
    "Where a secret is kept: file:PATH or env:NAME."
);

impl Secret {
    /// What is said of a text that does not name a place. The text itself must not be shown.
    pub(crate) const MISPLACED: &str = "a secret is named by where it is kept";
}

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            // The text may be the secret itself, pasted by mistake: it is not repeated.
            _ => Err(format!("{}; write `file:PATH` or `env:NAME`", Self::MISPLACED)),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!("250ms".parse(), Ok(Time(Duration::from_millis(250))));
        assert_eq!("7d".parse(), Ok(Time(Duration::from_hours(168))));
        for wrong in ["", "5", "s", "-1s", "1.5s", "2 s", "99999999999999999d"] {
            assert!(wrong.parse::<Time>().unwrap_err().contains("not a duration"), "{wrong}");
        }
    }

    #[test]
    fn a_rate_of_zero_is_a_mistake() {
        assert_eq!("600/m".parse::<Rate>().unwrap().per, Duration::from_mins(1));
        assert_eq!("1/d".parse::<Rate>().unwrap().per, Duration::from_hours(24));
        for wrong in ["0/s", "1/w", "x/s", "100"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        let moment = |text: &str| text.parse::<Moment>().map(|moment| moment.0.to_string());
        assert_eq!(moment("2026-06-01").as_deref(), Ok("2026-06-01T00:00:00Z"));
        assert_eq!(
            moment("2026-06-01T12:00:00+02:00").as_deref(),
            Ok("2026-06-01T10:00:00Z")
        );
        for wrong in ["2026-02-30", "2026-06", "tomorrow", "01.06.2026", "2026-06-01T12:00:00"] {
            assert!(moment(wrong).unwrap_err().contains("not a point in time"), "{wrong}");
        }
    }

    #[test]
    fn a_pasted_secret_is_not_repeated_in_the_error() {
        assert!(!"hunter2".parse::<Secret>().unwrap_err().contains("hunter2"));
    }

    #[test]
    fn sizes_and_percentages_are_bounded() {
        assert_eq!("64KiB".parse(), Ok(Size(65_536)));
        assert!("17179869184GiB".parse::<Size>().is_err());
        assert!("100.1%".parse::<Percent>().is_err());
    }
}
