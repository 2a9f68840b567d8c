//! From files to specs: reads every policy and contract file, bounded, and reports everything wrong with all of them.

mod check;
mod files;

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};
use zeroize::Zeroizing;

pub use self::files::Sources;
pub(crate) use self::files::{Bounds, files_below, read_contracts, read_file};
use super::{
    ApiSpec, ChannelSpec, Diagnostic, GatewaySpec, IssuerSpec, Secret, Severity, SourceFile, Spanned, UpstreamSpec,
    yaml,
};

/// Every `kind` a policy file can state.
pub const KINDS: [&str; 5] = ["Gateway", "Issuer", "Upstream", "Channel", "Api"];

/// Longest secret in bytes. A certificate's key is a few KiB.
const SECRET_BYTES: u64 = 64 << 10;

/// All policy files, as written, without a mistake that one of them or all together would show.
#[derive(Clone, Debug)]
pub struct Policies {
    /// Folder of `gateway.yaml`; what the files name by a relative path is found from here.
    pub folder: PathBuf,
    /// `gateway.yaml`.
    pub gateway: Loaded<GatewaySpec>,
    /// Who may issue tokens.
    pub issuers: Vec<Loaded<IssuerSpec>>,
    /// The back-end systems.
    pub upstreams: Vec<Loaded<UpstreamSpec>>,
    /// The callers.
    pub channels: Vec<Loaded<ChannelSpec>>,
    /// The products.
    pub apis: Vec<Loaded<ApiSpec>>,
}

/// What a file says, and the file, to point into.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// What it says.
    pub spec: T,
    /// The file.
    pub file: SourceFile,
}

/// Parses all policy files and checks what they say of each other, short of contracts.
///
/// All mistakes of all files come back, in the order of files and lines; policies only where none of them is an error.
pub fn parse(sources: &Sources) -> (Option<Policies>, Vec<Diagnostic>) {
    let mut draft = Draft {
        folder: sources.folder.clone(),
        has_unknown: !sources.unreadable.is_empty(),
        ..Draft::default()
    };
    let mut diagnostics = sources.unreadable.clone();
    for file in &sources.policies {
        if let Err(diagnostic) = draft.add(file, file.path == sources.gateway_file) {
            diagnostics.push(*diagnostic);
        }
    }
    diagnostics.extend(check::all(&draft));
    diagnostics.sort_by(|one, other| (&one.file, one.line, one.column).cmp(&(&other.file, other.line, other.column)));
    let is_sound = diagnostics
        .iter()
        .all(|diagnostic| diagnostic.severity != Severity::Error);
    let policies = draft.gateway.filter(|_| is_sound).map(|gateway| Policies {
        folder: draft.folder,
        gateway,
        issuers: draft.issuers,
        upstreams: draft.upstreams,
        channels: draft.channels,
        apis: draft.apis,
    });
    (policies, diagnostics)
}

/// The value of a secret, from a file (relative to `folder`, without a final line break) or the environment.
///
/// # Errors
/// Says which place cannot be read or is empty; never what is in it.
pub fn resolve(secret: &Secret, folder: &Path) -> Result<Zeroizing<String>, String> {
    let value = match secret {
        Secret::File(path) => {
            let mut text = Zeroizing::new(String::new());
            let wrong =
                |cause: &dyn std::fmt::Display| format!("the file `{}` cannot be read: {cause}", path.display());
            // A pipe or device would be waited for without end.
            match std::fs::metadata(folder.join(path)) {
                Ok(metadata) if metadata.is_file() => {}
                Ok(_) => return Err(wrong(&"it is not a regular file")),
                Err(cause) => return Err(wrong(&cause)),
            }
            let file = std::fs::File::open(folder.join(path)).map_err(|cause| wrong(&cause))?;
            let length = file
                .take(SECRET_BYTES + 1)
                .read_to_string(&mut text)
                .map_err(|cause| wrong(&cause))?;
            if length as u64 > SECRET_BYTES {
                return Err(wrong(&format_args!("it is longer than {SECRET_BYTES} bytes")));
            }
            let end = text
                .strip_suffix('\n')
                .map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text))
                .len();
            text.truncate(end);
            text
        }
        Secret::Env(name) => match std::env::var(name) {
            Ok(value) => Zeroizing::new(value),
            Err(std::env::VarError::NotPresent) => return Err(format!("the environment variable `{name}` is not set")),
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(format!("the environment variable `{name}` is not UTF-8"));
            }
        },
    };
    if value.is_empty() {
        return Err(format!("the secret `{secret:?}` is empty"));
    }
    Ok(value)
}

/// What was read so far: some files may be missing, because they have mistakes of their own.
#[derive(Default)]
struct Draft {
    folder: PathBuf,
    gateway: Option<Loaded<GatewaySpec>>,
    issuers: Vec<Loaded<IssuerSpec>>,
    upstreams: Vec<Loaded<UpstreamSpec>>,
    channels: Vec<Loaded<ChannelSpec>>,
    apis: Vec<Loaded<ApiSpec>>,
    /// Kinds and names of files that could not be read in full. What refers to them is not also called a mistake.
    broken: Vec<(String, String)>,
    /// Of some files not even the kind is known.
    has_unknown: bool,
}

/// What every policy file says of itself. Other keys are read later.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    kind: Option<Spanned<String>>,
    #[serde(default)]
    name: Option<Unchecked>,
}

/// A name if it is text. That it must be is said later, with what else is wrong.
#[derive(Deserialize)]
#[serde(untagged)]
enum Unchecked {
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl Draft {
    fn add(&mut self, file: &SourceFile, is_gateway_file: bool) -> Result<(), Box<Diagnostic>> {
        let head: Head = yaml::read(file).inspect_err(|_| self.has_unknown = true)?;
        let Some(kind) = head.kind else {
            let diagnostic = Diagnostic::error(file, 1, 1, "the file does not state its `kind`");
            return Err(Box::new(
                diagnostic.help(format!("start with `kind:` and {}", yaml::one_of(KINDS))),
            ));
        };
        if is_gateway_file && kind.value != "Gateway" {
            let message = format!("the file given by `--config` is of kind `{}`", kind.value);
            let help = "give the file of kind `Gateway`, usually `policies/gateway.yaml`";
            return Err(Box::new(Diagnostic::at(file, &kind, message).help(help)));
        }
        let broken = match kind.value.as_str() {
            "Gateway" => self.add_gateway(file, &kind, is_gateway_file),
            "Issuer" => take(file, &mut self.issuers),
            "Upstream" => take(file, &mut self.upstreams),
            "Channel" => take(file, &mut self.channels),
            "Api" => take(file, &mut self.apis),
            other => {
                let diagnostic = Diagnostic::at(file, &kind, format!("unknown kind `{other}`"));
                Err(Box::new(diagnostic.help(unknown_kind(other))))
            }
        };
        broken.inspect_err(|_| {
            if let Some(Unchecked::Text(name)) = head.name {
                self.broken.push((kind.value, name));
            }
        })
    }

    fn add_gateway(
        &mut self,
        file: &SourceFile,
        kind: &Spanned<String>,
        is_gateway_file: bool,
    ) -> Result<(), Box<Diagnostic>> {
        if !is_gateway_file {
            let diagnostic = Diagnostic::at(file, kind, "a second file of kind `Gateway`");
            return Err(Box::new(diagnostic.help("keep one, the file given by `--config`")));
        }
        let spec = yaml::read(file)?;
        self.gateway = Some(Loaded {
            spec,
            file: file.clone(),
        });
        Ok(())
    }
}

fn take<T: DeserializeOwned>(file: &SourceFile, into: &mut Vec<Loaded<T>>) -> Result<(), Box<Diagnostic>> {
    let spec = yaml::read(file)?;
    into.push(Loaded {
        spec,
        file: file.clone(),
    });
    Ok(())
}

fn unknown_kind(kind: &str) -> String {
    let all = yaml::one_of(KINDS);
    match yaml::nearest(kind, KINDS) {
        Some(candidate) => format!("did you mean `{candidate}`? A file is {all}"),
        None => format!("a file is {all}"),
    }
}

/// Files of contracts by the name of their contract.
pub type Contracts = BTreeMap<String, Vec<SourceFile>>;

#[cfg(test)]
mod tests;
