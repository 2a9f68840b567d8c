//! What is known of a value before there is one.

use std::fmt;
use std::sync::Arc;

/// What is known of a value, and whether there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    /// What it is where there is one.
    pub shape: Shape,
    /// A field that may be left out.
    pub may_be_absent: bool,
    /// `null` is allowed beside the shape.
    pub may_be_null: bool,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// The schema says nothing: any JSON value, `null` included.
    Dyn,
    /// There is no such value: the items of an empty list, the type of `null` apart from being `null`.
    Never,
    Bool,
    /// A whole number.
    Int,
    /// Any number.
    Decimal,
    /// Text, and which, where the schema lists it.
    String(Option<Arc<[Box<str>]>>),
    /// A day. In JSON: `2026-11-20`.
    Date,
    /// A point in time. In JSON: RFC 3339.
    Timestamp,
    /// A list of such values, with the fewest and the most there are.
    List {
        item: Box<Type>,
        least: u64,
        most: Option<u64>,
    },
    /// An object of the schema at this place (see [`Schemas`]).
    Object(Arc<str>),
    /// An object that the expression makes.
    Record(Arc<[(Box<str>, Type)]>),
}

/// Where objects are described. A place is whatever its implementation understands, such as a JSON Pointer.
pub trait Schemas {
    /// The type of a field of the object described at a place. `None` if there is no such field; an object that may
    /// have others than those described has them all, with [`Shape::Dyn`].
    fn field(&self, place: &str, name: &str) -> Option<Type>;

    /// The fields that are described at a place.
    fn field_names(&self, place: &str) -> Vec<String>;
}

/// No objects are described.
pub struct NoSchemas;

impl Schemas for NoSchemas {
    fn field(&self, _place: &str, _name: &str) -> Option<Type> {
        None
    }

    fn field_names(&self, _place: &str) -> Vec<String> {
        Vec::new()
    }
}

impl From<Shape> for Type {
    /// Always there.
    fn from(shape: Shape) -> Self {
        Self {
            shape,
            may_be_absent: false,
            may_be_null: false,
        }
    }
}

impl Type {
    /// The type of `null`.
    pub fn null() -> Self {
        Self {
            may_be_null: true,
            ..Shape::Never.into()
        }
    }

    /// Any text.
    pub fn string() -> Self {
        Shape::String(None).into()
    }

    /// A list of any length.
    pub fn list(item: Type) -> Self {
        let item = Box::new(item);
        Shape::List {
            item,
            least: 0,
            most: None,
        }
        .into()
    }

    /// The same, or nothing.
    #[must_use]
    pub fn or_absent(mut self) -> Self {
        self.may_be_absent = true;
        self
    }

    /// The same, or `null`.
    #[must_use]
    pub fn or_null(mut self) -> Self {
        self.may_be_null = true;
        self
    }

    /// The same where there is a value.
    #[must_use]
    pub fn present(mut self) -> Self {
        self.may_be_absent = false;
        self.may_be_null = false;
        self
    }

    /// The narrowest type of values of either. `None` if they have nothing in common.
    pub fn join(&self, other: &Self) -> Option<Self> {
        Some(Self {
            shape: self.shape.join(&other.shape)?,
            may_be_absent: self.may_be_absent || other.may_be_absent,
            may_be_null: self.may_be_null || other.may_be_null,
        })
    }
}

impl Shape {
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Decimal | Self::Never)
    }

    pub(super) fn is_string(&self) -> bool {
        matches!(self, Self::String(_) | Self::Never)
    }

    /// Text that is one of these.
    pub(super) fn codes(&self) -> Option<&[Box<str>]> {
        match self {
            Self::String(codes) => codes.as_deref(),
            _ => None,
        }
    }

    fn join(&self, other: &Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Never, shape) | (shape, Self::Never) => shape.clone(),
            (one, other) if one == other => one.clone(),
            (Self::Dyn, _) | (_, Self::Dyn) => Self::Dyn,
            (Self::Int | Self::Decimal, Self::Int | Self::Decimal) => Self::Decimal,
            (Self::String(Some(one)), Self::String(Some(other))) => {
                let more = other.iter().filter(|code| !one.contains(code));
                Self::String(Some(one.iter().chain(more).cloned().collect()))
            }
            (Self::String(_), Self::String(_)) => Self::String(None),
            (
                Self::List { item, least, most },
                Self::List {
                    item: other,
                    least: other_least,
                    most: other_most,
                },
            ) => Self::List {
                item: item.join(other)?.into(),
                least: *least.min(other_least),
                most: most.zip(*other_most).map(|(one, other)| one.max(other)),
            },
            (Self::Record(one), Self::Record(other)) => {
                let mut members = Vec::new();
                for (name, kind) in one.iter() {
                    let found = other.iter().find(|(other, _)| other == name);
                    let kind = match found {
                        Some((_, other)) => kind.join(other)?,
                        None => kind.clone().or_absent(),
                    };
                    members.push((name.clone(), kind));
                }
                for (name, kind) in other.iter() {
                    if !one.iter().any(|(other, _)| other == name) {
                        members.push((name.clone(), kind.clone().or_absent()));
                    }
                }
                Self::Record(members.into())
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.shape, self.may_be_null) {
            (Shape::Never, true) => f.write_str("null")?,
            (shape, true) => write!(f, "{shape} or null")?,
            (shape, false) => write!(f, "{shape}")?,
        }
        if self.may_be_absent {
            f.write_str(" or nothing")?;
        }
        Ok(())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("any value"),
            Self::Never => f.write_str("nothing"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Decimal => f.write_str("decimal"),
            Self::String(_) => f.write_str("string"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::List { item, .. } => write!(f, "list({item})"),
            Self::Object(_) | Self::Record(_) => f.write_str("object"),
        }
    }
}
