//! Messages that were under way when their process ended, so that one of them may have ended it.
//!
//! They are tried one at a time, beside all others: if the process ends again, the one that was being tried is known.
//! It is tried once more then, with nothing else under way. So a kill of the gateway with many messages under way costs
//! them only some time, and a message that does end its process does so three times.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;
use tokio::task::Id;

use super::{Claimed, after};

/// A gateway that ends whenever it tries a message serves others meanwhile, and is not given up by what starts it again.
const RESPITE: Duration = Duration::from_secs(10);

/// Suspects that wait for their trial, and the one that has it.
#[derive(Debug)]
pub(super) struct Suspects {
    line: VecDeque<Suspect>,
    /// Whose trial is under way, and whether nothing may be beside it.
    trial: Option<(Id, bool)>,
    /// No trial without company is made before.
    alone_from: Timestamp,
}

/// A leased message that waits for its trial.
#[derive(Debug)]
pub(super) struct Suspect {
    pub(super) upstream: String,
    pub(super) claimed: Claimed,
    /// When its lease ends, and somebody else may take it.
    until: Timestamp,
}

impl Suspect {
    /// Whether the process ended before while it was the only suspect under way.
    fn is_grave(&self) -> bool {
        self.claimed.breaks > 1
    }
}

/// What may start now.
#[derive(Debug)]
pub(super) enum Turn {
    /// All but suspects.
    Others,
    /// This suspect, and all others unless it has to be alone.
    Trial(Box<Suspect>),
    /// Nothing: a suspect has to be alone, or is about to be.
    Nothing,
}

impl Suspects {
    /// For a process that begins now.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            line: VecDeque::new(),
            trial: None,
            alone_from: after(now, RESPITE),
        }
    }

    /// A suspect waits for its turn, as long as its lease lasts.
    pub(super) fn add(&mut self, upstream: &str, claimed: Claimed, until: Timestamp) {
        self.line.push_back(Suspect {
            upstream: upstream.to_owned(),
            claimed,
            until,
        });
    }

    /// Whose turn it is, with `others` attempts under way, at upstreams that may be called.
    pub(super) fn turn(&mut self, others: usize, now: Timestamp, may_start: impl Fn(&str) -> bool) -> Turn {
        if let Some((_, is_alone)) = self.trial {
            return if is_alone { Turn::Nothing } else { Turn::Others };
        }
        self.line.retain(|suspect| suspect.until > now);
        let is_possible =
            |suspect: &Suspect| (!suspect.is_grave() || self.alone_from <= now) && may_start(&suspect.upstream);
        let Some(position) = self.line.iter().position(is_possible) else {
            return Turn::Others;
        };
        if others > 0 && self.line[position].is_grave() {
            return Turn::Nothing;
        }
        self.line
            .remove(position)
            .map_or(Turn::Others, |suspect| Turn::Trial(Box::new(suspect)))
    }

    /// The trial that `turn` asked for has begun.
    pub(super) fn begun(&mut self, id: Id, suspect: &Suspect) {
        self.trial = Some((id, suspect.is_grave()));
    }

    /// An attempt ended, a trial or not.
    pub(super) fn ended(&mut self, id: Id) {
        if self.trial.is_some_and(|(trial, _)| trial == id) {
            self.trial = None;
        }
    }
}
