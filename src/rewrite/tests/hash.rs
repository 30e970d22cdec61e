use super::{argv, sent};
use crate::rewrite::hash::*;
use crate::rewrite::{DeletionVerb, Effects, Mismatch};
use bytes::Bytes;

const NONE: Touched<'static> = Touched { changed: &[], dead: &[], leftovers: Leftovers::Kept };

fn kept<'o>(changed: &'o [usize], dead: &'o [usize]) -> Touched<'o> {
    Touched { changed, dead, leftovers: Leftovers::Kept }
}

fn reclaimed<'o>(changed: &'o [usize], dead: &'o [usize]) -> Touched<'o> {
    Touched { changed, dead, leftovers: Leftovers::Reclaimed }
}

fn hdel_sent(words: &str, fields: Touched<'_>) -> String {
    sent(words, hdel(&argv(words), fields))
}

fn hgetdel_sent(words: &str, fields: Touched<'_>) -> String {
    sent(words, hgetdel(&argv(words), fields))
}

fn hexpire_sent(words: &str, fields: Touched<'_>, effect: FieldEffect) -> String {
    sent(words, hexpire(&argv(words), fields, effect))
}

fn hpersist_sent(words: &str, fields: Touched<'_>) -> String {
    sent(words, hpersist(&argv(words), fields))
}

fn hgetex_sent(words: &str, fields: Touched<'_>, effect: FieldEffect) -> String {
    sent(words, hgetex(&argv(words), fields, effect))
}

fn hsetex_sent(words: &str, outcome: HSetExOutcome<'_>) -> String {
    sent(words, hsetex(&argv(words), outcome))
}

const AT_7: HSetExOutcome<'static> = HSetExOutcome::Stored { deadline_ms: Some(7) };
const STORED: HSetExOutcome<'static> = HSetExOutcome::Stored { deadline_ms: None };

#[test]
fn a_store_without_conditions_goes_out_as_sent() {
    assert_eq!(sent("hSet k f v", hset(&argv("hSet k f v"))), "hSet k f v");
    assert_eq!(sent("hmset k f v", hset(&argv("hmset k f v"))), "hmset k f v");
}

#[test]
fn a_conditional_store_into_a_volatile_hash_is_sent_as_what_it_did() {
    let check = |outcome| sent("hsetnx k f v", hsetnx(&argv("hsetnx k f v"), outcome));
    assert_eq!(check(HSetNxOutcome::Unchanged), "");
    assert_eq!(check(HSetNxOutcome::Set { volatile: false }), "hsetnx k f v");
    assert_eq!(check(HSetNxOutcome::Set { volatile: true }), "HSET k f v");
}

#[test]
fn an_increment_keeps_a_live_deadline_by_naming_it() {
    let by = |before| sent("hincrby k f 1", hincrby(&argv("hincrby k f 1"), -3, before));
    assert_eq!(by(DeadlineBefore::NotVolatile), "hincrby k f 1");
    assert_eq!(by(DeadlineBefore::Volatile), "HSET k f -3");
    assert_eq!(by(DeadlineBefore::Live(7)), "HSETEX k PXAT 7 FIELDS 1 f -3");
    let result = Bytes::from("1.5");
    let words = "hincrbyfloat k f 1";
    let by = |before| sent(words, hincrbyfloat(&argv(words), &result, before));
    assert_eq!(by(DeadlineBefore::NotVolatile), "HSET k f 1.5");
    assert_eq!(by(DeadlineBefore::Volatile), "HSET k f 1.5");
    assert_eq!(by(DeadlineBefore::Live(7)), "HSETEX k PXAT 7 FIELDS 1 f 1.5");
}

#[test]
fn a_key_called_fields_goes_out_in_words_that_valkey_does_not_misread() {
    let by = |before| sent("hincrby Fields f 1", hincrby(&argv("hincrby Fields f 1"), 3, before));
    assert_eq!(by(DeadlineBefore::Volatile), "HSET Fields f 3");
    assert_eq!(by(DeadlineBefore::Live(7)), "HSET Fields f 3; HPEXPIREAT Fields 7 FIELDS 1 f");
    for words in ["hsetex fields PXAT 7 FIELDS 2 f v g w", "hsetex fields EX 1 FNX FIELDS 2 f v g w"] {
        let outcome = HSetExOutcome::Stored { deadline_ms: Some(7) };
        assert_eq!(
            sent(words, hsetex(&argv(words), outcome)),
            "HSET fields f v g w; HPEXPIREAT fields 7 FIELDS 2 f g"
        );
    }
    let words = "hsetex fields KEEPTTL FIELDS 2 f v g w";
    let outcome = HSetExOutcome::Kept { deadlines_ms: &[Some(7), None], dead: &[] };
    assert_eq!(
        sent(words, hsetex(&argv(words), outcome)),
        "HSET fields g w; HSET fields f v; HPEXPIREAT fields 7 FIELDS 1 f"
    );
}

#[test]
fn a_deletion_goes_out_as_sent_if_it_met_no_dead_field() {
    assert_eq!(hdel_sent("hdel k a b a", Touched::live(&[2])), "hdel k a b a");
    assert_eq!(hdel_sent("hdel k a b", NONE), "");
    assert_eq!(hdel_sent("hdel k a dead b", kept(&[2, 4], &[3])), "HDEL k a b");
    assert_eq!(hdel_sent("hdel k a dead b", reclaimed(&[2, 4], &[3])), "HDEL k a dead b");
    assert_eq!(hdel_sent("hdel k dead", kept(&[], &[2])), "");
    assert_eq!(hdel_sent("hdel k dead absent", reclaimed(&[], &[2])), "HDEL k dead");
}

#[test]
fn hgetdel_is_sent_as_the_deletion_that_every_replica_knows() {
    assert_eq!(hgetdel_sent("hgetdel k FIELDS 2 a nope", Touched::live(&[4])), "HDEL k a");
    assert_eq!(hgetdel_sent("hgetdel k FIELDS 2 a dead", kept(&[4], &[5])), "HDEL k a");
    assert_eq!(hgetdel_sent("hgetdel k FIELDS 2 dead a", reclaimed(&[5], &[4])), "HDEL k dead a");
    assert_eq!(hgetdel_sent("hgetdel k FIELDS 1 nope", NONE), "");
    assert_eq!(hgetdel_sent("hgetdel fields FIELDS 1 FIELDS", Touched::live(&[4])), "HDEL fields FIELDS");
}

#[test]
fn a_deadline_is_absolute_and_its_condition_stays_if_no_dead_field_was_named() {
    let at_7 = FieldEffect::Deadline(7);
    let words = "hexpire k 100 nx FIELDS 2 b nope";
    assert_eq!(hexpire_sent(words, Touched::live(&[6]), at_7), "HPEXPIREAT k 7 nx FIELDS 2 b nope");
    assert_eq!(hexpire_sent(words, kept(&[6], &[7]), at_7), "HPEXPIREAT k 7 FIELDS 1 b");
    assert_eq!(hexpire_sent(words, reclaimed(&[6], &[7]), at_7), "HDEL k nope; HPEXPIREAT k 7 FIELDS 1 b");
    assert_eq!(hexpire_sent(words, kept(&[], &[7]), at_7), "");
    assert_eq!(hexpire_sent(words, reclaimed(&[], &[7]), at_7), "HDEL k nope");
    assert_eq!(hexpire_sent(words, NONE, at_7), "");
    let words = "hpexpireat k 7 fields 1 b";
    assert_eq!(hexpire_sent(words, Touched::live(&[5]), at_7), words);
    let words = "hpexpireat k 7 fields 2 b dead";
    assert_eq!(hexpire_sent(words, kept(&[5], &[6]), at_7), "HPEXPIREAT k 7 FIELDS 1 b");
}

#[test]
fn a_time_in_the_past_is_a_deletion_of_what_was_deleted() {
    let words = "hexpire k 0 FIELDS 3 a b nope";
    assert_eq!(hexpire_sent(words, Touched::live(&[5, 6]), FieldEffect::Deleted), "HDEL k a b");
    assert_eq!(hexpire_sent(words, kept(&[6], &[5]), FieldEffect::Deleted), "HDEL k b");
    assert_eq!(hexpire_sent(words, reclaimed(&[6], &[5]), FieldEffect::Deleted), "HDEL k a b");
    assert_eq!(hexpire_sent(words, NONE, FieldEffect::Deleted), "");
}

#[test]
fn hpersist_never_names_a_dead_field() {
    let words = "hpersist k FIELDS 2 a dead";
    assert_eq!(hpersist_sent(words, Touched::live(&[4])), words);
    assert_eq!(hpersist_sent(words, NONE), "");
    assert_eq!(hpersist_sent(words, kept(&[4], &[5])), "HPERSIST k FIELDS 1 a");
    assert_eq!(hpersist_sent(words, reclaimed(&[4], &[5])), "HDEL k dead; HPERSIST k FIELDS 1 a");
}

#[test]
fn hgetex_is_sent_as_what_it_did_to_the_fields_it_changed() {
    let words = "hgetex k ex 1 FIELDS 3 a b nope";
    assert_eq!(
        hgetex_sent(words, Touched::live(&[6, 7]), FieldEffect::Deadline(7)),
        "HPEXPIREAT k 7 FIELDS 2 a b"
    );
    assert_eq!(hgetex_sent(words, kept(&[7], &[6]), FieldEffect::Deadline(7)), "HPEXPIREAT k 7 FIELDS 1 b");
    assert_eq!(hgetex_sent(words, Touched::live(&[6]), FieldEffect::Deleted), "HDEL k a");
    let words = "hgetex k PERSIST FIELDS 2 a dead";
    assert_eq!(hgetex_sent(words, Touched::live(&[5]), FieldEffect::Persisted), "HPERSIST k FIELDS 1 a");
    assert_eq!(
        hgetex_sent(words, reclaimed(&[5], &[6]), FieldEffect::Persisted),
        "HDEL k dead; HPERSIST k FIELDS 1 a"
    );
    assert_eq!(hgetex_sent("hgetex k FIELDS 1 a", NONE, FieldEffect::Persisted), "");
}

#[test]
fn hsetex_names_its_deadline_and_has_no_conditions() {
    assert_eq!(hsetex_sent("hsetex k pXAt 7 fields 1 f v", AT_7), "hsetex k pXAt 7 fields 1 f v");
    assert_eq!(hsetex_sent("hsetex k eXAt 1 fields 1 f v", AT_7), "hsetex k PXAT 7 fields 1 f v");
    assert_eq!(hsetex_sent("hsetex k NX FXX Ex 1 FIELDS 1 f v", AT_7), "hsetex k PXAT 7 FIELDS 1 f v");
    assert_eq!(hsetex_sent("hsetex k fnx pxat 7 FIELDS 1 f v", AT_7), "hsetex k pxat 7 FIELDS 1 f v");
    assert_eq!(hsetex_sent("hsetex k px 1 FNX FIELDS 1 f v", AT_7), "hsetex k PXAT 7 FIELDS 1 f v");
    assert_eq!(hsetex_sent("hsetex k EX 1 EX 2 FIELDS 1 f v", AT_7), "hsetex k PXAT 7 FIELDS 1 f v");
    assert_eq!(hsetex_sent("hsetex k FXX FIELDS 1 f v", STORED), "HSET k f v");
    assert_eq!(hsetex_sent("hsetex k FIELDS 1 f v", STORED), "HSET k f v");
    assert_eq!(hsetex_sent("hsetex k FXX FIELDS 1 f v", HSetExOutcome::NotMet), "");
}

#[test]
fn names_that_look_like_options_are_names() {
    for key in ["fnx", "FXX", "nx", "xx", "pxat", "KEEPTTL"] {
        let words = format!("hsetex {key} EX 100 FIELDS 1 fnx nx");
        assert_eq!(hsetex_sent(&words, AT_7), format!("hsetex {key} PXAT 7 FIELDS 1 fnx nx"));
        let words = format!("hgetex {key} EX 100 FIELDS 1 fields");
        let sent = hgetex_sent(&words, Touched::live(&[6]), FieldEffect::Deadline(7));
        assert_eq!(sent, format!("HPEXPIREAT {key} 7 FIELDS 1 fields"));
    }
}

#[test]
fn hsetex_in_the_past_deletes_what_was_stored() {
    let words = "hsetex k EXAT 1 FIELDS 2 a x b y";
    assert_eq!(hsetex_sent(words, HSetExOutcome::Past { stored: &[6, 8] }), "HDEL k a b");
    assert_eq!(hsetex_sent(words, HSetExOutcome::Past { stored: &[8] }), "HDEL k b");
    assert_eq!(hsetex_sent(words, HSetExOutcome::Past { stored: &[] }), "");
}

#[test]
fn a_kept_deadline_is_named_so_that_no_replica_judges_it() {
    let kept = |words, deadlines_ms: &[Option<u64>], dead: &[usize]| {
        hsetex_sent(words, HSetExOutcome::Kept { deadlines_ms, dead })
    };
    let words = "hsetex k FXX KEEPTTL FIELDS 2 a 1 b 2";
    assert_eq!(kept(words, &[None, None], &[]), "HSET k a 1 b 2");
    assert_eq!(kept(words, &[None, None], &[6]), "HSET k a 1 b 2");
    assert_eq!(kept(words, &[Some(7), None], &[]), "HSET k b 2; HSETEX k PXAT 7 FIELDS 1 a 1");
    assert_eq!(kept(words, &[Some(7), Some(7)], &[]), "HSETEX k PXAT 7 FIELDS 2 a 1 b 2");
    assert_eq!(
        kept(words, &[Some(9), Some(7)], &[]),
        "HSETEX k PXAT 7 FIELDS 1 b 2; HSETEX k PXAT 9 FIELDS 1 a 1"
    );
    let words = "hsetex k KEEPTTL FIELDS 3 a 1 b 2 a 3";
    assert_eq!(kept(words, &[Some(7), None, Some(7)], &[7]), "HSET k b 2; HSETEX k PXAT 7 FIELDS 2 a 1 a 3");
}

#[test]
fn a_reclaim_is_batched_and_deletes_an_emptied_hash() {
    let key = Bytes::from("k");
    let fields: Vec<Bytes> = (0..2 * RECLAIM_BATCH_FIELDS + 1).map(|n| Bytes::from(n.to_string())).collect();
    let some = |n, emptied| {
        let propagation = reclaim(&key, &fields[..n], emptied, DeletionVerb::Unlink);
        let mut effects = Effects::new();
        effects.push(0, &[], propagation);
        effects.ops.iter().map(|op| (op.argv[0].clone(), op.argv.len() - 1)).collect::<Vec<_>>()
    };
    let hdel = |n: usize| (Bytes::from("HDEL"), 1 + n);
    let unlink = (Bytes::from("UNLINK"), 1);
    assert_eq!(some(0, false), []);
    assert_eq!(some(1, false), [hdel(1)]);
    assert_eq!(some(1024, true), [hdel(1024), unlink.clone()]);
    assert_eq!(some(1025, false), [hdel(1024), hdel(1)]);
    assert_eq!(some(2049, true), [hdel(1024), hdel(1024), hdel(1), unlink]);
    let del = reclaim(&key, &fields[..1], true, DeletionVerb::Del);
    assert_eq!(sent("", Ok(del)), "HDEL k 0; DEL k");
}

#[test]
fn an_outcome_that_the_arguments_cannot_have_is_refused() {
    let refused = |rewritten| assert!(matches!(rewritten, Err(Mismatch::Outcome { .. })), "{rewritten:?}");
    let at_7 = FieldEffect::Deadline(7);
    refused(hdel(&argv("hdel k a"), Touched::live(&[1])));
    refused(hdel(&argv("hdel k a"), Touched::live(&[3])));
    refused(hdel(&argv("hdel k a b"), Touched::live(&[3, 2])));
    refused(hdel(&argv("hdel k a b"), kept(&[2], &[2])));
    refused(hgetdel(&argv("hgetdel k FIELDS 1 a"), Touched::live(&[3])));
    refused(hexpire(&argv("hexpire k 1 FIELDS 1 a"), Touched::live(&[5]), FieldEffect::Persisted));
    refused(hexpire(&argv("hexpire k 1 FIELDS 1 a"), Touched::live(&[4]), at_7));
    refused(hexpire(&argv("hexpire k 1 1 1 a"), Touched::live(&[5]), at_7));
    refused(hpersist(&argv("hpersist k FIELDS 1 a"), kept(&[], &[5])));
    refused(hgetex(&argv("hgetex k FIELDS 1 a"), Touched::live(&[4]), at_7));
    refused(hsetex(&argv("hsetex k EX 1 FIELDS 1 a v"), STORED));
    refused(hsetex(&argv("hsetex k KEEPTTL FIELDS 1 a v"), STORED));
    refused(hsetex(&argv("hsetex k FIELDS 1 a v"), AT_7));
    refused(hsetex(&argv("hsetex k EX 1 FIELDS 1 a v"), HSetExOutcome::NotMet));
    refused(hsetex(&argv("hsetex k FIELDS 1 a v"), HSetExOutcome::Past { stored: &[4] }));
    refused(hsetex(&argv("hsetex k EX 1 FIELDS 1 a v"), HSetExOutcome::Past { stored: &[7] }));
    refused(hsetex(&argv("hsetex k FIELDS 1 a v b"), STORED));
    let none_kept = HSetExOutcome::Kept { deadlines_ms: &[], dead: &[] };
    refused(hsetex(&argv("hsetex k KEEPTTL FIELDS 1 a v"), none_kept));
    refused(hsetex(&argv("hsetex k FIELDS 1 a v"), HSetExOutcome::Kept { deadlines_ms: &[None], dead: &[] }));
    assert!(matches!(hdel(&argv("hget k a"), NONE), Err(Mismatch::Command { .. })));
    assert!(matches!(hsetex(&argv("hsetex k"), STORED), Err(Mismatch::Arguments { .. })));
}
