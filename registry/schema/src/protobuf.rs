//! Protobuf: `.proto` text, or a serialized `FileDescriptorProto` in base64 as Confluent's Python client registers it, to descriptors.
//!
//! `protox` compiles without `protoc`. Imports are a registry's references by their names, and Google's well-known types, which
//! need no reference.

mod reads;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use crate::Dependency;

pub use reads::unreadable;

/// The name of a schema's own file where it has none.
const OWN_FILE: &str = "default.proto";
/// Deepest nesting of brackets in a text: beyond it no schema is meant, and a parser may run out of stack.
const NESTING_MAX: usize = 64;

/// A schema: a file with all that it imports.
#[derive(Clone, Debug)]
pub struct Protobuf {
    file: FileDescriptor,
}

impl Protobuf {
    /// Parses; see [`crate::Schema::parse`].
    pub(crate) fn parse(text: &str, dependencies: &[Dependency]) -> Result<Self, String> {
        let own = file(OWN_FILE, text)?;
        let name = own.name().to_owned();
        let mut files = vec![own];
        for dependency in dependencies {
            let imported = file(&dependency.name, &dependency.text)?;
            // A descriptor carries a name of its own; imports go by the reference's.
            let mut descriptor = imported.file_descriptor_proto().clone();
            descriptor.name = Some(dependency.name.clone());
            files.push(File::from_file_descriptor_proto(descriptor));
        }
        let mut resolver = ChainFileResolver::new();
        resolver.add(Files(files));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.open_file(&name).map_err(|error| error.to_string())?;
        let pool: DescriptorPool = compiler.descriptor_pool();
        let file = pool.get_file_by_name(&name).ok_or_else(|| format!("file {name} is not there"))?;
        Ok(Self { file })
    }

    /// The messages at the top of the file.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = MessageDescriptor> + '_ {
        self.file.messages()
    }

    /// A message by its full name, or by its name within the file's package.
    #[must_use]
    pub fn message(&self, name: &str) -> Option<MessageDescriptor> {
        let pool = self.file.parent_pool();
        let inner = || pool.get_message_by_name(&format!("{}.{name}", self.file.package_name()));
        pool.get_message_by_name(name).or_else(inner)
    }

    /// The message that is found by these numbers: the place within the file, then within that message, and so on
    /// (Confluent's message indexes).
    #[must_use]
    pub fn message_at(&self, indexes: &[usize]) -> Option<MessageDescriptor> {
        let (first, rest) = indexes.split_first()?;
        let mut message = self.file.messages().nth(*first)?;
        for index in rest {
            let child = message.child_messages().nth(*index)?;
            message = child;
        }
        Some(message)
    }

    /// Where a message of this file stands: the reverse of [`Self::message_at`].
    #[must_use]
    pub fn indexes_of(&self, message: &MessageDescriptor) -> Option<Vec<usize>> {
        if message.parent_file() != self.file {
            return None;
        }
        let mut indexes = Vec::new();
        let mut message = message.clone();
        while let Some(parent) = message.parent_message() {
            indexes.push(parent.child_messages().position(|child| child == message)?);
            message = parent;
        }
        indexes.push(self.file.messages().position(|top| top == message)?);
        indexes.reverse();
        Some(indexes)
    }

    pub(crate) fn file(&self) -> &FileDescriptor {
        &self.file
    }
}

/// A text as a serialized `FileDescriptorProto`, without places in the source. Imports are not looked at.
///
/// # Errors
/// The text is neither `.proto` nor a descriptor.
pub fn descriptor(text: &str) -> Result<Vec<u8>, String> {
    let mut descriptor = file(OWN_FILE, text)?.file_descriptor_proto().clone();
    descriptor.source_code_info = None;
    Ok(descriptor.encode_to_vec())
}

fn file(name: &str, text: &str) -> Result<File, String> {
    let encoded = text.trim();
    if !encoded.is_empty()
        && let Ok(bytes) = STANDARD.decode(encoded)
    {
        let descriptor = FileDescriptorProto::decode(bytes.as_slice()).map_err(|error| error.to_string())?;
        if descriptor.name().is_empty() {
            return Err("the descriptor has no name".to_owned());
        }
        return Ok(File::from_file_descriptor_proto(descriptor));
    }
    if nesting(text) > NESTING_MAX {
        return Err(format!("nested more than {NESTING_MAX} levels"));
    }
    File::from_source(name, text).map_err(|error| error.to_string())
}

/// How deep brackets go, outside of texts and comments.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' | b'<' | b'(' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' | b'>' | b')' => depth = depth.saturating_sub(1),
            b'"' | b'\'' => {
                while let Some(inner) = bytes.next() {
                    match inner {
                        b'\\' => _ = bytes.next(),
                        b'\n' => break,
                        inner if inner == byte => break,
                        _ => {}
                    }
                }
            }
            b'/' if bytes.peek() == Some(&b'/') => while bytes.next_if(|inner| *inner != b'\n').is_some() {},
            b'/' if bytes.peek() == Some(&b'*') => {
                let mut last = 0;
                for inner in bytes.by_ref() {
                    if last == b'*' && inner == b'/' {
                        break;
                    }
                    last = inner;
                }
            }
            _ => {}
        }
    }
    deepest
}

/// Files by their names.
struct Files(Vec<File>);

impl FileResolver for Files {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let found = self.0.iter().find(|file| file.name() == name);
        found.cloned().ok_or_else(|| protox::Error::file_not_found(name))
    }
}
