//! The `demarc` command.

fn main() {}
