//! Finding, taking and putting values in a tree that is being rewritten.

use std::borrow::Cow;

use crate::json::Out;

pub(super) fn position(value: &mut Out<'_>, name: &str) -> Option<usize> {
    value
        .members_mut()?
        .iter()
        .position(|(member, value)| !matches!(value, Out::Absent) && is_name(member, name))
}

/// Names of the same length mostly differ in their last letter: that spares a call for nearly all of them.
fn is_name(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.as_bytes().last() == other.as_bytes().last() && one == other
}

/// The place a path leads to, if something stands there.
pub(super) fn slot<'s, 'a>(value: &'s mut Out<'a>, path: &[Box<str>]) -> Option<&'s mut Out<'a>> {
    path.iter().try_fold(value, |value, name| {
        let place = position(value, name)?;
        value.members_mut()?.get_mut(place).map(|(_, value)| value)
    })
}

pub(super) fn take(value: &mut Out<'_>, path: &[Box<str>]) {
    if let Some(place) = slot(value, path) {
        *place = Out::Absent;
    }
}

/// Puts a value where nothing stands, making the objects on the way.
pub(super) fn put<'a>(value: &mut Out<'a>, path: &'a [Box<str>], new: Out<'a>) -> Result<(), String> {
    let Some((last, way)) = path.split_last() else {
        return Err("a value without a place".to_owned());
    };
    if matches!(new, Out::Absent) {
        return Ok(());
    }
    let mut object = value;
    for name in way {
        let place = if let Some(place) = position(object, name) {
            place
        } else {
            let members = object.members_mut().ok_or_else(|| occupied(name))?;
            members.push((Cow::Borrowed(name), Out::Obj(Vec::with_capacity(4))));
            members.len() - 1
        };
        object = match object.members_mut() {
            Some(members) => &mut members[place].1,
            None => return Err(occupied(name)),
        };
    }
    if position(object, last).is_some() {
        return Err(format!("a second value for `{last}`"));
    }
    let members = object.members_mut().ok_or_else(|| occupied(last))?;
    members.push((Cow::Borrowed(last), new));
    Ok(())
}

fn occupied(name: &str) -> String {
    format!("something else stands where an object with `{name}` is expected")
}

pub(super) fn is_empty(members: &[(Cow<'_, str>, Out<'_>)]) -> bool {
    members.iter().all(|(_, value)| matches!(value, Out::Absent))
}

/// Scalars of the same text; nothing else is compared.
pub(super) fn is_same(one: &Out<'_>, other: &Out<'_>) -> bool {
    match (one.as_text(), other.as_text()) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

pub(super) fn shown(value: &Out<'_>) -> String {
    match value.as_text() {
        Some(text) => format!("`{}`", text.chars().take(60).collect::<String>().escape_debug()),
        None => "a value".to_owned(),
    }
}
