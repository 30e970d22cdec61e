//! The forms of a report, from one with a row of each sort; and a saved failure, from the file to the
//! drawing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use replcore_proofs::drawing::{Execution, Failure, Recorded, SCHEMA as FAILURE_SCHEMA, Step, Touch};
use replcore_proofs::report::{
    Facts, Kind, Outcome, Report, Row, SCHEMA, Unit, Verdict, html, junit, markdown, table,
};

/// A name that every form has to escape.
const AWKWARD: &str = "a <b> & \"c\" | d";

fn row(kind: Kind, name: &str, verdict: Verdict) -> Row {
    let mut row = Row::new(kind, name);
    row.verdict = verdict;
    row.explored = 1_234_567;
    row.bound = "2 preemptions".to_owned();
    row.seconds = 1.5;
    row.outcomes = vec![Outcome { name: "done".to_owned(), count: 3 }];
    row
}

fn sample() -> Report {
    let mut model = row(Kind::Model, "trim-attach", Verdict::Bounded);
    model.invariants = vec!["I10".to_owned(), "I2".to_owned()];
    let mut caught = row(Kind::Mutation, "trim-attach with TRIM_FENCE=AcqRel", Verdict::Caught);
    caught.subject = "trim-attach".to_owned();
    caught.mutation = Some("TRIM_FENCE=AcqRel".to_owned());
    caught.found = Some("I6: segment2 is used after it was freed".to_owned());
    let mut failed = row(Kind::Model, AWKWARD, Verdict::Failed);
    failed.invariants = vec!["I6".to_owned()];
    failed.found = Some(format!("broke: {AWKWARD}"));
    failed.drawing = Some("  1 │ CELL_LOAD <load> cell1\n  ✗ it broke".to_owned());
    failed.failure_file = Some("target/prove/failures/a.json".to_owned());
    let mut vacuous = row(Kind::SelfTest, "litmus", Verdict::Inexact);
    vacuous.outcomes.push(Outcome { name: "both".to_owned(), count: 0 });
    let mut excused = row(Kind::Ordering, "ERA_ROTATE=Acquire", Verdict::Excused);
    excused.found = Some("loom does not see the list".to_owned());
    let mut states = row(Kind::Protocol, "failover", Verdict::Bounded);
    states.unit = Unit::States;
    states.invariants = vec!["prefix".to_owned()];
    Report {
        schema: SCHEMA,
        facts: Facts::gather("quick").expect("this program can be read"),
        seconds: 12.4,
        not_run: 2,
        rows: vec![vacuous, model, failed, caught, excused, states],
    }
}

/// A file that is gone when the test is over.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, text: &str) -> Self {
        let file = std::env::temp_dir().join(format!("replcore-prove-{}-{name}", std::process::id()));
        std::fs::write(&file, text).expect("a temporary file can be written");
        Self(file)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_report_survives_its_json() {
    let report = sample();
    let file = Temporary::new("report.json", &report.to_json().expect("numbers are numbers"));
    assert_eq!(Report::read(&file.0), Ok(report));
}

#[test]
fn what_is_no_report_or_a_later_one_is_refused_by_name() {
    let later = sample().to_json().expect("numbers").replacen("\"schema\": 1", "\"schema\": 2", 1);
    for (text, said) in [("{}", "not a report"), ("[1", "EOF"), (later.as_str(), "version 2")] {
        let file = Temporary::new("no-report.json", text);
        let error = Report::read(&file.0).expect_err(text);
        assert!(error.contains(said) && error.contains("no-report.json"), "{error}");
    }
}

#[test]
fn the_sum_says_what_was_left_out_and_such_a_run_is_no_pass() {
    let mut report = sample();
    assert_eq!(report.summary(), "4 as it should be, 2 not, 2 not run; 12 s");
    report.rows.retain(Row::is_good);
    assert!(!report.is_good(), "something was not run");
    report.not_run = 0;
    assert!(report.is_good());
    report.rows.clear();
    assert!(!report.is_good(), "nothing was proven");
}

#[test]
fn the_table_has_every_row_and_the_drawing_of_what_broke() {
    let text = table::render(&sample(), 140);
    for said in
        ["trim-attach", "bounded", "1,234,567", "INEXACT", "never seen: both", "│ CELL_LOAD", "--replay"]
    {
        assert!(text.contains(said), "{said}\n{text}");
    }
    assert!(text.ends_with("2 not, 2 not run; 12 s\n"), "{text}");
    assert_eq!(
        table::sum(&sample(), Kind::Ordering),
        "0 of 0 caught; 1 excused, which the checker cannot see"
    );
}

#[test]
fn junit_counts_what_is_not_as_it_should_be() {
    let xml = junit::render(&sample()).expect("XML");
    assert!(xml.contains("tests=\"6\"") && xml.contains("failures=\"2\""), "{xml}");
    assert!(xml.contains("a &lt;b&gt; &amp;"), "{xml}");
    assert!(xml.contains("type=\"FAILED\"") && xml.contains("it broke"), "{xml}");
}

#[test]
fn html_stands_alone_and_escapes() {
    let page = html::render(&sample());
    assert!(!page.contains(AWKWARD) && page.contains("a &lt;b&gt; &amp;"), "not escaped");
    for part in ["src=", "<link", "@import", "url("] {
        assert!(!page.contains(part), "the page needs something beside it: {part}");
    }
    let (i2, i10) = (page.find("<th>I2</th>"), page.find("<th>I10</th>"));
    assert!(i2.is_some() && i2 < i10, "invariants are sorted by number");
    assert!(page.contains("1 of 1"), "how many mutations the model caught");
    assert!(page.contains("prefers-color-scheme"), "light and dark");
}

#[test]
fn markdown_is_a_table_that_no_name_breaks() {
    let text = markdown::render(&sample());
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(rows.len(), 6, "{text}");
    for row in rows {
        assert_eq!(cells(row), 8, "{row}");
    }
    assert!(text.contains("```text\n  1 │ CELL_LOAD"), "{text}");
    assert!(text.contains("loom does not see the list"), "{text}");
}

fn failure() -> Failure {
    let step = |thread, did: &str, touch| Step {
        thread,
        name: Some("CELL_LOAD".to_owned()),
        did: did.to_owned(),
        touches: Some("segment1".to_owned()),
        touch,
        place: Some("segment.rs:88".to_owned()),
    };
    Failure {
        schema: FAILURE_SCHEMA,
        proof: "trim-attach".to_owned(),
        about: "a replica attaches while a writer trims".to_owned(),
        invariants: vec!["I6".to_owned()],
        mutation: Some("ATTACH_FENCE=AcqRel".to_owned()),
        mutation_about: Some("It is SeqCst.".to_owned()),
        build: "0".to_owned(),
        tools: vec!["loom 0.7.3".to_owned()],
        execution: Execution::Model {
            bound: "1".to_owned(),
            stall: None,
            path: serde_json::json!({ "branches": [] }),
            recorded: Recorded {
                message: "I6: used after it was freed".to_owned(),
                place: Some("model.rs:1".to_owned()),
                thread: Some(2),
                threads: BTreeMap::from([(1, "writer".to_owned()), (2, "replica".to_owned())]),
                steps: vec![step(1, "FREE segment1", Touch::Free), step(2, "use segment1", Touch::Use)],
            },
        },
    }
}

#[test]
fn a_failure_survives_its_file_and_is_drawn_without_words_of_the_checker() {
    let json = serde_json::to_string(&failure()).expect("JSON");
    let file = Temporary::new("failure.json", &json);
    let read = Failure::read(&file.0).expect("it was just written");
    assert_eq!(read, failure());
    let drawn = read.draw(140, false);
    for said in [
        "weakened on purpose: ATTACH_FENCE=AcqRel. It is SeqCst.",
        "segment1 is used after it was freed",
        "writer, step 1",
        "replica, step 2",
        "✗ replica: I6",
    ] {
        assert!(drawn.contains(said), "{said}\n{drawn}");
    }
    assert!(!drawn.contains("loom"), "{drawn}");
}

#[test]
fn a_file_that_is_no_failure_is_refused() {
    let later = serde_json::to_string(&failure()).expect("JSON").replacen("\"schema\":1", "\"schema\":9", 1);
    let report = sample().to_json().expect("numbers");
    for (text, said) in [(report.as_str(), "not a failure"), (later.as_str(), "version 9"), ("", "EOF")] {
        let file = Temporary::new("no-failure.json", text);
        let error = Failure::read(&file.0).expect_err(said);
        assert!(error.contains(said), "{error}");
    }
}
