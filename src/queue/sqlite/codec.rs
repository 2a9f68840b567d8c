//! How the log's types stand in columns.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::{
    problem::FailureClass,
    queue::{HeadOfLine, Lane, MessageState},
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

/// Header fields in order: for each the lengths of name and value (32 bits, big-endian), then both.
#[derive(Debug, PartialEq)]
pub(super) struct Headers(pub(super) Vec<(String, Vec<u8>)>);

/// The encoded form of [`Headers`].
pub(super) fn encode_headers(headers: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (name, value) in headers {
        for part in [name.as_bytes(), value.as_slice()] {
            // A header of 4 GiB cannot get through the listener's limits; cut rather than shift all that follow.
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            encoded.extend_from_slice(&length.to_be_bytes());
            encoded.extend_from_slice(&part[..length as usize]);
        }
    }
    encoded
}

impl FromSql for Headers {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let mut rest = value.as_blob()?;
        let mut headers = Vec::new();
        while !rest.is_empty() {
            let name = part(&mut rest).ok_or(FromSqlError::InvalidType)?;
            let value = part(&mut rest).ok_or(FromSqlError::InvalidType)?;
            let name = std::str::from_utf8(name).map_err(FromSqlError::other)?;
            headers.push((name.to_owned(), value.to_vec()));
        }
        Ok(Self(headers))
    }
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (part, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *rest = after;
    Some(part)
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
    fn headers_come_back_as_they_went_in() {
        let headers = vec![
            ("content-type".to_owned(), b"application/json".to_vec()),
            ("x-odd".to_owned(), vec![0, 255, b'\n']),
            ("x-odd".to_owned(), vec![]),
        ];
        let encoded = encode_headers(&headers);
        assert_eq!(Headers::column_result(ValueRef::Blob(&encoded)), Ok(Headers(headers)));
        assert_eq!(Headers::column_result(ValueRef::Blob(&[])), Ok(Headers(vec![])));
    }

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

    #[test]
    fn cut_headers_are_an_error() {
        let encoded = encode_headers(&[("a".to_owned(), b"b".to_vec())]);
        for cut in 1..encoded.len() {
            assert!(Headers::column_result(ValueRef::Blob(&encoded[..cut])).is_err());
        }
    }
}
