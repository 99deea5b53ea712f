//! Markdown for pull requests: tables whose cells are somebody's texts, which must not become markup.

use super::output::{Align, plain_line};

/// A heading of the third level.
pub(crate) fn heading(page: &mut String, text: &str) {
    page.push_str("### ");
    page.push_str(&escaped(text));
    page.push_str("\n\n");
}

/// A paragraph.
pub(crate) fn paragraph(page: &mut String, text: &str) {
    page.push_str(&escaped(text));
    page.push_str("\n\n");
}

/// A table.
pub(crate) fn table(page: &mut String, columns: &[(&str, Align)], rows: impl Iterator<Item = Vec<String>>) {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    page.push_str(&line(columns.iter().map(|(name, _)| escaped(name)).collect()));
    let rule = |align: &Align| match align {
        Align::Left => "---",
        Align::Right => "---:",
    };
    page.push_str(&line(columns.iter().map(|(_, align)| rule(align).to_owned()).collect()));
    for row in rows {
        page.push_str(&line(row.iter().map(|cell| escaped(cell)).collect()));
    }
    page.push('\n');
}

/// Names are somebody's: they must not become markup, nor end a cell.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in plain_line(text).chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '@' | '#' => escaped.extend(['\\', letter]),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_wrote_is_no_markup() {
        let mut page = String::new();
        heading(&mut page, "a <b> & # *c*");
        table(
            &mut page,
            &[("x", Align::Left), ("n", Align::Right)],
            std::iter::once(vec!["a|b\n@all".to_owned(), "1".to_owned()]),
        );
        assert_eq!(page, "### a &lt;b> &amp; \\# \\*c\\*\n\n| x | n |\n| --- | ---: |\n| a\\|b \\@all | 1 |\n\n");
    }
}
