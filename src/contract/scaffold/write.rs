//! Writes a draft as a mapping file: what is certain as steps, what is likely as comments.

use std::fmt::Write as _;

use super::compare::{Compared, Remark, plain};
use super::{Draft, OperationDraft, Table};

pub(super) fn write(contract: &str, older: &str, newer: &str, draft: &Draft<'_>) -> String {
    let mut out = format!(
        "# A first mapping from {older} to {newer}, made by comparing their schemas. Fields of the same name and type need no\n\
         # step. What was likely is a comment with a score: take its `#` away where it is right. `crossdock check` tells what\n\
         # is still to be done.\n"
    );
    for remark in &draft.remarks {
        let _ = writeln!(out, "# To do: {}", one_line(remark));
    }
    let _ = write!(
        out,
        "kind: Mapping\ncontract: {}\nfrom: {}\nto: {}\n",
        plain(contract),
        plain(older),
        plain(newer)
    );
    if !draft.tables.is_empty() {
        out.push_str("tables:\n");
        for (name, table) in &draft.tables {
            write_table(name, table, &mut out);
        }
    }
    let types: Vec<_> = draft
        .types
        .iter()
        .filter(|(name, (other, compared))| *name != other || !compared.is_empty())
        .collect();
    if !types.is_empty() {
        out.push_str("types:\n");
        for (name, (other, compared)) in types {
            if name == other {
                write_steps(&plain(name), compared, 2, &mut out);
            } else {
                let _ = writeln!(out, "  {}:\n    as: {}", plain(name), plain(other));
                write_steps("ops", compared, 4, &mut out);
            }
        }
    }
    write_operations(&draft.operations, &mut out);
    out
}

/// A key, its steps, and below them what is not certain.
fn write_steps(key: &str, compared: &Compared, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    if compared.is_empty() && key == "ops" {
        return;
    }
    if compared.steps.is_empty() {
        let _ = writeln!(out, "{pad}{key}: [] # take the brackets away once a step stands here");
    } else {
        let _ = writeln!(out, "{pad}{key}:");
    }
    for step in &compared.steps {
        let _ = writeln!(out, "{pad}  - {step}");
    }
    for remark in &compared.remarks {
        match remark {
            Remark::Likely { step, score, why } => {
                let _ = writeln!(out, "{pad}  # - {step} # {score:.2}: {}", one_line(why));
            }
            Remark::ToDo(what) => {
                let _ = writeln!(out, "{pad}  # To do: {}", one_line(what));
            }
        }
    }
}

fn write_table(name: &str, table: &Table, out: &mut String) {
    let end = if table.rows.is_empty() { ": {}" } else { ":" };
    let _ = writeln!(out, "  {}{end}", plain(name));
    for (older, newer) in &table.rows {
        let _ = writeln!(out, "    {}: {}", plain(older), plain(newer));
    }
    let known: Vec<String> = table.open.1.iter().map(|code| plain(code)).collect();
    for code in &table.open.0 {
        let _ = writeln!(
            out,
            "    # {}: … # one of {}",
            one_line(&plain(code)),
            one_line(&known.join(", "))
        );
    }
    if table.open.0.is_empty() && !known.is_empty() {
        let _ = writeln!(
            out,
            "    # To do: the newer version also has {}",
            one_line(&known.join(", "))
        );
    }
}

fn write_operations(operations: &[OperationDraft], out: &mut String) {
    let differs = |operation: &&OperationDraft| {
        let has_part = operation.parts.iter().any(|(_, compared)| !compared.is_empty());
        has_part || operation.current.is_some() || !operation.status.0.is_empty() || !operation.status.1.is_empty()
    };
    let operations: Vec<_> = operations.iter().filter(differs).collect();
    if operations.is_empty() {
        return;
    }
    out.push_str("operations:\n");
    for operation in operations {
        let parts: Vec<_> = operation
            .parts
            .iter()
            .filter(|(_, compared)| !compared.is_empty())
            .collect();
        let single = match (operation.status.0.as_slice(), operation.status.1.as_slice()) {
            ([one], [other]) if one / 100 == other / 100 => Some((one, other)),
            _ => None,
        };
        let end = if parts.is_empty() && single.is_none() && operation.current.is_none() {
            ": {}"
        } else {
            ":"
        };
        let _ = writeln!(out, "  {}{end}", plain(&operation.id));
        for (part, compared) in parts {
            write_steps(part, compared, 4, out);
        }
        if let Some(current) = &operation.current {
            let _ = writeln!(out, "    update: {{ mergeCurrent: {{ current: {} }} }}", plain(current));
        }
        if let Some((one, other)) = single {
            let _ = writeln!(out, "    status: {{ {one}: {other} }}");
        } else {
            for (codes, which, gone) in [
                (&operation.status.0, "older", "newer"),
                (&operation.status.1, "newer", "older"),
            ] {
                for code in codes {
                    let _ = writeln!(
                        out,
                        "    # To do: only the {which} version answers {code}; `status: {{ OLDER: NEWER }}` says what it is in the {gone}"
                    );
                }
            }
        }
    }
}

/// A comment ends with its line.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'], " ")
}
