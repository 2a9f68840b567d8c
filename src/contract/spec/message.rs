//! What a mapping says of whole messages: places that errors name, links, cursors.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::Spanned;

/// Where errors name places of the request, so that they name them in the caller's words.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ErrorsSpec {
    /// The fields of an error that hold such places.
    #[schemars(with = "Vec<PlaceSpec>")]
    pub places: Vec<Spanned<PlaceSpec>>,
    /// What becomes of a place that the caller's version does not have.
    #[serde(default)]
    pub unknown: UnknownPlace,
}

/// `{ from: felder[].feld, to: errors[].pointer, older: path, newer: pointer }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PlaceSpec {
    /// The field of the error, if it has the same place in both versions: names with dots, `[]` after a list.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
    /// Of what part of the request it names a place. Of parameters it is their name.
    #[serde(default)]
    pub of: PartSpec,
    /// How the older version writes places of the body.
    #[serde(default)]
    pub older: Notation,
    /// How the newer version writes them.
    #[serde(default)]
    pub newer: Notation,
}

/// A part of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PartSpec {
    /// Its body; `query:NAME`, `path:NAME`, `header:NAME` and `cookie:NAME` are parameters all the same.
    #[default]
    Body,
    /// A parameter of the query.
    Query,
    /// A parameter of the path.
    Path,
    /// A header field.
    Header,
    /// A cookie.
    Cookie,
}

/// How a place in a body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Notation {
    /// A JSON Pointer: `/lines/0/price` (RFC 6901).
    #[default]
    Pointer,
    /// A JSON Pointer as a fragment: `#/lines/0/price` (RFC 6901 §6).
    Fragment,
    /// Names with dots, positions in brackets: `lines[0].price`.
    Path,
    /// A normalized path of `JSONPath`: `$['lines'][0]['price']` (RFC 9535 §2.7); `$.lines[0].price` is read, too.
    JsonPath,
}

/// What becomes of a place that the caller's version does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownPlace {
    /// The nearest place around it that the caller's version has.
    #[default]
    Nearest,
    /// The field is left out.
    Drop,
    /// It stays as the upstream wrote it.
    Keep,
}

/// Which fields of answers are links, and what becomes of those that lead elsewhere. The header fields `Location`,
/// `Content-Location` and `Link` are links in any case.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct LinksSpec {
    /// Fields of answers that hold links.
    #[schemars(with = "Vec<MemberSpec>")]
    pub members: Vec<Spanned<MemberSpec>>,
    /// Other names by which the upstream calls itself in links: `erp.intern.example`, with a port if it has one.
    pub hosts: Vec<String>,
    /// What becomes of a link to the upstream that cannot be translated: it leads to no operation of the contract, or has
    /// a value without a counterpart.
    pub unknown: Option<LinkPolicy>,
    /// What becomes of a link to another system.
    pub elsewhere: Option<LinkPolicy>,
}

/// `{ from: weiter, to: links[].href }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MemberSpec {
    /// The field, if it has the same place in both versions: names with dots, `[]` after a list.
    #[serde(default)]
    pub path: Option<String>,
    /// The field in the older version.
    #[serde(default)]
    pub from: Option<String>,
    /// The field in the newer version.
    #[serde(default)]
    pub to: Option<String>,
}

/// What becomes of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkPolicy {
    /// It passes; one to the upstream leads through the gateway, by its path as it is.
    Pass,
    /// It is left out.
    Drop,
    /// The answer cannot be translated.
    Refuse,
}

/// A parameter and the fields of answers that say what to send in it for the next page. Callers get cursors sealed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CursorsSpec {
    /// The parameter of the query that takes a cursor.
    #[schemars(with = "MemberSpec")]
    pub query: Spanned<MemberSpec>,
    /// Fields of answers that hold one.
    #[serde(default)]
    #[schemars(with = "Vec<MemberSpec>")]
    pub members: Vec<Spanned<MemberSpec>>,
}
