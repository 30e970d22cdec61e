//! replcore program
fn main() {}
