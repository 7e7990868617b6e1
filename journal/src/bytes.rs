//! Fixed-length fields of the formats on disk.

/// The `N` bytes at `at` of bytes whose length was checked.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}
