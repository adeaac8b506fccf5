//! The bundled connectors as compiled components.
//!
//! The build script compiles them; this crate only carries the bytes into the binary. It knows nothing of what they do: their
//! names here are what a pipeline writes after `connector:`.

/// One connector.
#[derive(Clone, Copy, Debug)]
pub struct Bundled {
    /// The name in pipelines.
    pub name: &'static str,
    /// The component, as a `.wasm` file holds it.
    pub wasm: &'static [u8],
}

/// All of them, by name.
pub fn bundled() -> &'static [Bundled] {
    BUNDLED
}

/// The connector of this name.
pub fn find(name: &str) -> Option<&'static Bundled> {
    BUNDLED.iter().find(|connector| connector.name == name)
}

static BUNDLED: &[Bundled] = include!(concat!(env!("OUT_DIR"), "/components.rs"));

/// What the build script's list calls for each component.
const fn component(name: &'static str, wasm: &'static [u8]) -> Bundled {
    Bundled { name, wasm }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_a_component_under_its_name() {
        let names: Vec<_> = bundled().iter().map(|connector| connector.name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!((names.len(), &names), (28, &sorted));
        for connector in bundled() {
            // Magic, then version 13 of layer 1: a component, not a core module.
            assert!(connector.wasm.starts_with(b"\0asm\x0d\0\x01\0"), "{} is no component", connector.name);
        }
        assert!(find("file-source").is_some() && find("nothing").is_none());
    }
}
