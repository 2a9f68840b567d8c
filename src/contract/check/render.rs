//! A report as text for people, and in the forms that pipelines read.

mod formats;

use std::fmt::Write as _;

use super::report::{Finding, LensReport, Places, Report, Standing, Unproved, Verdict, Weight};

/// Lines on what is not proved of one kind of body, unless in full.
const UNPROVED_LINES: usize = 4;

/// How a report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For people. In full: also what is as it should be.
    Text {
        /// Partial values and spellings too.
        is_full: bool,
    },
    /// Everything, as one JSON document.
    Json,
    /// `JUnit` XML: one suite for each way, one case for each kind of body.
    Junit,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Workflow commands of GitHub Actions, which show beside the changed lines.
    Github,
}

/// Reports in this style, as one document.
pub fn render(reports: &[Report], style: Style) -> String {
    match style {
        Style::Text { is_full } => {
            let texts: Vec<String> = reports.iter().map(|report| text(report, is_full)).collect();
            texts.join("\n")
        }
        Style::Json => serde_json::to_string_pretty(reports).unwrap_or_default() + "\n",
        Style::Junit => formats::junit(reports),
        Style::Sarif => formats::sarif(reports),
        Style::Github => formats::github(reports),
    }
}

fn text(report: &Report, is_full: bool) -> String {
    let mut text = String::new();
    for way in &report.ways {
        let composed = if way.is_composed { " (composed)" } else { "" };
        let _ = writeln!(text, "{} {} -> {}{composed}", report.contract, way.from, way.to);
        let is_plain = |lens: &&LensReport| lens.is_parameters && lens.standing == Standing::Proved && !is_full;
        for lens in way.lenses.iter().filter(|lens| !is_plain(lens)) {
            lens_text(lens, is_full, &mut text);
        }
        let plain: Vec<&LensReport> = way.lenses.iter().filter(is_plain).collect();
        if let Some(together) = together(&plain) {
            lens_text(&together, is_full, &mut text);
        }
        text.push('\n');
    }
    for finding in &report.findings {
        finding_text(finding, &mut text);
    }
    if !report.findings.is_empty() {
        text.push('\n');
    }
    let counted = |weight, one: &str, many: &str| match report.count(weight) {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let counts: Vec<String> = [
        counted(Weight::Error, "refuted", "refuted"),
        counted(Weight::Doubt, "in doubt", "in doubt"),
        counted(Weight::Accepted, "accepted", "accepted"),
        counted(Weight::Warning, "warning", "warnings"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let verdict = match report.verdict {
        Verdict::Proved => "PROVED",
        Verdict::Tested => "GOOD (not all of it proved)",
        Verdict::Blocked => "BLOCKED",
    };
    let counts = if counts.is_empty() {
        String::new()
    } else {
        format!(" ({})", counts.join(", "))
    };
    let _ = writeln!(text, "verdict: {verdict}{counts}");
    let tested: usize = report
        .ways
        .iter()
        .flat_map(|way| &way.lenses)
        .map(|lens| lens.tested)
        .sum();
    let samples = match report.samples {
        0 => String::new(),
        count => format!(", {count} stored samples among them"),
    };
    let _ = writeln!(
        text,
        "{} documents{samples}, seed {}, in {}.{} s",
        thousands(tested),
        report.seed,
        report.milliseconds / 1_000,
        report.milliseconds % 1_000 / 100,
    );
    text
}

/// Parameters of which all is proved, as one kind.
fn together(lenses: &[&LensReport]) -> Option<LensReport> {
    let (first, rest) = lenses.split_first()?;
    let mut all = LensReport::clone(first);
    "parameters".clone_into(&mut all.name);
    for lens in rest {
        all.uses.extend(lens.uses.iter().cloned());
        all.places.proved += lens.places.proved;
        all.tested += lens.tested;
        all.discarded += lens.discarded;
    }
    Some(all)
}

fn lens_text(lens: &LensReport, is_full: bool, text: &mut String) {
    let standing = match lens.standing {
        Standing::Proved => "PROVED",
        Standing::Tested => "tested",
        Standing::Refuted => "REFUTED",
    };
    let mut sizes = format!("{}; {} documents", counted(lens.places), thousands(lens.tested));
    if lens.refused > 0 {
        let _ = write!(sizes, ", {} refused as they should be", thousands(lens.refused));
        if lens.standing == Standing::Refuted {
            sizes.truncate(sizes.len() - " as they should be".len());
        }
    }
    if lens.discarded > 0 {
        let _ = write!(sizes, ", {} drawn in vain", thousands(lens.discarded));
    }
    let uses = match lens.uses.as_slice() {
        [one] => one.clone(),
        [one, rest @ ..] => format!("{one} and {} more", rest.len()),
        [] => String::new(),
    };
    let uses = if uses == lens.name {
        String::new()
    } else {
        format!("   ({uses})")
    };
    let _ = writeln!(text, "  {standing:<8} {:<14} {sizes}{uses}", lens.name);
    for finding in lens.findings.iter().filter(|finding| finding.weight <= Weight::Warning) {
        finding_text(finding, text);
    }
    let unproved = unproved(&lens.unproved);
    let shown = if is_full { unproved.len() } else { UNPROVED_LINES };
    for (why, line, paths) in unproved.iter().take(shown) {
        let _ = writeln!(text, "    not proved: {}: {why}{line}", paths.join(", "));
    }
    if unproved.len() > shown {
        let _ = writeln!(text, "    not proved: {} more, see --full", unproved.len() - shown);
    }
    let of = |kind: &str| -> Vec<&Finding> {
        let notes = lens.findings.iter();
        notes
            .filter(|finding| finding.weight == Weight::Note && finding.kind == kind)
            .collect()
    };
    let partial = of("partial");
    for finding in &partial {
        if is_full {
            finding_text(finding, text);
        }
    }
    if !is_full && !partial.is_empty() {
        let _ = writeln!(text, "    partial: {}", named(&partial));
    }
    for finding in of("loss") {
        let line = finding.place().map(|place| format!("  {place}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "    lost in a round trip: {}: {}{line}",
            finding.path, finding.message
        );
    }
    for (kind, what) in [
        ("spelling", "only written otherwise"),
        ("empty", "left out where empty"),
    ] {
        let found = of(kind);
        if !found.is_empty() {
            let _ = writeln!(text, "    {what}: {}", named(&found));
        }
    }
}

/// How many places are proved: `12 of 14 places proved`.
pub(super) fn counted(places: Places) -> String {
    let all = places.proved + places.refuted + places.unproved;
    let refuted = match places.refuted {
        0 => String::new(),
        count => format!(", {count} refuted"),
    };
    let named = if all == 1 { "place" } else { "places" };
    format!("{} of {all} {named} proved{refuted}", places.proved)
}

/// What is not proved, by its reason: the reason, the step's place, the fields.
fn unproved(open: &[Unproved]) -> Vec<(String, String, Vec<String>)> {
    let mut reasons: Vec<(String, String, Vec<String>)> = Vec::new();
    for one in open {
        let line = match &one.file {
            Some(file) if one.line > 0 => format!("  {}:{}:{}", file.display(), one.line, one.column),
            _ => String::new(),
        };
        let path = if one.path.is_empty() {
            "(whole body)".to_owned()
        } else {
            one.path.clone()
        };
        match reasons.iter_mut().find(|(why, _, _)| *why == one.why) {
            Some((_, lines, paths)) => {
                // Several steps for one reason are told by their fields.
                if *lines != line {
                    lines.clear();
                }
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
            None => reasons.push((one.why.clone(), line, vec![path])),
        }
    }
    reasons
}

fn finding_text(finding: &Finding, text: &mut String) {
    let mark = match finding.weight {
        Weight::Error => 'x',
        Weight::Doubt => '?',
        Weight::Accepted => '+',
        Weight::Warning => '!',
        Weight::Note => '-',
    };
    let path = if finding.path.is_empty() {
        finding.subject.as_str()
    } else {
        finding.path.as_str()
    };
    let _ = writeln!(text, "    {mark} {path}  {}", finding.message);
    if let Some(place) = finding.place() {
        let op = finding.op.map(|op| format!(" ({op})")).unwrap_or_default();
        let _ = writeln!(text, "        at {place}{op}");
    }
    if let Some(beyond) = &finding.beyond {
        let _ = writeln!(text, "        all that fails there: {beyond}");
    }
    if let Some(witness) = &finding.witness {
        let shown: String = witness.chars().take(600).collect();
        let more = if shown.len() < witness.len() { "…" } else { "" };
        let _ = writeln!(text, "        witness ({} bytes): {shown}{more}", witness.len());
    }
    if let Some(help) = &finding.help {
        let _ = writeln!(text, "        fix: {help}");
    }
    if finding.weight == Weight::Doubt {
        let _ = writeln!(text, "        or accept it: --accept {}", finding.id);
    }
}

fn named(findings: &[&Finding]) -> String {
    let mut paths: Vec<&str> = findings.iter().map(|finding| finding.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths.join(", ")
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
