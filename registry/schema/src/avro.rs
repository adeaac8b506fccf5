//! Avro schemas as a flat table of types: names are looked up once, when a schema is parsed, and a type that contains itself is
//! just a number that comes again.
//!
//! `apache-avro` parses the text and checks its names, unions and defaults. What is built from it serves both the question which
//! schema reads which, and the conversion of records, which must not follow a hostile schema or record without a limit.

mod defaults;
mod reads;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{FixedSchema, InnerDecimalSchema, Name, UuidSchema};
use serde_json::Value;

use crate::Dependency;

pub use reads::unreadable;

/// Most types in one schema, references included.
const TYPES_MAX: usize = 50_000;

/// A type within its [`Avro`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeId(u32);

/// A schema. The root is type 0 of what [`Avro::root`] says.
#[derive(Clone, Debug)]
pub struct Avro {
    types: Vec<Type>,
    root: TypeId,
}

/// One type.
#[derive(Clone, Debug)]
pub enum Type {
    /// Nothing.
    Null,
    /// True or false.
    Boolean,
    /// 32 bits.
    Int(Logical),
    /// 64 bits.
    Long(Logical),
    /// IEEE 754, 32 bits.
    Float,
    /// IEEE 754, 64 bits.
    Double,
    /// Any bytes.
    Bytes(Logical),
    /// UTF-8.
    String(Logical),
    /// So many bytes.
    Fixed(Fixed),
    /// One of some names.
    Enum(Enum),
    /// A list.
    Array(TypeId),
    /// Texts to values.
    Map(TypeId),
    /// One of some types.
    Union(Vec<TypeId>),
    /// Fields.
    Record(Record),
}

/// What a plain type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logical {
    /// Itself.
    None,
    /// A whole number divided by ten to the power of `scale`.
    Decimal {
        /// Most digits.
        precision: usize,
        /// Digits behind the point.
        scale: usize,
    },
    /// RFC 9562.
    Uuid,
    /// Days since 1970.
    Date,
    /// Milliseconds since midnight.
    TimeMillis,
    /// Microseconds since midnight.
    TimeMicros,
    /// An instant, milliseconds since 1970.
    TimestampMillis,
    /// An instant, microseconds since 1970.
    TimestampMicros,
    /// An instant, nanoseconds since 1970.
    TimestampNanos,
    /// A reading of a clock, milliseconds since 1970.
    LocalTimestampMillis,
    /// A reading of a clock, microseconds since 1970.
    LocalTimestampMicros,
    /// A reading of a clock, nanoseconds since 1970.
    LocalTimestampNanos,
    /// Months, days and milliseconds.
    Duration,
}

/// Names of a named type.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// With its namespace.
    pub full: String,
    /// Other full names that it may be read under.
    pub aliases: Vec<String>,
}

impl Names {
    /// Without the namespace.
    #[must_use]
    pub fn short(&self) -> &str {
        self.full.rsplit('.').next().unwrap_or_default()
    }
}

/// See [`Type::Fixed`].
#[derive(Clone, Debug)]
pub struct Fixed {
    /// Names.
    pub names: Names,
    /// Bytes.
    pub size: usize,
    /// What it stands for.
    pub logical: Logical,
}

/// See [`Type::Enum`].
#[derive(Clone, Debug)]
pub struct Enum {
    /// Names.
    pub names: Names,
    /// Its values, in order.
    pub symbols: Vec<String>,
    /// What a reader takes for a value that it doesn't know.
    pub default: Option<String>,
}

/// See [`Type::Record`].
#[derive(Clone, Debug)]
pub struct Record {
    /// Names.
    pub names: Names,
    /// In order.
    pub fields: Vec<Field>,
}

/// A field of a record.
#[derive(Clone, Debug)]
pub struct Field {
    /// Name.
    pub name: String,
    /// Other names that it may be read under.
    pub aliases: Vec<String>,
    /// What stands for it when it is missing.
    pub default: Option<Value>,
    /// Type.
    pub is: TypeId,
}

impl Avro {
    /// Parses; see [`crate::Schema::parse`].
    pub(crate) fn parse(text: &str, dependencies: &[Dependency]) -> Result<Self, String> {
        defaults::check(text, dependencies)?;
        let others: Vec<&str> = dependencies.iter().map(|dependency| dependency.text.as_str()).collect();
        let (root, others) = if others.is_empty() {
            (Schema::parse_str(text).map_err(|error| error.to_string())?, Vec::new())
        } else {
            Schema::parse_str_with_list(text, others).map_err(|error| error.to_string())?
        };
        let mut table = Table::default();
        for schema in others.iter().chain([&root]) {
            table.declare(schema)?;
        }
        for schema in &others {
            table.add(schema)?;
        }
        let root = table.add(&root)?;
        let types = table.types.into_iter().map(|slot| slot.unwrap_or(Type::Null)).collect();
        Ok(Self { types, root })
    }

    /// The type of a whole record.
    #[must_use]
    pub fn root(&self) -> TypeId {
        self.root
    }

    /// A type of this schema.
    #[must_use]
    pub fn get(&self, id: TypeId) -> &Type {
        // Ids are only made with their table; one of another schema finds some type or null, never a panic.
        self.types.get(id.0 as usize).unwrap_or(&Type::Null)
    }
}

/// A table under construction: named types get their number before their parts are looked at.
#[derive(Default)]
struct Table {
    types: Vec<Option<Type>>,
    named: HashMap<String, TypeId>,
}

impl Table {
    fn reserve(&mut self) -> Result<TypeId, String> {
        if self.types.len() >= TYPES_MAX {
            return Err(format!("more than {TYPES_MAX} types"));
        }
        self.types.push(None);
        Ok(TypeId((self.types.len() - 1) as u32))
    }

    /// Gives every named type within `schema` its number. Recursive no deeper than the JSON, which serde_json limits.
    fn declare(&mut self, schema: &Schema) -> Result<(), String> {
        let name = match schema {
            Schema::Record(record) => Some(&record.name),
            Schema::Enum(of) => Some(&of.name),
            Schema::Fixed(of) | Schema::Duration(of) | Schema::Uuid(UuidSchema::Fixed(of)) => Some(&of.name),
            Schema::Decimal(of) => match &of.inner {
                InnerDecimalSchema::Fixed(of) => Some(&of.name),
                InnerDecimalSchema::Bytes => None,
            },
            _ => None,
        };
        if let Some(name) = name {
            let id = self.reserve()?;
            self.named.insert(name.fullname(None), id);
        }
        match schema {
            Schema::Record(record) => record.fields.iter().try_for_each(|field| self.declare(&field.schema)),
            Schema::Array(of) => self.declare(&of.items),
            Schema::Map(of) => self.declare(&of.types),
            Schema::Union(of) => of.variants().iter().try_for_each(|variant| self.declare(variant)),
            _ => Ok(()),
        }
    }

    fn add(&mut self, schema: &Schema) -> Result<TypeId, String> {
        if let Schema::Ref { name } = schema {
            let name = name.fullname(None);
            return self.named.get(&name).copied().ok_or_else(|| format!("type {name} is not defined"));
        }
        let made = self.make(schema)?;
        let named = match &made {
            Type::Record(Record { names, .. })
            | Type::Enum(Enum { names, .. })
            | Type::Fixed(Fixed { names, .. }) => self.named.get(&names.full).copied(),
            _ => None,
        };
        let id = match named {
            Some(id) => id,
            None => self.reserve()?,
        };
        self.types[id.0 as usize] = Some(made);
        Ok(id)
    }

    fn make(&mut self, schema: &Schema) -> Result<Type, String> {
        Ok(match schema {
            Schema::Null | Schema::Ref { .. } => Type::Null,
            Schema::Boolean => Type::Boolean,
            Schema::Int => Type::Int(Logical::None),
            Schema::Long => Type::Long(Logical::None),
            Schema::Float => Type::Float,
            Schema::Double => Type::Double,
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => {
                Type::Bytes(Logical::None)
            }
            Schema::String => Type::String(Logical::None),
            Schema::Uuid(UuidSchema::String) => Type::String(Logical::Uuid),
            Schema::Uuid(UuidSchema::Fixed(of)) => fixed(of, Logical::Uuid),
            Schema::Duration(of) => fixed(of, Logical::Duration),
            Schema::Fixed(of) => fixed(of, Logical::None),
            Schema::Decimal(of) => {
                let logical = Logical::Decimal { precision: of.precision, scale: of.scale };
                match &of.inner {
                    InnerDecimalSchema::Bytes => Type::Bytes(logical),
                    InnerDecimalSchema::Fixed(of) => fixed(of, logical),
                }
            }
            Schema::Date => Type::Int(Logical::Date),
            Schema::TimeMillis => Type::Int(Logical::TimeMillis),
            Schema::TimeMicros => Type::Long(Logical::TimeMicros),
            Schema::TimestampMillis => Type::Long(Logical::TimestampMillis),
            Schema::TimestampMicros => Type::Long(Logical::TimestampMicros),
            Schema::TimestampNanos => Type::Long(Logical::TimestampNanos),
            Schema::LocalTimestampMillis => Type::Long(Logical::LocalTimestampMillis),
            Schema::LocalTimestampMicros => Type::Long(Logical::LocalTimestampMicros),
            Schema::LocalTimestampNanos => Type::Long(Logical::LocalTimestampNanos),
            Schema::Array(of) => Type::Array(self.add(&of.items)?),
            Schema::Map(of) => Type::Map(self.add(&of.types)?),
            Schema::Union(of) => {
                let variants: Result<_, String> = of.variants().iter().map(|of| self.add(of)).collect();
                Type::Union(variants?)
            }
            Schema::Enum(of) => Type::Enum(Enum {
                names: names(&of.name, of.aliases.iter().flatten().map(|alias| alias.fullname(None))),
                symbols: of.symbols.clone(),
                default: of.default.clone(),
            }),
            Schema::Record(of) => {
                let mut fields = Vec::with_capacity(of.fields.len());
                for field in &of.fields {
                    fields.push(Field {
                        name: field.name.clone(),
                        aliases: field.aliases.clone(),
                        default: field.default.clone(),
                        is: self.add(&field.schema)?,
                    });
                }
                let names = names(
                    &of.name,
                    of.aliases.iter().flatten().map(|alias| alias.fullname(of.name.namespace())),
                );
                Type::Record(Record { names, fields })
            }
        })
    }
}

fn names(name: &Name, aliases: impl Iterator<Item = String>) -> Names {
    Names { full: name.fullname(None), aliases: aliases.collect() }
}

fn fixed(of: &FixedSchema, logical: Logical) -> Type {
    let names = names(&of.name, of.aliases.iter().flatten().map(|alias| alias.fullname(of.name.namespace())));
    Type::Fixed(Fixed { names, size: of.size, logical })
}
