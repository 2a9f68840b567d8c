//! The forms that pipelines read.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::counted;
use crate::contract::check::report::{Finding, LensReport, Report, Way, Weight, by_place};

/// `JUnit` XML, as most pipelines show it.
pub(super) fn junit(reports: &[Report]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let mut suite = |name: &str, cases: &[(String, Vec<&Finding>, Option<&LensReport>)]| {
        let fails = |finding: &&Finding| finding.weight <= Weight::Doubt;
        let failures = cases
            .iter()
            .filter(|(_, findings, _)| findings.iter().any(&fails))
            .count();
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\">",
            escaped(name),
            cases.len()
        );
        for (case, findings, lens) in cases {
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
            if let Some(lens) = lens {
                let _ = writeln!(text, "      <system-out>{}</system-out>", escaped(&proved(lens)));
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
            .map(|lens| (lens.name.clone(), lens.findings.iter().collect(), Some(lens)))
            .collect();
        suite(&name, &cases);
    }
    for report in reports.iter().filter(|report| !report.findings.is_empty()) {
        suite(
            &report.contract,
            &[("contract".to_owned(), report.findings.iter().collect(), None)],
        );
    }
    text.push_str("</testsuites>\n");
    text
}

/// What is proved of a kind of body and what is not, in a few lines.
fn proved(lens: &LensReport) -> String {
    let mut text = counted(lens.places);
    for open in &lens.unproved {
        let path = if open.path.is_empty() {
            "(whole body)"
        } else {
            &open.path
        };
        let _ = write!(text, "\nnot proved: {path}: {}", open.why);
        if let Some(file) = &open.file {
            let _ = write!(text, " ({}:{}:{})", file.display(), open.line, open.column);
        }
    }
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
    let mut lenses: Vec<Value> = Vec::new();
    for (report, way, lens) in by_lens(reports) {
        lenses.push(json!({
            "contract": report.contract, "from": way.from, "to": way.to, "name": lens.name,
            "standing": lens.standing, "places": lens.places,
        }));
        for open in lens.unproved.iter().filter(|open| open.line > 0) {
            let file = open.file.as_ref().map(|file| file.to_string_lossy());
            let path = if open.path.is_empty() {
                "(whole body)"
            } else {
                &open.path
            };
            let subject = format!("{} -> {} {}", way.from, way.to, lens.name);
            results.push(json!({
                "ruleId": "contract.unproved",
                "level": "note",
                "message": { "text": format!("{subject}: {path}: not proved: {}", open.why) },
                "locations": [{ "physicalLocation": {
                    "artifactLocation": { "uri": file },
                    "region": { "startLine": open.line, "startColumn": open.column.max(1) },
                } }],
            }));
        }
    }
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "crossdock", "version": env!("CARGO_PKG_VERSION"), "rules": [] } },
            "results": results,
            "properties": { "lenses": lenses },
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
    for report in reports {
        for way in &report.ways {
            let lenses = way
                .lenses
                .iter()
                .map(|lens| format!("{}: {}", lens.name, counted(lens.places)));
            let title = format!("contract {} {} -> {}", report.contract, way.from, way.to);
            let message = lenses.collect::<Vec<_>>().join("%0A");
            let _ = writeln!(text, "::notice title={title}::{message}");
        }
    }
    text
}

fn by_lens(reports: &[Report]) -> impl Iterator<Item = (&Report, &Way, &LensReport)> {
    let ways = reports
        .iter()
        .flat_map(|report| report.ways.iter().map(move |way| (report, way)));
    ways.flat_map(|(report, way)| way.lenses.iter().map(move |lens| (report, way, lens)))
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
