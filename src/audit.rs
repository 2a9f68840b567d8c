//! The audit log: who did what, when and why, each entry sealed together with all before it.

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;

/// One act. Entries are appended and never changed: `digest` covers this entry and, through `previous`, all before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From 1, without gaps.
    pub number: u64,
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done: `retry`, `discard`, `pause`, ….
    pub act: String,
    /// To what: a message's id, a scope.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// What else is worth knowing, in words.
    pub detail: String,
    /// Digest of the entry before; zeros for the first.
    pub previous: [u8; 32],
    pub digest: [u8; 32],
}

/// What is to be entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    pub actor: String,
    pub act: String,
    pub subject: String,
    pub reason: String,
    pub detail: String,
}

/// The end of a log: how many entries, and the digest that stands for all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub number: u64,
    pub digest: [u8; 32],
}

impl Head {
    /// Appends an entry.
    pub fn append(&mut self, new: NewEntry, now: Timestamp) -> Entry {
        let mut entry = Entry {
            number: self.number + 1,
            // As precise as every store keeps it.
            at: Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now),
            actor: new.actor,
            act: new.act,
            subject: new.subject,
            reason: new.reason,
            detail: new.detail,
            previous: self.digest,
            digest: [0; 32],
        };
        entry.digest = entry.seal();
        *self = Self {
            number: entry.number,
            digest: entry.digest,
        };
        entry
    }

    /// Goes on to the next entry, if it follows.
    pub fn verify(&mut self, entry: &Entry) -> Result<(), Broken> {
        let broken = |what| {
            Err(Broken {
                number: self.number + 1,
                what,
            })
        };
        if entry.number != self.number + 1 {
            return broken("an entry is missing before it");
        }
        if entry.previous != self.digest {
            return broken("it does not follow the entry before it");
        }
        if entry.seal() != entry.digest {
            return broken("it was changed after it was written");
        }
        *self = Self {
            number: entry.number,
            digest: entry.digest,
        };
        Ok(())
    }
}

/// Where a log was tampered with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log is broken at entry {number}: {what}")]
pub struct Broken {
    pub number: u64,
    pub what: &'static str,
}

impl Entry {
    fn seal(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        let mut part = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        part(&self.previous);
        part(&self.number.to_be_bytes());
        part(&self.at.as_microsecond().to_be_bytes());
        for text in [&self.actor, &self.act, &self.subject, &self.reason, &self.detail] {
            part(text.as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Vec<Entry> {
        let mut head = Head::default();
        let mut enter = |act: &str| {
            let new = NewEntry {
                actor: "jo".into(),
                act: act.into(),
                subject: "m1".into(),
                reason: "ticket 7".into(),
                detail: String::new(),
            };
            head.append(new, Timestamp::UNIX_EPOCH)
        };
        ["pause", "discard", "resume"].map(&mut enter).to_vec()
    }

    fn verify(log: &[Entry]) -> Result<Head, Broken> {
        let mut head = Head::default();
        log.iter().try_for_each(|entry| head.verify(entry))?;
        Ok(head)
    }

    #[test]
    fn an_untouched_log_is_sound_and_its_head_stands_for_it() {
        let log = log();
        let head = verify(&log).unwrap();
        assert_eq!((head.number, head.digest), (3, log[2].digest));
        assert_ne!(verify(&log[..2]).unwrap(), head);
    }

    #[test]
    fn every_change_is_found_where_it_was_made() {
        type Change = fn(&mut Vec<Entry>);
        let changes: [(Change, u64); 6] = [
            (|log| log[1].reason = "none".into(), 2),
            (|log| log[1].actor = "eve".into(), 2),
            (|log| drop(log.remove(1)), 2),
            (|log| drop(log.remove(0)), 1),
            (|log| log.swap(1, 2), 2),
            (
                |log| {
                    // Sealed anew: then the next one does not follow.
                    log[0].act = "resume".into();
                    log[0].digest = log[0].seal();
                },
                2,
            ),
        ];
        for (change, number) in changes {
            let mut log = log();
            change(&mut log);
            assert_eq!(verify(&log).unwrap_err().number, number);
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let mut shifted = log()[0].clone();
        shifted.actor = "j".into();
        shifted.act = "opause".into();
        assert_ne!(shifted.seal(), log()[0].digest);
    }
}
