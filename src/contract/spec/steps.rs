//! The steps of a mapping, as people write them.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::config::{Spanned, Time};

/// One step. Paths are names with dots between them: `shipTo.address.city`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OpSpec {
    /// Renames, nests or lifts out a field.
    Move(MoveSpec),
    /// Repeats a value in a second place; on the way back that place is dropped.
    Copy(CopySpec),
    /// One value becomes a list of one; on the way back the list becomes one value.
    Wrap(WrapSpec),
    /// The first of a list; on the way back a list of one.
    First(WrapSpec),
    /// Fills a field that the older version may leave out.
    Default(DefaultSpec),
    /// A value that the newer version requires and the older one has no field for.
    Const(ConstSpec),
    /// Leaves out a field that the newer version has no place for.
    Drop(DropSpec),
    /// Steps for each item of a list.
    Each(EachSpec),
    /// Replaces codes by a table.
    Table(TableSpec),
    /// Turns one system's key into another's, by a table of any length, or by asking a system that knows both.
    Lookup(LookupSpec),
    /// A number becomes decimal text, exactly; on the way back the text becomes a number.
    Decimal(DecimalSpec),
    /// Rewrites a date.
    Date(DateSpec),
    /// Takes leading padding off; on the way back pads to `width`.
    Strip(PadSpec),
    /// Pads to `width`; on the way back takes the padding off.
    Pad(PadSpec),
    /// A code becomes true or false, and back.
    Bool(BoolSpec),
    /// Letters become upper or lower case.
    Case(CaseSpec),
    /// White space at both ends is taken off. It does not come back.
    Trim(TrimSpec),
    /// Multiplies a number, exactly; on the way back divides it.
    Scale(ScaleSpec),
    /// Says nothing in another way: absent, `null`, or empty text.
    Null(NullSpec),
    /// One text becomes several fields; on the way back they are joined.
    Split(SplitSpec),
    /// Several fields become one text; on the way back it is split.
    Join(JoinSpec),
    /// One text becomes a list of texts, however many; on the way back they are joined.
    List(ListSpec),
    /// Reads texts by patterns and writes others with the same parts.
    Pattern(PatternSpec),
    /// An amount becomes a whole number of its currency's smallest unit, and back.
    MinorUnits(MinorUnitsSpec),
    /// A quantity and its unit become a quantity in one fixed unit.
    Unit(UnitSpec),
    /// A list of names and values becomes an object, and back.
    Pivot(PivotSpec),
    /// A list becomes a list of groups; on the way back the groups are laid flat.
    Group(GroupSpec),
    /// A list of groups is laid flat; on the way back it is grouped.
    Flatten(GroupSpec),
    /// Which of several types a value is, by a member that says so.
    Variant(VariantSpec),
    /// How many items a list has, for a version that says so.
    Count(CountSpec),
    /// What the items of a list add up to, for a version that says so.
    Sum(SumSpec),
    /// Page numbers become offsets, and back. For the query.
    Paging(PagingSpec),
    /// Computes a field that only one version has.
    Expr(ExprSpec),
}

/// `move: { from: custName, to: customer.name }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MoveSpec {
    /// The field in the older version.
    pub from: String,
    /// The field in the newer version.
    pub to: String,
}

/// `copy: { from: ^.currency, to: unitPrice.currency, agree: error }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CopySpec {
    /// The field in the older version; `^.` starts at the object around this one.
    pub from: String,
    /// The second place, in the newer version.
    pub to: String,
    /// What happens on the way back if the two differ.
    #[serde(default)]
    pub agree: Agree,
}

/// What a value that would be lost and is not as expected does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Agree {
    /// The document cannot be translated.
    #[default]
    Error,
    /// It is dropped.
    Ignore,
}

/// `wrap: { from: remark, to: notes, more: join, separator: ", " }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WrapSpec {
    /// The field, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// What happens if the list has more than one item where one value is wanted.
    #[serde(default)]
    pub more: More,
    /// Stands between joined texts.
    #[serde(default = "WrapSpec::default_separator")]
    pub separator: String,
}

impl WrapSpec {
    fn default_separator() -> String {
        "\n".to_owned()
    }
}

/// What happens to a list's further items where one value is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum More {
    /// The document cannot be translated.
    #[default]
    Error,
    /// They are left out.
    Drop,
    /// The texts are joined.
    Join,
}

/// `default: { path: priority, value: standard }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DefaultSpec {
    /// The field in the newer version.
    pub path: String,
    /// What it is where the older version says nothing.
    pub value: Scalar,
    /// Leave the field out on the way back if it has this value.
    #[serde(default)]
    pub omit: bool,
}

/// `const: { to: channel, value: B2B, expect: ignore }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ConstSpec {
    /// The field in the newer version.
    pub to: String,
    /// Its value.
    pub value: Scalar,
    /// What another value does on the way back.
    #[serde(default)]
    pub expect: Agree,
}

/// `drop: { path: legacyFlag, restore: "N" }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DropSpec {
    /// The field in the older version.
    pub path: String,
    /// What it is on the way back. Without it, the field stays away.
    #[serde(default)]
    pub restore: Option<Scalar>,
}

/// `each: { from: lines, to: items, ops: [...] }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EachSpec {
    /// The list, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The list in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The list in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// Steps over each item. Items of a named schema need none here: their schema has its own.
    #[serde(default)]
    #[schemars(with = "Vec<OpSpec>")]
    pub ops: Vec<Spanned<OpSpec>>,
}

/// `table: { from: uom, to: unit, table: unit, missDown: { roll: EA } }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TableSpec {
    /// The field, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// Name of the table.
    pub table: String,
    /// Older codes without a row, and the newer code they become; `~` refuses them. `*` is any other.
    #[serde(default)]
    pub miss_up: BTreeMap<String, Option<String>>,
    /// Newer codes without a row, or with several, and the older code they become; `~` refuses them. `*` is any other.
    #[serde(default)]
    pub miss_down: BTreeMap<String, Option<String>>,
}

/// `lookup: { from: sku, to: itemCode, table: sku, missUp: { 'MISC': GENERIC } }`, or with `up` and `down` in place of
/// `table`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LookupSpec {
    /// The field, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// Name of the table, where the keys stand in a file.
    #[serde(default)]
    pub table: Option<String>,
    /// What is asked for the newer key of an older one.
    #[serde(default)]
    pub up: Option<Box<LookupBySpec>>,
    /// What is asked for the older key of a newer one.
    #[serde(default)]
    pub down: Option<Box<LookupBySpec>>,
    /// Older keys without a counterpart, and the newer key they become; `~` refuses them. `*` is any other.
    #[serde(default)]
    pub miss_up: BTreeMap<String, Option<String>>,
    /// Newer keys without a counterpart, or with several, and the older key they become; `~` refuses them. `*` is any
    /// other.
    #[serde(default)]
    pub miss_down: BTreeMap<String, Option<String>>,
}

/// An operation that is asked for a key's counterpart:
/// `{ api: crm-customers, operation: findCustomer, parameter: erpNumber, take: /id }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LookupBySpec {
    /// The API whose upstream is asked, in the contract version that it speaks, and with the credentials, time limits
    /// and breaker of that upstream.
    #[schemars(with = "String")]
    pub api: Spanned<String>,
    /// The operation, by its `operationId`. It is GET.
    #[schemars(with = "String")]
    pub operation: Spanned<String>,
    /// The parameter that takes the key, in its path or query. No other is required.
    #[schemars(with = "String")]
    pub parameter: Spanned<String>,
    /// Where the counterpart stands in its answer (200): a JSON Pointer, to text or a whole number.
    #[schemars(with = "String")]
    pub take: Spanned<String>,
    /// How long a counterpart is kept.
    #[serde(default = "LookupBySpec::default_keep")]
    pub keep: Time,
    /// How long it is kept that there is none (404, or nothing at `take`).
    #[serde(default = "LookupBySpec::default_keep_misses")]
    pub keep_misses: Time,
}

impl LookupBySpec {
    fn default_keep() -> Time {
        Time(std::time::Duration::from_mins(10))
    }

    fn default_keep_misses() -> Time {
        Time(std::time::Duration::from_mins(1))
    }
}

/// `decimal: { from: total, to: total.amount, scale: 2, pad: true }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DecimalSpec {
    /// The field, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// What the newer version has: text (the default) or a number.
    #[serde(default, rename = "as")]
    pub newer: DecimalForm,
    /// Most digits after the point. A value with more cannot be translated: nothing is rounded.
    #[serde(default)]
    pub scale: Option<u8>,
    /// Write text with exactly `scale` digits after the point. Otherwise digits stay as they were written.
    #[serde(default)]
    pub pad: bool,
}

/// How a decimal number is written in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DecimalForm {
    /// As text: `"19.90"`.
    #[default]
    String,
    /// As a number: `19.90`.
    Number,
}

/// `date: { path: orderDate, older: dd.MM.yyyy, newer: yyyy-MM-dd }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DateSpec {
    /// The field, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// How the older version writes it.
    pub older: DateForm,
    /// How the newer version writes it.
    pub newer: DateForm,
    /// Where the day is a day, such as `Europe/Berlin`. Needed between a day and a point in time; between two points in
    /// time, it is the zone in which RFC 3339 is written (UTC by default).
    #[serde(default)]
    pub timezone: Option<String>,
    /// The time of day a day becomes, such as `18:00`. Needed where a day becomes a point in time.
    #[serde(default)]
    pub time: Option<String>,
}

/// How a date is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum DateForm {
    /// `20.11.2026`
    #[serde(rename = "dd.MM.yyyy")]
    German,
    /// `2026-11-20`
    #[serde(rename = "yyyy-MM-dd")]
    Iso,
    /// `20261120`
    #[serde(rename = "yyyyMMdd")]
    Compact,
    /// A point in time with its offset from UTC: `2026-11-20T18:00:00+01:00` (RFC 3339).
    #[serde(rename = "rfc3339")]
    Timestamp,
    /// `11/20/2026`
    #[serde(rename = "MM/dd/yyyy")]
    American,
    /// A point in time as a number, in whole seconds since 1970: `1763658000`.
    #[serde(rename = "unix")]
    Unix,
    /// A point in time as a number, in whole milliseconds since 1970: `1763658000000`.
    #[serde(rename = "unixMillis")]
    UnixMillis,
    /// A point in time as `OData` 2 writes it, in milliseconds: `/Date(1763658000000)/`.
    #[serde(rename = "odata")]
    OData,
}

impl DateForm {
    /// Whether it tells a point in time, and not a day.
    pub(in crate::contract) fn is_instant(self) -> bool {
        matches!(self, Self::Timestamp | Self::Unix | Self::UnixMillis | Self::OData)
    }

    /// Whether it is written as a number, and not as text.
    pub(in crate::contract) fn is_number(self) -> bool {
        matches!(self, Self::Unix | Self::UnixMillis)
    }
}

/// `strip: { from: customerNo, to: customer.id, char: "0", width: 10 }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PadSpec {
    /// The field, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// The padding.
    pub char: char,
    /// Characters of the padded text, at most 255.
    pub width: u8,
}

/// `bool: { from: blocked, to: isBlocked, yes: X, no: '' }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BoolSpec {
    /// The field, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// The code for true.
    pub yes: Scalar,
    /// The code for false.
    pub no: Scalar,
    /// Which version has the codes: the older one by default. The other has true and false.
    #[serde(default = "BoolSpec::default_codes")]
    pub codes: SideSpec,
}

impl BoolSpec {
    fn default_codes() -> SideSpec {
        SideSpec::Older
    }
}

/// `case: { path: country, older: lower, newer: upper }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CaseSpec {
    /// The field, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// How the older version writes it. By default it takes the text as it comes.
    #[serde(default)]
    pub older: LetterCase,
    /// How the newer version writes it.
    pub newer: LetterCase,
}

/// How letters are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LetterCase {
    /// `HAMBURG`
    Upper,
    /// `hamburg`
    Lower,
    /// As they come.
    #[default]
    Any,
}

/// `trim: { path: name }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TrimSpec {
    /// The field, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
}

/// `scale: { from: discountPercent, to: discount, by: 1/100 }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ScaleSpec {
    /// The field, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// What the older number is multiplied by: a decimal number or a fraction of two, such as `1/1000`.
    pub by: Factor,
    /// Digits after the point a result is rounded to, half to even. By default nothing is rounded: a value that has no
    /// exact result cannot be translated.
    #[serde(default)]
    pub round: Option<u8>,
    /// What the newer version has, where the older one has the other: text or a number. By default the form stays.
    #[serde(default, rename = "as")]
    pub newer: Option<DecimalForm>,
}

/// A decimal number, or a fraction of two: `0.45359237`, `1/1000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor(pub String);

impl<'de> Deserialize<'de> for Factor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Text keeps the digits; a number in YAML has been a float.
        struct Written;

        impl Visitor<'_> for Written {
            type Value = Factor;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number or a fraction such as 1/1000")
            }

            fn visit_str<E>(self, text: &str) -> Result<Factor, E> {
                Ok(Factor(text.to_owned()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Factor, E> {
                Ok(Factor(number.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Factor, E> {
                Ok(Factor(number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Factor, E> {
                Ok(Factor(number.to_string()))
            }
        }

        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for Factor {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Factor".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A decimal number, or a fraction of two: 0.45359237, 1/1000",
            "type": ["string", "number"]
        })
    }
}

/// `null: { path: remark, older: empty, newer: absent }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NullSpec {
    /// The field, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// How the older version says nothing.
    pub older: Nothing,
    /// How the newer version says nothing.
    pub newer: Nothing,
    /// A step that changes the value where there is one. It says where the field is, then.
    #[serde(default, rename = "of")]
    #[schemars(with = "Option<OpSpec>")]
    pub step: Option<Box<OpSpec>>,
}

/// A way of saying nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Nothing {
    /// The field is not there.
    Absent,
    /// The field is `null`.
    Null,
    /// The field is empty text.
    Empty,
}

/// `split: { from: contact, to: [contact.firstName, contact.lastName], separator: ' ' }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SplitSpec {
    /// The text in the older version.
    pub from: String,
    /// The fields in the newer version, in order.
    #[schemars(length(min = 2))]
    pub to: Vec<String>,
    /// Stands between the parts.
    #[schemars(length(min = 1))]
    pub separator: String,
    /// What happens to a text of more parts: it cannot be translated, or the last field takes the rest.
    #[serde(default)]
    pub more: MoreParts,
}

/// `join: { from: [street, houseNo], to: address.line1, separator: ' ' }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct JoinSpec {
    /// The fields in the older version, in order.
    #[schemars(length(min = 2))]
    pub from: Vec<String>,
    /// The text in the newer version.
    pub to: String,
    /// Stands between the parts.
    #[schemars(length(min = 1))]
    pub separator: String,
    /// What happens to a text of more parts: it cannot be translated, or the last field takes the rest.
    #[serde(default)]
    pub more: MoreParts,
}

/// What happens to a text that has more parts than there are fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MoreParts {
    /// The document cannot be translated.
    #[default]
    Error,
    /// The last field takes the rest.
    Last,
}

/// `list: { from: tags, to: labels, separator: ', ' }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ListSpec {
    /// The field, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// Stands between the items of the text.
    #[schemars(length(min = 1))]
    pub separator: String,
    /// Which form the older version has: text (the default) or a list.
    #[serde(default)]
    pub older: ListForm,
}

/// A form of several texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListForm {
    /// `"spring, sale"`
    #[default]
    Text,
    /// `["spring","sale"]`
    List,
}

/// `pattern: { older: { orderKey: '{country}-{number}' }, newer: { country: '{country}', number: '{number}' },
/// parts: { country: '[A-Z]{2}', number: '[0-9]+' } }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PatternSpec {
    /// Fields of the older version, and how each is written: text with `{part}` in it.
    pub older: BTreeMap<String, String>,
    /// Fields of the newer version, and how each is written.
    pub newer: BTreeMap<String, String>,
    /// The parts, each a regular expression without groups that capture.
    pub parts: BTreeMap<String, String>,
}

/// `minorUnits: { from: total, to: total.minor, currency: currency }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MinorUnitsSpec {
    /// The amount in the older version.
    pub from: String,
    /// The whole number in the newer version.
    pub to: String,
    /// The currency (ISO 4217) in the older version; `^.` starts at the object around this one.
    pub currency: String,
    /// How the older version writes the amount: text (the default) or a number.
    #[serde(default)]
    pub older: DecimalForm,
}

/// `unit: { from: weight, unit: weightUnit, to: weightKg, factors: { KG: 1, G: 1/1000 }, back: KG }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct UnitSpec {
    /// The quantity in the older version.
    pub from: String,
    /// The code of its unit in the older version.
    pub unit: String,
    /// The quantity in the newer version, in its one unit.
    pub to: String,
    /// For each code, what a quantity in it is multiplied by.
    pub factors: BTreeMap<String, Factor>,
    /// The code that is written on the way back.
    pub back: String,
    /// Digits after the point a result is rounded to, half to even. By default nothing is rounded.
    #[serde(default)]
    pub round: Option<u8>,
}

/// `pivot: { from: attributes, to: attributes, key: name, value: value }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PivotSpec {
    /// The field, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// The member of an item that becomes a name.
    pub key: String,
    /// The member of an item that becomes its value. By default that is the rest of the item, an object.
    #[serde(default)]
    pub value: Option<String>,
    /// Which form the older version has: a list (the default) or an object.
    #[serde(default)]
    pub older: PivotForm,
    /// Without `value`: what the items' keys are called as names, `{ AG: soldTo, WE: shipTo }`. By default as they are.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
    /// What becomes of keys and names that `names` does not have: they are refused (the default) or left out.
    #[serde(default)]
    pub others: Others,
    /// Without `value`: steps over the rest of each item.
    #[serde(default)]
    #[schemars(with = "Vec<OpSpec>")]
    pub ops: Vec<Spanned<OpSpec>>,
}

/// What becomes of items that nothing names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Others {
    /// They are refused.
    #[default]
    Error,
    /// They are left out.
    Drop,
}

/// A form of names and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PivotForm {
    /// `[{"name":"colour","value":"red"}]`
    #[default]
    List,
    /// `{"colour":"red"}`
    Object,
}

/// `group: { from: lines, to: deliveries, by: { warehouse: warehouse }, items: lines }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GroupSpec {
    /// The list in the older version.
    pub from: String,
    /// The list in the newer version.
    pub to: String,
    /// What makes a group: members of a flat item, and what they are called in the group.
    #[schemars(length(min = 1))]
    pub by: BTreeMap<String, String>,
    /// The member of a group that holds its items.
    pub items: String,
    /// The member of a flat item by which a flat list is sorted, as the version writes it that has the flat list.
    /// By default the items of the first group come first.
    #[serde(default)]
    pub order_by: Option<String>,
    /// Steps over each item; the members under `by` are taken care of.
    #[serde(default)]
    #[schemars(with = "Vec<OpSpec>")]
    pub ops: Vec<Spanned<OpSpec>>,
}

/// `variant: { path: payment, by: kind, cases: [{ older: card, newer: CARD, type: CardPayment }] }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VariantSpec {
    /// The field, if it has the same place in both versions.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// The member that says which type it is, in the older version.
    pub by: String,
    /// That member in the newer version, where it is called otherwise there.
    #[serde(default)]
    pub newer_by: Option<String>,
    /// The types. Their steps stand under `types`, the one that changes the member too.
    #[schemars(length(min = 1))]
    pub cases: Vec<CaseOfSpec>,
}

/// One of several types.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CaseOfSpec {
    /// What the member says in the older version.
    pub older: String,
    /// What it says in the newer version, where that differs.
    #[serde(default)]
    pub newer: Option<String>,
    /// The schema, by its name in the older version.
    #[serde(rename = "type")]
    pub schema: String,
}

/// `count: { of: lines, to: lineCount }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CountSpec {
    /// The list, in the version that has no field for its length; `lines[].serials` are the lists of all lines.
    pub of: String,
    /// The field, in the version that has it.
    pub to: String,
    /// The version that has the field: the newer one by default.
    #[serde(default, rename = "in")]
    pub side: SideSpec,
}

/// `sum: { of: lines, field: quantity, to: totalQuantity }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SumSpec {
    /// The list, in the version that has no field for the sum; `lines[].parts` are the lists of all lines.
    pub of: String,
    /// The member of its items, numbers or decimal texts.
    pub field: String,
    /// The field, in the version that has it.
    pub to: String,
    /// How it is written: text (the default) or a number.
    #[serde(default, rename = "as")]
    pub form: DecimalForm,
    /// The version that has the field: the newer one by default.
    #[serde(default, rename = "in")]
    pub side: SideSpec,
}

/// One of the two versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SideSpec {
    /// The older one.
    Older,
    /// The newer one.
    #[default]
    Newer,
}

/// `paging: { page: page, size: size, first: 1, default: 20, offset: offset, limit: limit }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PagingSpec {
    /// The parameter with the page's number.
    pub page: String,
    /// The parameter with the page's size.
    pub size: String,
    /// The number of the first page.
    #[serde(default = "PagingSpec::default_first")]
    pub first: u32,
    /// The size of a page where none is given.
    #[schemars(range(min = 1))]
    pub default: u32,
    /// The parameter with the number of items before the page.
    #[serde(default)]
    pub offset: Option<String>,
    /// A cursor, which no page number leads to: told as a mistake, with what to do instead.
    #[serde(default)]
    pub cursor: Option<String>,
    /// The parameter with the most items of a page.
    pub limit: String,
    /// Which version counts pages: the older one by default.
    #[serde(default = "PagingSpec::default_pages")]
    pub pages: SideSpec,
}

impl PagingSpec {
    fn default_first() -> u32 {
        1
    }

    fn default_pages() -> SideSpec {
        SideSpec::Older
    }
}

/// `expr: { to: totals.gross, up: 'round(sum(lines.map(l, l.quantity * l.price)), 2)' }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExprSpec {
    /// A field that only the newer version has. It is left out on the way back.
    #[serde(default)]
    pub to: Option<String>,
    /// What `to` is: an expression over the older version's object.
    #[serde(default)]
    pub up: Option<String>,
    /// A field that only the older version has. It is left out on the way up.
    #[serde(default)]
    pub from: Option<String>,
    /// What `from` is on the way back: an expression over the newer version's object.
    #[serde(default)]
    pub down: Option<String>,
}

/// A plain value: text, a number, true or false.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Scalar(pub serde_json::Value);

impl Scalar {
    /// A string's content, else the value as JSON writes it.
    pub(in crate::contract) fn text(&self) -> std::borrow::Cow<'_, str> {
        match &self.0 {
            serde_json::Value::String(text) => text.as_str().into(),
            other => other.to_string().into(),
        }
    }
}
