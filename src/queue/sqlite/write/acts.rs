//! What persons do: decisions, pauses, moves between stores, and their entries in the audit log.

use jiff::Timestamp;
use rusqlite::params;

use super::{Failure, Micros, Writer, encode_headers, read};
use crate::{
    audit,
    queue::{
        Act, Actor, LogError, MessageCopy, MessageState, MessageView, NoticeView, Pause, PauseScope, StoredRequest,
    },
};

impl Writer {
    pub(in super::super) fn act(
        &mut self,
        id: &str,
        act: &Act,
        by: &Actor,
        now: Timestamp,
    ) -> Result<MessageView, Failure> {
        let Some(before) = self.message(id)? else {
            return Err(LogError::Unknown.into());
        };
        let mut standing = before.standing.clone();
        standing.act(act, before.deadline.duration_since(before.admitted), now)?;
        if let Act::Edit { request, .. } = act {
            self.replace_request(before.seq, request)?;
        }
        if standing.state == MessageState::Delivered {
            self.drop_request(before.seq)?;
        }
        self.save(&before, &standing)?;
        self.tell(&before, &standing)?;
        let detail = format!("{} -> {}", before.standing.state.name(), standing.state.name());
        self.enter(by, act.name(), id, detail, now)?;
        Ok(read::get(&self.connection, id)?.ok_or(LogError::Unknown)?)
    }

    fn replace_request(&self, seq: i64, request: &StoredRequest) -> rusqlite::Result<()> {
        self.execute(
            "INSERT INTO former_request (seq, edition, method, path_and_query, idempotency_key, headers, body, key_id)
             SELECT seq, (SELECT count(*) FROM former_request WHERE seq = ?1), method, path_and_query,
                idempotency_key, headers, body, key_id FROM request WHERE seq = ?1",
            [seq],
        )?;
        self.insert_request(seq, request)
    }

    pub(in super::super) fn pause(&mut self, scope: &PauseScope, by: &Actor, now: Timestamp) -> Result<(), Failure> {
        self.enter(by, "pause", &scope.to_string(), String::new(), now)?;
        if self.pauses.contains_key(scope) {
            return Ok(());
        }
        self.execute(
            "INSERT INTO pause (scope, since, actor, reason) VALUES (?1, ?2, ?3, ?4)",
            params![scope.to_string(), Micros(now), by.name, by.reason],
        )?;
        let pause = Pause {
            scope: scope.clone(),
            since: now,
            by: by.clone(),
        };
        self.pauses.insert(scope.clone(), pause);
        self.paused(scope)?;
        Ok(())
    }

    pub(in super::super) fn resume(&mut self, scope: &PauseScope, by: &Actor, now: Timestamp) -> Result<bool, Failure> {
        self.enter(by, "resume", &scope.to_string(), String::new(), now)?;
        self.execute("DELETE FROM pause WHERE scope = ?1", [scope.to_string()])?;
        let was_paused = self.pauses.remove(scope).is_some();
        self.paused(scope)?;
        Ok(was_paused)
    }

    fn paused(&mut self, scope: &PauseScope) -> rusqlite::Result<()> {
        if let PauseScope::Key(key) = scope {
            self.refresh(key)?;
        }
        self.changes.pauses = Some(self.pauses.clone());
        self.changes.wakes = true;
        Ok(())
    }

    pub(in super::super) fn import(&mut self, copies: &[MessageCopy], now: Timestamp) -> Result<usize, Failure> {
        let mut taken = 0;
        for copy in copies {
            let standing = copy.standing.clone().without_lease(now);
            let Some(seq) = self.insert(&copy.message, copy.has_request, copy.admitted, &standing)? else {
                continue;
            };
            taken += 1;
            for attempt in &copy.attempts {
                self.execute(
                    "INSERT OR REPLACE INTO attempt (seq, number, started, ended, result) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        seq,
                        attempt.number,
                        Micros(attempt.started),
                        attempt.ended.map(Micros),
                        attempt.result
                    ],
                )?;
            }
            if let Some(response) = &copy.response {
                self.keep_response(seq, response)?;
            }
            for (edition, former) in (0_i64..).zip(&copy.former) {
                self.execute(
                    "INSERT INTO former_request
                        (seq, edition, method, path_and_query, idempotency_key, headers, body)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![
                        seq,
                        edition,
                        former.method,
                        former.path_and_query,
                        former.idempotency_key,
                        encode_headers(&former.headers),
                        &former.body[..]
                    ],
                )?;
            }
            for NoticeView { notice, standing } in &copy.notices {
                let standing = standing.clone().without_lease();
                let notice = notice.clone();
                self.keep_notice(seq, &NoticeView { notice, standing })?;
            }
        }
        Ok(taken)
    }

    pub(in super::super) fn record(&mut self, entry: audit::NewEntry, now: Timestamp) -> Result<audit::Entry, Failure> {
        Ok(self.append(entry, now)?)
    }

    pub(in super::super) fn enter(
        &mut self,
        by: &Actor,
        act: &str,
        subject: &str,
        detail: String,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let entry = audit::NewEntry {
            actor: by.name.clone(),
            act: act.to_owned(),
            subject: subject.to_owned(),
            reason: by.reason.clone(),
            detail,
        };
        self.append(entry, now).map(drop)
    }

    fn append(&mut self, entry: audit::NewEntry, now: Timestamp) -> rusqlite::Result<audit::Entry> {
        let entry = self.audit.append(entry, now);
        self.execute(
            "INSERT INTO audit (number, at, actor, act, subject, reason, detail, previous, digest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                entry.number.cast_signed(),
                Micros(entry.at),
                entry.actor,
                entry.act,
                entry.subject,
                entry.reason,
                entry.detail,
                entry.previous,
                entry.digest
            ],
        )?;
        Ok(entry)
    }
}
