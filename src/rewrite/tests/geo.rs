use super::{argv, sent};
use crate::rewrite::geo::*;
use crate::rewrite::{DeletionVerb, Mismatch, Propagation};
use bytes::Bytes;

fn added(words: &str, scores: &[u64]) -> String {
    sent(words, geoadd(&argv(words), GeoAddOutcome::Changed { scores }))
}

fn stored(words: &str, outcome: GeoStoreOutcome<'_>) -> String {
    sent(words, geostore(&argv(words), outcome, DeletionVerb::Unlink))
}

fn found() -> [(Bytes, f64); 2] {
    [(Bytes::from("m"), 190.4424), (Bytes::from("n"), 1e-7)]
}

#[test]
fn positions_are_sent_as_scores() {
    assert_eq!(
        added("geoadd g 13.361389 38.115556 Palermo", &[3479099956230698]),
        "ZADD g 3479099956230698 Palermo"
    );
    assert_eq!(added("geoadd g xx Ch 1 2 a 3 4 b", &[7, 8]), "ZADD g xx Ch 7 a 8 b");
    assert_eq!(sent("geoadd g 1 2 a", geoadd(&argv("geoadd g 1 2 a"), GeoAddOutcome::Unchanged)), "");
}

#[test]
fn members_and_keys_may_be_called_like_options() {
    assert_eq!(added("geoadd nx 1 2 xx 3 4 CH", &[7, 8]), "ZADD nx 7 xx 8 CH");
    let words = "geosearchstore STOREDIST s FROMMEMBER STOREDIST BYRADIUS 1 m";
    assert_eq!(stored(words, GeoStoreOutcome::Stored(&found())), words);
    let words = "georadius STOREDIST 1 2 3 m STORE STOREDIST";
    assert_eq!(stored(words, GeoStoreOutcome::Stored(&found())), words);
    let words = "georadiusbymember g STOREDIST 3 m COUNT 1 ANY STORE BYPOLYGON";
    assert_eq!(stored(words, GeoStoreOutcome::Stored(&found())), words);
}

#[test]
fn stored_cells_go_out_as_sent() {
    for words in [
        "geosearchstore d g fromlonlat 1 2 byradius 3 m asc count 1",
        "geosearchstore d g fromlonlat 1 2 bybox 3 4 m",
        "georadius g 1 2 3 m store d",
        "georadiusbymember g m 3 m store d",
    ] {
        assert_eq!(stored(words, GeoStoreOutcome::Stored(&found())), words);
        assert_eq!(stored(words, GeoStoreOutcome::Deleted), words);
        assert_eq!(stored(words, GeoStoreOutcome::Unchanged), "");
    }
}

#[test]
fn what_a_replica_would_compute_otherwise_is_sent_as_numbers() {
    for words in [
        "geosearchstore d g fromlonlat 1 2 byradius 3 m storedist",
        "geosearchstore d g storedist frommember x bybox 3 4 m",
        "geosearchstore d g bypolygon 3 0 0 10 10 0 10 asc",
        "georadius g 1 2 3 m store e storedist d",
        "georadiusbymember g m 3 m withcoord storedist d",
    ] {
        let found = found();
        assert_eq!(stored(words, GeoStoreOutcome::Stored(&found)), "UNLINK d; ZADD d 190.4424 m 0.0000001 n");
        assert_eq!(stored(words, GeoStoreOutcome::Deleted), "UNLINK d");
        assert_eq!(stored(words, GeoStoreOutcome::Unchanged), "");
    }
}

#[test]
fn a_large_result_is_sent_in_batches() {
    let members: Vec<(Bytes, f64)> = (0..2049).map(|n| (Bytes::from(n.to_string()), f64::from(n))).collect();
    let words = "geosearchstore d g fromlonlat 1 2 byradius 3 m storedist";
    let sent = geostore(&argv(words), GeoStoreOutcome::Stored(&members), DeletionVerb::Del);
    let Ok(Propagation::Commands(commands)) = sent else { panic!("several commands") };
    assert_eq!(&commands[0][0][..], b"DEL");
    assert_eq!(commands.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2 + 2048, 2 + 2048, 2 + 2]);
}

#[test]
fn an_outcome_that_the_arguments_cannot_have_is_refused() {
    let refused = |rewritten| assert!(matches!(rewritten, Err(Mismatch::Outcome { .. })), "{rewritten:?}");
    refused(geoadd(&argv("geoadd g 1 2 a"), GeoAddOutcome::Changed { scores: &[1, 2] }));
    refused(geoadd(&argv("geoadd g nx 1 2"), GeoAddOutcome::Changed { scores: &[1] }));
    let words = "georadius g 1 2 3 m ASC WITHDIST";
    refused(geostore(&argv(words), GeoStoreOutcome::Stored(&found()), DeletionVerb::Unlink));
    let words = "georadius g 1 2 3 m STORE d";
    refused(geostore(&argv(words), GeoStoreOutcome::Stored(&[]), DeletionVerb::Unlink));
    assert!(matches!(
        geostore(&argv("zadd a b c d e f g h"), GeoStoreOutcome::Deleted, DeletionVerb::Unlink),
        Err(Mismatch::Command { .. })
    ));
}
