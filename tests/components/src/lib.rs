//! Components that misbehave on request, and such that know types, as `.wasm` bytes.
//!
//! Those that misbehave take a setting `do` that says how; see the head of each source. Tests write the bytes to a file and name it in a
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

static ALL: &[TestComponent] = include!(concat!(env!("OUT_DIR"), "/components.rs"));

/// What the build script's list calls for each component.
const fn component(name: &'static str, wasm: &'static [u8]) -> TestComponent {
    TestComponent { name, wasm }
}

fn wasm(name: &str) -> &'static [u8] {
    let found = ALL.iter().find(|component| component.name == name);
    found.expect("the build script made every component of its list").wasm
}
