//! The forms that pipelines read.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::contract::check::report::{Finding, Report, Weight, by_place};

/// `JUnit` XML, as most pipelines show it.
pub(super) fn junit(reports: &[Report]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let mut suite = |name: &str, cases: &[(String, Vec<&Finding>)]| {
        let fails = |finding: &&Finding| finding.weight <= Weight::Doubt;
        let failures = cases.iter().filter(|(_, findings)| findings.iter().any(&fails)).count();
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\">",
            escaped(name),
            cases.len()
        );
        for (case, findings) in cases {
            let _ = writeln!(
                text,
                "    <testcase classname=\"{}\" name=\"{}\">",
                escaped(name),
                escaped(case)
            );
            for finding in findings.iter().filter(|finding| fails(finding)) {
                let place = finding.place().unwrap_or_default();
                let _ = writeln!(
                    text,
                    "      <failure type=\"{}\" message=\"{}\">{}\n{}</failure>",
                    finding.kind,
                    escaped(&finding.headline()),
                    escaped(&place),
                    escaped(finding.witness.as_deref().unwrap_or_default()),
                );
            }
            text.push_str("    </testcase>\n");
        }
        text.push_str("  </testsuite>\n");
    };
    for (report, way) in reports
        .iter()
        .flat_map(|report| report.ways.iter().map(move |way| (report, way)))
    {
        let name = format!("{} {} -> {}", report.contract, way.from, way.to);
        let cases: Vec<_> = way
            .lenses
            .iter()
            .map(|lens| (lens.name.clone(), lens.findings.iter().collect()))
            .collect();
        suite(&name, &cases);
    }
    for report in reports.iter().filter(|report| !report.findings.is_empty()) {
        suite(
            &report.contract,
            &[("contract".to_owned(), report.findings.iter().collect())],
        );
    }
    text.push_str("</testsuites>\n");
    text
}

/// SARIF 2.1.0.
pub(super) fn sarif(reports: &[Report]) -> String {
    let mut results: Vec<Value> = Vec::new();
    for ((file, line), findings) in reports.iter().flat_map(by_place) {
        for finding in findings {
            let message = match &finding.help {
                Some(help) => format!("{}; {help}", finding.headline()),
                None => finding.headline(),
            };
            let mut location = json!({ "artifactLocation": { "uri": file.to_string_lossy() } });
            if line > 0 {
                location["region"] = json!({ "startLine": line, "startColumn": finding.column.max(1) });
            }
            results.push(json!({
                "ruleId": format!("contract.{}", finding.kind),
                "level": level(finding.weight),
                "message": { "text": message },
                "locations": [{ "physicalLocation": location }],
                "partialFingerprints": { "findingId/v1": finding.id },
            }));
        }
    }
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "crossdock", "version": env!("CARGO_PKG_VERSION"), "rules": [] } },
            "results": results,
        }],
    });
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

/// One workflow command for each finding.
pub(super) fn github(reports: &[Report]) -> String {
    let mut text = String::new();
    for ((file, line), findings) in reports.iter().flat_map(by_place) {
        for finding in findings {
            let command = match level(finding.weight) {
                "note" => "notice",
                level => level,
            };
            let escape = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
            let property = |text: &str| escape(text).replace(':', "%3A").replace(',', "%2C");
            let file = property(&file.to_string_lossy());
            let title = property(&format!("contract {} {}", finding.kind, finding.id));
            let place = if line > 0 {
                format!(",line={line},col={}", finding.column.max(1))
            } else {
                String::new()
            };
            let _ = writeln!(
                text,
                "::{command} file={file}{place},title={title}::{}",
                escape(&finding.headline())
            );
        }
    }
    text
}

fn level(weight: Weight) -> &'static str {
    match weight {
        Weight::Error | Weight::Doubt => "error",
        Weight::Warning => "warning",
        Weight::Accepted | Weight::Note => "note",
    }
}

/// Text for XML; control characters, which it cannot hold, become a replacement.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(letter),
            control if control.is_control() => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}
