use super::{argv, sent};
use crate::rewrite::Mismatch;
use crate::rewrite::hyperloglog::*;

#[test]
fn what_changed_a_register_goes_out_as_sent() {
    assert_eq!(sent("pfAdd h a b", pfadd(&argv("pfAdd h a b"), true)), "pfAdd h a b");
    assert_eq!(sent("pfadd h", pfadd(&argv("pfadd h"), false)), "");
    assert_eq!(sent("pfmerge d a b", pfmerge(&argv("pfmerge d a b"))), "pfmerge d a b");
}

#[test]
fn a_count_goes_out_only_if_it_was_written_down() {
    assert_eq!(sent("pfcount h", pfcount(&argv("pfcount h"), true)), "pfcount h");
    assert_eq!(sent("pfcount h", pfcount(&argv("pfcount h"), false)), "");
    assert_eq!(sent("pfcount h i", pfcount(&argv("pfcount h i"), false)), "");
    assert!(matches!(pfcount(&argv("pfcount h i"), true), Err(Mismatch::Outcome { .. })));
}
