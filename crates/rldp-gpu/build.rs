//! Compiles the kernels for the host, when tests ask for them and there is a C++ compiler.

fn main() {
    println!("cargo:rerun-if-changed=cuda");
    println!("cargo:rerun-if-changed=emulator");
    println!("cargo:rustc-check-cfg=cfg(emulated)");
    #[cfg(feature = "emulator")]
    emulator();
}

#[cfg(feature = "emulator")]
fn emulator() {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(3).include("emulator").file("emulator/emulate.cpp");
    // The host's order of operations, and integers in place of floats as the kernels write them.
    build.flag("-ffp-contract=off").flag("-fno-strict-aliasing").flag("-Wno-unknown-pragmas");
    match build.try_compile("rldp_emulator") {
        Ok(()) => println!("cargo:rustc-cfg=emulated"),
        Err(error) => println!("cargo:warning=no GPU is emulated in tests, for want of a C++ compiler: {error}"),
    }
}
