//! Which files there are below the policy and contract folders, and what they hold.

use std::{
    collections::{BTreeMap, HashSet},
    io::Read as _,
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

use super::Contracts;
use crate::config::{Diagnostic, SourceFile, yaml};

/// The policy and contract files as they were read at one moment.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The file given by `--config`, as shown to the operator.
    pub gateway_file: PathBuf,
    /// Its folder, to open what the policies name by a relative path.
    pub folder: PathBuf,
    /// The folder of the contracts, as shown to the operator: files of contracts are below `contracts_folder/NAME/`.
    pub contracts_folder: PathBuf,
    /// Every YAML file below the folder of `gateway.yaml`, itself included, by path.
    pub policies: Vec<SourceFile>,
    /// Every YAML, JSON and CSV file of every contract, by path.
    pub contracts: Contracts,
    /// Files that could not be read; `parse` reports them with all else.
    pub unreadable: Vec<Diagnostic>,
    /// Over all names and texts: equal where nothing changed.
    pub digest: blake3::Hash,
}

impl Sources {
    /// Reads every `*.yaml` and `*.yml` below the folder of `gateway.yaml`, and the contracts it names.
    ///
    /// Hidden files and folders are left out; symbolic links are followed, a folder reached twice is read once. At most
    /// 10,000 files of 16 MiB each.
    ///
    /// # Errors
    /// The gateway file cannot be read, a folder cannot be listed, or there are too many files.
    pub fn read(gateway_file: &Path) -> Result<Self, Vec<Diagnostic>> {
        let shown = shown(gateway_file);
        let mut unreadable = Vec::new();
        // First by itself: without it nothing else is worth reading.
        let gateway = read_file(gateway_file, &shown).map_err(|diagnostic| vec![diagnostic])?;
        let folder = match gateway_file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let contracts_folder = folder.join(contracts_of(&gateway));
        let fail = |diagnostic| vec![diagnostic];

        let skip_contracts: Vec<PathBuf> = contracts_folder.canonicalize().into_iter().collect();
        let policy_files = files_below(&folder, &skip_contracts, &Bounds::default(), &is_yaml).map_err(fail)?;
        let shown_folder = shown.parent().unwrap_or(Path::new(""));
        let mut policies = read_files(&folder, shown_folder, &policy_files, &mut unreadable);
        if !policies.iter().any(|file| file.path == shown) {
            // Named otherwise than `*.yaml`, or hidden: it was asked for by name.
            policies.insert(0, gateway);
        }

        let shown_contracts = shown_folder_of(&contracts_folder);
        let skip_policies: Vec<PathBuf> = folder.canonicalize().into_iter().collect();
        let contracts = read_contracts(&contracts_folder, &skip_policies, &mut unreadable).map_err(fail)?;
        let digest = digest(&policies, &contracts, &unreadable);
        Ok(Self {
            gateway_file: shown,
            folder,
            contracts_folder: shown_contracts,
            policies,
            contracts,
            unreadable,
            digest,
        })
    }

    /// Replaces text in all policy files, such as addresses.
    pub fn replace(&mut self, pairs: &[(String, String)]) {
        for (from, to) in pairs {
            for file in self
                .policies
                .iter_mut()
                .filter(|file| file.text.contains(from.as_str()))
            {
                file.text = file.text.replace(from.as_str(), to).into();
            }
        }
    }

    /// How many files were read.
    pub fn count(&self) -> usize {
        self.policies.len() + self.contracts.values().map(Vec::len).sum::<usize>() + self.unreadable.len()
    }

    /// The folders that hold everything read here, to be watched.
    pub fn folders(&self) -> Vec<PathBuf> {
        vec![self.folder.clone(), self.contracts_folder.clone()]
    }
}

/// Every YAML and JSON file of every contract below a folder; nothing if there is no such folder.
pub(crate) fn read_contracts(
    folder: &Path,
    skip: &[PathBuf],
    unreadable: &mut Vec<Diagnostic>,
) -> Result<Contracts, Diagnostic> {
    let mut contracts: Contracts = BTreeMap::new();
    if !folder.is_dir() {
        return Ok(contracts);
    }
    let shown = shown_folder_of(folder);
    let files = files_below(folder, skip, &Bounds::default(), &is_document)?;
    for file in read_files(folder, &shown, &files, unreadable) {
        let below = file.path.strip_prefix(&shown).unwrap_or(&file.path);
        let mut parts = below.components();
        // A file beside the contracts belongs to none.
        if let (Some(Component::Normal(name)), Some(_)) = (parts.next(), parts.next()) {
            let name = name.to_string_lossy().into_owned();
            contracts.entry(name).or_default().push(file);
        }
    }
    Ok(contracts)
}

/// How much is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Files below one folder.
    pub(crate) files: usize,
    /// Folders within folders.
    pub(crate) depth: usize,
}

impl Bounds {
    /// Bytes of one file. A vendor's document of thousands of operations has several millions.
    pub(crate) const FILE: u64 = 16 << 20;
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            files: 10_000,
            depth: 32,
        }
    }
}

/// The files below a folder that are wanted, sorted, relative to it. Hidden ones (`..data` of a mounted `ConfigMap`
/// among them) are left out; a folder reached by two links is listed once.
pub(crate) fn files_below(
    folder: &Path,
    skip: &[PathBuf],
    bounds: &Bounds,
    wanted: &dyn Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, Diagnostic> {
    let mut seen: HashSet<PathBuf> = skip.iter().cloned().collect();
    seen.extend(folder.canonicalize());
    let mut files = Vec::new();
    let mut folders = vec![(PathBuf::new(), 0)];
    while let Some((below, depth)) = folders.pop() {
        let listed = std::fs::read_dir(folder.join(&below)).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries =
            listed.map_err(|cause| about(&folder.join(&below), format!("the folder cannot be listed: {cause}")))?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = below.join(entry.file_name());
            // Of what a link leads to. A dangling one is kept if wanted: reading it says what is wrong.
            let metadata = std::fs::metadata(entry.path());
            if metadata.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
                let is_new = entry.path().canonicalize().is_ok_and(|real| seen.insert(real));
                if is_new && depth < bounds.depth {
                    folders.push((path, depth + 1));
                }
            } else if wanted(&path) {
                if files.len() == bounds.files {
                    let message = format!("there are more than {} files below this folder", bounds.files);
                    return Err(about(folder, message).help("keep policies and contracts in folders of their own"));
                }
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Reads the files that can be read; what is wrong with the others is added to `unreadable`.
fn read_files(folder: &Path, shown: &Path, files: &[PathBuf], unreadable: &mut Vec<Diagnostic>) -> Vec<SourceFile> {
    let mut read = Vec::with_capacity(files.len());
    for below in files {
        match read_file(&folder.join(below), &shown.join(below)) {
            Ok(file) => read.push(file),
            Err(diagnostic) => unreadable.push(diagnostic),
        }
    }
    read
}

/// Reads a file of text, bounded; `shown` is its path as the operator knows it.
pub(crate) fn read_file(path: &Path, shown: &Path) -> Result<SourceFile, Diagnostic> {
    let unreadable = |cause: std::io::Error| about(shown, format!("the file cannot be read: {cause}"));
    // A pipe or device would be waited for without end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(about(shown, "this is not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(Bounds::FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > Bounds::FILE {
        return Err(about(
            shown,
            format!("the file is larger than {} MiB", Bounds::FILE >> 20),
        ));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceFile {
            path: shown.to_owned(),
            text: text.into(),
        }),
        Err(wrong) => {
            let bytes = wrong.as_bytes();
            let (good, rest) = bytes.split_at(wrong.utf8_error().valid_up_to());
            let line = good.split(|byte| *byte == b'\n').count();
            let before = good.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            let mut diagnostic = about(
                shown,
                format!("the byte 0x{:02x} is not UTF-8", rest.first().unwrap_or(&0)),
            );
            diagnostic.line = u32::try_from(line).unwrap_or(u32::MAX);
            diagnostic.column = u32::try_from(String::from_utf8_lossy(before).chars().count() + 1).unwrap_or(u32::MAX);
            Err(diagnostic.help("save the file as UTF-8"))
        }
    }
}

/// A mistake of a whole file or folder.
fn about(path: &Path, message: impl Into<String>) -> Diagnostic {
    let file = SourceFile {
        path: path.to_owned(),
        text: "".into(),
    };
    Diagnostic::error(&file, 0, 0, message)
}

/// The only key of `gateway.yaml` that is needed before all files are read.
#[derive(Deserialize)]
struct ContractsKey {
    #[serde(default)]
    contracts: Option<PathBuf>,
}

/// What is wrong with the file is said by `parse`; until then the default will do.
fn contracts_of(gateway: &SourceFile) -> PathBuf {
    let key = yaml::read::<ContractsKey>(gateway).ok().and_then(|key| key.contracts);
    key.unwrap_or_else(|| "../contracts".into())
}

/// A path as the operator knows it: relative to the current folder where it is below it.
fn shown(path: &Path) -> PathBuf {
    let below = std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    below
        .unwrap_or_else(|| path.to_owned())
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect()
}

/// `policies/../contracts` is shown as `contracts`, where that is the same folder.
fn shown_folder_of(folder: &Path) -> PathBuf {
    let mut neat = PathBuf::new();
    for part in shown(folder).components() {
        match part {
            Component::ParentDir if matches!(neat.components().next_back(), Some(Component::Normal(_))) => {
                neat.pop();
            }
            other => neat.push(other),
        }
    }
    // With symbolic links, `..` may lead elsewhere than its text says.
    let is_same = match (neat.canonicalize(), folder.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => !folder.exists(),
    };
    if is_same { neat } else { shown(folder) }
}

fn is_yaml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn is_document(path: &Path) -> bool {
    is_yaml(path)
        || path
            .extension()
            .is_some_and(|extension| extension == "json" || extension == "csv")
}

fn digest(policies: &[SourceFile], contracts: &Contracts, unreadable: &[Diagnostic]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for file in policies.iter().chain(contracts.values().flatten()) {
        add(file.path.as_os_str().as_encoded_bytes());
        add(file.text.as_bytes());
    }
    for diagnostic in unreadable {
        add(diagnostic.to_string().as_bytes());
    }
    hasher.finalize()
}
