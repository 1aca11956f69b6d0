//! Any bytes decode to a command or fail, without huge allocations.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pharos_storage::record::{AppendAnswer, Command};

fuzz_target!(|bytes: &[u8]| {
    let _ = Command::decode(bytes);
    let _ = AppendAnswer::decode(bytes);
});
