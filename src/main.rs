//! The `demarc` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    demarc::cli::main()
}
