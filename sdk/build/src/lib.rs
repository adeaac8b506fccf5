//! Builds component crates of this workspace from a build script, so that another crate can embed them.
//!
//! A build script that runs cargo has three traps, and this is where they are dealt with: the outer cargo holds the lock of its
//! target folder (so the inner one gets its own, beside it); the outer cargo's environment would leak in (flags, wrappers such
//! as clippy's, the feature variables of the crate); and the WebAssembly target may not be installed (so we say how).
//!
//! The inner build uses the workspace's `Cargo.lock` as it is. It goes to the network only for a crate that the outer build
//! did not need; `CARGO_NET_OFFLINE=true` forbids that, too.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// What components are compiled for.
pub const TARGET: &str = "wasm32-wasip2";
/// The profile in the workspace's `Cargo.toml`.
pub const PROFILE: &str = "connector";

/// Why the components are not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No standard library for the target.
    #[error("the rust target {TARGET} is not installed; run: rustup target add {TARGET}")]
    TargetMissing,
    /// Not run by cargo.
    #[error("{0} is not set; this belongs into a build script")]
    Variable(&'static str),
    /// Something on disk or a program that does not start.
    #[error("{0}: {1}")]
    Io(String, io::Error),
    /// Its own messages are above this one.
    #[error("cargo build of {packages} for {TARGET} failed; run it by hand to see more: {command}")]
    Cargo {
        /// What was to be built.
        packages: String,
        /// What was run.
        command: String,
    },
}

/// One connector, and the crate that it is in. A crate may hold several: it is told its name.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    /// The name that users write.
    pub name: &'static str,
    /// The cargo package.
    pub package: &'static str,
}

/// Compiles the components and writes `$OUT_DIR/components.rs`: one expression, a slice of what the including crate's
/// `const fn component(name: &'static str, wasm: &'static [u8])` makes of each.
///
/// `watch` are the files and folders, relative to the workspace, that call for a new build when they change.
pub fn build(components: &[Component], watch: &[&str]) -> Result<(), Error> {
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let workspace = workspace(Path::new(&variable("CARGO_MANIFEST_DIR")?));
    for path in watch.iter().chain(&["Cargo.toml", "Cargo.lock"]) {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    println!("cargo::rerun-if-env-changed=CARGO_NET_OFFLINE");
    check_target()?;

    let target_dir = target_root(&out_dir).join("components");
    run_cargo(components, &workspace, &target_dir)?;

    // A static for each file, so that one of several connectors is embedded once.
    let (mut files, mut list) = (String::new(), String::new());
    for package in packages(components) {
        let crate_name = package.replace('-', "_");
        let file = format!("{crate_name}.wasm");
        let built = target_dir.join(TARGET).join(PROFILE).join(&file);
        let embedded = out_dir.join(&file);
        fs::copy(&built, &embedded).map_err(|error| Error::Io(built.display().to_string(), error))?;
        let name = crate_name.to_uppercase();
        files.push_str(&format!("    static {name}: &[u8] = include_bytes!({embedded:?});\n"));
    }
    for component in components {
        let name = component.package.replace('-', "_").to_uppercase();
        list.push_str(&format!("        component({:?}, {name}),\n", component.name));
    }
    let code = format!("{{\n{files}    &[\n{list}    ]\n}}\n");
    let list = out_dir.join("components.rs");
    fs::write(&list, code).map_err(|error| Error::Io(list.display().to_string(), error))
}

/// The crates of the components, each once.
fn packages(components: &[Component]) -> Vec<&'static str> {
    let mut packages: Vec<_> = components.iter().map(|component| component.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn run_cargo(components: &[Component], workspace: &Path, target_dir: &Path) -> Result<(), Error> {
    let mut cargo = Command::new(variable("CARGO")?);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(leaks) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(workspace).env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+simd128");
    cargo
        .args(["build", "--locked", "--target", TARGET, "--profile", PROFILE, "--target-dir"])
        .arg(target_dir);
    for package in packages(components) {
        cargo.args(["--package", package]);
    }
    let status = cargo.status().map_err(|error| Error::Io("cargo".to_owned(), error))?;
    if !status.success() {
        return Err(Error::Cargo {
            packages: packages(components).join(", "),
            command: format!("{cargo:?}"),
        });
    }
    Ok(())
}

/// Whether a variable of the outer build would change the inner one. What says where cargo lives and how it reaches its
/// registries stays; so does the job server, which keeps both builds together within the machine's processors.
fn leaks(name: &str) -> bool {
    const KEPT: [&str; 6] =
        ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_TERM_"];
    const DROPPED: [&str; 12] = [
        "CARGO",
        "RUSTC",
        "RUSTFLAGS",
        "RUSTDOC",
        "CLIPPY",
        "TARGET",
        "HOST",
        "OPT_LEVEL",
        "PROFILE",
        "DEBUG",
        "OUT_DIR",
        "NUM_JOBS",
    ];
    !KEPT.iter().any(|kept| name.starts_with(kept)) && DROPPED.iter().any(|dropped| name.starts_with(dropped))
}

/// The nearest folder above that holds the lock file.
fn workspace(manifest_dir: &Path) -> PathBuf {
    let found = manifest_dir.ancestors().find(|dir| dir.join("Cargo.lock").is_file());
    found.unwrap_or(manifest_dir).to_owned()
}

/// The outer build's target folder, which cargo marks as a cache; `OUT_DIR` itself if it can't be told.
fn target_root(out_dir: &Path) -> PathBuf {
    let found = out_dir.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    found.unwrap_or(out_dir).to_owned()
}

fn check_target() -> Result<(), Error> {
    let rustc = variable("RUSTC")?;
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| Error::Io(rustc, error))?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && Path::new(&folder).is_dir() { Ok(()) } else { Err(Error::TargetMissing) }
}

fn variable(name: &'static str) -> Result<String, Error> {
    env::var(name).map_err(|_| Error::Variable(name))
}
