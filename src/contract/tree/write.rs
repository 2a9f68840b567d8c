//! Writes a tree as YAML that people like to read: block style, in the order it has.

use std::fmt::Write as _;

use super::{Content, Node};

/// Longest text of a list or map that is written on one line.
const FLOW_WIDTH: usize = 80;

impl Node {
    /// The document as YAML, with a line break at its end.
    pub(in crate::contract) fn to_yaml(&self) -> String {
        let mut out = String::new();
        self.block(0, &mut out);
        if !out.ends_with('\n') {
            out.push('\n');
        }
        out
    }

    /// Writes behind the `:` or `-` of what this belongs to, or at the start of the document.
    fn block(&self, indent: usize, out: &mut String) {
        match &self.content {
            Content::Map(members) if !members.is_empty() => {
                for (position, (name, member)) in members.iter().enumerate() {
                    if position > 0 || ends_line(out) {
                        pad(indent, out);
                    }
                    write_text(name, true, out);
                    out.push(':');
                    member.value.behind_colon(indent, out);
                }
            }
            Content::List(nodes) if !nodes.is_empty() => {
                for (position, node) in nodes.iter().enumerate() {
                    if position > 0 || ends_line(out) {
                        pad(indent, out);
                    }
                    out.push_str("- ");
                    if let Some(flow) = node.flow() {
                        out.push_str(&flow);
                        out.push('\n');
                    } else {
                        node.block(indent + 2, out);
                    }
                }
            }
            Content::Text(text) if is_paragraph(text) => {
                out.push_str(if text.ends_with('\n') { "|\n" } else { "|-\n" });
                for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
                    if !line.is_empty() {
                        pad(indent.max(2), out);
                        out.push_str(line);
                    }
                    out.push('\n');
                }
            }
            _ => {
                out.push_str(&self.on_one_line());
                out.push('\n');
            }
        }
    }

    fn behind_colon(&self, indent: usize, out: &mut String) {
        if let Some(flow) = self.flow() {
            out.push(' ');
            out.push_str(&flow);
            out.push('\n');
            return;
        }
        out.push(if matches!(self.content, Content::Text(_)) {
            ' '
        } else {
            '\n'
        });
        self.block(indent + 2, out);
    }

    /// The value on one line, where that reads well: plain values, and short lists and maps of these.
    fn flow(&self) -> Option<String> {
        let is_plain = |node: &Self| match &node.content {
            Content::Text(text) => !is_paragraph(text) && text.len() <= FLOW_WIDTH,
            Content::List(nodes) => nodes.is_empty(),
            Content::Map(members) => members.is_empty(),
            _ => true,
        };
        let is_short = match &self.content {
            Content::List(nodes) => nodes.iter().all(is_plain),
            Content::Map(members) => members.len() <= 1 && members.values().all(|member| is_plain(&member.value)),
            Content::Text(text) => return (!is_paragraph(text)).then(|| self.on_one_line()),
            _ => true,
        };
        let written = is_short.then(|| self.on_one_line())?;
        (written.len() <= FLOW_WIDTH).then_some(written)
    }

    fn on_one_line(&self) -> String {
        let mut out = String::new();
        self.write_flow(&mut out);
        out
    }

    fn write_flow(&self, out: &mut String) {
        match &self.content {
            Content::Null => out.push_str("null"),
            Content::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Content::Number(number) => out.push_str(&number.to_string()),
            Content::Text(text) => write_text(text, false, out),
            Content::List(nodes) => {
                out.push('[');
                for (position, node) in nodes.iter().enumerate() {
                    if position > 0 {
                        out.push_str(", ");
                    }
                    node.write_flow(out);
                }
                out.push(']');
            }
            Content::Map(members) if members.is_empty() => out.push_str("{}"),
            Content::Map(members) => {
                out.push_str("{ ");
                for (position, (name, member)) in members.iter().enumerate() {
                    if position > 0 {
                        out.push_str(", ");
                    }
                    write_text(name, true, out);
                    out.push_str(": ");
                    member.value.write_flow(out);
                }
                out.push_str(" }");
            }
        }
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn ends_line(out: &str) -> bool {
    out.is_empty() || out.ends_with('\n')
}

/// Several lines that a literal block carries unchanged.
fn is_paragraph(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\n', '\t'])
        && text.chars().all(|c| c == '\n' || !c.is_control())
        && !text.contains(['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'])
}

/// Text as a scalar that every YAML reader takes for text.
fn write_text(text: &str, is_key: bool, out: &mut String) {
    if is_bare(text, is_key) {
        out.push_str(text);
    } else if text
        .chars()
        .all(|c| !c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
    {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    } else {
        // JSON's escapes are YAML's; what JSON leaves alone and YAML does not is escaped too.
        let quoted = serde_json::Value::from(text).to_string();
        for c in quoted.chars() {
            match c {
                '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                    let _ = write!(out, "\\u{:04x}", u32::from(c));
                }
                _ => out.push(c),
            }
        }
    }
}

/// Nothing in it means something else, for readers of YAML 1.1 as well.
fn is_bare(text: &str, is_key: bool) -> bool {
    let starts_well = text.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '/' | '$') && is_key);
    let is_word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n" | "nan" | "inf"
    );
    starts_well
        && !is_word
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.' | '/' | '$' | '(' | ')' | '+' | ';'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::contract::tree::{Member, Origin, read_text};

    fn of(value: Value) -> Node {
        let content = match value {
            Value::Null => Content::Null,
            Value::Bool(value) => Content::Bool(value),
            Value::Number(number) => Content::Number(number),
            Value::String(text) => Content::Text(text),
            Value::Array(values) => Content::List(values.into_iter().map(of).collect()),
            Value::Object(values) => {
                let member = |(name, value)| {
                    let (key, value) = (Origin::default(), of(value));
                    (name, Member { key, value })
                };
                Content::Map(values.into_iter().map(member).collect())
            }
        };
        Node {
            origin: Origin::default(),
            content,
        }
    }

    #[test]
    fn a_document_is_written_in_its_order_and_reads_well() {
        let text = "openapi: 3.1.0\ninfo:\n  title: Orders\n  version: '1.0'\n  description: |\n    First line.\n\n    Second: line.\n\
                    paths:\n  /orders/{id}:\n    parameters:\n      - name: id\n        in: path\n        required: true\n        \
                    schema: { $ref: '#/components/schemas/Id' }\n      - $ref: '#/components/parameters/Long'\n\
                    tags: [a, 'no', '1']\nempty: {}\n";
        let written = read_text(text).to_yaml();
        assert_eq!(read_text(&written).to_value(), read_text(text).to_value());
        assert!(written.starts_with("openapi: '3.1.0'\ninfo:\n  title: Orders\n  version: '1.0'\n  description: |\n    First line.\n\n    Second: line.\n"), "{written}");
        assert!(
            written.contains("      - name: id\n        in: path\n        required: true\n"),
            "{written}"
        );
        assert!(written.contains("tags: [a, 'no', '1']\nempty: {}\n"), "{written}");
    }

    #[test]
    fn text_that_looks_like_something_else_comes_back_as_text() {
        for text in [
            "",
            " ",
            "no",
            "Yes",
            "~",
            "1",
            "1e3",
            "0x1f",
            "-",
            "- a",
            "a: b",
            "a #b",
            "#",
            "&a",
            "*a",
            "!x",
            "|",
            ">",
            "'",
            "\"",
            "\\",
            "a\n",
            "a\nb",
            "a\n\n",
            "\na",
            " a\nb",
            "a\tb",
            "a\r\nb",
            "\u{85}",
            "\u{2028}x",
            "\u{feff}",
            "\u{1}",
            "\u{7f}",
            "@a",
            "`",
            "%",
            "{a}",
            "[a]",
            "a,b",
            "2026-11-21",
            "12:30:00",
            ".nan",
            "=",
            "<<",
            "---",
            "...",
            "null",
            "a\n---\nb",
        ] {
            let value = json!({ "k": text, "l": [text, { "m": text, "n": [[text]] }], text: 1 });
            let written = of(value.clone()).to_yaml();
            assert_eq!(read_text(&written).to_value(), value, "{text:?} in\n{written}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let plain = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c \\n:#'\"\\-\\[{,&*!|>%@`\u{e9}\u{85}\\t~0-9.]{0,12}".prop_map(Value::from),
        ];
        plain.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("[a-c :\\-'0-9\\n]{0,4}", inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(value in values()) {
            let written = of(json!({ "document": value })).to_yaml();
            prop_assert_eq!(read_text(&written).to_value(), json!({ "document": value }), "{}", written);
        }
    }
}
