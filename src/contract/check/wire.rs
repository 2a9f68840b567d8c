//! Parameters as an object and as they travel: in the path, the query, header fields.

use http::header::{COOKIE, HeaderName};
use http::{HeaderMap, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::sample::Sample;
use crate::contract::parameter::{Parameter, Place, cookie_value, cookies, parse_query};
use crate::contract::{Operation, Translation, Unmappable};
use crate::json::{Document, Pointer};

/// The parameters at one place as they travel.
#[derive(Debug, Default)]
pub(super) struct Written {
    path: Vec<String>,
    query: Option<String>,
    headers: HeaderMap,
}

/// An object of parameters as they travel; none if one of its values cannot.
pub(super) fn written(operation: &Operation, place: Place, values: &Document) -> Option<Written> {
    let Sample::Obj(members) = Sample::of(values.root()) else {
        return None;
    };
    let mut written = Written::default();
    let mut pairs = Vec::new();
    for (name, value) in &members {
        let declared = find(operation, place, name);
        let between = declared.and_then(Parameter::between);
        let items = match value {
            // There is no way to write a list without items, or a list in a list.
            Sample::Arr(items) if items.is_empty() => return None,
            Sample::Arr(items) => items.iter().map(text).collect::<Option<Vec<_>>>()?,
            value => vec![text(value)?],
        };
        let is_list = matches!(value, Sample::Arr(_));
        // Blanks around the items of a list do not count.
        if is_list && items.iter().any(|item| item.trim() != item || item.is_empty()) {
            return None;
        }
        match between.filter(|_| is_list) {
            Some(separator) if items.iter().any(|item| item.contains(separator)) => return None,
            Some(separator) => pairs.push((name, items.join(&separator.to_string()))),
            None if is_list && place != Place::Query => return None,
            None => pairs.extend(items.into_iter().map(|item| (name, item))),
        }
    }
    match place {
        Place::Path => {
            for name in &operation.path_names {
                let (_, value) = pairs.iter().find(|(known, _)| *known == name)?;
                // Such a path is another one.
                if matches!(value.as_str(), "" | "." | "..") {
                    return None;
                }
                written.path.push(value.clone());
            }
        }
        Place::Query => {
            let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let pairs = pairs
                .iter()
                .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
            written.query = Some(pairs.collect::<Vec<_>>().join("&"));
        }
        Place::Header => {
            for (name, value) in pairs {
                // Requests with other characters in a field that is read are refused before anything is translated.
                let field = HeaderValue::from_str(&value)
                    .ok()
                    .filter(|field| field.to_str().is_ok())?;
                if value.trim() != value {
                    return None;
                }
                written.headers.append(name.parse::<HeaderName>().ok()?, field);
            }
        }
        Place::Cookie => {
            let pairs = pairs.iter().map(|(name, value)| {
                if find(operation, place, name).is_some_and(|parameter| parameter.is_raw) {
                    return format!("{name}={value}");
                }
                format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
            });
            let field = pairs.collect::<Vec<_>>().join("; ");
            if !field.is_empty() {
                written.headers.insert(COOKIE, HeaderValue::from_str(&field).ok()?);
            }
            // What does not come apart again was no cookie.
            let values = cookies(&written.headers).count();
            if values != members.len() {
                return None;
            }
        }
    }
    Some(written)
}

/// Sends parameters through the translation of requests, and reads those that the upstream gets.
pub(super) fn sent(
    translation: &Translation,
    place: Place,
    path: &[String],
    values: &Document,
) -> Result<Option<Document>, Unmappable> {
    let Some(mut written) = written(translation.caller(), place, values) else {
        return Ok(None);
    };
    if place != Place::Path {
        path.clone_into(&mut written.path);
    }
    let mapped = translation.request(&written.path, written.query.as_deref(), &mut written.headers, None);
    let mapped = mapped.map_err(|refused| Unmappable {
        pointer: pointer(&refused.pointer),
        ..refused
    })?;
    let upstream = translation.upstream();
    let (path, query) = mapped
        .path_and_query
        .split_once('?')
        .unwrap_or((&mapped.path_and_query, ""));
    let read: Vec<(String, Option<String>)> = match place {
        Place::Path => path_values(&upstream.template, path),
        Place::Query => parse_query(query),
        Place::Header => {
            let declared = upstream
                .parameters
                .iter()
                .filter(|parameter| parameter.place == Place::Header);
            let values = declared.flat_map(|parameter| {
                let fields = written.headers.get_all(&parameter.name).iter();
                fields.map(|field| (parameter.name.clone(), field.to_str().ok().map(str::to_owned)))
            });
            values.collect()
        }
        Place::Cookie => {
            let values = cookies(&written.headers).map(|(name, value)| {
                let is_raw = find(upstream, place, name).is_some_and(|parameter| parameter.is_raw);
                (
                    name.to_owned(),
                    cookie_value(value, is_raw).map(std::borrow::Cow::into_owned),
                )
            });
            values.collect()
        }
    };
    let mut names: Vec<&String> = read.iter().map(|(name, _)| name).collect();
    names.dedup();
    let mut members: Vec<(String, Sample)> = Vec::new();
    for name in names {
        if members.iter().any(|(known, _)| known == name) {
            continue;
        }
        let own = read.iter().filter(|(known, _)| known == name);
        let own: Vec<Option<&str>> = own.map(|(_, value)| value.as_deref()).collect();
        let typed = find(upstream, place, name).and_then(|parameter| parameter.typed(&own).ok());
        // What cannot be read as its type, or is not declared, is text: the schema refuses that.
        let value = typed.map_or_else(
            || Sample::Str(own.iter().flatten().copied().collect::<Vec<_>>().join(",")),
            |typed| Sample::of(typed.root()),
        );
        members.push((name.clone(), value));
    }
    Ok(Sample::Obj(members).document())
}

fn find<'o>(operation: &'o Operation, place: Place, name: &str) -> Option<&'o Parameter> {
    let mut parameters = operation.parameters.iter();
    parameters.find(|parameter| parameter.place == place && parameter.name == name)
}

fn text(value: &Sample) -> Option<String> {
    match value {
        Sample::Str(text) | Sample::Num(text) => Some(text.clone()),
        Sample::Bool(truth) => Some(truth.to_string()),
        Sample::Null | Sample::Arr(_) | Sample::Obj(_) => None,
    }
}

/// `query:status` as a pointer into the object of parameters.
fn pointer(written: &str) -> String {
    match written.split_once(':') {
        Some((_, "")) | None => String::new(),
        Some((_, name)) => Pointer::from(vec![name.to_owned()]).to_string(),
    }
}

/// The values of a path that was filled in.
fn path_values(template: &str, path: &str) -> Vec<(String, Option<String>)> {
    let mut values = Vec::new();
    let (mut template, mut path) = (template, path);
    while let Some((literal, after)) = template.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let rest = path.get(literal.len()..).unwrap_or_default();
        let next = after.split('{').next().unwrap_or_default();
        // Values are encoded, so the literal that follows is not in them but by its letters.
        let end = if next.is_empty() {
            rest.len()
        } else {
            rest.find(next).unwrap_or(rest.len())
        };
        let decoded = percent_decode_str(&rest[..end]).decode_utf8().ok();
        values.push((name.to_owned(), decoded.map(std::borrow::Cow::into_owned)));
        (template, path) = (after, &rest[end..]);
    }
    values
}
