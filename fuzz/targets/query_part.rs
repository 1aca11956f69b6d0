//! Whatever a node says about the part of a query that it runs, or asks for, is read or refused by the other one, and what is read comes
//! back as it was when it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pharos_query::testing::read_part;

fuzz_target!(|input: &[u8]| {
    read_part(input);
});
