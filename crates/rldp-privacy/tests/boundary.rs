//! What must not compile: every file in `ui/` tries to get a value across the boundary without paying.
//!
//! The expected messages are those of one compiler; with another the test says so and passes. After a change of compiler,
//! look at each difference before accepting it with `TRYBUILD=overwrite`.

#![allow(clippy::print_stderr)]

/// The compiler whose messages stand in `ui/*.stderr`.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn nothing_crosses_the_boundary_unpaid() {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(compiler).arg("--version").output().expect("a compiler built this test");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    if !version.starts_with(COMPILER) {
        eprintln!("skipped: the expected messages are those of {COMPILER}x, this is {}", version.trim());
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
