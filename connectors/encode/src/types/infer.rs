//! Types out of values that come without a schema.
//!
//! Rules: whole numbers are 64 bits, others double; text stays text, whatever it looks like. A shape widens by what comes: a new
//! member is a new column, null fits everywhere, whole numbers become double. It never changes otherwise: a value of another kind
//! than the ones before it doesn't fit, and the record that has it is refused.

use super::{Field, Slot, Type};
use crate::json::Json;

/// Most columns, at all levels together.
const COLUMNS_MAX: usize = 10_000;

/// What is known of a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Nothing but null so far.
    #[default]
    Unknown,
    /// true and false
    Boolean,
    /// Whole numbers
    Long,
    /// Numbers
    Double,
    /// Text
    Text,
    /// Arrays of this
    List(Box<Shape>),
    /// Objects with these members
    Struct(Vec<(String, Shape)>),
}

impl Shape {
    /// Widens it by a value. False: nothing changed. After an error it may have changed in part: work on a copy.
    pub fn widen(&mut self, value: &Json<'_>) -> Result<bool, String> {
        let misfit = |was: &str| Err(format!("{}, where {was} came before", value.kind()));
        match (&mut *self, value) {
            (_, Json::Null) => Ok(false),
            (Self::Unknown, _) => {
                *self = Self::new(value)?;
                Ok(true)
            }
            (Self::Boolean, Json::Bool(_)) | (Self::Text, Json::Text(_)) => Ok(false),
            (Self::Long, Json::Number(text)) => match number(text)? {
                Self::Double => {
                    *self = Self::Double;
                    Ok(true)
                }
                _ => Ok(false),
            },
            (Self::Double, Json::Number(text)) => number(text).map(|_| false),
            (Self::List(element), Json::Array(values)) => {
                values.iter().try_fold(false, |changed, value| Ok(element.widen(value)? | changed))
            }
            (Self::Struct(known), Json::Object(values)) => {
                let mut changed = false;
                for (name, value) in values {
                    match known.iter_mut().find(|(known, _)| known == name) {
                        Some((_, shape)) => {
                            changed |= shape.widen(value).map_err(|why| within(name, &why))?;
                        }
                        None => {
                            let shape = Self::new(value).map_err(|why| within(name, &why))?;
                            known.push((name.to_string(), shape));
                            changed = true;
                        }
                    }
                }
                Ok(changed)
            }
            (Self::Boolean, _) => misfit("a boolean"),
            (Self::Long | Self::Double, _) => misfit("a number"),
            (Self::Text, _) => misfit("text"),
            (Self::List(_), _) => misfit("an array"),
            (Self::Struct(_), _) => misfit("an object"),
        }
    }

    /// Whether a value fits as it is.
    pub fn takes(&self, value: &Json<'_>) -> bool {
        match (self, value) {
            (_, Json::Null) | (Self::Boolean, Json::Bool(_)) | (Self::Text, Json::Text(_)) => true,
            (Self::Long, Json::Number(text)) => text.parse::<i64>().is_ok(),
            (Self::Double, Json::Number(text)) => number(text).is_ok(),
            (Self::List(element), Json::Array(values)) => values.iter().all(|value| element.takes(value)),
            (Self::Struct(known), Json::Object(values)) => values
                .iter()
                .all(|(name, value)| known.iter().any(|(known, shape)| known == name && shape.takes(value))),
            _ => false,
        }
    }

    fn new(value: &Json<'_>) -> Result<Self, String> {
        Ok(match value {
            Json::Null => Self::Unknown,
            Json::Bool(_) => Self::Boolean,
            Json::Number(text) => number(text)?,
            Json::Text(_) => Self::Text,
            Json::Array(_) => {
                let mut list = Self::List(Box::default());
                list.widen(value)?;
                list
            }
            Json::Object(_) => {
                let mut members = Self::Struct(Vec::new());
                members.widen(value)?;
                members
            }
        })
    }

    /// Columns of this shape; every one may be empty. What was only ever null is text, an object without members is left out.
    pub fn resolve(&self) -> Result<Type, String> {
        if self.columns() > COLUMNS_MAX {
            return Err(format!("more than {COLUMNS_MAX} columns; name the fields in `schema`"));
        }
        self.ty(Some(Type::Text)).ok_or_else(|| "an object without members has no columns".to_owned())
    }

    /// The same without what was only ever null, and without lists that were only ever empty.
    pub fn resolve_known(&self) -> Result<Type, String> {
        if self.columns() > COLUMNS_MAX {
            return Err(format!("more than {COLUMNS_MAX} columns; name the fields in `schema`"));
        }
        self.ty(None).ok_or_else(|| "an object without values has no columns".to_owned())
    }

    fn columns(&self) -> usize {
        match self {
            Self::List(element) => 1 + element.columns(),
            Self::Struct(members) => members.iter().map(|(_, shape)| shape.columns()).sum(),
            _ => 1,
        }
    }

    /// The type; `unknown` is that of what was only ever null.
    fn ty(&self, unknown: Option<Type>) -> Option<Type> {
        Some(match self {
            Self::Unknown => return unknown,
            Self::Text => Type::Text,
            Self::Boolean => Type::Boolean,
            Self::Long => Type::Long,
            Self::Double => Type::Double,
            Self::List(element) => {
                // Objects without members are as good as nulls.
                let ty = element.ty(unknown.clone()).or(unknown)?;
                Type::List(Box::new(Slot { ty, optional: true }))
            }
            Self::Struct(members) => {
                let field = |(name, shape): &(String, Self)| {
                    Some(Field {
                        name: name.clone(),
                        slot: Slot { ty: shape.ty(unknown.clone())?, optional: true },
                    })
                };
                let fields: Vec<Field> = members.iter().filter_map(field).collect();
                (!fields.is_empty()).then_some(Type::Struct(fields))?
            }
        })
    }
}

fn number(text: &str) -> Result<Shape, String> {
    if text.contains(['.', 'e', 'E']) {
        return Ok(Shape::Double);
    }
    match text.parse::<i64>() {
        Ok(_) => Ok(Shape::Long),
        Err(_) => Err(format!("{text} has more than 64 bits; give its type in `schema`")),
    }
}

fn within(name: &str, why: &str) -> String {
    // Paths are put together from the inside out.
    match why.split_once(": ") {
        Some((path, rest)) if !path.contains(' ') => format!("{name}.{path}: {rest}"),
        _ => format!("{name}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(texts: &[&str]) -> Result<Shape, String> {
        let mut shape = Shape::default();
        for text in texts {
            shape.widen(&Json::read(text).expect("JSON"))?;
        }
        Ok(shape)
    }

    #[test]
    fn shapes_widen_by_what_comes() {
        let wide = shape(&[
            r#"{"a":1,"b":null,"l":[]}"#,
            r#"{"a":1.5,"c":{"d":true},"l":[1,null]}"#,
            r#"{"b":"x"}"#,
        ]);
        let Type::Struct(fields) = wide.expect("fits").resolve().expect("columns") else {
            panic!("a struct")
        };
        let told: Vec<_> = fields.iter().map(|field| (field.name.as_str(), &field.slot.ty)).collect();
        assert_eq!(told[0], ("a", &Type::Double));
        assert_eq!(told[1], ("b", &Type::Text));
        assert_eq!(told[2], ("l", &Type::List(Box::new(Slot { ty: Type::Long, optional: true }))));
        assert!(matches!(told[3], ("c", Type::Struct(_))));
        assert!(fields.iter().all(|field| field.slot.optional));
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place() {
        let misfit = |texts: &[&str]| shape(texts).expect_err("does not fit");
        assert_eq!(
            misfit(&[r#"{"a":{"b":1}}"#, r#"{"a":{"b":"x"}}"#]),
            "a.b: text, where a number came before"
        );
        assert_eq!(misfit(&[r#"{"a":[1,true]}"#]), "a: a boolean, where a number came before");
        assert!(misfit(&[r#"{"a":18446744073709551615}"#]).contains("more than 64 bits"));
        assert!(shape(&["{}"]).expect("fits").resolve().is_err());
    }
}
