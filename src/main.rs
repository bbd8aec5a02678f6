//! The `pointsman` program; see `cli`.

fn main() -> std::process::ExitCode {
    pointsman::cli::main()
}
