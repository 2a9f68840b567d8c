//! What each keyword asks of a value, held against what the other side says.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::conj::{Conj, count, item};
use super::super::regular::{Automaton, Length, shortest};
use super::super::sample::{ITEM_LIMIT, beside, near_bounds, of_format};
use super::super::side::listed_values;
use super::super::types::{Types, equal};
use super::{Finding, Walk, Way};
use crate::json::Decimal;

/// Keywords of numbers.
const NUMERIC: [&str; 5] = [
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "multipleOf",
];

/// Keywords that a difference between scalars is told with.
const SCALAR: [&str; 11] = [
    "type",
    "enum",
    "const",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "multipleOf",
];

/// One keyword, or a few that belong together.
type Check<W> = fn(&mut W, &Conj, &Arc<str>) -> bool;

impl Walk<'_> {
    /// A conjunction that lists its values: each is tried.
    pub(super) fn compare_listed(&mut self, sub: &Conj, sup: &Arc<str>, parts: &[Arc<str>], values: &[Value]) -> bool {
        let mut refused = Vec::new();
        for value in values {
            match self.sup.admits(sup, value) {
                Some(true) => {}
                Some(false) => refused.push(value.clone()),
                None => return self.doubt(sub, sup, "", "the schema there cannot be used by a validator"),
            }
        }
        // A listed value that another keyword excludes is none.
        refused.retain(|value| sub.parts.iter().all(|part| self.sub.admits(part, value) != Some(false)));
        if refused.is_empty() {
            return true;
        }
        let is_refused_by = |part: &&Arc<str>, keyword: &str| {
            let keywords = self.sup.keywords(part);
            match keyword {
                "enum" => listed_values(keywords).any(|listed| !listed.iter().any(|value| equal(value, &refused[0]))),
                _ => !Types::of(&refused[0]).is_within(self.sup.types(part)),
            }
        };
        let found = ["enum", "type"].into_iter().find_map(|keyword| {
            let part = parts.iter().find(|part| is_refused_by(part, keyword))?;
            Some((part.clone(), keyword))
        });
        let (part, keyword) = match found {
            Some((part, "enum")) if self.sup.keywords(&part).contains_key("const") => (part, "const"),
            Some(found) => found,
            None => {
                let other = parts[0].clone();
                let keyword = self.refusing_keyword(&other, &refused[0]);
                (other, keyword)
            }
        };
        let beyond = match refused.as_slice() {
            [only] => json!({ "const": only }),
            all => json!({ "enum": all }),
        };
        self.find(&Finding {
            sub,
            part: &part,
            keyword,
            values: refused,
            beyond: Some(beyond),
            why: "values that are listed are refused, though no document shows it",
        })
    }

    /// The keyword of a part that alone refuses a value.
    fn refusing_keyword(&self, part: &Arc<str>, value: &Value) -> &'static str {
        let keywords = self.sup.keywords(part);
        let others = [
            "format",
            "required",
            "oneOf",
            "anyOf",
            "not",
            "if",
            "contains",
            "propertyNames",
            "dependentRequired",
        ];
        let mut refusing = SCALAR.into_iter().chain(others).filter(|keyword| {
            if !keywords.contains_key(*keyword) {
                return false;
            }
            // Alone, but for those that mean something only beside it.
            let beside: &[&str] = match *keyword {
                "if" => &["then", "else"],
                "contains" => &["minContains", "maxContains"],
                _ => &[],
            };
            let alone = keywords
                .iter()
                .filter(|(name, _)| name == keyword || beside.contains(&name.as_str()));
            let alone: serde_json::Map<_, _> = alone.map(|(name, value)| (name.clone(), value.clone())).collect();
            let alone = super::super::side::Side::new(Arc::new(alone.into()));
            alone.admits(&"".into(), value) == Some(false)
        });
        refusing.next().unwrap_or("")
    }

    /// All keywords of one part.
    pub(super) fn compare_part(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        let missing = sub.types.without(self.sup_types(part));
        let mut holds = true;
        if !missing.is_empty() {
            let mut values: Vec<Value> = Vec::new();
            for class in missing.classes() {
                values.extend(self.samples(&sub.only(class)));
            }
            holds = self.leaf(sub, part, "type", values);
        }
        let sub = &sub.only(self.sup_types(part));
        if sub.is_never() || (self.quiet > 0 && !holds) {
            return holds;
        }
        let checks: [(Types, Check<Self>); 5] = [
            (Types::ALL, Self::listed),
            (Types::STRING, Self::texts),
            (Types::NUMBER, Self::numbers),
            (Types::ARRAY, Self::arrays),
            (Types::OBJECT, Self::objects),
        ];
        holds &= self.all(checks.iter(), |walk, (types, check)| {
            !sub.types.meets(*types) || check(walk, sub, part)
        });
        for keyword in ["anyOf", "oneOf"] {
            if self.sup.keywords(part).contains_key(keyword) {
                holds &= self.choice(sub, part, keyword);
            }
        }
        if self.sup.keywords(part).contains_key("not") {
            holds &= self.negation(sub, part);
        }
        holds & self.whole(sub, part)
    }

    /// The types of the `type` keyword alone.
    fn sup_types(&self, part: &str) -> Types {
        self.sup.keywords(part).get("type").map_or(Types::ALL, Types::named)
    }

    /// A keyword that scalars break; the second opinion knows the whole difference.
    fn leaf(&mut self, sub: &Conj, part: &Arc<str>, keyword: &str, values: Vec<Value>) -> bool {
        if self.quiet > 0 {
            return false;
        }
        let limit = self.sup.keywords(part).get(keyword).cloned().unwrap_or_default();
        let mut own = sub.excerpt(self.sub, &SCALAR);
        own["type"] = sub.types.names();
        let beyond = self
            .canon
            .plain(own, json!({ keyword: limit }), self.deadline)
            .difference;
        self.find(&Finding {
            sub,
            part,
            keyword,
            values,
            beyond: beyond.filter(|schema| *schema != json!(false)),
            why: &format!("no value was found that shows whether `{keyword}` is met"),
        })
    }

    /// `enum` and `const`, where the other side lists nothing.
    fn listed(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        let keywords = self.sup.keywords(part);
        let Some(listed) = listed_values(keywords).next() else {
            return true;
        };
        let keyword = if keywords.contains_key("enum") { "enum" } else { "const" };
        let mut values = Vec::new();
        if sub.types == Types::STRING && !keywords.contains_key("const") {
            let texts = listed.iter().filter_map(Value::as_str);
            match Automaton::of_texts(texts).map(|automaton| self.escapee(sub, automaton)) {
                Some(Ok(None)) => return true,
                Some(Ok(Some(text))) => values.push(text.into()),
                _ => {}
            }
        }
        if self.opinion(sub, part) {
            return true;
        }
        values.extend(self.samples(sub));
        self.leaf(sub, part, keyword, values)
    }

    fn texts(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        let keywords = self.sup.keywords(part);
        let mut holds = true;
        for (keyword, limit) in keywords {
            holds &= match (keyword.as_str(), limit) {
                ("minLength" | "maxLength", limit) => {
                    count(limit).is_none_or(|limit| self.length(sub, part, keyword, limit))
                }
                ("pattern", Value::String(pattern)) => {
                    sub.says(self.sub, keyword, limit) || self.pattern(sub, part, pattern)
                }
                ("format", Value::String(format)) => {
                    of_format(format).is_empty() && !is_asserted(format)
                        || sub.says(self.sub, keyword, limit)
                        || self.format(sub, part)
                }
                _ => true,
            };
        }
        holds
    }

    fn length(&mut self, sub: &Conj, part: &Arc<str>, keyword: &str, limit: u64) -> bool {
        let (mut automata, mut length) = sub.texts(self.sub);
        if keyword == "minLength" {
            let Some(below) = limit.checked_sub(1) else { return true };
            length.max = Some(length.max.map_or(below, |max| max.min(below)));
        } else {
            length.min = length.min.max(limit.saturating_add(1));
        }
        match shortest(&mut automata, None, length, self.deadline) {
            Ok(None) => true,
            Ok(Some(text)) => {
                let values = self.texts_like(sub, text);
                self.leaf(sub, part, keyword, values)
            }
            Err(_) => self.leaf(sub, part, keyword, Vec::new()),
        }
    }

    fn pattern(&mut self, sub: &Conj, part: &Arc<str>, pattern: &str) -> bool {
        let values = match self
            .sup
            .automaton(pattern)
            .map(|automaton| self.escapee(sub, automaton))
        {
            Some(Ok(None)) => return true,
            Some(Ok(Some(text))) => self.texts_like(sub, text),
            _ => self.samples(sub),
        };
        self.leaf(sub, part, "pattern", values)
    }

    fn format(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        if self.opinion(sub, part) {
            return true;
        }
        let values = self.samples(sub);
        self.leaf(sub, part, "format", values)
    }

    /// A text of one side that an automaton of the other does not match.
    fn escapee(&self, sub: &Conj, mut outside: Automaton) -> Result<Option<String>, super::super::regular::TooLarge> {
        let (mut automata, length): (_, Length) = sub.texts(self.sub);
        shortest(&mut automata, Some(&mut outside), length, self.deadline)
    }

    /// A text that was found, and those of the same format: the walk knows only what its format looks like.
    fn texts_like(&self, sub: &Conj, text: String) -> Vec<Value> {
        let formats = sub
            .parts
            .iter()
            .filter_map(|part| self.sub.keywords(part).get("format")?.as_str());
        let samples = formats.flat_map(of_format).map(|sample| Value::from(*sample));
        std::iter::once(text.into()).chain(samples).collect()
    }

    fn numbers(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        let keywords = self.sup.keywords(part);
        let mut holds = true;
        for keyword in NUMERIC {
            let Some(limit) = keywords.get(keyword) else { continue };
            if self.is_bounded(sub, keyword, limit) {
                continue;
            }
            let mut own = sub.excerpt(self.sub, &NUMERIC);
            own["type"] = sub.only(Types::NUMBER).types.names();
            if self
                .canon
                .plain(own, json!({ keyword: limit }), self.deadline)
                .is_within
            {
                continue;
            }
            let mut steps = vec![json!(1), json!(0.5)];
            steps.extend(
                sub.parts
                    .iter()
                    .filter_map(|part| self.sub.keywords(part).get("multipleOf").cloned()),
            );
            // Half a step is no multiple of it.
            steps.extend(
                limit
                    .as_f64()
                    .filter(|_| keyword == "multipleOf")
                    .map(|step| json!(step / 2.0)),
            );
            let mut values = beside(limit, &steps);
            values.extend(near_bounds(self.sub, sub));
            let only = Conj::new(self.sub, &sub.parts, &sub.origin).only(sub.types & Types::NUMBER);
            let is_telling = |value: &Value| {
                Types::of(value).meets(only.types)
                    && only
                        .parts
                        .iter()
                        .all(|part| self.sub.admits(part, value) != Some(false))
                    && self.sup.admits(part, value) == Some(false)
            };
            if self.quiet == 0 {
                values.retain(is_telling);
            }
            holds &= self.leaf(&sub.only(Types::NUMBER), part, keyword, values);
        }
        holds
    }

    /// Whether a bound is met by one of the other side's own.
    fn is_bounded(&self, sub: &Conj, keyword: &str, limit: &Value) -> bool {
        let compare = |own: &Value| {
            let (own, limit) = (own.to_string(), limit.to_string());
            let (own, limit) = (Decimal::parse(&own)?, Decimal::parse(&limit)?);
            Some(own.cmp(&limit))
        };
        let is_multiple = |own: &Value| {
            let (own, limit) = (own.to_string(), limit.to_string());
            let (own, limit) = (Decimal::parse(&own), Decimal::parse(&limit));
            own.zip(limit).and_then(|(own, limit)| own.is_multiple_of(&limit)) == Some(true)
        };
        if keyword == "multipleOf" && sub.types.is_within(Types::ALL.without(Types::FRACTION)) && is_multiple(&json!(1))
        {
            return true;
        }
        sub.parts.iter().any(|part| {
            let has = |own: &str, is_met: fn(Ordering) -> bool| {
                self.sub.keywords(part).get(own).and_then(compare).is_some_and(is_met)
            };
            match keyword {
                "minimum" => has("minimum", Ordering::is_ge) || has("exclusiveMinimum", Ordering::is_ge),
                "exclusiveMinimum" => has("minimum", Ordering::is_gt) || has("exclusiveMinimum", Ordering::is_ge),
                "maximum" => has("maximum", Ordering::is_le) || has("exclusiveMaximum", Ordering::is_le),
                "exclusiveMaximum" => has("maximum", Ordering::is_lt) || has("exclusiveMaximum", Ordering::is_le),
                _ => self.sub.keywords(part).get("multipleOf").is_some_and(is_multiple),
            }
        })
    }

    fn arrays(&mut self, sub: &Conj, part: &Arc<str>) -> bool {
        let keywords = self.sup.keywords(part);
        let sub = &sub.only(Types::ARRAY);
        // What has to be in a list makes it that long, too.
        let contained = sub.parts.iter().map(|part| self.sub.keywords(part));
        let contained = contained.filter(|keywords| keywords.contains_key("contains"));
        let contained = contained.map(|keywords| keywords.get("minContains").and_then(count).unwrap_or(1));
        let least = contained.max().unwrap_or(0).max(sub.at_least(self.sub, "minItems"));
        let most = sub.at_most(self.sub, "maxItems");
        if most.is_some_and(|most| most < least) {
            return true;
        }
        let mut holds = true;
        let limit = |keyword: &str| keywords.get(keyword).and_then(count);
        if limit("minItems").is_some_and(|limit| least < limit) {
            holds = self.sized(sub, part, "minItems", least);
        }
        if let Some(limit) = limit("maxItems").filter(|limit| most.is_none_or(|most| most > *limit)) {
            holds &= self.sized(sub, part, "maxItems", least.max(limit.saturating_add(1)));
        }
        let may_repeat = most.is_none_or(|most| most > 1) && !sub.says(self.sub, "uniqueItems", &true.into());
        if keywords.get("uniqueItems") == Some(&true.into()) && may_repeat {
            holds &= self.sized(sub, part, "uniqueItems", least.max(2));
        }
        let prefix = sub.prefix(self.sub).max(self.sup.branches(part, "prefixItems").len());
        for position in 0..=prefix {
            if most.is_some_and(|most| position as u64 >= most) {
                break;
            }
            let Some(schema) = item(self.sup, part, position) else {
                continue;
            };
            let into = if position == prefix {
                Way::Items(position)
            } else {
                Way::Item(position)
            };
            holds &= self.within_part(sub, into, &sub.item(self.sub, position), &schema);
            if !holds && self.quiet > 0 {
                break;
            }
        }
        holds
    }

    /// A list of a telling length.
    fn sized(&mut self, sub: &Conj, part: &Arc<str>, keyword: &str, length: u64) -> bool {
        let values = if self.quiet > 0 || length > ITEM_LIMIT {
            Vec::new()
        } else {
            (0..2)
                .filter_map(|variant| self.sampler().list(sub, length, variant, 0))
                .collect()
        };
        self.find(&Finding {
            sub,
            part,
            keyword,
            values,
            beyond: None,
            why: &format!("no list was found that shows whether `{keyword}` is met"),
        })
    }
}

/// Whether validators check a format of which no samples are known.
fn is_asserted(format: &str) -> bool {
    matches!(format, "uri-template" | "relative-json-pointer")
}
