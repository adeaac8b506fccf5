//! Disks that are small enough to be filled: file systems in memory, of a process's own.

use std::process::Command;

/// Whether this user may mount one; says so if not.
pub fn can_be_mounted() -> bool {
    let tried = Command::new("unshare").args(["-m", "sh", "-c", "mount -t tmpfs none /mnt"]).status();
    let can_be = tried.is_ok_and(|status| status.success());
    if !can_be {
        println!("skipped: this user may not mount a file system of its own (unshare -m)");
    }
    can_be
}
