//! One version's document as it is enforced: read, overlays applied, and brought to the words of `OpenAPI` 3.1.

use super::overlay;
use super::shape::{Shape, visit};
use super::tree::{Content, Node, Origin};
use super::upgrade::upgrade;
use crate::config::{Diagnostic, Severity, SourceFile};

/// A document, and what came up on the way to it.
pub(super) struct Assembled {
    pub(super) tree: Node,
    pub(super) warnings: Vec<Diagnostic>,
}

/// Reads the document, the first of the files, and applies the others to it, which are overlays.
pub(super) fn assemble(files: &[SourceFile]) -> Result<Assembled, Vec<Diagnostic>> {
    let Some(file) = files.first() else {
        return Err(Vec::new());
    };
    let mut tree = Node::read(file, 0).map_err(|mistake| vec![mistake])?;
    let edition = Edition::of(&tree, files).map_err(|mistake| vec![mistake])?;
    let mut warnings = Vec::new();
    let mut mistakes = Vec::new();
    for index in 1..files.len() {
        match overlay::apply(&mut tree, files, index) {
            Ok(found) => warnings.extend(found),
            Err(found) => mistakes.extend(found),
        }
    }
    if !mistakes.is_empty() {
        mistakes.append(&mut warnings);
        return Err(mistakes);
    }
    name_itself(&mut tree);
    match edition {
        Edition::V30 => {
            upgrade(&mut tree);
        }
        Edition::V31 => {}
        Edition::V32 => warn_of_sequences(&mut tree, files, &mut warnings),
    }
    Ok(Assembled { tree, warnings })
}

/// Which `OpenAPI` a document is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edition {
    V30,
    V31,
    V32,
}

impl std::fmt::Display for Edition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V30 => "3.0",
            Self::V31 => "3.1",
            Self::V32 => "3.2",
        })
    }
}

impl Edition {
    pub(super) fn of(tree: &Node, files: &[SourceFile]) -> Result<Self, Diagnostic> {
        if tree.get("swagger").is_some() {
            let mistake = tree
                .origin_of("/swagger")
                .mistake(files, "Swagger 2.0 is not read; OpenAPI 3.0, 3.1 and 3.2 are");
            return Err(
                mistake.help("convert the document to OpenAPI 3 first; editors and generators of Swagger do that")
            );
        }
        let written = match tree.get("openapi").map(|version| &version.content) {
            Some(Content::Text(text)) => text.clone(),
            // `openapi: 3.1` without quotes is a number.
            Some(Content::Number(number)) => number.to_string(),
            _ => {
                let mistake = Origin::default().mistake(files, "this is not an OpenAPI document: `openapi` is missing");
                return Err(mistake.help("begin it with `openapi: 3.1.0`"));
            }
        };
        let edition = |known: &str| {
            let rest = written.strip_prefix(known)?;
            (rest.is_empty() || rest.starts_with('.')).then_some(())
        };
        match (edition("3.0"), edition("3.1"), edition("3.2")) {
            (Some(()), _, _) => Ok(Self::V30),
            (_, Some(()), _) => Ok(Self::V31),
            (_, _, Some(())) => Ok(Self::V32),
            _ => Err(tree
                .origin_of("/openapi")
                .mistake(files, format!("OpenAPI version `{written}` is not read"))
                .help("write the document in OpenAPI 3.0, 3.1 or 3.2: `openapi: 3.1.0`")),
        }
    }
}

/// A document that says what it is called by (`$self`, 3.2) may mean itself by that name.
pub(super) fn name_itself(tree: &mut Node) {
    let Some(own) = tree.get("$self").and_then(Node::as_str).map(str::to_owned) else {
        return;
    };
    visit(tree, Shape::Document, &mut Vec::new(), &mut |_, node, _| {
        if let Some(Content::Text(reference)) = node.get_mut("$ref").map(|reference| &mut reference.content)
            && let Some(fragment) = reference.strip_prefix(&own).filter(|rest| rest.starts_with('#'))
        {
            *reference = fragment.to_owned();
        }
    });
}

/// Bodies that are read item by item (3.2) pass unread here.
pub(super) fn warn_of_sequences(tree: &mut Node, files: &[SourceFile], warnings: &mut Vec<Diagnostic>) {
    visit(tree, Shape::Document, &mut Vec::new(), &mut |shape, node, at| {
        if shape == Shape::MediaType
            && let Some(member) = node.members().and_then(|members| members.get("itemSchema"))
        {
            let media = at.last().map_or("this media type", String::as_str);
            let message = format!("the `itemSchema` of {media} is not enforced: bodies of many items pass unread");
            let mut warning = member.key.mistake(files, message);
            warning.severity = Severity::Warning;
            warnings.push(warning.help("describe a whole JSON body by `schema` where it should be enforced"));
        }
    });
}
