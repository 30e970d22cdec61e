//! The report as JUnit's XML, for machines that collect tests: a suite for each kind, a case for each row.

use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{Kind, Report, Row};

/// Renders it.
///
/// # Errors
/// Never, unless memory runs out.
pub fn render(report: &Report) -> Result<String, String> {
    let mut all = quick_junit::Report::new("cargo prove");
    all.set_time(seconds(report.seconds));
    for kind in Kind::ALL {
        let mut suite = TestSuite::new(kind.word());
        let mut total = 0.0;
        for row in report.of(kind) {
            total += row.seconds;
            suite.add_test_case(case(row));
        }
        if suite.tests > 0 {
            suite.set_time(seconds(total));
            all.add_test_suite(suite);
        }
    }
    all.to_string().map_err(|error| error.to_string())
}

fn case(row: &Row) -> TestCase {
    let mut status = TestCaseStatus::success();
    if !row.is_good() {
        status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_type(row.verdict.word()).set_message(row.remark());
        status.set_description(row.drawing.as_deref().unwrap_or(&row.report));
    }
    let mut case = TestCase::new(row.name.as_str(), status);
    case.set_classname(row.kind.word()).set_time(seconds(row.seconds));
    case.add_property(("verdict", row.verdict.word()));
    case.add_property(("bound", row.bound.as_str()));
    case.add_property((row.unit.word(), row.explored.to_string().as_str()));
    case
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
