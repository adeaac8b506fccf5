//! `millrace doctor`, and what it says.

use std::path::Path;

use crate::binary;
use crate::process::command;
use crate::s3::SECRET_KEY;

/// What it says of this pipeline in this folder. It fails if, and only if, something is to be mended; no secret is in it.
pub fn doctor(folder: &Path, pipeline: &str) -> String {
    std::fs::write(folder.join("p.yaml"), pipeline).expect("the temporary folder can be written");
    let mut doctor = command(binary());
    doctor.args(["doctor", "p.yaml"]).current_dir(folder).env("S3_SECRET", SECRET_KEY);
    let tried = doctor.output().expect("the binary can be run");
    let said = String::from_utf8_lossy(&tried.stdout).into_owned();
    let is_well = said.ends_with(", 0 to mend\n");
    let code = i32::from(!is_well);
    assert_eq!(tried.status.code(), Some(code), "{said}{}", String::from_utf8_lossy(&tried.stderr));
    assert!(!said.contains(SECRET_KEY), "{said}");
    said
}

/// Each of these is in what was said.
pub fn expect(said: &str, lines: &[&str]) {
    for line in lines {
        assert!(said.contains(line), "{line}:\n{said}");
    }
}
