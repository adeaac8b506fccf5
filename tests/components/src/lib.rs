//! Components that misbehave on request, such that know types, and such that follow a script, as `.wasm` bytes.
//!
//! Their settings say how; see the head of each source. Tests write the bytes to a file and name it in a
//! pipeline, as a user would.

/// One component.
#[derive(Clone, Copy, Debug)]
pub struct TestComponent {
    /// Its name.
    pub name: &'static str,
    /// The component, as a `.wasm` file holds it.
    pub wasm: &'static [u8],
}

/// Takes records and then traps, loops, eats memory, or reaches for files.
pub fn hostile_sink() -> &'static [u8] {
    wasm("hostile-sink")
}

/// Gives records, good ones and such that break the contract.
pub fn hostile_source() -> &'static [u8] {
    wasm("hostile-source")
}

/// What [`hostile_source_build`] writes over.
const BUILD: &str = "millrace-test-build ";
/// How long it is, with version and manner.
const BUILD_CHARS: usize = 40;

/// [`hostile_source`] as another build of it: its version, and a manner out of the head of its source.
pub fn hostile_source_build(version: &str, manner: &str) -> Vec<u8> {
    let mut wasm = hostile_source().to_vec();
    let build = format!("{:<BUILD_CHARS$}", format!("{BUILD}{version} {manner}"));
    assert_eq!(build.len(), BUILD_CHARS, "{build:?} has no room in the component");
    let places = wasm.windows(BUILD.len()).enumerate().filter(|(_, bytes)| *bytes == BUILD.as_bytes());
    let places: Vec<usize> = places.map(|(at, _)| at).collect();
    let [at] = places[..] else { panic!("the component tells its build in {} places", places.len()) };
    wasm[at..at + BUILD_CHARS].copy_from_slice(build.as_bytes());
    wasm
}

/// A component with the same code and other bytes: a section is added that nobody looks at.
pub fn rebuilt(wasm: &[u8], build: u8) -> Vec<u8> {
    // A custom section: its number, how long the rest is, the length of its name, its name, its content.
    let section = [0, 7, 5, b'b', b'u', b'i', b'l', b'd', build];
    wasm.iter().copied().chain(section).collect()
}

/// Changes records in ways that it must not.
pub fn hostile_transform() -> &'static [u8] {
    wasm("hostile-transform")
}

/// Takes values with their types.
pub fn typed_sink() -> &'static [u8] {
    wasm("typed-sink")
}

/// Gives values with their types.
pub fn typed_source() -> &'static [u8] {
    wasm("typed-source")
}

/// Asks a schema registry what its settings say, and gives what came of it.
pub fn schema_script() -> &'static [u8] {
    wasm("schema-script")
}

/// Does with a database what its settings say, and gives what came of it.
pub fn sql_script() -> &'static [u8] {
    wasm("sql-script")
}

static ALL: &[TestComponent] = include!(concat!(env!("OUT_DIR"), "/components.rs"));

/// What the build script's list calls for each component.
const fn component(name: &'static str, wasm: &'static [u8]) -> TestComponent {
    TestComponent { name, wasm }
}

fn wasm(name: &str) -> &'static [u8] {
    let found = ALL.iter().find(|component| component.name == name);
    found.expect("the build script made every component of its list").wasm
}
