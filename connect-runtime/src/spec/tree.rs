//! YAML text to a tree in which each key and each node knows its place.
//!
//! Built from the parser's events (see docs/adr/0002-yaml-library.md): so that positions are exact, duplicate keys are found,
//! and depth and aliases have limits. Works iteratively: a deep file can't overflow the stack.
//!
//! Deliberately not supported, each with an error: several documents in a file, tags, keys that are not text, the merge
//! key `<<`.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use super::diagnostic::Problems;
use super::source_file::Span;

/// Deepest nesting of lists and mappings.
const DEPTH_MAX: usize = 32;
/// Most nodes, with each alias counted at the full size of what it repeats: a "billion laughs" ends here.
const NODES_MAX: usize = 100_000;

/// A YAML node.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) data: Data,
    /// Nodes in it, itself included.
    weight: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Data {
    /// `plain`: written without quotes, so that `5`, `true` and `null` have their types.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) span: Span,
}

impl Node {
    /// What it is, for "expected ..., found ...".
    pub(super) fn kind(&self) -> &'static str {
        match &self.data {
            Data::List(_) => "a list",
            Data::Map(_) => "a mapping",
            Data::Scalar { plain: false, .. } => "text",
            Data::Scalar { text, plain: true } => match plain_type(text) {
                Plain::Null => "nothing",
                Plain::Bool(_) => "true or false",
                Plain::Int(_) | Plain::Float(_) => "a number",
                Plain::Text => "text",
            },
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(&self.data, Data::Scalar { text, plain: true } if matches!(plain_type(text), Plain::Null))
    }
}

/// The type of an unquoted scalar by the core schema of YAML 1.2: `yes` and `no` are text.
pub(super) enum Plain {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text,
}

pub(super) fn plain_type(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        _ => {}
    }
    let radix = |digits: &str, radix| i64::from_str_radix(digits, radix).ok();
    let whole = match text.split_at_checked(2) {
        Some(("0x", digits)) => radix(digits, 16),
        Some(("0o", digits)) => radix(digits, 8),
        _ => text.parse().ok(),
    };
    if let Some(whole) = whole {
        return Plain::Int(whole);
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'));
    match text.parse::<f64>() {
        Ok(number) if numeric && number.is_finite() => Plain::Float(number),
        _ => Plain::Text,
    }
}

/// The file's one document. `None` if there is nothing to go on with; then `problems` says why.
pub(super) fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    let mut builder = Builder::default();
    let parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    for event in parser {
        let outcome = match event {
            Ok((event, span)) => builder.take(event, span_of(span.start, span.end), problems),
            Err(error) => Err(Box::new(syntax(&error, problems))),
        };
        if let Err(fatal) = outcome {
            problems.push(*fatal);
            return None;
        }
    }
    if builder.root.is_none() {
        problems.push(
            problems
                .at(Span::default(), "the file is empty")
                .expected("a mapping with `version` and `pipelines`"),
        );
    }
    builder.root
}

fn span_of(start: Marker, end: Marker) -> Span {
    let width = if end.line() == start.line() { end.col().saturating_sub(start.col()) } else { usize::MAX };
    Span { line: start.line(), column: start.col() + 1, width: width.max(1) }
}

fn syntax(error: &ScanError, problems: &Problems) -> super::Diagnostic {
    let place = span_of(*error.marker(), *error.marker());
    problems
        .at(place, format!("not YAML: {}", error.info()))
        .help("check indentation, quotes and brackets before this place")
}

/// A problem after which the rest of the file makes no sense.
type Fatal = Box<super::Diagnostic>;

fn fatal(problem: super::Diagnostic) -> Result<(), Fatal> {
    Err(Box::new(problem))
}

/// A list or mapping that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    /// Mappings: the key whose value comes next.
    key: Option<Key>,
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span, problems: &mut Problems) -> Result<(), Fatal> {
        let leaf = |data| Node { span, data, weight: 1 };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if let Some(tag) = tag {
                    problems.push(no_tag(problems, span, &tag.to_string()));
                }
                let plain = style == ScalarStyle::Plain;
                self.place(leaf(Data::Scalar { text: text.into_owned(), plain }), anchor, 1, problems)
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if self.open.len() >= DEPTH_MAX => {
                let message = format!("nested deeper than {DEPTH_MAX} levels");
                fatal(problems.at(span, message).help("flatten the file"))
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(leaf(Data::List(Vec::new())), anchor, tag.map(|t| t.to_string()), problems);
                Ok(())
            }
            Event::MappingStart(anchor, tag) => {
                self.begin(leaf(Data::Map(Vec::new())), anchor, tag.map(|t| t.to_string()), problems);
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(done) => self.place(done.node, done.anchor, 1, problems),
                None => Ok(()),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    let node = node.clone();
                    let nodes = node.weight;
                    self.place(node, 0, nodes, problems)
                }
                None => fatal(problems.at(span, "an alias inside of what it repeats").help("write it out")),
            },
            Event::DocumentStart(_) if self.root.is_some() => {
                let message = "a second YAML document in one file";
                fatal(
                    problems.at(span, message).help("put it into its own file: `millrace run` takes several"),
                )
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, node: Node, anchor: usize, tag: Option<String>, problems: &mut Problems) {
        if let Some(tag) = tag {
            problems.push(no_tag(problems, node.span, &tag));
        }
        self.open.push(Open { node, anchor, key: None });
    }

    /// Puts a finished node where it belongs: as key, value, item or root. `nodes`: how many it adds that were not
    /// counted yet (the children of a list or mapping were).
    fn place(
        &mut self,
        node: Node,
        anchor: usize,
        nodes: usize,
        problems: &mut Problems,
    ) -> Result<(), Fatal> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            let message = format!("more than {NODES_MAX} nodes, repeated ones counted each time");
            return fatal(problems.at(node.span, message).help("use fewer aliases, or split the file"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let weight = node.weight;
        match &mut open.node.data {
            Data::List(items) => items.push(node),
            Data::Map(entries) => match open.key.take() {
                None => {
                    let Data::Scalar { text, .. } = node.data else {
                        return fatal(problems.at(node.span, "a key that is not text").expected("a name"));
                    };
                    open.key = Some(Key { name: text, span: node.span });
                }
                Some(key) => match entries.iter().find(|(earlier, _)| earlier.name == key.name) {
                    Some((earlier, _)) => problems.push(
                        problems
                            .at(key.span, format!("key `{}` is there twice", key.name))
                            .help(format!("the first is in line {}; remove one", earlier.span.line)),
                    ),
                    None => entries.push((key, node)),
                },
            },
            Data::Scalar { .. } => {}
        }
        open.node.weight += weight;
        Ok(())
    }
}

fn no_tag(problems: &Problems, span: Span, tag: &str) -> super::Diagnostic {
    problems
        .at(span, format!("tag `{tag}`: tags have no meaning here"))
        .help("remove it; quote a value to make it text")
}
