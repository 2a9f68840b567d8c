//! `crossdock contract promote NAME [VERSION]`, `crossdock contract rollback NAME [VERSION]`.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, bail};

use super::status;
use crate::{
    cli::{ConfigArgs, complain, diagnosed, run as on_runtime, say},
    config::{self, Loaded, OfferedSpec, Severity, Sources, StateSpec},
    contract::{Candidate, promote as mappings},
    files,
};

#[derive(clap::Args)]
pub(super) struct PromoteArgs {
    #[command(flatten)]
    what: What,
    /// Promote a candidate even if the running gateway has rolled it back.
    #[arg(long)]
    anyway: bool,
    /// Where the running gateway is asked about the candidate. By default the admin address of the gateway file.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
}

#[derive(clap::Args)]
pub(super) struct RollbackArgs {
    #[command(flatten)]
    what: What,
}

#[derive(clap::Args)]
struct What {
    /// A contract, for its mappings; with a version, an API.
    name: String,
    /// The version of the API.
    version: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn promote(contracts: &Path, args: &PromoteArgs) -> anyhow::Result<ExitCode> {
    if let Some(version) = &args.what.version {
        return change(&args.what, version, |state| match state {
            StateSpec::Draft | StateSpec::Canary => Ok(StateSpec::Active),
            StateSpec::Active => bail!("it is active already"),
            StateSpec::Deprecated | StateSpec::Retired => {
                bail!(
                    "a version that is {} is not promoted; `rollback` takes a deprecation back",
                    state.as_str()
                )
            }
        });
    }
    let name = &args.what.name;
    if !is_sound(contracts, name, &args.what.config)? {
        return Ok(ExitCode::FAILURE);
    }
    if !args.anyway
        && let Some(why) = on_runtime_value(status::rolled_back(
            args.what.config.config.clone(),
            args.admin.clone(),
            name.clone(),
        ))?
    {
        bail!("the gateway has rolled this candidate back: {why}; `--anyway` promotes it nevertheless");
    }
    for replaced in mappings::promote(&contracts.join(name))? {
        let former = replaced.former.map_or_else(String::new, |former| {
            format!("; the former one is {}", former.display())
        });
        say(&format!("{} is what was tried now{former}", replaced.live.display()));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn rollback(contracts: &Path, args: &RollbackArgs) -> anyhow::Result<ExitCode> {
    if let Some(version) = &args.what.version {
        return change(&args.what, version, |state| match state {
            StateSpec::Active | StateSpec::Canary => Ok(StateSpec::Draft),
            StateSpec::Deprecated => Ok(StateSpec::Active),
            StateSpec::Draft => bail!("it is a draft already"),
            StateSpec::Retired => bail!("what was retired is brought back by hand: its callers are gone"),
        });
    }
    for replaced in mappings::withdraw(&contracts.join(&args.what.name))? {
        let withdrawn = replaced.former.map_or_else(String::new, |former| {
            format!("; what it said is {} now", former.display())
        });
        say(&format!("{} is what it was before{withdrawn}", replaced.live.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the candidates of a contract have no mistakes; complains of those they have.
fn is_sound(contracts: &Path, name: &str, config: &ConfigArgs) -> anyhow::Result<bool> {
    let sources = match Sources::read(&config.config) {
        Ok(sources) => sources,
        Err(mistakes) => {
            complain(&diagnosed(&mistakes));
            return Ok(false);
        }
    };
    let folder = contracts
        .canonicalize()
        .with_context(|| format!("the folder {} cannot be read", contracts.display()))?;
    if sources.contracts_folder.canonicalize().ok() != Some(folder) {
        bail!(
            "{} is not the folder that {} names, which is {}; give it by --contracts, or another file by --config",
            contracts.display(),
            config.config.display(),
            sources.contracts_folder.display()
        );
    }
    let Some(files) = sources.contracts.get(name) else {
        let known: Vec<&str> = sources.contracts.keys().map(String::as_str).collect();
        bail!("there is no contract named `{name}`; there are {}", known.join(", "));
    };
    if let Some(Err(mistakes)) = Candidate::load(name, files) {
        complain(&diagnosed(&mistakes));
        return Ok(false);
    }
    Ok(true)
}

/// Writes another state of one version into its API's file.
fn change(
    what: &What,
    version: &str,
    next: impl Fn(StateSpec) -> anyhow::Result<StateSpec>,
) -> anyhow::Result<ExitCode> {
    let sources = Sources::read(&what.config.config).map_err(|mistakes| anyhow::anyhow!("{}", diagnosed(&mistakes)))?;
    let (policies, mistakes) = config::parse(&sources);
    let Some(policies) = policies else {
        complain(&diagnosed(&mistakes));
        return Ok(ExitCode::FAILURE);
    };
    let Some(Loaded { spec, file }) = policies.apis.iter().find(|api| api.spec.name.value == what.name) else {
        let known: Vec<&str> = policies.apis.iter().map(|api| api.spec.name.value.as_str()).collect();
        bail!("there is no API named `{}`; there are {}", what.name, known.join(", "));
    };
    let is_it = |offered: &&OfferedSpec| offered.name.value == version;
    let Some(offered) = spec.versions.0.iter().find(is_it) else {
        let path = file.path.display();
        bail!("{path} says nothing of version `{version}`; add it to `versions`");
    };
    let state = next(offered.life.state).with_context(|| format!("version `{version}` of `{}`", what.name))?;
    let text = config::with_state(file, version, state)
        .map_err(|wrong| anyhow::anyhow!("{}: {wrong}; change it by hand", file.path.display()))?;
    // Held against everything else before it is written: nobody is left with files that cannot go live.
    let mut changed = sources.clone();
    for known in changed.policies.iter_mut().filter(|known| known.path == file.path) {
        known.text = text.as_str().into();
    }
    let (_, mistakes) = config::parse(&changed);
    if mistakes.iter().any(|mistake| mistake.severity == Severity::Error) {
        complain(&diagnosed(&mistakes));
        return Ok(ExitCode::FAILURE);
    }
    files::replace(&file.path, text.as_bytes()).with_context(|| file.path.display().to_string())?;
    say(&format!(
        "{}: version {version} of {} is {} now, it was {}",
        file.path.display(),
        what.name,
        state.as_str(),
        offered.life.state.as_str()
    ));
    Ok(ExitCode::SUCCESS)
}

/// What a future yields, on a runtime of its own.
fn on_runtime_value<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let mut value = None;
    on_runtime(async {
        value = Some(future.await);
        Ok(ExitCode::SUCCESS)
    })?;
    value.context("the runtime ended early")
}
