//! Schemas of files: the columns, and beside each how its values stand in the file.
//!
//! Named types are written out wherever they are used, which is what columns are; that has limits, since a short text may stand for a large tree.

use std::collections::BTreeMap;

use millrace_connector_encode::json::Json;
use millrace_connector_encode::types::{Field, PRECISION_MAX, Schema, Slot, Type, Unit};

/// Most types in a schema that is written out.
const NODES_MAX: usize = 10_000;
/// Deepest nesting.
const DEPTH_MAX: usize = 64;

/// How a value stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Null at this branch of the union, the value at the other.
    Optional(i64, Box<Node>),
    /// A union with this type alone.
    Only(Box<Node>),
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    /// Sixteen bytes as text.
    Uuid,
    /// Months, days and milliseconds.
    Duration,
    Enum(Vec<String>),
    Decimal,
    FixedDecimal(usize),
    List(Box<Node>),
    Map(Box<Node>),
    Struct(Vec<Node>),
}

/// A type in both its forms, and what it comes to.
#[derive(Clone, Debug)]
struct Both {
    ty: Type,
    node: Node,
    nodes: usize,
    depth: usize,
}

/// The columns of a file with this schema.
pub(super) fn columns(json: &Json<'_>) -> Result<(Schema, Vec<Node>), String> {
    let name = json.member("name").and_then(Json::text).unwrap_or("Record").to_owned();
    let name = match json.member("namespace").and_then(Json::text) {
        Some(space) if !space.is_empty() && !name.contains('.') => format!("{space}.{name}"),
        _ => name,
    };
    let both = Names::default().ty(json, "")?;
    let schema = Schema::of(&name, both.ty)?;
    match both.node {
        Node::Struct(nodes) => Ok((schema, nodes)),
        _ => Err("rows are made of records".to_owned()),
    }
}

/// Named types that were seen; none: it is being read.
#[derive(Default)]
struct Names {
    known: BTreeMap<String, Option<Both>>,
    nodes: usize,
}

impl Names {
    fn leaf(&mut self, ty: Type, node: Node) -> Result<Both, String> {
        self.count(1)?;
        Ok(Both { ty, node, nodes: 1, depth: 1 })
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX { Err(format!("more than {NODES_MAX} types")) } else { Ok(()) }
    }

    fn slot(&mut self, json: &Json<'_>, space: &str) -> Result<(Slot, Both), String> {
        let Json::Array(union) = json else {
            let both = self.ty(json, space)?;
            return Ok((Slot { ty: both.ty.clone(), optional: false }, both));
        };
        let is_null = |branch: &&Json<'_>| branch.text() == Some("null");
        let values: Vec<&Json<'_>> = union.iter().filter(|branch| !is_null(branch)).collect();
        let ([one], 1..=2) = (values.as_slice(), union.len()) else {
            return Err("a union of more than null and one type".to_owned());
        };
        let mut both = self.ty(one, space)?;
        let null = union.iter().position(|branch| is_null(&branch));
        both.node = match null {
            Some(at) => Node::Optional(if at == 0 { 0 } else { 1 }, Box::new(both.node)),
            None => Node::Only(Box::new(both.node)),
        };
        Ok((Slot { ty: both.ty.clone(), optional: null.is_some() }, both))
    }

    fn ty(&mut self, json: &Json<'_>, space: &str) -> Result<Both, String> {
        if let Some(name) = json.text() {
            return self.named(name, space);
        }
        let Json::Object(_) = json else { return Err("neither a type's name nor a schema".to_owned()) };
        let ty = json.member("type").ok_or("a schema without a type")?;
        let Some(base) = ty.text() else {
            // {"type": {"type": ...}}
            return self.ty(ty, space);
        };
        let logical = json.member("logicalType").and_then(Json::text).unwrap_or_default();
        let moment = |unit, local| Type::Timestamp { unit, local };
        let both = match (base, logical) {
            ("bytes", "decimal") => self.leaf(decimal(json)?, Node::Decimal)?,
            ("fixed", "decimal") => self.leaf(decimal(json)?, Node::FixedDecimal(size(json)?))?,
            ("fixed", "uuid") if size(json)? == 16 => self.leaf(Type::Text, Node::Uuid)?,
            ("fixed", "duration") if size(json)? == 12 => {
                let field = |name: &str| Field {
                    name: name.to_owned(),
                    slot: Slot { ty: Type::Long, optional: false },
                };
                self.leaf(Type::Struct(["months", "days", "millis"].map(field).into()), Node::Duration)?
            }
            ("fixed", _) => self.leaf(Type::Bytes, Node::Fixed(size(json)?))?,
            ("int", "date") => self.leaf(Type::Date, Node::Int)?,
            ("int", "time-millis") => self.leaf(Type::Time(Unit::Millis), Node::Int)?,
            ("long", "time-micros") => self.leaf(Type::Time(Unit::Micros), Node::Long)?,
            ("long", "timestamp-millis") => self.leaf(moment(Unit::Millis, false), Node::Long)?,
            ("long", "timestamp-micros") => self.leaf(moment(Unit::Micros, false), Node::Long)?,
            ("long", "timestamp-nanos") => self.leaf(moment(Unit::Nanos, false), Node::Long)?,
            ("long", "local-timestamp-millis") => self.leaf(moment(Unit::Millis, true), Node::Long)?,
            ("long", "local-timestamp-micros") => self.leaf(moment(Unit::Micros, true), Node::Long)?,
            ("long", "local-timestamp-nanos") => self.leaf(moment(Unit::Nanos, true), Node::Long)?,
            ("array", _) => {
                let (slot, inner) =
                    self.slot(json.member("items").ok_or("an array without items")?, space)?;
                self.around(inner, Type::List(Box::new(slot)), Node::List)?
            }
            ("map", _) => {
                let (slot, inner) = self.slot(json.member("values").ok_or("a map without values")?, space)?;
                self.around(inner, Type::Map(Box::new(slot)), Node::Map)?
            }
            ("enum", _) => {
                let Some(Json::Array(symbols)) = json.member("symbols") else {
                    return Err("an enum without symbols".to_owned());
                };
                let text =
                    |symbol: &Json<'_>| symbol.text().map(str::to_owned).ok_or("a symbol that is no text");
                self.leaf(Type::Text, Node::Enum(symbols.iter().map(text).collect::<Result<_, _>>()?))?
            }
            ("record", _) => return self.record(json, space),
            (name, _) => return self.named(name, space),
        };
        if let Some(name) = full_name(json, space) {
            self.known.insert(name, Some(both.clone()));
        }
        Ok(both)
    }

    fn around(
        &mut self,
        inner: Both,
        ty: Type,
        node: impl FnOnce(Box<Node>) -> Node,
    ) -> Result<Both, String> {
        self.count(1)?;
        deep_enough(inner.depth)?;
        Ok(Both { ty, node: node(Box::new(inner.node)), nodes: inner.nodes + 1, depth: inner.depth + 1 })
    }

    fn record(&mut self, json: &Json<'_>, space: &str) -> Result<Both, String> {
        let full = full_name(json, space).ok_or("a record without a name")?;
        let space = full.rsplit_once('.').map(|(space, _)| space.to_owned()).unwrap_or_default();
        self.known.insert(full.clone(), None);
        let Some(Json::Array(list)) = json.member("fields") else {
            return Err(format!("record {full} without fields"));
        };
        if list.is_empty() {
            return Err(format!("record {full} without fields has no columns"));
        }
        self.count(1)?;
        let (mut fields, mut nodes) = (Vec::new(), Vec::new());
        let (mut count, mut depth) = (1, 0);
        for field in list {
            let name = field.member("name").and_then(Json::text).ok_or("a field without a name")?;
            let ty = field.member("type").ok_or_else(|| format!("{name}: a field without a type"))?;
            let (slot, both) = self.slot(ty, &space).map_err(|why| format!("{name}: {why}"))?;
            (count, depth) = (count + both.nodes, depth.max(both.depth));
            fields.push(Field { name: name.to_owned(), slot });
            nodes.push(both.node);
        }
        deep_enough(depth)?;
        let both =
            Both { ty: Type::Struct(fields), node: Node::Struct(nodes), nodes: count, depth: depth + 1 };
        self.known.insert(full, Some(both.clone()));
        Ok(both)
    }

    fn named(&mut self, name: &str, space: &str) -> Result<Both, String> {
        let (ty, node) = match name {
            "boolean" => (Type::Boolean, Node::Boolean),
            "int" => (Type::Int, Node::Int),
            "long" => (Type::Long, Node::Long),
            "float" => (Type::Float, Node::Float),
            "double" => (Type::Double, Node::Double),
            "string" => (Type::Text, Node::Text),
            "bytes" => (Type::Bytes, Node::Bytes),
            "null" => return Err("a field that is only ever null".to_owned()),
            name => {
                let within = format!("{space}.{name}");
                let known = self.known.get(&within).or_else(|| self.known.get(name));
                let both = match known {
                    Some(Some(both)) => both.clone(),
                    Some(None) => return Err(format!("record {name} holds itself, which columns can't")),
                    None => return Err(format!("type {name:?} is not known")),
                };
                self.count(both.nodes)?;
                return Ok(both);
            }
        };
        self.leaf(ty, node)
    }
}

fn deep_enough(depth: usize) -> Result<(), String> {
    if depth >= DEPTH_MAX { Err(format!("nested more than {DEPTH_MAX} deep")) } else { Ok(()) }
}

fn full_name(json: &Json<'_>, space: &str) -> Option<String> {
    let name = json.member("name").and_then(Json::text)?;
    let space = json.member("namespace").and_then(Json::text).unwrap_or(space);
    Some(if name.contains('.') || space.is_empty() { name.to_owned() } else { format!("{space}.{name}") })
}

fn number(json: &Json<'_>, name: &str) -> Option<u32> {
    match json.member(name) {
        Some(Json::Number(text)) => text.parse().ok(),
        _ => None,
    }
}

fn size(json: &Json<'_>) -> Result<usize, String> {
    let size = number(json, "size").filter(|size| *size > 0).ok_or("a fixed without a size")?;
    usize::try_from(size).map_err(|error| error.to_string())
}

fn decimal(json: &Json<'_>) -> Result<Type, String> {
    let precision = number(json, "precision").ok_or("a decimal without its precision")?;
    let scale = number(json, "scale").unwrap_or(0);
    if precision == 0 || precision > PRECISION_MAX || scale > precision {
        return Err(format!(
            "a decimal of {precision} digits, {scale} of them behind the point; at most {PRECISION_MAX} fit"
        ));
    }
    Ok(Type::Decimal { precision, scale })
}
