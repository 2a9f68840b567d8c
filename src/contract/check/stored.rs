//! Documents that people stored beside a contract, such as `samples/v1/createOrder.request.json`, to be sent with the
//! drawn ones.

use std::path::PathBuf;

use bytes::Bytes;

use super::engine::{Lens, response_label};
use super::sample::Sample;
use crate::config::SourceFile;
use crate::contract::Contract;
use crate::json::Document;

/// All stored documents of a contract.
#[derive(Default)]
pub(super) struct Stored {
    samples: Vec<(String, String, Sample)>,
    /// How many were found.
    pub(super) count: usize,
    /// Files that do not do, and why.
    pub(super) faults: Vec<(PathBuf, String)>,
}

impl Stored {
    /// Reads `samples/VERSION/OPERATION.request*.json` and `samples/VERSION/OPERATION.response.STATUS*.json`.
    pub(super) fn read(contract: &Contract, files: &[SourceFile]) -> Self {
        let mut stored = Self::default();
        for file in files {
            let names: Vec<String> = file
                .path
                .iter()
                .rev()
                .take(3)
                .map(|name| name.to_string_lossy().into_owned())
                .collect();
            let [name, version, folder] = names.as_slice() else {
                continue;
            };
            if folder != "samples" {
                continue;
            }
            match read_one(contract, version, name, file) {
                Ok((used, sample)) => {
                    stored.count += 1;
                    stored.samples.push((version.clone(), used, sample));
                }
                Err(fault) => stored.faults.push((file.path.clone(), fault)),
            }
        }
        stored
    }

    /// Those of one lens's source.
    pub(super) fn of(&self, lens: &Lens<'_>) -> Vec<Sample> {
        let own = self
            .samples
            .iter()
            .filter(|(version, used, _)| **version == *lens.source.version && lens.uses.contains(used));
        own.map(|(_, _, sample)| sample.clone()).collect()
    }
}

fn read_one(contract: &Contract, version: &str, name: &str, file: &SourceFile) -> Result<(String, Sample), String> {
    let known = contract
        .version(version)
        .ok_or_else(|| format!("the contract has no version `{version}`"))?;
    let mut parts = name.trim_end_matches(".json").split('.');
    let id = parts.next().unwrap_or_default();
    let operation = known
        .operation(id)
        .ok_or_else(|| format!("version {version} has no operation `{id}`"))?;
    let help = "name it OPERATION.request.json or OPERATION.response.STATUS.json";
    let (used, media) = match (parts.next(), parts.next().and_then(|code| code.parse::<u16>().ok())) {
        (Some("request"), _) => (
            format!("request of {id}"),
            operation.body.iter().flat_map(|body| &body.media).next(),
        ),
        (Some("response"), Some(code)) => {
            let response = operation
                .response(code)
                .ok_or_else(|| format!("{id} does not answer {code}"))?;
            (response_label(operation, code), response.media.first())
        }
        _ => return Err(help.to_owned()),
    };
    let document =
        Document::parse(Bytes::copy_from_slice(file.text.trim().as_bytes())).map_err(|error| error.to_string())?;
    let schema = media.and_then(|media| media.schema.as_deref());
    let schema = schema.ok_or_else(|| format!("no schema describes the {used}"))?;
    let validator = known.document.validator(schema).map_err(|mistake| mistake.message)?;
    if let Some(error) = validator.iter_errors(document.root()).next() {
        return Err(format!(
            "does not conform to version {version}: {error} at `{}`",
            error.instance_path()
        ));
    }
    Ok((used, Sample::of(document.root())))
}
