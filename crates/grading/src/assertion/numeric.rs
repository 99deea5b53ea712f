//! `numeric`: the last number of the output, which is where models put their answer.

use serde_json::Value;

use super::source::{Source, resolved};
use super::{AssertionError, Evaluation, Finding, Subject};
use crate::excerpt::quoted;
use crate::template::{Template, number_text};

/// How far the output may be from the value where the assertion does not say.
const TOLERANCE_DEFAULT: f64 = 1e-6;
const NEEDS: &str = "a number, or a text with a number in it";

#[derive(Debug)]
pub(super) struct Numeric {
    wanted: Wanted,
    tolerance: f64,
}

#[derive(Debug)]
enum Wanted {
    Number(f64),
    Rendered(Template),
}

impl Numeric {
    pub(super) fn compile(source: &Source<'_>) -> Result<Self, AssertionError> {
        source.no_threshold()?;
        let tolerance = source.not_negative("tolerance", source.assertion.tolerance.unwrap_or(TOLERANCE_DEFAULT))?;
        let wanted = match source.value() {
            Some(Value::Number(number)) => number.as_f64().map(Wanted::Number),
            Some(Value::String(text)) => {
                let template = source.template(text)?;
                match template.constant() {
                    Some(text) => last_number(text).map(Wanted::Number),
                    None => Some(Wanted::Rendered(template)),
                }
            }
            _ => None,
        };
        Ok(Self { wanted: wanted.ok_or_else(|| source.wrong_value(NEEDS))?, tolerance })
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Evaluation {
        let wanted = match &self.wanted {
            Wanted::Number(number) => *number,
            Wanted::Rendered(template) => {
                let text = resolved(template, subject.variables)?;
                last_number(&text).ok_or_else(|| format!("there is no number in its value {}", quoted(&text)))?
            }
        };
        let Some(found) = last_number(subject.output) else {
            return Ok(Finding { holds: false, fact: "no number in the output".to_owned() });
        };
        let holds = (found - wanted).abs() <= self.tolerance;
        let (found, wanted) = (number_text(found), number_text(wanted));
        let fact = if holds {
            format!("the last number in the output is {found}")
        } else {
            format!("the last number in the output is {found}, not {wanted}")
        };
        Ok(Finding { holds, fact })
    }
}

/// The last number of a text: `-1,234.5e3`, with any currency in front and any sign behind.
///
/// A minus counts where nothing that it could be taken from is in front of it: `5-3` ends with 3, and `-3` with -3.
/// Commas between digits are ignored. A number beyond the range of `f64` is no number.
fn last_number(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let mut last = None;
    let mut at = 0;
    while let Some(offset) = bytes[at..].iter().position(u8::is_ascii_digit) {
        let start = at + offset;
        let end = number_end(bytes, start);
        last = Some((start, end));
        at = end;
    }
    let (start, end) = last?;
    let (start, is_fraction) = match text[..start].strip_suffix('.') {
        // `.5` is a half; in `v.5` and `...5` the dot is not a decimal point.
        Some(before) if !before.ends_with(|c: char| c.is_alphanumeric() || c == '.' || c == '_') => (start - 1, true),
        _ => (start, false),
    };
    let digits: String = text[start..end].chars().filter(|letter| *letter != ',').collect();
    let digits = if is_fraction { format!("0{digits}") } else { digits };
    let size: f64 = digits.parse().ok().filter(|size: &f64| size.is_finite())?;
    Some(if is_negative(&text[..start]) { -size } else { size })
}

/// Where the number ends that starts here: digits with commas, a fraction, an exponent.
fn number_end(bytes: &[u8], start: usize) -> usize {
    let digit_at = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let digits_from = |mut at: usize| {
        while digit_at(at) {
            at += 1;
        }
        at
    };
    let mut end = digits_from(start);
    while bytes.get(end) == Some(&b',') && digit_at(end + 1) {
        end = digits_from(end + 1);
    }
    if bytes.get(end) == Some(&b'.') && digit_at(end + 1) {
        end = digits_from(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent_end = digits_from(end + 1 + sign);
        let is_word = bytes.get(exponent_end).is_some_and(|next| next.is_ascii_alphanumeric() || *next == b'_');
        if digit_at(end + 1 + sign) && !is_word {
            end = exponent_end;
        }
    }
    end
}

/// Whether this text ends with a minus, perhaps before a currency, that has no digit or letter in front.
fn is_negative(before: &str) -> bool {
    let before = before.strip_suffix(['$', '€', '£', '¥']).unwrap_or(before);
    before
        .strip_suffix(['-', '\u{2212}'])
        .is_some_and(|left| !left.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_number_is_found() {
        for (text, number) in [
            ("", None),
            ("none", None),
            ("A: 18", Some(18.0)),
            ("16 - 3 = 13", Some(13.0)),
            ("5-3", Some(3.0)),
            ("x-3", Some(3.0)),
            ("x -3", Some(-3.0)),
            ("-3", Some(-3.0)),
            ("(-3)", Some(-3.0)),
            ("=-3", Some(-3.0)),
            ("\u{2212}3", Some(-3.0)),
            ("--3", Some(-3.0)),
            ("1,234,567.5", Some(1_234_567.5)),
            ("$1,000.", Some(1000.0)),
            ("-$5", Some(-5.0)),
            ("$-5", Some(-5.0)),
            ("€5", Some(5.0)),
            ("50%", Some(50.0)),
            ("1, 2, 3,", Some(3.0)),
            ("2.75.", Some(2.75)),
            ("2.75.15", Some(15.0)),
            (".5", Some(0.5)),
            ("-.5", Some(-0.5)),
            ("v.5", Some(5.0)),
            ("is ...5", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("1.5E-3", Some(0.0015)),
            ("2e", Some(2.0)),
            ("2e+", Some(2.0)),
            ("1e5kg", Some(5.0)),
            ("1e999", None),
            ("GPT4", Some(4.0)),
            ("007", Some(7.0)),
            ("2020-01-02", Some(2.0)),
            ("٣", None),
            ("5é", Some(5.0)),
            ("é-5", Some(5.0)),
            ("<<5*2=10>>10 eggs", Some(10.0)),
        ] {
            assert_eq!(last_number(text), number, "{text}");
        }
        assert_eq!(last_number(&"1".repeat(400)), None);
    }

    proptest! {
        #[test]
        fn a_number_that_was_written_is_found(number in -1e15..1e15_f64, before in "[^0-9]{0,10} ", after in "[^0-9]{0,10}") {
            prop_assert_eq!(last_number(&format!("{before}{number}{after}")), Some(number));
            prop_assert_eq!(last_number(&format!("{before}{number:e} {after}")), Some(number));
        }

        #[test]
        fn thousands_may_have_commas(number in 0..i64::MAX / 1_000_000, sign in "-?") {
            let digits = number.to_string();
            let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
            let expected: f64 = format!("{sign}{digits}").parse().unwrap();
            let text = format!("It is {sign}{} dollars.", groups.join(","));
            prop_assert_eq!(last_number(&text), Some(expected));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}", signs in "[-−+.,0-9eE$ ]{0,20}") {
            let _ = last_number(&text);
            let _ = last_number(&signs);
        }
    }
}
