//! p
/// P
#[derive(Debug)]
pub struct Program;
