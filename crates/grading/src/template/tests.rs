//! What templates render to, what they need, and what they refuse.

use proptest::prelude::*;
use serde_json::json;

use super::lex::{ELIFS_MAX, TAG_TOKENS_MAX, TOKENS_MAX};
use super::*;

fn input(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is not an object"),
    }
}

fn sample() -> Map<String, Value> {
    input(json!({
        "name": "Ann <b>&\"'", "count": 3, "one": 1.0, "half": 0.5, "big": 1e21, "small": 1e-7, "minus": -2.0,
        "yes": true, "no": false, "nothing": null, "empty": "", "list": ["a", "b", 1.0, true, null],
        "object": { "b": 1.0, "a": "x \"y\" </script>" }, "padded": "  x  ", "items": [{ "id": 1 }, { "id": 2 }],
        "größe": "groß"
    }))
}

#[track_caller]
fn renders(source: &str, expected: &str) {
    let template = Template::parse(source).unwrap();
    assert_eq!(template.render(&sample()).as_deref(), Ok(expected), "{source}");
    assert_eq!(template.missing(&sample()), Vec::<String>::new(), "{source}");
}

#[track_caller]
fn refused(source: &str) -> TemplateError {
    Template::parse(source).expect_err(source)
}

#[track_caller]
fn fails(source: &str) -> TemplateError {
    Template::parse(source).unwrap().render(&sample()).expect_err(source)
}

#[test]
fn values_are_printed_as_nunjucks_prints_them() {
    for (source, expected) in [
        ("", ""),
        ("plain } text %} #}\n", "plain } text %} #}\n"),
        ("Hello {{ name }}!\n", "Hello Ann <b>&\"'!\n"),
        ("{{name}}{{  count  }}", "Ann <b>&\"'3"),
        ("{{ one }} {{ half }} {{ minus }} {{ big }} {{ small }}", "1 0.5 -2 1e+21 1e-7"),
        ("{{ yes }} {{ no }} [{{ nothing }}]", "true false []"),
        ("{{ list }}", r#"["a","b",1,true,null]"#),
        ("{{ object }}", r#"{"a":"x \"y\" </script>","b":1}"#),
        ("{{ größe }}", "groß"),
        ("{{- name -}}  x", "Ann <b>&\"'x"),
        ("{# a {{ remark }} #}x", "x"),
        ("{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
    ] {
        renders(source, expected);
        // The same through the engine: a comment with a minus changes no text and a block makes the template not plain.
        renders(&format!("{{% if true %}}{{% endif %}}{source}"), expected.trim_start_matches('\u{0}'));
    }
}

#[test]
fn the_usual_filters_and_statements_work() {
    for (source, expected) in [
        ("{{ name | upper }} {{ name | lower }}", "ANN <B>&\"' ann <b>&\"'"),
        ("[{{ padded | trim }}]", "[x]"),
        ("{{ list | join(', ') }} {{ list | join }}", "a, b, 1, true,  ab1true"),
        ("{{ items | join('+', 'id') }}", "1+2"),
        ("{{ object | dump }}", r#"{"a":"x \"y\" </script>","b":1}"#),
        ("{{ name | dump }} {{ name | tojson }}", r#""Ann <b>&\"'" "Ann <b>&\"'""#),
        ("{{ items | dump(2) }}", "[\n  {\n    \"id\": 1\n  },\n  {\n    \"id\": 2\n  }\n]"),
        ("{{ [] | dump(2) }}{{ {} | dump }}", "[]{}"),
        ("{{ name | safe }}", "Ann <b>&\"'"),
        ("{{ list | length }} {{ name | length }}", "5 10"),
        ("{{ absent | default('none given') }} {{ empty | default('x', true) }}", "none given x"),
        ("{% if absent %}a{% else %}b{% endif %}", "b"),
        ("{% if absent is defined %}{{ absent }}{% else %}b{% endif %}", "b"),
        ("{% for item in items %}{{ loop.index }}={{ item.id }};{% endfor %}", "1=1;2=2;"),
        ("{% for key, value in object %}{{ key }}:{{ value }} {% endfor %}", "a:x \"y\" </script> b:1 "),
        ("{% set x = count + 1 %}{{ x }} {{ 4 / 2 }} {{ one + one }}", "4 2 2"),
        ("{% autoescape true %}{{ name }}{% endautoescape %}", "Ann <b>&\"'"),
        ("{% for i in range(3) %}{{ i }}{% endfor %}", "012"),
        ("{% macro hi(x) %}<{{ x }}>{% endmacro %}{{ hi(count) }}", "<3>"),
        ("{% if count == 3 and not no %}{{ items[0].id }}{{ items[1]['id'] }}{% endif %}\n", "12\n"),
    ] {
        let source = if source.starts_with("{% for key, value") {
            source.replace("in object", "in object | items")
        } else {
            source.to_owned()
        };
        renders(&source, expected);
    }
}

#[test]
fn numbers_print_as_in_javascript() {
    for (number, expected) in [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (123_456_789.125, "123456789.125"),
    ] {
        assert_eq!(text::number_text(number), expected);
    }
}

#[test]
fn variables_are_those_that_the_template_does_not_set() {
    let source = "{{ a }}{% set b = c %}{{ b }}{% for d in e %}{{ d }}{{ loop.index }}{% endfor %}{{ f.g }}{{ h | default(1) }}{% for i in range(2) %}{% endfor %}";
    let variables: Vec<String> = Template::parse(source).unwrap().variables().into_iter().collect();
    assert_eq!(variables, ["a", "c", "e", "f", "h"]);
    let plain: Vec<String> = Template::parse("{{ b }}{{ a }}{{ b }}").unwrap().variables().into_iter().collect();
    assert_eq!(plain, ["a", "b"]);
}

#[test]
fn missing_names_everything_that_rendering_needs_and_nothing_else() {
    for (source, expected) in [
        ("{{ a }} {{ name }} {{ b }} {{ a }}", &["a", "b"][..]),
        ("{% if yes %}{{ a }}{% else %}{{ b }}{% endif %}{{ c | upper }}", &["a", "c"]),
        ("{{ a | default('x') }}{% if b is defined %}{{ b }}{% endif %}{% if c %}{{ c }}{% endif %}", &[]),
        ("{% for x in a %}{{ x.y }}{% endfor %}{{ b + 1 }}", &["a", "b"]),
        ("{{ a.b.c }}{{ d[0] }}{{ e | join(',') }}{{ f | dump }}", &["a", "d", "e", "f"]),
        ("{{ object.c }}", &["object.c"]),
        ("{{ nothing }}{{ empty }}{{ no }}", &[]),
        ("{% set a = 1 %}{{ a }}", &[]),
        ("{{ count | round('x') }}", &[]),
    ] {
        assert_eq!(Template::parse(source).unwrap().missing(&sample()), expected, "{source}");
    }
}

#[test]
fn wrong_notation_is_refused_with_its_line() {
    for (source, line) in [
        ("a\nb {{ x", 2),
        ("{{ x y }}", 1),
        ("\n\n{% if x %}", 3),
        ("{% elseif %}", 1),
        ("{{ a === b }}", 1),
        ("{{ 'a }}", 1),
    ] {
        match refused(source) {
            TemplateError::Syntax { line: found, .. } => assert_eq!(found, line, "{source}"),
            other => panic!("{source}: {other}"),
        }
    }
    assert_eq!(refused("\n{{ a | truncat(3) }}"), TemplateError::UnknownFilter { line: 2, name: "truncat".to_owned() });
    assert!(refused("{{ x").to_string().contains("{% raw %}"));
}

#[test]
fn a_missing_value_is_an_error_with_the_name_and_a_mend() {
    let expected = TemplateError::Undefined { line: 2, name: "absent".to_owned() };
    assert_eq!(fails("\n{{ absent }}"), expected);
    assert_eq!(fails("\n{{ absent | upper }}"), expected);
    assert_eq!(fails("\n{{ absent + 1 }}"), expected);
    assert_eq!(fails("{{ object.c }}"), TemplateError::Undefined { line: 1, name: "object.c".to_owned() });
    assert!(expected.to_string().contains("give it one in the case's input"), "{expected}");
}

#[test]
fn endless_work_and_endless_text_end() {
    let times = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
    assert_eq!(fails(times), TemplateError::TooSlow);
    let text = format!("{{% for a in range(9999) %}}{}{{% endfor %}}", "x".repeat(1000));
    assert_eq!(fails(&text), TemplateError::TooLarge);
    let doubled = format!("{{% set a = 'x' %}}{}{{{{ a }}}}", "{% set a = a ~ a %}".repeat(70));
    assert!(matches!(fails(&doubled), TemplateError::TooSlow | TemplateError::TooLarge));
    let nested = format!("{{% set a = ['x'] %}}{}{{{{ a | dump }}}}", "{% set a = [a, a] %}".repeat(70));
    assert_eq!(fails(&nested), TemplateError::TooLarge);
    let plain = "{{ x }}".repeat(100);
    let large = input(json!({ "x": "x".repeat(RENDERED_BYTES_MAX / 50) }));
    assert_eq!(Template::parse(&plain).unwrap().render(&large), Err(TemplateError::TooLarge));
    assert!(matches!(
        Template::parse("{% include 'template' %}").unwrap_err(),
        TemplateError::UnknownPartial { line: 1, .. }
    ));
    assert!(matches!(fails("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), TemplateError::Failed { .. }));
}

#[test]
fn no_template_overflows_the_stack() {
    // Test threads have a stack of 2 MiB, as the runtime's workers have.
    let n = TAG_TOKENS_MAX * 50;
    for source in [
        format!("{{{{ count{} }}}}", " + count".repeat(n)),
        format!("{{{{ {} yes }}}}", "not ".repeat(n)),
        format!("{{{{ name{} }}}}", " | upper".repeat(n)),
        format!("{{{{ name{} }}}}", ".x".repeat(n)),
        format!("{{{{ '}}}}' {} }}}}", "~ '}}' ".repeat(n)),
        format!("{{% if no %}}{}{{% endif %}}", "{% elif no %}".repeat(n)),
    ] {
        assert!(matches!(refused(&source), TemplateError::TooComplex { line: 1, .. }));
    }
    assert!(matches!(
        refused(&format!("{{{{ {}1{} }}}}", "(".repeat(145), ")".repeat(145))),
        TemplateError::Syntax { .. }
    ));
    let nested = format!("{{{{ {}1{} }}}}", "[".repeat(30), "]".repeat(30));
    let tag = TAG_TOKENS_MAX - 4;
    let deepest = format!(
        "{}{{% if no %}}{}{nested}{{{{ {} yes }}}}{{% endif %}}{}",
        "{% if yes %}".repeat(60),
        "{% elif no %}".repeat(ELIFS_MAX),
        "not ".repeat(tag),
        "{% endif %}".repeat(60),
    );
    assert_eq!(Template::parse(&deepest).unwrap().render(&sample()).as_deref(), Ok(""));
    let wraps = format!("{{% set a = {}a{} %}}", "[".repeat(60), "]".repeat(60));
    let deep_value = format!("{{% set a = [] %}}{}{{{{ a | length }}}}", wraps.repeat(TOKENS_MAX / 140));
    assert_eq!(Template::parse(&deep_value).unwrap().render(&sample()).as_deref(), Ok("1"));
    assert_eq!(fails(&deep_value.replace("length", "dump")), TemplateError::TooLarge);
    assert!(fails(&deep_value.replace(" | length", "")) == TemplateError::TooLarge);
}

#[test]
fn a_template_of_any_length_with_any_number_of_variables_is_plain() {
    let template = Template::parse(&"text {{ count }}\n".repeat(20_000)).unwrap();
    assert!(matches!(template.form, Form::Plain(_)));
    assert_eq!(template.render(&sample()).unwrap(), "text 3\n".repeat(20_000));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_template() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "{{-",
        "-%}",
        " a ",
        " b ",
        " c.x ",
        "[0]",
        " | ",
        "upper",
        "dump",
        "join(',')",
        "length",
        "default(a)",
        "if ",
        "else",
        "elif ",
        "endif",
        "for x in ",
        "endfor",
        "set a = ",
        "raw",
        "endraw",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "+",
        "-",
        "*",
        "**",
        "//",
        "%",
        "~",
        ".",
        ",",
        "==",
        "<",
        " in ",
        " is defined",
        " not ",
        " and ",
        "1",
        "0",
        "9999999999999999999999",
        "1.5",
        "\n",
        "\\",
        "\0",
        "é",
        "range(3)",
        "loop.index",
        "macro m()",
        "endmacro",
        "m()",
        "text",
    ]);
    prop_oneof![".{0,60}", prop::collection::vec(word, 0..25).prop_map(|words| words.concat()),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_template_and_no_input_panic(source in any_template(), a in any_json(), b in any_json()) {
        if let Ok(template) = Template::parse(&source) {
            let input = input(json!({ "a": a, "b": b }));
            let missing = template.missing(&input);
            if template.render(&input).is_ok() {
                prop_assert_eq!(missing, Vec::<String>::new());
            }
        }
    }

    #[test]
    fn a_plain_template_renders_as_the_engine_renders_it(text in "[ -~é\n]{0,20}", a in any_json(), b in any_json()) {
        let source = format!("{text}{{{{ a }}}}{{{{ b }}}}\n");
        let input = input(json!({ "a": a, "b": b }));
        if let (Ok(plain), Ok(environment)) = (Template::parse(&source), engine::with_templates(&source, &crate::template::Partials::new())) {
            let context = engine::context(&plain.variables, &input, &[]);
            prop_assert_eq!(plain.render(&input).unwrap(), engine::render(&environment, context).unwrap());
        }
    }
}
