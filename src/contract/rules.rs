//! Rules of the business: conditions on an object's fields that a schema cannot express.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jsonschema::Validator;
use serde::Deserialize;

use super::openapi::{OpenApi, push_token};
use crate::config::Diagnostic;
use crate::expression::{Binding, Environment, Expression, Mistake, Shape, Type};
use crate::json::{Kind, Tape, Value};
use crate::problem::Violation;

/// Where rules stand in a schema.
const KEY: &str = "x-crossdock-rules";

/// Most levels of schemas that are followed into a document.
const DEPTH_LIMIT: usize = 128;

/// A rule as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleSpec {
    /// Its name, the same for as long as the rule means the same: `total-matches`.
    id: String,
    /// The condition that has to hold.
    rule: String,
    /// What a sender is told whose document breaks it.
    message: String,
}

/// A rule that was compiled.
#[derive(Debug)]
struct Rule {
    id: String,
    message: String,
    condition: Expression,
}

/// The rules of a document, by the pointers of their schemas.
#[derive(Debug, Default)]
pub(super) struct Rules {
    by_schema: BTreeMap<String, Vec<Arc<Rule>>>,
}

/// Where in documents of one schema which rules apply.
#[derive(Debug)]
pub(super) struct RulePlan {
    spots: Vec<Spot>,
}

/// What to do with a value of one schema. Other spots are named by their number.
#[derive(Debug, Default)]
struct Spot {
    rules: Vec<Arc<Rule>>,
    fields: Vec<(String, usize)>,
    /// Of fields that are not described.
    others: Option<usize>,
    items: Option<usize>,
    /// Schemas that a value may or may not be of.
    choices: Vec<(Arc<Validator<Tape>>, usize)>,
}

impl Rules {
    /// Compiles all rules of a document, and tells their mistakes.
    pub(super) fn compile(document: &OpenApi, mistakes: &mut Vec<Diagnostic>) -> Self {
        let mut places = Vec::new();
        find(&document.root, &mut String::new(), 0, &mut places);
        let mut rules = Self::default();
        for schema in places {
            let compiled = Self::compile_schema(document, &schema, mistakes);
            rules.by_schema.insert(schema, compiled);
        }
        rules
    }

    fn compile_schema(document: &OpenApi, schema: &str, mistakes: &mut Vec<Diagnostic>) -> Vec<Arc<Rule>> {
        let place = format!("{schema}/{KEY}");
        let kind = document.value_type(schema);
        if !matches!(kind.shape, Shape::Object(_)) {
            let mistake = document.mistake(&place, format!("rules belong to an object, and this is {kind}"));
            mistakes.push(mistake.help("write `type: object` beside them, or move them to the object around"));
            return Vec::new();
        }
        let Some(written) = document.at(&place).as_array() else {
            let mistake = document.mistake(&place, format!("`{KEY}` is a list"));
            mistakes.push(mistake.help("write `- { id: total-matches, rule: total >= 0, message: … }`"));
            return Vec::new();
        };
        let environment = Environment::new(document)
            .subject("this", kind.present())
            .variable("channel", Type::string());
        let mut rules: Vec<Arc<Rule>> = Vec::new();
        for (position, written) in written.iter().enumerate() {
            let place = format!("{place}/{position}");
            let spec = match RuleSpec::deserialize(written) {
                Ok(spec) => spec,
                Err(error) => {
                    let mistake = document.mistake(&place, format!("this is no rule: {error}"));
                    mistakes.push(mistake.help("a rule has `id`, `rule` and `message`"));
                    continue;
                }
            };
            if rules.iter().any(|rule| rule.id == spec.id) {
                let message = format!("a second rule `{}`", spec.id);
                mistakes.push(
                    document
                        .mistake(&format!("{place}/id"), message)
                        .help("give each its own id"),
                );
            }
            match compile(&spec.rule, &environment) {
                Ok(condition) => rules.push(Arc::new(Rule {
                    id: spec.id,
                    message: spec.message,
                    condition,
                })),
                Err(found) => {
                    let rule = format!("{place}/rule");
                    mistakes.extend(found.iter().map(|mistake| within(document, &rule, &spec.rule, mistake)));
                }
            }
        }
        rules
    }

    /// Which rules apply where in a document of a schema. `None` if there are none.
    pub(super) fn plan(&self, document: &OpenApi, schema: &str) -> Option<RulePlan> {
        if self.by_schema.is_empty() {
            return None;
        }
        let mut planner = Planner {
            rules: self,
            document,
            known: HashMap::new(),
            drafts: Vec::new(),
        };
        planner.draft(schema)?;
        planner.finish()
    }
}

/// A condition that is true or false, and always one of them.
fn compile(text: &str, environment: &Environment<'_>) -> Result<Expression, Vec<Mistake>> {
    let condition = Expression::compile(text, environment)?;
    let kind = condition.result_type();
    let whole = 0..text.len();
    if *kind != Type::from(Shape::Bool) {
        let message = format!("a rule is true or false, and this is {kind}");
        let help = Some("compare it with something".to_owned());
        return Err(vec![Mistake {
            at: whole,
            message,
            help,
        }]);
    }
    if condition.is_fallible() {
        let message = "this can fail, and a rule is true or false for every document".to_owned();
        let help = Some("say what counts instead where a conversion or division fails: `x.or(y)`".to_owned());
        return Err(vec![Mistake {
            at: whole,
            message,
            help,
        }]);
    }
    Ok(condition)
}

/// Finds the pointers of all values that have rules.
fn find(value: &serde_json::Value, at: &mut String, depth: usize, found: &mut Vec<String>) {
    use serde_json::Value as Json;
    if depth > DEPTH_LIMIT {
        return;
    }
    let length = at.len();
    match value {
        Json::Object(members) => {
            if members.contains_key(KEY) {
                found.push(at.clone());
            }
            for (name, value) in members {
                // Examples are data.
                if !matches!(name.as_str(), "example" | "examples" | "default" | "const" | "enum") {
                    push_token(at, name);
                    find(value, at, depth + 1, found);
                    at.truncate(length);
                }
            }
        }
        Json::Array(elements) => {
            for (position, value) in elements.iter().enumerate() {
                push_token(at, &position.to_string());
                find(value, at, depth + 1, found);
                at.truncate(length);
            }
        }
        _ => {}
    }
}

/// A mistake in an expression, shown where it stands in its file.
fn within(document: &OpenApi, pointer: &str, text: &str, mistake: &Mistake) -> Diagnostic {
    let mut diagnostic = document.mistake(pointer, mistake.message.clone());
    diagnostic.help.clone_from(&mistake.help);
    let start = mistake.at.start.min(text.len());
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    // How the file indents, folds or quotes the text is not known; its line is found again unless it has escapes.
    if let Some((number, column)) = find_line(&diagnostic.source, diagnostic.line, line.trim()) {
        let indent = line.len() - line.trim_start().len();
        let before = &line[indent.min(start - line_start)..start - line_start];
        let characters = |text: &str| u32::try_from(text.chars().count()).unwrap_or_default();
        let end = mistake.at.end.clamp(start, line_start + line.len());
        diagnostic.line = number;
        diagnostic.column = column + characters(before);
        diagnostic.length = characters(&text[start..end]);
    }
    diagnostic
}

/// Line and column of a text at or after a line.
fn find_line(file: &str, from: u32, wanted: &str) -> Option<(u32, u32)> {
    let lines = file.lines().zip(1_u32..).skip(from.saturating_sub(1) as usize);
    lines.take(64).find_map(|(line, number)| {
        let at = line.find(wanted).filter(|_| !wanted.is_empty())?;
        Some((number, u32::try_from(line[..at].chars().count()).ok()? + 1))
    })
}

/// Makes a plan.
struct Planner<'a> {
    rules: &'a Rules,
    document: &'a OpenApi,
    /// Spots by the pointers of their schemas.
    known: HashMap<String, usize>,
    drafts: Vec<Draft>,
}

/// A spot whose choices are still pointers.
#[derive(Default)]
struct Draft {
    spot: Spot,
    choices: Vec<(String, usize)>,
}

impl Planner<'_> {
    fn draft(&mut self, schema: &str) -> Option<usize> {
        let schema = self.document.resolve(schema)?;
        if let Some(known) = self.known.get(&schema) {
            return Some(*known);
        }
        let number = self.drafts.len();
        self.known.insert(schema.clone(), number);
        self.drafts.push(Draft::default());
        let mut draft = Draft::default();
        for part in self.document.parts(&schema) {
            draft
                .spot
                .rules
                .extend(self.rules.by_schema.get(&part).into_iter().flatten().cloned());
        }
        for (name, property) in self.document.properties(&schema) {
            if let Some(number) = self.draft(&property) {
                draft.spot.fields.push((name, number));
            }
        }
        draft.spot.others = self.document.additional(&schema).and_then(|other| self.draft(&other));
        draft.spot.items = self.document.items(&schema).and_then(|items| self.draft(&items));
        for choice in self.document.choices(&schema) {
            if !choice.contains("/prefixItems/")
                && let Some(number) = self.draft(&choice)
            {
                draft.choices.push((choice, number));
            }
        }
        self.drafts[number] = draft;
        Some(number)
    }

    /// Leaves out ways that lead to no rule.
    fn finish(self) -> Option<RulePlan> {
        let mut leads: Vec<bool> = self.drafts.iter().map(|draft| !draft.spot.rules.is_empty()).collect();
        // Schemas may lead back to themselves, so until nothing changes.
        loop {
            let before = leads.clone();
            for (number, Draft { spot, choices }) in self.drafts.iter().enumerate() {
                let fields = spot.fields.iter().map(|(_, next)| *next);
                let choices = choices.iter().map(|(_, next)| *next);
                let mut next = fields.chain(choices).chain(spot.others).chain(spot.items);
                leads[number] = leads[number] || next.any(|next| before[next]);
            }
            if leads == before {
                break;
            }
        }
        if !leads.first().copied().unwrap_or_default() {
            return None;
        }
        let document = self.document;
        let finished = self.drafts.into_iter().map(|Draft { mut spot, choices }| {
            spot.others = spot.others.filter(|next| leads[*next]);
            // A described field is none of the others, even if no rule is behind it.
            let has_others = spot.others.is_some();
            spot.fields.retain(|(_, next)| has_others || leads[*next]);
            spot.items = spot.items.filter(|next| leads[*next]);
            spot.choices = choices
                .into_iter()
                .filter(|(_, next)| leads[*next])
                // One that cannot be used was told as a mistake of the schema around it.
                .filter_map(|(choice, next)| Some((document.validator(&choice).ok()?, next)))
                .collect();
            spot
        });
        Some(RulePlan {
            spots: finished.collect(),
        })
    }
}

impl RulePlan {
    /// Holds a document that fits its schema against the rules; stops once there are `limit` violations.
    pub(super) fn check(&self, root: Value<'_>, channel: &str, limit: usize, violations: &mut Vec<Violation>) {
        let mut check = Check {
            plan: self,
            channel,
            limit,
            violations,
            at: String::new(),
        };
        check.value(0, root, 0);
    }
}

/// One document being held against the rules.
struct Check<'a> {
    plan: &'a RulePlan,
    channel: &'a str,
    limit: usize,
    violations: &'a mut Vec<Violation>,
    /// Pointer of the value that is looked at.
    at: String,
}

impl Check<'_> {
    fn value(&mut self, spot: usize, value: Value<'_>, depth: usize) {
        let Some(spot) = self.plan.spots.get(spot) else { return };
        if depth > DEPTH_LIMIT {
            return;
        }
        if value.kind() == Kind::Object {
            for rule in &spot.rules {
                if self.violations.len() >= self.limit {
                    return;
                }
                self.rule(rule, value);
            }
        }
        let length = self.at.len();
        if !spot.fields.is_empty() || spot.others.is_some() {
            for (name, member) in value.members() {
                let field = spot.fields.iter().find(|(field, _)| name.is(field));
                if let Some(next) = field.map(|(_, next)| *next).or(spot.others) {
                    push_token(&mut self.at, &name.text());
                    self.value(next, member, depth + 1);
                    self.at.truncate(length);
                }
            }
        }
        if let Some(next) = spot.items {
            for (position, element) in value.elements().enumerate() {
                push_token(&mut self.at, &position.to_string());
                self.value(next, element, depth + 1);
                self.at.truncate(length);
            }
        }
        for (choice, next) in &spot.choices {
            if choice.is_valid(value) {
                self.value(*next, value, depth + 1);
            }
        }
    }

    fn rule(&mut self, rule: &Rule, value: Value<'_>) {
        let bindings = [Binding::Json(value), Binding::Text(self.channel)];
        let what = match rule.condition.holds(&bindings) {
            Ok(true) => return,
            Ok(false) => format!("{} (rule {})", rule.message, rule.id),
            // Not to be decided is not to be let through.
            Err(error) => format!("rule {} cannot be checked: {error}", rule.id),
        };
        let at = self.at.clone();
        self.violations.push(Violation { at, what });
    }
}
