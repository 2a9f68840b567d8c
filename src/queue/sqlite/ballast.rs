//! Disk kept aside: on a full disk not even what is there could be finished, since that too has to be written.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Largest ballast, in bytes; smaller stores have a sixteenth of their quota.
const MOST: u64 = 64 << 20;

/// How often room is looked for again.
const LOOK: Duration = Duration::from_secs(2);
/// What a disk that is not full can take.
const PROBE: usize = 256 << 10;

/// A file that can be given up.
pub(super) struct Ballast {
    path: PathBuf,
    bytes: u64,
    is_there: bool,
    tried: Option<Instant>,
}

impl Ballast {
    /// Puts the ballast beside the store, if there is room for it.
    pub(super) fn new(folder: &Path, quota: u64) -> Self {
        let mut ballast = Self {
            path: folder.join("queue.ballast"),
            bytes: (quota / 16).min(MOST),
            is_there: false,
            tried: None,
        };
        ballast.restore();
        ballast
    }

    /// Whether it is in its place. Without it no new messages are taken.
    pub(super) fn is_there(&self) -> bool {
        self.is_there
    }

    /// Whether the disk takes nothing more.
    pub(super) fn is_disk_full(&self) -> bool {
        let probe = self.path.with_extension("probe");
        let written = File::create(&probe).and_then(|mut file| {
            file.write_all(&vec![0; PROBE])?;
            file.sync_all()
        });
        let _ = fs::remove_file(&probe);
        written.is_err()
    }

    /// Gives its room to the store. Whether there was any.
    pub(super) fn release(&mut self) -> bool {
        let was_there = std::mem::replace(&mut self.is_there, false);
        if was_there && let Err(error) = fs::remove_file(&self.path) {
            tracing::error!(%error, "the queue's ballast cannot be given up");
            return false;
        }
        was_there
    }

    /// Takes the room back, if it is free again.
    pub(super) fn restore(&mut self) {
        if self.is_there || self.tried.is_some_and(|tried| tried.elapsed() < LOOK) {
            return;
        }
        self.tried = Some(Instant::now());
        match self.write() {
            Ok(()) => self.is_there = true,
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "no room for the queue's ballast: the disk is nearly full");
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    /// Really written: a file with holes keeps no room.
    fn write(&self) -> io::Result<()> {
        if fs::metadata(&self.path).is_ok_and(|found| found.len() == self.bytes) {
            return Ok(());
        }
        let mut file = File::create(&self.path)?;
        let part = vec![0; 64 << 10];
        let mut left = self.bytes;
        while left > 0 {
            let length = left.min(part.len() as u64);
            file.write_all(&part[..usize::try_from(length).unwrap_or(part.len())])?;
            left -= length;
        }
        file.sync_all()
    }
}
