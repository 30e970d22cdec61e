//! Integers and 80-bit floats.

use proptest::prelude::*;

use super::super::long_double::{LongDouble, MAX_TEXT_BYTES};
use super::super::number::parse_i64;

fn sum(a: &str, b: &str) -> String {
    let parse = |text: &str| LongDouble::parse(text.as_bytes()).expect("a float");
    parse(a).plus(parse(b)).to_decimal()
}

/// The sums as a Valkey 9.1.2 on x86-64 answered them.
#[test]
fn sums_are_those_of_valkey() {
    let cases = [
        ("0", "1000.1", "1000.09999999999999998"),
        ("1000.09999999999999998", "0.1", "1000.19999999999999996"),
        ("0.1", "0.2", "0.3"),
        ("3", "1.1", "4.1"),
        ("3.14159", "2.71828", "5.85987"),
        ("5.0e3", "200", "5200"),
        ("0x10", "1e-20", "16"),
        ("1.5", "-1.5", "0"),
        ("-0.0", "-0.0", "0"),
        ("0", "-1e-18", "0"),
        ("0", "18446744073709551615", "18446744073709551615"),
        ("0", "36893488147419103232", "36893488147419103232"),
        ("0", "9223372036854775808.5", "9223372036854775808"),
        ("-9223372036854775807.5", "0", "-9223372036854775807.5"),
    ];
    for (a, b, expected) in cases {
        assert_eq!(sum(a, b), expected, "{a} + {b}");
    }
    let large = sum("1000.2", "1e300");
    assert!(large.starts_with("10000000000000000000089973240795591938705239442732907479"), "{large}");
    assert!(large.ends_with("567187386105690089424915104006144") && large.len() == 301, "{large}");
}

#[test]
fn only_whole_floats_are_read() {
    for text in [
        "1",
        "+1.5",
        ".5",
        "5.",
        "-1e5",
        "1E+5",
        "0x1p-3",
        "0X.8",
        "0xA",
        "inf",
        "-INFINITY",
        "0e99999999999",
    ] {
        assert!(LongDouble::parse(text.as_bytes()).is_some(), "{text}");
    }
    let long = "1".repeat(MAX_TEXT_BYTES + 1);
    for text in [
        "",
        " 1",
        "1 ",
        ".",
        "-",
        "+",
        "e5",
        "1e",
        "1e+",
        "0x",
        "0x1p",
        "1.2.3",
        "1_0",
        "nan",
        "nan(1)",
        "--1",
        "é",
        "1e5000",
        "1e-5000",
        "1e99999999999999999999",
        &long,
    ] {
        assert!(LongDouble::parse(text.as_bytes()).is_none(), "{text}");
    }
    assert!(LongDouble::parse(&[b'1', 0xff]).is_none());
}

#[test]
fn integers_have_one_spelling() {
    assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
    assert_eq!(parse_i64(b"0"), Some(0));
    for text in ["", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1.0", "9223372036854775808", "\u{661}"] {
        assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
    }
}

proptest! {
    /// No text makes the reader panic or loop, and what it reads can be printed and read again.
    #[test]
    fn any_text_is_read_or_refused(text in "[-+0-9a-fA-FxXpPeE.]{0,24}") {
        if let Some(float) = LongDouble::parse(text.as_bytes()).filter(|float| float.is_finite()) {
            prop_assert!(LongDouble::parse(float.to_decimal().as_bytes()).is_some());
        }
    }

    /// Integers up to 2^63 are exact.
    #[test]
    fn integers_are_added_exactly(a in any::<i32>(), b in any::<i64>()) {
        let b = b / 2;
        prop_assert_eq!(sum(&a.to_string(), &b.to_string()), (i64::from(a) + b).to_string());
    }

    /// Short decimals come back as they went in.
    #[test]
    fn short_decimals_survive(whole in -99i64..=99, thousandths in 0u32..1000) {
        let text = format!("{whole}.{thousandths:03}");
        let shown = sum(&text, "0");
        prop_assert_eq!(shown.parse::<f64>().ok(), text.parse::<f64>().ok());
        prop_assert!(shown.len() <= text.len());
    }
}
