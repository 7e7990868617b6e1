//! A small hash that never changes, for decisions that must look random and be repeatable. Not for
//! content.

/// A number by `seed`, `text` and `number`, evenly spread.
pub(crate) fn of(seed: u64, text: &str, number: u64) -> u64 {
    let mut state = mix(seed ^ 0x9e37_79b9_7f4a_7c15);
    for byte in text.bytes() {
        state = mix(state ^ u64::from(byte));
    }
    mix(state ^ number)
}

/// One round of a bijective mixer (multiply, shift, multiply, shift).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)).wrapping_add(0x9e37_79b9_7f4a_7c15)
}
