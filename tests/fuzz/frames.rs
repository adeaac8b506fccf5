//! Arbitrary bytes as a request frame, a response and record batches: nothing may panic, or reserve memory out of proportion.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_wire::fuzz;

fuzz_target!(|data: &[u8]| {
    // The first byte chooses, so that the rest can be learned for each on its own.
    let Some((choice, rest)) = data.split_first() else { return };
    match choice % 3 {
        0 => fuzz::fuzz_frame(rest),
        1 => fuzz::fuzz_response(rest),
        _ => fuzz::fuzz_batches(rest),
    }
});
