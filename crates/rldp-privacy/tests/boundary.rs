//! What must not compile: every file in `ui/` tries to get a value across the boundary without paying.
//!
//! After a change of compiler, look at each difference before accepting it with `TRYBUILD=overwrite`.

#[test]
fn nothing_crosses_the_boundary_unpaid() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
