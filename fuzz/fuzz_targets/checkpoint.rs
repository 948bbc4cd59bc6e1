//! A checkpoint with a right checksum, whatever it holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rldp_train::checkpoint::{FILE, load};
use sha2::{Digest as _, Sha256};

fuzz_target!(|data: &[u8]| {
    let whole = [b"rldp-checkpoint5".as_slice(), &Sha256::digest(data), data].concat();
    for bytes in [whole.as_slice(), data] {
        let path = rldp_fuzz::file(FILE, bytes);
        let _ = load(path.parent().expect("a folder"));
    }
});
