//! Short quotations of outputs and values, for reasons that people read.

/// Longest quotation in a reason, in characters; a reason is read in a table's cell.
pub(crate) const EXCERPT_CHARS_MAX: usize = 120;

/// The text in quotation marks with control characters escaped, cut to [`EXCERPT_CHARS_MAX`].
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}{}", head(text), if is_cut(text) { "…" } else { "" })
}

/// The text as it is, cut to [`EXCERPT_CHARS_MAX`].
pub(crate) fn cut(text: &str) -> String {
    format!("{}{}", head(text), if is_cut(text) { "…" } else { "" })
}

fn head(text: &str) -> &str {
    text.char_indices().nth(EXCERPT_CHARS_MAX).map_or(text, |(end, _)| &text[..end])
}

fn is_cut(text: &str) -> bool {
    head(text).len() < text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = "é".repeat(EXCERPT_CHARS_MAX + 1);
        assert_eq!(cut(&long), format!("{}…", "é".repeat(EXCERPT_CHARS_MAX)));
        assert_eq!(cut(&long[2..]), "é".repeat(EXCERPT_CHARS_MAX));
    }

    #[test]
    fn a_quotation_fits_on_a_line_and_holds_no_control_character() {
        assert_eq!(quoted("a\n\"b\"\0"), r#""a\n\"b\"\0""#);
    }
}
