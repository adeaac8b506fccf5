//! Parquet's types as columns: logical types, and the older converted ones; lists and maps in three levels, and as they were written before that
//! was agreed upon.

use millrace_connector_encode::types::{Field, PRECISION_MAX, Schema, Slot, Type, Unit};
use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::schema::types::Type as Of;

use super::rows::{Leaf, Node, Shape};

/// Deepest nesting.
const DEPTH_MAX: usize = 64;
/// Longest value of a fixed length.
const FIXED_BYTES_MAX: i32 = 1 << 20;

/// The columns of a file.
pub(super) fn columns(root: &Of) -> Result<(Schema, Vec<Node>), String> {
    let mut read = Read { next: 0 };
    let (mut fields, mut nodes) = (Vec::new(), Vec::new());
    for of in children(root) {
        let (field, node) = read.field(of, Levels { def: 0, rep: 0, depth: 0 })?;
        fields.push(field);
        nodes.push(node);
    }
    let name = if root.name().is_empty() { "Record" } else { root.name() };
    Ok((Schema::of(name, Type::Struct(fields))?, nodes))
}

fn children(of: &Of) -> &[std::sync::Arc<Of>] {
    if of.is_group() { of.get_fields() } else { &[] }
}

/// Where a type stands.
#[derive(Clone, Copy)]
struct Levels {
    def: i16,
    rep: i16,
    depth: usize,
}

impl Levels {
    /// Within entries of a list.
    fn repeated(self) -> Self {
        Self { def: self.def + 1, rep: self.rep + 1, depth: self.depth + 1 }
    }
}

/// Counts the columns as they come.
struct Read {
    next: usize,
}

type Made = Result<(Type, Shape), String>;

fn repetition(of: &Of) -> Repetition {
    let info = of.get_basic_info();
    if info.has_repetition() { info.repetition() } else { Repetition::REQUIRED }
}

impl Read {
    fn field(&mut self, of: &Of, levels: Levels) -> Result<(Field, Node), String> {
        let (slot, node) = self.slot(of, levels).map_err(|why| match why.starts_with(':') {
            true => format!("{}{why}", of.name()),
            false => format!("{}.{why}", of.name()),
        })?;
        Ok((Field { name: of.name().to_owned(), slot }, node))
    }

    fn slot(&mut self, of: &Of, levels: Levels) -> Result<(Slot, Node), String> {
        match repetition(of) {
            Repetition::REQUIRED => self.node(of, levels, false),
            Repetition::OPTIONAL => self.node(of, Levels { def: levels.def + 1, ..levels }, true),
            // A list that nothing says of that it is one.
            Repetition::REPEATED => {
                let start = self.next;
                let (slot, element) = self.node(of, levels.repeated(), false)?;
                let shape = list(levels, element);
                let node = Node { def: levels.def, leaves: start..self.next, shape };
                Ok((Slot { ty: Type::List(Box::new(slot)), optional: false }, node))
            }
        }
    }

    /// What is there from `levels.def` on.
    fn node(&mut self, of: &Of, levels: Levels, optional: bool) -> Result<(Slot, Node), String> {
        if levels.depth > DEPTH_MAX {
            return Err(format!(": nested more than {DEPTH_MAX} deep"));
        }
        let start = self.next;
        let (ty, shape) = if of.is_group() { self.group(of, levels)? } else { self.leaf(of)? };
        Ok((Slot { ty, optional }, Node { def: levels.def, leaves: start..self.next, shape }))
    }

    fn group(&mut self, of: &Of, levels: Levels) -> Made {
        let info = of.get_basic_info();
        let inner = match children(of) {
            [one] if repetition(one) == Repetition::REPEATED => Some(one),
            _ => None,
        };
        match (info.logical_type_ref(), info.converted_type(), inner) {
            (Some(LogicalType::List), _, Some(inner)) | (None, ConvertedType::LIST, Some(inner)) => {
                self.list(of, inner, levels)
            }
            (Some(LogicalType::Map), _, Some(inner))
            | (None, ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE, Some(inner))
                if children(inner).len() == 2 =>
            {
                self.map(inner, levels)
            }
            _ => self.structure(of, levels),
        }
    }

    fn structure(&mut self, of: &Of, levels: Levels) -> Made {
        if children(of).is_empty() {
            return Err(": a structure without fields".to_owned());
        }
        let (mut fields, mut nodes) = (Vec::new(), Vec::new());
        for child in children(of) {
            let (field, node) = self.field(child, Levels { depth: levels.depth + 1, ..levels })?;
            fields.push(field);
            nodes.push(node);
        }
        Ok((Type::Struct(fields), Shape::Struct(nodes)))
    }

    /// The rules of LogicalTypes.md for what is the element.
    fn list(&mut self, of: &Of, inner: &Of, levels: Levels) -> Made {
        let is_wrapper = match children(inner) {
            [element] if inner.is_group() => {
                repetition(element) != Repetition::REPEATED
                    && inner.name() != "array"
                    && inner.name() != format!("{}_tuple", of.name())
            }
            _ => false,
        };
        let (slot, element) = match children(inner) {
            [element] if is_wrapper => self.slot(element, levels.repeated())?,
            _ => self.node(inner, levels.repeated(), false)?,
        };
        Ok((Type::List(Box::new(slot)), list(levels, element)))
    }

    fn map(&mut self, inner: &Of, levels: Levels) -> Made {
        let start = self.next;
        let mut entry = Vec::new();
        for child in children(inner) {
            entry.push(self.slot(child, levels.repeated())?);
        }
        let (Some((value, value_node)), Some((key, key_node))) = (entry.pop(), entry.pop()) else {
            return Err(": a map without keys and values".to_owned());
        };
        if key.ty == Type::Text {
            let Levels { def: entry, rep, .. } = levels.repeated();
            let (key, of) = (Box::new(key_node), Box::new(value_node));
            return Ok((Type::Map(Box::new(value)), Shape::Map { entry, rep, key, value: of }));
        }
        // Names in JSON are text: a list of entries.
        let field = |name: &str, slot: Slot| Field { name: name.to_owned(), slot };
        let ty = Type::Struct(vec![field("key", key), field("value", value)]);
        let shape = Shape::Struct(vec![key_node, value_node]);
        let element = Node { def: levels.repeated().def, leaves: start..self.next, shape };
        Ok((Type::List(Box::new(Slot { ty, optional: false })), list(levels, element)))
    }

    fn leaf(&mut self, of: &Of) -> Made {
        let Of::PrimitiveType { physical_type, type_length, precision, scale, .. } = of else {
            return Err(": neither a structure nor a column".to_owned());
        };
        if *physical_type == Physical::FIXED_LEN_BYTE_ARRAY && !(1..=FIXED_BYTES_MAX).contains(type_length) {
            return Err(format!(": values of {type_length} bytes"));
        }
        self.next += 1;
        let info = of.get_basic_info();
        let meant = match info.logical_type_ref() {
            Some(logical) => of_logical(*physical_type, logical),
            None => of_converted(*physical_type, info.converted_type(), (*precision, *scale)),
        };
        let (ty, leaf) = meant?.unwrap_or_else(|| of_physical(*physical_type));
        Ok((ty, Shape::Leaf(leaf)))
    }
}

fn list(levels: Levels, element: Node) -> Shape {
    let Levels { def: entry, rep, .. } = levels.repeated();
    Shape::List { entry, rep, element: Box::new(element) }
}

type Meant = Result<Option<(Type, Leaf)>, String>;

fn of_physical(physical: Physical) -> (Type, Leaf) {
    match physical {
        Physical::BOOLEAN => (Type::Boolean, Leaf::Boolean),
        Physical::INT32 => (Type::Int, Leaf::Int),
        Physical::INT64 => (Type::Long, Leaf::Long),
        Physical::INT96 => (Type::Timestamp { unit: Unit::Nanos, local: false }, Leaf::Moment96),
        Physical::FLOAT => (Type::Float, Leaf::Float),
        Physical::DOUBLE => (Type::Double, Leaf::Double),
        Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY => (Type::Bytes, Leaf::Bytes),
    }
}

fn unit(of: &TimeUnit) -> Unit {
    match of {
        TimeUnit::MILLIS => Unit::Millis,
        TimeUnit::MICROS => Unit::Micros,
        TimeUnit::NANOS => Unit::Nanos,
    }
}

fn decimal(physical: Physical, precision: i32, scale: i32) -> Meant {
    let (Ok(precision), Ok(scale)) = (u32::try_from(precision), u32::try_from(scale)) else {
        return Err(": a decimal without its digits".to_owned());
    };
    if precision == 0 || precision > PRECISION_MAX || scale > precision {
        return Err(format!(
            ": a decimal of {precision} digits, {scale} of them behind the point; at most {PRECISION_MAX} fit"
        ));
    }
    use Physical::{BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY, INT32, INT64};
    let may = matches!(physical, INT32 | INT64 | BYTE_ARRAY | FIXED_LEN_BYTE_ARRAY);
    Ok(may.then_some((Type::Decimal { precision, scale }, Leaf::Decimal { precision })))
}

/// None: the physical type alone counts.
fn of_logical(physical: Physical, logical: &LogicalType) -> Meant {
    use Physical::{BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY, INT32, INT64};
    Ok(match (physical, logical) {
        (BYTE_ARRAY, LogicalType::String | LogicalType::Enum | LogicalType::Json) => {
            Some((Type::Text, Leaf::Text))
        }
        (_, LogicalType::Decimal(of)) => return decimal(physical, of.precision, of.scale),
        (INT32, LogicalType::Date) => Some((Type::Date, Leaf::Int)),
        (INT32, LogicalType::Time(of)) if of.unit == TimeUnit::MILLIS => {
            Some((Type::Time(Unit::Millis), Leaf::Int))
        }
        (INT64, LogicalType::Time(of)) if of.unit != TimeUnit::MILLIS => {
            Some((Type::Time(unit(&of.unit)), Leaf::Long))
        }
        (INT64, LogicalType::Timestamp(of)) => {
            Some((Type::Timestamp { unit: unit(&of.unit), local: !of.is_adjusted_to_u_t_c }, Leaf::Long))
        }
        (INT32, LogicalType::Integer(of)) if !of.is_signed && of.bit_width == 32 => {
            Some((Type::Long, Leaf::UnsignedInt))
        }
        (INT64, LogicalType::Integer(of)) if !of.is_signed => Some((Type::Long, Leaf::UnsignedLong)),
        (FIXED_LEN_BYTE_ARRAY, LogicalType::Uuid) => Some((Type::Text, Leaf::Uuid)),
        (FIXED_LEN_BYTE_ARRAY, LogicalType::Float16) => Some((Type::Float, Leaf::Half)),
        _ => None,
    })
}

fn of_converted(physical: Physical, converted: ConvertedType, digits: (i32, i32)) -> Meant {
    use Physical::{BYTE_ARRAY, INT32, INT64};
    let utc = |unit| Type::Timestamp { unit, local: false };
    Ok(match (physical, converted) {
        (BYTE_ARRAY, ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON) => {
            Some((Type::Text, Leaf::Text))
        }
        (_, ConvertedType::DECIMAL) => return decimal(physical, digits.0, digits.1),
        (INT32, ConvertedType::DATE) => Some((Type::Date, Leaf::Int)),
        (INT32, ConvertedType::TIME_MILLIS) => Some((Type::Time(Unit::Millis), Leaf::Int)),
        (INT64, ConvertedType::TIME_MICROS) => Some((Type::Time(Unit::Micros), Leaf::Long)),
        (INT64, ConvertedType::TIMESTAMP_MILLIS) => Some((utc(Unit::Millis), Leaf::Long)),
        (INT64, ConvertedType::TIMESTAMP_MICROS) => Some((utc(Unit::Micros), Leaf::Long)),
        (INT32, ConvertedType::UINT_32) => Some((Type::Long, Leaf::UnsignedInt)),
        (INT64, ConvertedType::UINT_64) => Some((Type::Long, Leaf::UnsignedLong)),
        _ => None,
    })
}
