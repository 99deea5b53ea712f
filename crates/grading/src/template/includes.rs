//! What a template includes: prompts of other cards, named by a text and nothing that is computed.

use minijinja::machinery::{Token, Tokenizer};

use super::{Partials, TemplateError, engine, lex};

/// The names that a prompt includes, each with its line from 1; those in the texts of a prompt that is JSON too.
///
/// # Errors
/// [`TemplateError`] for notation that is wrong.
pub fn included(source: &str) -> Result<Vec<(String, usize)>, TemplateError> {
    let mut found = Vec::new();
    let mut tokens = Tokenizer::new(source, engine::NAME, false, engine::syntax());
    let mut words = 0_usize;
    let mut is_include = false;
    while let Some((token, span)) = tokens.next_token().map_err(|error| TemplateError::from_engine(&error))? {
        match token {
            Token::BlockStart => (words, is_include) = (0, false),
            Token::Ident("include") if words == 0 => (words, is_include) = (1, true),
            Token::Str(name) if is_include && words == 1 => {
                found.push((name.to_owned(), span.start_line as usize));
                words += 1;
            }
            Token::String(name) if is_include && words == 1 => {
                found.push((name.to_string(), span.start_line as usize));
                words += 1;
            }
            _ => words += 1,
        }
    }
    Ok(found)
}

/// Those of the partials that a template includes, and that these include.
pub(super) fn all(source: &str, partials: &Partials) -> Result<Partials, TemplateError> {
    let mut used = Partials::new();
    let mut waiting = included(source)?;
    while let Some((name, line)) = waiting.pop() {
        if used.contains_key(&name) {
            continue;
        }
        let Some(text) = partials.get(&name) else { return Err(TemplateError::UnknownPartial { line, name }) };
        // An included template has the same limits.
        lex::plain_pieces(text)?;
        waiting.extend(included(text)?);
        used.insert(name, text.clone());
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::template::Template;

    fn partials(list: &[(&str, &str)]) -> Partials {
        list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn names_are_found_with_their_lines() {
        let found =
            included("a {{ b }}\n{% include \"tone@production\" %} {% if x %}{%- include 'c' -%}{% endif %}").unwrap();
        assert_eq!(found, [("tone@production".to_owned(), 2), ("c".to_owned(), 2)]);
        assert_eq!(included("{% raw %}{% include 'c' %}{% endraw %}").unwrap(), []);
    }

    #[test]
    fn a_prompt_includes_another_one_that_includes_a_third() {
        let partials =
            partials(&[("tone@p", "Be {{ mood }}. {% include 'end@p' %}"), ("end@p", "Bye {{ name }}."), ("x", "")]);
        let template = Template::parse_prompt("{% include 'tone@p' %} {{ q }}", &partials).unwrap();
        assert_eq!(template.variables().into_iter().collect::<Vec<_>>(), ["mood", "name", "q"]);
        let input = json!({ "mood": "kind", "name": "Ann", "q": "?" });
        assert_eq!(template.render(input.as_object().unwrap()).unwrap(), "Be kind. Bye Ann. ?");
        assert_eq!(template.missing(json!({ "q": 1 }).as_object().unwrap()), ["mood", "name"]);
    }

    #[test]
    fn what_is_not_there_is_refused_with_its_line() {
        let error = Template::parse_prompt("a\n{% include 'tone@p' %}", &Partials::new()).unwrap_err();
        assert!(matches!(error, TemplateError::UnknownPartial { line: 2, .. }), "{error}");
    }

    #[test]
    fn prompts_that_include_each_other_end() {
        let partials = partials(&[("a", "{% include 'b' %}"), ("b", "{% include 'a' %}")]);
        let template = Template::parse_prompt("{% include 'a' %}", &partials).unwrap();
        assert!(template.render(json!({}).as_object().unwrap()).is_err());
    }

    #[test]
    fn messages_are_rendered_each_on_its_own() {
        let source = r#"[{ "role": "system", "content": "Be {{ mood }}." }, { "role": "user", "content": "{{ q }}" }]"#;
        let template = Template::parse_prompt(source, &Partials::new()).unwrap();
        let input = json!({ "mood": "kind", "q": "say \"hi\"\nnow" });
        let rendered: serde_json::Value =
            serde_json::from_str(&template.render(input.as_object().unwrap()).unwrap()).unwrap();
        let expected =
            json!([{ "role": "system", "content": "Be kind." }, { "role": "user", "content": "say \"hi\"\nnow" }]);
        assert_eq!(rendered, expected);
        assert_eq!(template.missing(json!({ "q": 1 }).as_object().unwrap()), ["mood"]);
    }

    #[test]
    fn text_that_only_begins_like_json_is_text() {
        for source in ["[1] {{ q }}", "{{ q }}", "{% if q %}{{ q }}{% endif %}", "{ {{ q }} }"] {
            let rendered = Template::parse_prompt(source, &Partials::new()).unwrap();
            assert!(rendered.render(json!({ "q": "x" }).as_object().unwrap()).unwrap().contains('x'), "{source}");
        }
    }
}
