//! How the log's types stand in columns.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::{
    problem::FailureClass,
    queue::{HeadOfLine, Lane, MessageState, fields},
};

/// A time, as microseconds since 1970.
pub(super) struct Micros(pub(super) Timestamp);

impl ToSql for Micros {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_microsecond().into())
    }
}

impl FromSql for Micros {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let micros = value.as_i64()?;
        // The end of time is a deadline that never comes, and does not come back from its microseconds.
        if micros >= Timestamp::MAX.as_microsecond() {
            return Ok(Self(Timestamp::MAX));
        }
        Timestamp::from_microsecond(micros)
            .map(Self)
            .map_err(|_| FromSqlError::OutOfRange(micros))
    }
}

impl ToSql for Lane {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok((*self as i64).into())
    }
}

impl FromSql for Lane {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let rank = value.as_i64()?;
        Self::ALL
            .into_iter()
            .find(|lane| *lane as i64 == rank)
            .ok_or(FromSqlError::OutOfRange(rank))
    }
}

impl ToSql for MessageState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.name().into())
    }
}

impl FromSql for MessageState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::named(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for HeadOfLine {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.name().into())
    }
}

impl FromSql for HeadOfLine {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let name = value.as_str()?;
        let known = Self::ALL.into_iter().find(|policy| policy.name() == name);
        known.ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for FailureClass {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for FailureClass {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::named(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}

/// Header fields, as [`fields`] keeps them.
pub(super) struct Headers(pub(super) Vec<(String, Vec<u8>)>);

/// The encoded form of [`Headers`].
pub(super) fn encode_headers(headers: &[(String, Vec<u8>)]) -> Vec<u8> {
    fields::encode(headers)
}

impl FromSql for Headers {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let headers = fields::decode(value.as_blob()?);
        headers.map(Self).ok_or(FromSqlError::InvalidType)
    }
}

/// A body as a column.
pub(super) struct Body(pub(super) Bytes);

impl FromSql for Body {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self(Bytes::copy_from_slice(value.as_blob()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_went_in_to_the_end_of_time() {
        for time in [
            Timestamp::UNIX_EPOCH,
            Timestamp::MAX,
            "2026-11-28T20:00:00.123456Z".parse().unwrap(),
        ] {
            let stored = ValueRef::Integer(time.as_microsecond());
            assert_eq!(Micros::column_result(stored).unwrap().0, time);
        }
    }
}
