//! What this machine is called.

use crate::text::excerpt;

/// The name of this machine, in characters that may be shown. It is asked of the kernel itself: units may hide all of
/// `/proc` but processes (`ProcSubset=pid`, 2026-11-21, systemd.exec(5)).
pub fn host_name() -> String {
    let name = excerpt(rustix::system::uname().nodename().to_bytes(), 255);
    if name.is_empty() { "unknown".to_owned() } else { name }
}
