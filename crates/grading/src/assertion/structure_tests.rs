//! Code, sets, transforms, markup, SQL and METEOR.

use pcs_domain::assertion::{Assertion, Verdict};
use serde_json::{Map, Value, json};

use super::*;

fn variables() -> Map<String, Value> {
    json!({ "name": "Ann", "limit": 3 }).as_object().unwrap().clone()
}

fn verdict(assertion: Value, output: &str) -> Verdict {
    let assertion: Assertion = serde_json::from_value(assertion).unwrap();
    let variables = variables();
    let subject = Subject {
        output,
        is_value: false,
        tools: &[],
        latency_ms: 1,
        cost_micro_usd: None,
        finish_reason: None,
        variables: &variables,
    };
    Check::compile(&assertion).unwrap().verdict(&subject)
}

fn passes(assertion: Value, output: &str) -> bool {
    verdict(assertion, output).passed
}

fn refused(assertion: Value) -> String {
    let assertion: Assertion = serde_json::from_value(assertion).unwrap();
    Check::compile(&assertion).unwrap_err().to_string()
}

#[test]
fn code_returns_a_truth_value_a_score_or_both() {
    let code = |value: &str| json!({ "type": "javascript", "value": value });
    assert!(passes(code("output.includes(context.vars.name)"), "Hi Ann"));
    assert!(!passes(code("output.length > context.vars.limit"), "ab"));
    assert!(!passes(json!({ "type": "not-javascript", "value": "output.length > 1" }), "ab"));
    let scored = verdict(code("output.length / 10"), "four!");
    assert!(scored.passed && (scored.score - 0.5).abs() < 1e-9, "{scored:?}");
    assert!(!passes(code("0"), "x"));
    assert!(!passes(json!({ "type": "javascript", "value": "0.6", "threshold": 0.7 }), "x"));
    let said = verdict(code("return { pass: false, score: 0.25, reason: 'too ' + output }"), "short");
    assert_eq!((said.passed, said.score, said.reason.as_str()), (false, 0.25, "too short"));
    assert!(passes(
        json!({ "type": "javascript", "value": "context.config.least <= output.length", "config": { "least": 2 } }),
        "ab"
    ));
    let known = "context.metric === 'tone' && context.providerResponse.latencyMs === 1 && context.providerResponse.cost === null";
    assert!(passes(json!({ "type": "javascript", "value": known, "metric": "tone" }), "x"));
    let wordy = verdict(code("({ pass: true, reason: 'x'.repeat(1e5) })"), "x");
    assert!(wordy.passed && wordy.reason.len() < 1_000);
}

#[test]
fn who_runs_code_is_known_beforehand() {
    let code = json!({ "type": "javascript", "value": "true" });
    let plain = json!({ "type": "equals", "value": "x" });
    for (assertion, runs) in [
        (code.clone(), true),
        (plain.clone(), false),
        (json!({ "type": "equals", "value": "x", "transform": "output" }), true),
        (json!({ "type": "assert-set", "value": [plain, code] }), true),
        (json!({ "type": "assert-set", "value": [{ "type": "equals", "value": "x" }] }), false),
    ] {
        let check = Check::compile(&serde_json::from_value(assertion.clone()).unwrap()).unwrap();
        assert_eq!(check.runs_code(), runs, "{assertion}");
    }
}

#[test]
fn code_may_be_a_template() {
    let code = |value: &str| json!({ "type": "javascript", "value": value });
    assert!(passes(code("output === \"Hi {{ name }}\""), "Hi Ann"));
    assert!(passes(code("return output.length === {{ limit }}"), "abc"));
    let absent = verdict(code("output === '{{ absent }}'"), "x");
    assert!(!absent.passed && absent.reason.contains("absent has no value"), "{absent:?}");
    let broken = verdict(code("{{ name }} ("), "x");
    assert!(!broken.passed && broken.reason.contains("no JavaScript"), "{broken:?}");
    // What is no template is code.
    assert!(passes(code("`${{ a: 1 }.a}` === '1'"), "x"));
    assert!(passes(code("({ a: { b: 1 }}).a.b === 1"), "x"));
}

#[test]
fn code_that_says_nothing_or_throws_fails_both_ways() {
    for value in ["'yes'", "null", "({ score: 1 })", "missing.length", "undefined", "while (true) {}"] {
        for kind in ["javascript", "not-javascript"] {
            let failed = verdict(json!({ "type": kind, "value": value }), "x");
            assert!(!failed.passed && failed.reason.contains("can't be evaluated"), "{kind} {value}: {failed:?}");
        }
    }
    assert!(refused(json!({ "type": "javascript", "value": "return (" })).contains("no JavaScript"));
    for value in [json!(null), json!(""), json!(" "), json!(1)] {
        assert!(refused(json!({ "type": "javascript", "value": value })).contains("needs JavaScript"), "{value}");
    }
}

#[test]
fn a_transform_says_what_is_looked_at() {
    let upper = json!({ "type": "equals", "value": "ANN", "transform": "output.trim().toUpperCase()" });
    assert!(passes(upper, " ann "));
    let field = json!({ "type": "equals", "value": "3", "transform": "JSON.parse(output).n" });
    assert!(passes(field.clone(), "{\"n\": 3}"));
    let failed = verdict(field, "no JSON");
    assert!(!failed.passed && failed.reason.contains("the transform failed"), "{failed:?}");
    assert!(refused(json!({ "type": "equals", "value": "x", "transform": "output." })).contains("no JavaScript"));
    let transform = Transform::compile("({ a: output })").unwrap();
    assert_eq!(transform.apply(Seen::text("x"), &variables()).unwrap().text, "{\"a\":\"x\"}");
}

#[test]
fn a_set_counts_as_one() {
    let members = json!([
        { "type": "contains", "value": "a", "weight": 3 },
        { "type": "contains", "value": "{{name}}" },
    ]);
    let set = |more: Value| {
        let mut set = json!({ "type": "assert-set", "value": members });
        set.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        set
    };
    assert!(passes(set(json!({})), "a Ann"));
    let missed = verdict(set(json!({})), "a");
    assert!(!missed.passed && (missed.score - 0.75).abs() < 1e-9, "{missed:?}");
    assert!(missed.reason.contains("contains: the output does not contain"), "{missed:?}");
    assert!(passes(set(json!({ "threshold": 0.75 })), "a"));
    assert!(!passes(set(json!({ "threshold": 0.8 })), "a"));
    assert!(passes(json!({ "type": "not-assert-set", "value": members }), "b"));
    // A member that can't be evaluated makes neither side pass.
    let broken = json!([{ "type": "javascript", "value": "absent.length" }]);
    for kind in ["assert-set", "not-assert-set"] {
        let unknown = verdict(json!({ "type": kind, "value": broken }), "b");
        assert!(!unknown.passed && unknown.reason.contains("can't be evaluated"), "{kind}: {unknown:?}");
    }
    let counted = json!([{ "type": "contains", "value": "a", "metric": "tone" }]);
    assert!(refused(json!({ "type": "assert-set", "value": counted })).contains("without a metric"));
    // Seven of ten that weigh 0.1 are 0.7, whatever the sum of their weights is rounded to.
    let tenth = |index: usize| json!({ "type": "equals", "value": if index < 7 { "x" } else { "y" }, "weight": 0.1 });
    let tenths: Vec<Value> = (0..10).map(tenth).collect();
    assert!(passes(json!({ "type": "assert-set", "value": tenths, "threshold": 0.7 }), "x"));
    let many: Vec<Value> =
        (0..100).map(|index| json!({ "type": "equals", "value": format!("{index}{}", "z".repeat(500)) })).collect();
    let missed = verdict(json!({ "type": "assert-set", "value": many }), "x");
    assert!(missed.reason.contains("100 of 100") && missed.reason.contains("and 95 more"), "{missed:?}");
    assert!(missed.reason.len() < 2_000, "{}", missed.reason.len());
    for value in [json!([]), json!("x"), json!([{ "type": "assert-set", "value": members }])] {
        assert!(refused(json!({ "type": "assert-set", "value": value })).contains("a list of assertions"));
    }
    assert!(
        refused(json!({ "type": "assert-set", "value": [{ "type": "containz", "value": "x" }] })).contains("contains")
    );
    assert!(refused(json!({ "type": "assert-set", "value": [{ "kind": "contains" }] })).contains("one is none"));
}

#[test]
fn xml_is_well_formed_and_has_its_elements() {
    let xml = |value: Value| json!({ "type": "is-xml", "value": value });
    let order = "<?xml version=\"1.0\"?><order id=\"1\"><item>a</item><total/></order>";
    for paths in [
        json!(null),
        json!("order.item, order.total"),
        json!(["order"]),
        json!({ "requiredElements": ["order.total"] }),
    ] {
        assert!(passes(xml(paths.clone()), order), "{paths}");
    }
    assert!(verdict(xml(json!(["order.price"])), order).reason.contains("lacks order.price"));
    for broken in [
        "",
        "text",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a/> text",
        "text <a/>",
        "<a b=c/>",
        "<a b/>",
        "<1a/>",
        "<a/>&amp;",
        "<a>x & y</a>",
        "<a>&foo;</a>",
        "<a b='1' b='2'/>",
        "<![CDATA[x]]><a/>",
        "<a>]]></a>",
        "<a b='<'/>",
        "</a>",
        "<a/><!DOCTYPE a>",
        "<!-- --><?xml version='1.0'?><a/>",
        "<a><!-- -- --></a>",
    ] {
        assert!(!passes(xml(json!(null)), broken), "{broken}");
    }
    for good in [
        "<a>&lt;&#60;&#x3c;</a>",
        "<!DOCTYPE a [<!ENTITY foo 'x'>]><a>&foo;</a>",
        "<é:b-c.d _x='1'/>",
        "<!-- c --><a><![CDATA[<]]></a><?pi?>",
        "<a><b/><b/></a>",
    ] {
        assert!(passes(xml(json!(null)), good), "{good}: {}", verdict(xml(json!(null)), good).reason);
    }
    // A path begins at the root, and goes through one element of each name.
    assert!(!passes(xml(json!("item")), order));
    assert!(passes(xml(json!("a.b.c")), "<a><b/><b><c/></b></a>"));
    assert!(!passes(xml(json!("a.b.c")), "<a><b/><d><c/></d></a>"));
    assert!(!passes(xml(json!("a.b.c")), "<a><x><b><c/></b></x></a>"));
    for value in [json!("a,"), json!(["a..b"]), json!([1]), json!({}), json!({ "elements": [] }), json!(vec!["a"; 101])]
    {
        assert!(refused(xml(value.clone())).contains("needs nothing, or the elements"), "{value}");
    }
    let within = |value: Value| json!({ "type": "contains-xml", "value": value });
    assert!(passes(within(json!("b.c")), "first <a/> then <b><c/></b>, 1 < 2"));
    assert!(!passes(within(json!("b.d")), "first <a/> then <b><c/></b>"));
    assert!(!passes(within(json!(null)), "1 < 2"));
    assert!(passes(within(json!("b")), "<p>1 < 2 and <b>x</b>"));
}

#[test]
fn markup_of_any_form_is_read_in_time() {
    let begin = std::time::Instant::now();
    let name = "n".repeat(1_000);
    let attributes: String = (0..50_000).map(|index| format!(" a{index}='1'")).collect();
    for output in [
        "<a>".repeat(100_000),
        format!("{}{}", format!("<{name}>").repeat(400), "<b/>".repeat(100_000)),
        format!("{}{}", "<a>".repeat(400), "x ".repeat(300_000)),
        format!("<a{attributes}/>"),
        "<a>x</b>".repeat(100_000),
        format!("{}{}", "<p>".repeat(100_000), "</b>".repeat(100_000)),
        "<!--".repeat(200_000),
        "&".repeat(500_000),
        "<".repeat(500_000),
    ] {
        for kind in ["is-xml", "contains-xml", "is-html", "contains-html"] {
            let value = if kind.ends_with("xml") { json!(["a.b", "c"]) } else { json!(null) };
            let _ = verdict(json!({ "type": kind, "value": value }), &output);
        }
    }
    // Tests are not optimised, and run beside each other.
    assert!(begin.elapsed().as_secs() < 60, "{:?}", begin.elapsed());
    let most = verdict(json!({ "type": "contains-xml" }), &format!("{}{}", "<a>".repeat(400), "x ".repeat(300_000)));
    assert!(most.reason.contains("too much in the output"), "{most:?}");
}

#[test]
fn html_is_known_by_its_elements() {
    let html = json!({ "type": "is-html" });
    for good in [
        "<p>hi</p>",
        "<!DOCTYPE html><html><body><br><img src=x></body></html>\n",
        "<div><p>a</p></div>",
        "<ul><li>a<li>b</ul>",
        "<p>a<p>b",
        "<div><!-- <b> --></div>",
        "<script>if (a < b) { '</i>' }</script>",
        "<svg><path d='M0 0'/></svg>",
        "<my-card><b>x</b></my-card>",
        "<P CLASS=x>a</P> <p>b</p>",
    ] {
        assert!(passes(html.clone(), good), "{good}: {}", verdict(html.clone(), good).reason);
    }
    for bad in [
        "",
        "text",
        "<div>hi",
        "<p><b>hi</p></b>",
        "see <p>hi</p>",
        "<p>hi</p> there",
        "<order/>",
        "1 < 2 > 1",
        "<p>a</p></div>",
        "<b><order>1</order></b>",
        "<!-- only -->",
        "<my-card></my-card>",
    ] {
        assert!(!passes(html.clone(), bad), "{bad}");
    }
    let within = json!({ "type": "contains-html" });
    for good in ["see <p>hi</p>", "so <br> it is", "<x>a</x>", "<!doctype html>", "a<!-- b -->&nbsp;"] {
        assert!(passes(within.clone(), good), "{good}");
    }
    for bad in ["a < b and c > d", "<x>", "fish &amp; chips", "a & b; c", "Vec<T>", ""] {
        assert!(!passes(within.clone(), bad), "{bad}");
    }
}

#[test]
fn sql_is_parsed_and_keeps_to_what_is_allowed() {
    let sql = |value: Value| json!({ "type": "is-sql", "value": value });
    assert!(passes(sql(json!(null)), "select a, b from t where a > 1"));
    for bad in ["", "selec a from t", "hello", "select from where"] {
        assert!(!passes(sql(json!(null)), bad), "{bad}");
    }
    let only = json!({ "databaseType": "PostgreSQL", "allowedTables": ["select::null::orders"], "allowedColumns": ["select::orders::id"] });
    assert!(passes(sql(only.clone()), "select id from orders"));
    assert!(verdict(sql(only.clone()), "select id from users").reason.contains("the table users"));
    assert!(verdict(sql(only), "select o.name from orders o").reason.contains("the column name"));
    assert!(passes(json!({ "type": "contains-sql" }), "Use this:\n```sql\nselect 1\n```\n"));
    assert!(!passes(sql(json!(null)), &format!("select {}1{}", "(".repeat(10_000), ")".repeat(10_000))));
    assert!(refused(sql(json!({ "tables": [] }))).contains("allowedTables"));
    assert!(refused(sql(json!({ "allowedTables": ["("] }))).contains("can't be used"));
    assert!(passes(json!({ "type": "contains-sql" }), "```text\nno SQL\n```\nbut\n```\nselect 1\n```"));
}

#[test]
fn sql_can_not_get_past_what_is_allowed() {
    let orders = json!({
        "allowedTables": ["select::null::orders", "(update|insert)::null::drafts", "plain"],
        "allowedColumns": ["select::(null|orders)::(id|total)", "(select|update|insert)::null::note", "plain"],
    });
    let sql = json!({ "type": "is-sql", "value": orders });
    for good in [
        "select id, sum(total), count(*) from orders group by id",
        "SELECT o.ID FROM Orders AS o WHERE o.total > 1",
        "update drafts set note = 'x' where note is null",
        "insert into drafts (note) values ('x')",
        "with sums as (select total from orders) select total from sums",
        "select plain from plain",
    ] {
        assert!(passes(sql.clone(), good), "{good}: {}", verdict(sql.clone(), good).reason);
    }
    for bad in [
        "select * from orders",
        "select o.* from orders o",
        "select secret from orders",
        "select id from orders where secret = 1",
        "select id from orders order by secret",
        "delete from orders where id = 1",
        "update drafts set secret = 1",
        "insert into drafts (secret) values (1)",
        "insert into drafts values (1)",
        "insert into drafts (note) values (1) on duplicate key update secret = 1",
        "select id from orders union select id from users",
        "select id from orders where exists (select 1 from users)",
        "select id from other.orders",
        "with users as (select id from users) select id from users",
        "select id from orders; select id from users",
        "drop table orders",
        "select id from orders; truncate orders",
    ] {
        let verdict = verdict(sql.clone(), bad);
        assert!(!verdict.passed && !verdict.reason.contains("is no SQL"), "{bad}: {}", verdict.reason);
    }
}

#[test]
fn no_sql_overflows_the_stack() {
    let sql = |database: &str, text: String| {
        verdict(json!({ "type": "is-sql", "value": { "databaseType": database } }), &text)
    };
    for database in ["MySQL", "PostgreSQL", "SQLite", "TransactSQL", "other"] {
        for (begin, link, end) in [
            ("select 1", "+1", ""),
            ("select a", "::int", ""),
            ("select a", " is null", ""),
            ("select 1 from a", " join a", ""),
            ("select ", "not ", "1"),
            ("select 1", " union select 1", ""),
            ("select ", "(", "1"),
            ("select ", "case when 1 then ", "1"),
        ] {
            // As many as are parsed, and more than are.
            for links in [150, 500, 990, 20_000] {
                let _ = sql(database, format!("{begin}{}{end}", link.repeat(links)));
            }
        }
    }
    assert!(sql("MySQL", format!("select 1{}", "+1".repeat(900))).passed);
    assert!(sql("MySQL", format!("select 1{}", "+1".repeat(1_100))).reason.contains("more than 2000 words"));
}

#[test]
fn meteor_takes_stems_and_minds_the_order() {
    let meteor = |least: f64| json!({ "type": "meteor", "value": "the cats were running fast", "threshold": least });
    assert!(passes(meteor(0.9), "the cats were running fast"));
    assert!(passes(meteor(0.9), "The cat were runs fast"));
    assert!(!passes(meteor(0.9), "fast running were cats the"));
    assert!(!passes(meteor(0.1), "a dog"));
    assert!((verdict(meteor(0.9), "the cats were running fast").score - 0.996).abs() < 1e-9);
}
