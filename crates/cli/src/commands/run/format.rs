//! The forms in which a run's results are written to a file: JSON, lines of JSON, CSV, and JUnit's XML for CI.

use std::io::{Error, Write};
use std::path::Path;
use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::report::{Report, why};
use crate::client::run_wire::ExecutionResult;

/// The columns of the CSV.
const COLUMNS: [&str; 16] = [
    "case_id",
    "case_name",
    "version",
    "model",
    "repeat",
    "status",
    "score",
    "reason",
    "input",
    "output",
    "latency_ms",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "execution_id",
    "executed_at",
];

/// A form of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// One object: the counts and every result.
    Json,
    /// A result a line.
    JsonLines,
    /// A result a row.
    Csv,
    /// A test case for each result, a suite for each model.
    JUnit,
}

impl Format {
    /// The form that a file's name asks for; JSON where it asks for none of the others.
    pub(super) fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl") => Self::JsonLines,
            Some("csv") => Self::Csv,
            Some("xml") => Self::JUnit,
            _ => Self::Json,
        }
    }

    /// Writes a report with its results.
    pub(super) fn write(self, writer: &mut impl Write, report: &Report) -> std::io::Result<()> {
        match self {
            Self::Json => {
                serde_json::to_writer_pretty(&mut *writer, report)?;
                writer.write_all(b"\n")
            }
            Self::JsonLines => report.results().iter().try_for_each(|result| {
                serde_json::to_writer(&mut *writer, result)?;
                writer.write_all(b"\n")
            }),
            Self::Csv => csv(writer, report.results()),
            Self::JUnit => junit(report).serialize(writer).map_err(Error::other),
        }
    }
}

fn csv(writer: &mut impl Write, results: &[ExecutionResult]) -> std::io::Result<()> {
    let mut rows = csv::Writer::from_writer(writer);
    rows.write_record(COLUMNS)?;
    for result in results {
        let text = |value: Option<String>| value.unwrap_or_default();
        rows.write_record([
            result.case_id.clone(),
            text(result.case_name.clone()),
            result.version.to_string(),
            result.model.clone(),
            result.repeat.to_string(),
            result.status.clone(),
            text(result.score.map(|score| score.to_string())),
            why(result),
            result.input.to_string(),
            text(result.output.clone()),
            text(result.latency_ms.map(|number| number.to_string())),
            text(result.input_tokens.map(|number| number.to_string())),
            text(result.output_tokens.map(|number| number.to_string())),
            text(result.cost_usd.map(|cost| cost.to_string())),
            result.execution_id.clone(),
            result.executed_at.clone(),
        ])?;
    }
    rows.flush()
}

fn junit(report: &Report) -> quick_junit::Report {
    let mut suites: Vec<TestSuite> = Vec::new();
    for result in report.results() {
        let name = format!("{} (version {})", result.model, result.version);
        let place = suites.iter().position(|suite| suite.name.as_str() == name).unwrap_or_else(|| {
            suites.push(TestSuite::new(name));
            suites.len() - 1
        });
        suites[place].add_test_case(test_case(result));
    }
    let mut junit = quick_junit::Report::new(report.name.clone());
    junit.add_test_suites(suites);
    junit
}

fn test_case(result: &ExecutionResult) -> TestCase {
    let status = match result.status.as_str() {
        "passed" => TestCaseStatus::success(),
        status => {
            let kind = if status == "error" { NonSuccessKind::Error } else { NonSuccessKind::Failure };
            let mut missed = TestCaseStatus::non_success(kind);
            missed.set_message(why(result)).set_description(result.output.clone().unwrap_or_default());
            missed
        }
    };
    let name = result.case_name.as_ref().unwrap_or(&result.case_id);
    // Names are keys to those who read the file: repeats are told apart.
    let mut case = TestCase::new(format!("{name} #{}", result.repeat + 1), status);
    case.set_classname(result.model.clone());
    case.set_time(Duration::from_millis(result.latency_ms.unwrap_or(0)));
    case
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::run_wire::Run;

    fn written(name: &str) -> String {
        let run: Run =
            serde_json::from_value(json!({ "id": "r1", "name": "Demo <1>", "status": "completed" })).unwrap();
        let results = json!([
            { "case_id": "c1", "case_name": "one", "model": "m", "version": 1, "status": "passed", "success": true,
              "input": { "q": "1" }, "output": "1", "score": 1.0, "latency_ms": 1500, "execution_id": "e1" },
            { "case_id": "c2", "model": "m", "version": 1, "repeat": 1, "status": "failed", "output": "say \"<no>\",\u{1}\nnow",
              "verdicts": [{ "type": "contains", "passed": false, "reason": "it has no \"a\"", "score": 0.0 }], "score": 0.0 },
            { "case_id": "c3", "model": "n", "version": 2, "status": "error",
              "error": { "class": "timeout", "message": "no answer" } },
        ]);
        let report = Report::new(&run, Some(serde_json::from_value(results).unwrap()));
        let mut bytes = Vec::new();
        Format::of(Path::new(name)).write(&mut bytes, &report).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_name_of_the_file_says_the_form() {
        let of = |name: &str| Format::of(Path::new(name));
        assert_eq!((of("a.json"), of("a"), of("a.jsonl")), (Format::Json, Format::Json, Format::JsonLines));
        assert_eq!((of("a.csv"), of("a.junit.xml")), (Format::Csv, Format::JUnit));
    }

    #[test]
    fn junit_has_a_case_for_each_result_and_says_why() {
        let xml = written("results.xml");
        assert!(
            xml.contains(r#"<testsuites name="Demo &lt;1&gt;" tests="3" skipped="0" failures="1" errors="1">"#),
            "{xml}"
        );
        assert!(
            xml.contains(r#"<testsuite name="m (version 1)" tests="2" skipped="0" errors="0" failures="1">"#),
            "{xml}"
        );
        assert!(xml.contains(r#"<testcase name="one #1" classname="m" time="1.500"/>"#), "{xml}");
        assert!(xml.contains(r#"<failure message="contains: it has no &quot;a&quot;">"#), "{xml}");
        assert!(xml.contains(r#"<error message="timeout: no answer""#), "{xml}");
        assert!(!xml.contains('\u{1}'), "a control character is no XML");
    }

    #[test]
    fn csv_has_a_row_for_each_result() {
        let csv = written("results.csv");
        let mut rows = csv::Reader::from_reader(csv.as_bytes());
        assert_eq!(rows.headers().unwrap().iter().collect::<Vec<_>>(), COLUMNS);
        let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 3);
        assert_eq!((&rows[0][1], &rows[0][8], &rows[0][10]), ("one", r#"{"q":"1"}"#, "1500"));
        assert_eq!((&rows[1][7], &rows[1][9]), (r#"contains: it has no "a""#, "say \"<no>\",\u{1}\nnow"));
        assert_eq!(&rows[2][7], "timeout: no answer");
    }

    #[test]
    fn lines_of_json_are_the_results_alone() {
        let lines = written("results.jsonl");
        let ids: Vec<serde_json::Value> = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["case_id"].clone())
            .collect();
        assert_eq!(ids, ["c1", "c2", "c3"]);
    }
}
