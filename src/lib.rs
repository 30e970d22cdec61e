//! replcore
