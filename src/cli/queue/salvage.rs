//! `crossdock queue export --salvage`: what a damaged store still holds.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use serde_json::json;

use super::{At, source::of_files};
use crate::{
    admin::queue::write_copy,
    cli::{complain, say},
    queue::{LostMessage, Salvage, Salvaged},
};

/// Writes each message that can be read, and lists each that cannot.
pub(super) fn salvage(at: &At, path: &Path) -> anyhow::Result<ExitCode> {
    let folder = match &at.folder {
        Some(folder) => folder.clone(),
        None => of_files(&at.config)
            .1
            .context("the queue is in a database, which is saved by its own means")?,
    };
    let salvage = Salvage::open(&folder).context("nothing could be saved")?;
    let faults = salvage.faults().to_vec();
    let lost_path = PathBuf::from(format!("{}.lost", path.display()));
    let mut file = create(path)?;
    let mut list = None;
    let (mut saved, mut missing) = (0_u64, 0_u64);
    for message in salvage {
        match message {
            Salvaged::Whole(copy) => {
                writeln!(file, "{}", write_copy(&copy))?;
                saved += 1;
            }
            Salvaged::Lost(message) => {
                let list = match &mut list {
                    Some(list) => list,
                    None => list.insert(create(&lost_path)?),
                };
                writeln!(list, "{}", line(&message))?;
                missing += 1;
            }
        }
    }
    finish(file)?;
    list.map(finish).transpose()?;
    say(&format!("{saved} messages written to {}", path.display()));
    for fault in &faults {
        complain(&format!("could not be read to the end: {fault}"));
    }
    if missing > 0 {
        let list = lost_path.display();
        complain(&format!(
            "{missing} messages were there and cannot be read; they are listed in {list}"
        ));
    }
    if faults.len() > 1 {
        complain("where several tables and indexes are damaged, messages may be gone of which nothing tells any more");
    }
    Ok(if missing == 0 && faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn create(path: &Path) -> anyhow::Result<BufWriter<File>> {
    let file = File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(BufWriter::new(file))
}

fn finish(file: BufWriter<File>) -> anyhow::Result<()> {
    Ok(file.into_inner()?.sync_all()?)
}

/// What is known of a lost message, on one line.
fn line(message: &LostMessage) -> String {
    let known = message.known.as_ref();
    json!({
        "place": message.seq,
        "id": known.map(|(id, _, _)| id),
        "api": known.map(|(_, api, _)| api),
        "key": known.map(|(_, _, key)| key),
        "cause": message.cause,
    })
    .to_string()
}
