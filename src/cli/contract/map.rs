//! `crossdock contract map`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};

use crate::{
    cli::{complain, diagnosed, say},
    config::read_contracts,
    contract::{
        Answer, Answers, Contract, Direction, Effect, ExplainedStage, Lookup, Operation, RequestFault, Translation,
    },
    json::{Document, SIZE_LIMIT},
    problem::Violation,
};

#[derive(Args)]
pub(super) struct MapArgs {
    /// The contract: its folder's name.
    name: String,
    /// The version the document is in, such as `v1`.
    from: String,
    /// The version it is to be in.
    to: String,
    /// The operation: its `operationId`.
    #[arg(long, value_name = "ID")]
    operation: String,
    /// The document is the body of an answer with this status, as the version FROM declares it.
    #[arg(long, value_name = "STATUS")]
    response: Option<StatusCode>,
    /// Media type of the document.
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    media_type: String,
    /// What other systems answer where the mappings look keys up: a JSON file such as
    /// `{"crm-customers.findCustomer.erpNumber": {"10001": "C-17", "10002": null}}`, with null for a key that has no
    /// counterpart.
    #[arg(long, value_name = "FILE")]
    lookup: Option<PathBuf>,
    /// Show what each step did.
    #[arg(long)]
    explain: bool,
    /// The document; standard input if none is named.
    file: Option<PathBuf>,
}

pub(super) fn run(contracts: &Path, args: &MapArgs) -> anyhow::Result<ExitCode> {
    let Some(contract) = load(contracts, &args.name)? else {
        return Ok(ExitCode::FAILURE);
    };
    let document = read(args.file.as_deref())?;
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_str(&args.media_type)?)]);
    let (caller, upstream) = match args.response {
        None => (&args.from, &args.to),
        Some(_) => (&args.to, &args.from),
    };
    let translation = contract
        .translation(&args.operation, caller, upstream)
        .map_err(|wrong| anyhow!(wrong))?;
    let recorded = Arc::new(Recorded::read(args.lookup.as_deref(), &contract)?);
    let translation = translation.knowing(recorded.clone());
    let (before, stages, after) = match args.response {
        None => {
            let before = request_violations(translation.caller(), &headers, &document);
            let stages = translation.explain_request(&headers, &document);
            (before, stages, translation.upstream())
        }
        Some(status) => {
            let before = translation.upstream().check_response(status, &headers, Some(&document));
            let stages = translation.explain_response(status, &headers, &document);
            (before, stages, translation.caller())
        }
    };
    complain_of(&args.from, &before);
    let stages = match stages {
        Ok(stages) => stages,
        Err(unmappable) if unmappable.is_waiting => {
            for line in recorded.missing() {
                complain(&line);
            }
            return Ok(ExitCode::FAILURE);
        }
        Err(unmappable) => {
            let by = unmappable.step.as_ref();
            let by = by.map_or_else(String::new, |step| format!(", by {step}"));
            complain(&format!("cannot be translated: {unmappable}{by}"));
            return Ok(ExitCode::FAILURE);
        }
    };
    if args.explain {
        for stage in &stages {
            say(&explained(stage));
        }
    }
    let mapped = stages.last().map_or(&document, |stage| &stage.document);
    say(mapped.text());
    let violations = match args.response {
        None => request_violations(after, &headers, mapped),
        Some(status) => {
            let mapped_status = answered(&translation, status, &headers)?;
            after.check_response(mapped_status, &headers, Some(mapped))
        }
    };
    complain_of(&args.to, &violations);
    Ok(if before.is_empty() && violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The status that the caller gets.
fn answered(translation: &Translation, status: StatusCode, headers: &HeaderMap) -> anyhow::Result<StatusCode> {
    let mapped = translation.response(status, &mut headers.clone(), None);
    Ok(mapped.map_err(|wrong| anyhow!(wrong.detail))?.status)
}

fn load(contracts: &Path, name: &str) -> anyhow::Result<Option<Contract>> {
    let mut unreadable = Vec::new();
    let found = match read_contracts(contracts, &[], &mut unreadable) {
        Ok(found) => found,
        Err(mistake) => {
            complain(&diagnosed(&[mistake]));
            return Ok(None);
        }
    };
    let Some(files) = found.get(name) else {
        let known: Vec<_> = found.keys().map(String::as_str).collect();
        bail!(
            "there is no contract `{name}` in {}; there are {}",
            contracts.display(),
            if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            }
        );
    };
    match Contract::load(name, files) {
        Ok(contract) => Ok(Some(contract)),
        Err(mistakes) => {
            complain(&diagnosed(&mistakes));
            Ok(None)
        }
    }
}

/// What other systems answer, as somebody wrote it down.
#[derive(Debug, Default)]
struct Recorded {
    file: Option<PathBuf>,
    answers: BTreeMap<String, BTreeMap<String, Option<String>>>,
    /// What is not in the file: who is asked, and for which key.
    missing: Mutex<BTreeSet<(Arc<str>, String)>>,
}

impl Recorded {
    fn read(file: Option<&Path>, contract: &Contract) -> anyhow::Result<Self> {
        let Some(file) = file else {
            return Ok(Self::default());
        };
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let answers: BTreeMap<String, BTreeMap<String, Option<String>>> =
            serde_json::from_str(&text).with_context(|| format!("{} holds no recorded answers", file.display()))?;
        let known: BTreeSet<&str> = contract.lookups().map(|lookup| &*lookup.label).collect();
        if let Some(unknown) = answers.keys().find(|label| !known.contains(label.as_str())) {
            let known: Vec<_> = known.into_iter().collect();
            bail!(
                "{}: no mapping asks `{unknown}`; what is asked is {}",
                file.display(),
                if known.is_empty() {
                    "nothing".to_owned()
                } else {
                    known.join(", ")
                }
            );
        }
        Ok(Self {
            file: Some(file.to_owned()),
            answers,
            missing: Mutex::default(),
        })
    }

    /// What would have to be known, a line each.
    fn missing(&self) -> Vec<String> {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = missing.iter().map(|(label, key)| match &self.file {
            Some(file) => format!("{} does not say what {label} answers for `{key}`", file.display()),
            None => format!("{label} is asked for `{key}`: write its answer into a file, and name that by --lookup"),
        });
        lines.collect()
    }
}

impl Answers for Recorded {
    fn answer(&self, lookup: &Arc<Lookup>, key: &str) -> Option<Answer> {
        match self.answers.get(&*lookup.label).and_then(|known| known.get(key)) {
            Some(Some(other)) => Some(Answer::Key(other.as_str().into())),
            Some(None) => Some(Answer::Nothing),
            None => {
                let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
                missing.insert((lookup.label.clone(), key.to_owned()));
                None
            }
        }
    }

    fn is_waiting(&self) -> bool {
        !self.missing.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

fn read(file: Option<&Path>) -> anyhow::Result<Document> {
    let mut bytes = Vec::new();
    let limit = SIZE_LIMIT as u64 + 1;
    match file {
        Some(path) => fs::File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .with_context(|| format!("reading {}", path.display()))?,
        None => io::stdin()
            .take(limit)
            .read_to_end(&mut bytes)
            .context("reading standard input")?,
    };
    Document::parse(bytes.into()).context("the document is not JSON")
}

/// What is wrong with a body; parameters are not looked at.
fn request_violations(operation: &Operation, headers: &HeaderMap, document: &Document) -> Vec<Violation> {
    let mut violations = match operation.check_request(&[], None, headers, Some(document)) {
        Ok(()) => Vec::new(),
        Err(RequestFault::Malformed(violations) | RequestFault::Invalid(violations)) => violations,
    };
    violations.retain(|violation| !violation.at.contains(':'));
    violations
}

fn complain_of(version: &str, violations: &[Violation]) {
    for violation in violations {
        let at = if violation.at.is_empty() {
            "the document"
        } else {
            &violation.at
        };
        complain(&format!("does not conform to {version}: {at}: {}", violation.what));
    }
}

/// The steps of one mapping, each with its place, what it took and what it put.
fn explained(stage: &ExplainedStage) -> String {
    let way = match stage.way {
        Direction::Up => "up",
        Direction::Down => "down",
    };
    let mut lines = vec![format!("{}, {way}:", stage.file.path.display())];
    for effect in &stage.effects {
        let step = stage.file.text.lines().nth(effect.line.saturating_sub(1) as usize);
        let step = step.unwrap_or_default().trim().trim_start_matches("- ");
        lines.push(format!("  {:>4}  {}", effect.line, short(step, 100)));
        lines.push(format!("        {}", changed(effect)));
    }
    lines.join("\n")
}

fn changed(effect: &Effect) -> String {
    let shown = |(pointer, value): &(String, String)| format!("{pointer} {}", short(value, 60));
    match (&effect.taken, &effect.put) {
        (Some(taken), Some(put)) => format!("{}  →  {}", shown(taken), shown(put)),
        (Some(taken), None) => format!("{}  taken away", shown(taken)),
        (None, Some(put)) => format!("put {}", shown(put)),
        (None, None) => String::new(),
    }
}

fn short(text: &str, most: usize) -> String {
    let mut short: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if short.chars().count() > most {
        short = short.chars().take(most).collect::<String>() + "…";
    }
    short
}
