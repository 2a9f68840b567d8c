//! How the log's types stand in columns.

use bytes::Bytes;
use jiff::Timestamp;
use tokio_postgres::{Row, types::FromSql};

use super::session::Failure;
use crate::{
    problem::FailureClass,
    queue::{self, Digest, HeadOfLine, Lane, MessageState, OrderKey, Standing, StoredRequest, StoredResponse, fields},
};

pub(super) fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

pub(super) fn time(micros: i64) -> Result<Timestamp, Failure> {
    Timestamp::from_microsecond(micros).map_err(|_| Failure::Unreadable("a time"))
}

/// As precise as it is stored, so that what is read back can be compared.
pub(super) fn rounded(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// Text that may come from outside: NUL is not allowed in a column, and says nothing.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// As it will be read back.
pub(super) fn stored(standing: &Standing) -> Standing {
    Standing {
        first_sent: standing.first_sent.map(rounded),
        last_sent: standing.last_sent.map(rounded),
        next_attempt: standing.next_attempt.map(rounded),
        deadline: rounded(standing.deadline),
        finished: standing.finished.map(rounded),
        leased_until: standing.leased_until.map(rounded),
        failure: standing.failure.as_ref().map(|failure| queue::Failure {
            class: failure.class,
            cause: text(&failure.cause),
        }),
        ..standing.clone()
    }
}

/// What an order key is found by.
pub(super) fn digest(key: &OrderKey) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.upstream.len() as u64).to_le_bytes());
    hasher.update(key.upstream.as_bytes());
    hasher.update(key.value.as_bytes());
    *hasher.finalize().as_bytes()
}

/// Which partition something belongs to: whole days since 1970.
pub(super) fn day(now: Timestamp) -> i32 {
    i32::try_from(now.as_second().div_euclid(86_400)).unwrap_or(0)
}

/// A row's columns, one after the other.
pub(super) struct Columns<'a> {
    row: &'a Row,
    next: usize,
}

impl<'a> Columns<'a> {
    pub(super) fn of(row: &'a Row) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn take<T: FromSql<'a>>(&mut self) -> Result<T, Failure> {
        let value = self.row.try_get(self.next)?;
        self.next += 1;
        Ok(value)
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, Failure> {
        time(self.take()?)
    }

    pub(super) fn time_or_none(&mut self) -> Result<Option<Timestamp>, Failure> {
        self.take::<Option<i64>>()?.map(time).transpose()
    }

    pub(super) fn number(&mut self) -> Result<u32, Failure> {
        u32::try_from(self.take::<i64>()?).map_err(|_| Failure::Unreadable("a number"))
    }

    pub(super) fn digest(&mut self) -> Result<Digest, Failure> {
        let bytes: &[u8] = self.take()?;
        bytes.try_into().map_err(|_| Failure::Unreadable("a digest"))
    }

    pub(super) fn bytes_as_text(&mut self) -> Result<String, Failure> {
        String::from_utf8(self.take()?).map_err(|_| Failure::Unreadable("a text"))
    }

    pub(super) fn lane(&mut self) -> Result<Lane, Failure> {
        let rank: i16 = self.take()?;
        let lane = Lane::ALL.into_iter().find(|lane| *lane as i16 == rank);
        lane.ok_or(Failure::Unreadable("a lane"))
    }

    pub(super) fn state(&mut self) -> Result<MessageState, Failure> {
        MessageState::named(self.take()?).ok_or(Failure::Unreadable("a state"))
    }

    pub(super) fn head_of_line(&mut self) -> Result<HeadOfLine, Failure> {
        let name: &str = self.take()?;
        let known = HeadOfLine::ALL.into_iter().find(|policy| policy.name() == name);
        known.ok_or(Failure::Unreadable("a head-of-line policy"))
    }

    pub(super) fn failure(&mut self) -> Result<Option<queue::Failure>, Failure> {
        let (class, cause): (Option<&str>, Option<String>) = (self.take()?, self.take()?);
        let Some(cause) = cause else { return Ok(None) };
        let class = class.and_then(FailureClass::named);
        let class = class.ok_or(Failure::Unreadable("a failure class"))?;
        Ok(Some(queue::Failure { class, cause }))
    }

    pub(super) fn headers(&mut self) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        fields::decode(self.take()?).ok_or(Failure::Unreadable(fields::CUT))
    }

    pub(super) fn body(&mut self) -> Result<Bytes, Failure> {
        Ok(Bytes::from(self.take::<Vec<u8>>()?))
    }

    /// `method, path_and_query, idempotency_key, headers, body`, where there is a request.
    pub(super) fn request(&mut self) -> Result<Option<StoredRequest>, Failure> {
        let Some(method) = self.take()? else {
            self.next += 4;
            return Ok(None);
        };
        Ok(Some(StoredRequest {
            method,
            path_and_query: self.take()?,
            idempotency_key: self.take()?,
            headers: self.headers()?,
            body: self.body()?,
        }))
    }

    /// `status, headers, body`, where there is a response.
    pub(super) fn response(&mut self) -> Result<Option<StoredResponse>, Failure> {
        let Some(status) = self.take::<Option<i32>>()? else {
            self.next += 2;
            return Ok(None);
        };
        Ok(Some(StoredResponse {
            status: u16::try_from(status).map_err(|_| Failure::Unreadable("a status"))?,
            headers: self.headers()?,
            body: self.body()?,
        }))
    }
}
