//! Watches the policy and contract folders, and says when their content has changed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::MissedTickBehavior,
};
use tracing::debug;

use crate::config::{Bounds, files_below};

/// An editor or a deployment writes several files; they are looked at once.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// How often names, sizes and times are compared, should the system's notices fail.
const POLL: Duration = Duration::from_secs(1);

/// What is watched: policies, contracts, authorization, keys and certificates. Logs and databases are not, so that the
/// gateway never wakes itself by writing.
const EXTENSIONS: [&str; 9] = ["cedar", "crt", "csv", "jwks", "json", "key", "pem", "yaml", "yml"];

/// A watch on folders, which need not exist yet. It ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    changes: watch::Receiver<u64>,
    asked: Arc<Notify>,
    task: AbortHandle,
}

impl Watch {
    /// Starts to watch the folder of `gateway.yaml` and further folders. Changes from now on count, so start it before
    /// the files are read. Reads them once itself, which blocks.
    ///
    /// # Panics
    /// Outside a Tokio runtime with its timer enabled.
    pub fn start(gateway_file: &Path, folders: &[PathBuf]) -> Self {
        let (events, asked) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (sender, changes) = watch::channel(0);
        let observer = Observer::new(gateway_file, folders, &events);
        let task = tokio::spawn(observe(observer, events, asked.clone(), sender)).abort_handle();
        Self { changes, asked, task }
    }

    /// Waits until the content of a watched file is not what it was at the last change. Changes while nobody waits are
    /// kept, as one. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The runtime is shutting down: there is nothing more to say.
            std::future::pending::<()>().await;
        }
    }

    /// Counts as a change even if no watched file has changed, for SIGHUP: secrets outside the folders may have.
    pub fn ask(&self) {
        self.asked.notify_one();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why it is time to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The system says that something happened.
    Event,
    /// Time has passed.
    Poll,
    /// An operator asked.
    Asked,
}

async fn observe(mut observer: Observer, events: Arc<Notify>, asked: Arc<Notify>, changes: watch::Sender<u64>) {
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let cause = tokio::select! {
            () = asked.notified() => Cause::Asked,
            () = events.notified() => Cause::Event,
            _ = poll.tick() => Cause::Poll,
        };
        if cause == Cause::Event {
            tokio::time::sleep(DEBOUNCE).await;
        }
        let looked = tokio::task::spawn_blocking(move || {
            let has_changed = observer.look(cause);
            (observer, has_changed)
        });
        let Ok((again, has_changed)) = looked.await else {
            return;
        };
        observer = again;
        if has_changed {
            debug!(?cause, "policies or contracts have changed");
            changes.send_modify(|number| *number += 1);
        }
    }
}

/// What the folders looked like last.
struct Observer {
    gateway_file: PathBuf,
    folders: Vec<PathBuf>,
    events: Arc<Notify>,
    /// Dropping it ends the system's notices.
    watcher: Option<RecommendedWatcher>,
    /// Names, sizes and times.
    outline: blake3::Hash,
    /// Names and contents.
    content: blake3::Hash,
}

impl Observer {
    fn new(gateway_file: &Path, folders: &[PathBuf], events: &Arc<Notify>) -> Self {
        let mut all = vec![folder_of(gateway_file)];
        for folder in folders {
            if !all.contains(folder) {
                all.push(folder.clone());
            }
        }
        let nothing = blake3::Hash::from_bytes([0; 32]);
        let mut observer = Self {
            gateway_file: gateway_file.to_owned(),
            folders: all,
            events: events.clone(),
            watcher: None,
            outline: nothing,
            content: nothing,
        };
        observer.look(Cause::Event);
        observer
    }

    /// Looks at the folders; true where their content has changed.
    fn look(&mut self, cause: Cause) -> bool {
        let outline = self.outline_now();
        let is_same = outline == self.outline;
        if is_same && cause == Cause::Poll {
            return false;
        }
        if !is_same {
            // Folders may be new, or others under the same name: before their content is read, so that nothing slips by.
            self.watcher = self.watch();
        }
        let content = self.content_now();
        let has_changed = content != self.content;
        (self.outline, self.content) = (outline, content);
        has_changed || cause == Cause::Asked
    }

    /// Asks the system for notices. Where it cannot give them, polling has to do.
    fn watch(&self) -> Option<RecommendedWatcher> {
        let events = self.events.clone();
        let notice = move |event: notify::Result<notify::Event>| {
            // Our own reading must not wake us. An error means that notices were lost: look.
            if !event.is_ok_and(|event| event.kind.is_access() && !event.need_rescan()) {
                events.notify_one();
            }
        };
        let mut watcher = notify::recommended_watcher(notice)
            .inspect_err(|error| debug!(%error, "no notices of changed files; they are found by polling"))
            .ok()?;
        for folder in &self.folders {
            if let Err(error) = watcher.watch(folder, RecursiveMode::Recursive) {
                debug!(folder = %folder.display(), %error, "no notices of changes in this folder; it is polled");
            }
        }
        Some(watcher)
    }

    fn outline_now(&self) -> blake3::Hash {
        let mut outline = blake3::Hasher::new();
        for folder in &self.folders {
            // A folder that comes into being has to be watched, be it empty.
            outline.update(&[u8::from(folder.is_dir())]);
        }
        let files = self.digest(|path, hasher| {
            let Ok(metadata) = std::fs::metadata(path) else {
                return;
            };
            let modified = metadata
                .modified()
                .ok()
                .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
            hasher.update(&metadata.len().to_le_bytes());
            hasher.update(&modified.unwrap_or_default().as_nanos().to_le_bytes());
            // A link may lead elsewhere now, to a file of the same size and time.
            if let Ok(real) = path.canonicalize() {
                hasher.update(real.as_os_str().as_encoded_bytes());
            }
        });
        outline.update(files.as_bytes()).finalize()
    }

    fn content_now(&self) -> blake3::Hash {
        self.digest(|path, hasher| {
            // What is larger is not read by the loader either.
            let is_read = std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= Bounds::FILE);
            let content = if is_read { std::fs::read(path).ok() } else { None };
            hasher.update(&[u8::from(content.is_some())]);
            if let Some(content) = content {
                hasher.update(&(content.len() as u64).to_le_bytes());
                hasher.update(&content);
            }
        })
    }

    fn digest(&self, mut add: impl FnMut(&Path, &mut blake3::Hasher)) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        add(&self.gateway_file, &mut hasher);
        for folder in &self.folders {
            for below in files_below(folder, &[], &Bounds::default(), &is_watched).unwrap_or_default() {
                let name = below.as_os_str().as_encoded_bytes();
                hasher.update(&(name.len() as u64).to_le_bytes());
                hasher.update(name);
                add(&folder.join(&below), &mut hasher);
            }
        }
        hasher.finalize()
    }
}

fn is_watched(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| EXTENSIONS.iter().any(|watched| extension == *watched))
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// A folder with `policies/gateway.yaml`, and a watch on it and on `contracts`, which does not exist.
    struct World {
        folder: TempDir,
        watch: Watch,
    }

    impl World {
        fn start() -> Self {
            Self::prepared(|_| {})
        }

        fn prepared(prepare: impl FnOnce(&Path)) -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("policies")).unwrap();
            fs::write(folder.path().join("policies/gateway.yaml"), "kind: Gateway\n").unwrap();
            prepare(folder.path());
            let gateway = folder.path().join("policies/gateway.yaml");
            let watch = Watch::start(
                &gateway,
                &[folder.path().join("policies"), folder.path().join("contracts")],
            );
            Self { folder, watch }
        }

        fn path(&self, below: &str) -> PathBuf {
            self.folder.path().join(below)
        }

        async fn changes(&mut self) {
            let changed = tokio::time::timeout(Duration::from_secs(20), self.watch.changed());
            changed.await.expect("the change is noticed");
        }
    }

    #[tokio::test]
    async fn a_written_file_is_a_change() {
        let mut world = World::start();
        fs::write(world.path("policies/erp.yaml"), "kind: Upstream\n").unwrap();
        world.changes().await;
        fs::remove_file(world.path("policies/erp.yaml")).unwrap();
        world.changes().await;
    }

    #[tokio::test]
    async fn an_editor_that_renames_over_a_file_changes_it() {
        let mut world = World::start();
        for text in ["drain: 1s\n", "drain: 2s\n"] {
            fs::write(world.path("policies/.gateway.yaml.new"), text).unwrap();
            fs::rename(
                world.path("policies/.gateway.yaml.new"),
                world.path("policies/gateway.yaml"),
            )
            .unwrap();
            world.changes().await;
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_swapped_link_of_a_mounted_config_map_is_a_change() {
        use std::os::unix::fs::symlink;
        let mut world = World::prepared(|folder| {
            let policies = folder.join("policies");
            for (version, text) in [("..one", "kind: Upstream\n"), ("..two", "kind: Channel \n")] {
                fs::create_dir(policies.join(version)).unwrap();
                fs::write(policies.join(version).join("erp.yaml"), text).unwrap();
            }
            symlink("..one", policies.join("..data")).unwrap();
            symlink("..data/erp.yaml", policies.join("erp.yaml")).unwrap();
        });
        for version in ["..two", "..one"] {
            symlink(version, world.path("policies/..data_tmp")).unwrap();
            fs::rename(world.path("policies/..data_tmp"), world.path("policies/..data")).unwrap();
            world.changes().await;
        }
    }

    #[tokio::test]
    async fn a_folder_created_later_is_watched() {
        let mut world = World::start();
        fs::create_dir_all(world.path("contracts/orders/v1")).unwrap();
        fs::write(world.path("contracts/orders/v1/openapi.yaml"), "openapi: 3.1.0\n").unwrap();
        world.changes().await;
        fs::create_dir_all(world.path("contracts/orders/v2")).unwrap();
        fs::write(world.path("contracts/orders/v2/openapi.yaml"), "openapi: 3.1.0\n").unwrap();
        world.changes().await;
    }

    #[tokio::test]
    async fn a_folder_replaced_as_a_whole_is_a_change() {
        let mut world = World::start();
        for text in ["drain: 1s\n", "drain: 2s\n"] {
            fs::create_dir(world.path("next")).unwrap();
            fs::write(world.path("next/gateway.yaml"), text).unwrap();
            fs::rename(world.path("policies"), world.path("last")).unwrap();
            fs::rename(world.path("next"), world.path("policies")).unwrap();
            fs::remove_dir_all(world.path("last")).unwrap();
            world.changes().await;
        }
    }

    #[tokio::test]
    async fn an_operator_may_ask() {
        let mut world = World::start();
        world.watch.ask();
        world.changes().await;
    }

    #[test]
    fn a_file_saved_without_a_change_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let gateway = folder.path().join("gateway.yaml");
        fs::write(&gateway, "kind: Gateway\n").unwrap();
        let mut observer = Observer::new(&gateway, &[], &Arc::new(Notify::new()));
        fs::write(&gateway, "kind: Gateway\n").unwrap();
        fs::write(folder.path().join("access.log"), "{}\n").unwrap();
        assert!(!observer.look(Cause::Event));

        fs::write(&gateway, "kind: Gateway\ndrain: 1s\n").unwrap();
        assert!(observer.look(Cause::Event));
        assert!(!observer.look(Cause::Event));
    }

    #[test]
    fn polling_finds_what_no_notice_told() {
        let folder = tempfile::tempdir().unwrap();
        let gateway = folder.path().join("gateway.yaml");
        let mut observer = Observer::new(&gateway, &[], &Arc::new(Notify::new()));
        fs::write(&gateway, "kind: Gateway\n").unwrap();
        assert!(observer.look(Cause::Poll));
        assert!(!observer.look(Cause::Poll));
    }
}
