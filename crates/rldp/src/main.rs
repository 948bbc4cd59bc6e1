//! The `rldp` command.

fn main() -> std::process::ExitCode {
    rldp::main()
}
