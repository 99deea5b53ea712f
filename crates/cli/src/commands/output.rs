//! The one place that writes to the terminal: results to stdout, everything about them to stderr.

use std::io::{IsTerminal, Write};

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::exit::CliError;

/// Columns of a table that stand at the right: numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Where a command writes.
pub struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    out_is_terminal: bool,
    err_is_terminal: bool,
    colors: bool,
}

impl Output {
    /// The standard streams; no colours where nobody sees them, or where `NO_COLOR` asks for none.
    #[must_use]
    pub fn of_process() -> Self {
        let out_is_terminal = std::io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            out_is_terminal,
            err_is_terminal: std::io::stderr().is_terminal(),
            colors: out_is_terminal && !no_color,
        }
    }

    /// Other streams, none of them a terminal.
    #[must_use]
    pub fn to(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self { out, err, out_is_terminal: false, err_is_terminal: false, colors: false }
    }

    /// Whether somebody watches stderr.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.err_is_terminal
    }

    /// Writes text to stdout, with a line's end.
    pub fn line(&mut self, text: &str) -> Result<(), CliError> {
        Ok(writeln!(self.out, "{text}")?)
    }

    /// Writes text to stdout as it is; a line's end is added where it has none.
    pub fn text(&mut self, text: &str) -> Result<(), CliError> {
        self.out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            self.out.write_all(b"\n")?;
        }
        Ok(self.out.flush()?)
    }

    /// Writes bytes to stdout as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        Ok(self.out.write_all(bytes)?)
    }

    /// Writes one JSON value to stdout.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value).map_err(std::io::Error::other)?;
        self.text(&text)
    }

    /// Writes one JSON value on one line to stdout, at once: somebody may be reading along.
    pub fn json_line(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(value).map_err(std::io::Error::other)?;
        self.text(&text)
    }

    /// Tells something on stderr; a stderr that is gone is no reason to stop.
    pub fn note(&mut self, text: &str) {
        drop(writeln!(self.err, "{text}"));
    }

    /// Writes a table to stdout: columns two spaces apart, no lines.
    pub fn table(&mut self, columns: &[(&str, Align)], rows: Vec<Vec<String>>) -> Result<(), CliError> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let arrangement = if self.out_is_terminal { ContentArrangement::Dynamic } else { ContentArrangement::Disabled };
        table.set_content_arrangement(arrangement);
        if self.colors {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let bold = |(name, align): &(&str, Align)| cell((*name).to_owned(), *align).add_attribute(Attribute::Bold);
        table.set_header(columns.iter().map(bold));
        for row in rows {
            let aligned = row.into_iter().zip(columns.iter().map(|(_, align)| *align));
            table.add_row(aligned.map(|(text, align)| cell(plain_line(&text), align)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        self.line(&table.trim_fmt())
    }
}

fn cell(text: String, align: Align) -> Cell {
    Cell::new(text).set_alignment(match align {
        Align::Left => CellAlignment::Left,
        Align::Right => CellAlignment::Right,
    })
}

/// Text of somebody else on one line, without the characters that steer a terminal.
#[must_use]
pub fn plain_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { if c.is_whitespace() { ' ' } else { '\u{fffd}' } } else { c }).collect()
}

/// Text of somebody else with its lines, without the characters that steer a terminal.
#[must_use]
pub fn plain_text(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// The beginning of a text, on one line.
#[must_use]
pub fn excerpt(text: &str, chars_max: usize) -> String {
    let line = plain_line(text);
    if line.chars().count() <= chars_max {
        return line;
    }
    line.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A stream that a test can read.
    #[derive(Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// An output and what it writes to stdout and stderr.
    pub(crate) fn captured() -> (Output, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        (Output::to(Box::new(out.clone()), Box::new(err.clone())), out, err)
    }

    #[test]
    fn a_table_is_plain_where_nobody_watches() {
        let (mut output, out, _) = captured();
        let rows =
            vec![vec!["a\u{1b}[31m\nb".to_owned(), "7".to_owned()], vec!["longer".to_owned(), "1234".to_owned()]];
        output.table(&[("name", Align::Left), ("count", Align::Right)], rows).unwrap();
        assert_eq!(out.text(), "name      count\na\u{fffd}[31m b      7\nlonger     1234\n");
    }

    #[test]
    fn the_text_of_others_can_not_steer_the_terminal() {
        assert_eq!(plain_line("a\tb\r\n\u{1b}]0;x\u{7}"), "a b  \u{fffd}]0;x\u{fffd}");
        assert_eq!(plain_text("a\tb\n\u{9b}c"), "a\tb\n\u{fffd}c");
        assert_eq!(excerpt("abcdef", 4), "abc…");
    }
}
