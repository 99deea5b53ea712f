//! `is-sql` and `contains-sql`: SQL that a database would parse, which uses only the tables and columns that it may.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde_json::Value;
use sqlparser::ast::{Expr, ObjectName, visit_expressions, visit_relations};
use sqlparser::dialect::{Dialect, GenericDialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;

use super::source::Source;
use super::{AssertionError, Evaluation, Finding, Subject};

/// Longest SQL that is parsed, in bytes.
const SQL_BYTES_MAX: usize = 100_000;
/// Deepest nesting that is parsed.
const DEPTH_MAX: usize = 50;
const NEEDS: &str = "nothing, or {databaseType, allowedTables, allowedColumns}";

#[derive(Clone, Copy, Debug)]
enum Database {
    MySql,
    PostgreSql,
    Sqlite,
    Other,
}

#[derive(Debug)]
pub(super) struct Sql {
    within: bool,
    database: Database,
    tables: Option<Vec<String>>,
    columns: Option<Vec<String>>,
}

impl Sql {
    pub(super) fn compile(source: &Source<'_>, base: &str) -> Result<Self, AssertionError> {
        source.no_threshold()?;
        source.no_tolerance()?;
        let empty = serde_json::Map::new();
        let settings = match source.value() {
            None => &empty,
            Some(Value::Object(map)) => map,
            Some(_) => return Err(source.wrong_value(NEEDS)),
        };
        let known = ["databaseType", "database", "allowedTables", "allowedColumns"];
        if settings.keys().any(|key| !known.contains(&key.as_str())) {
            return Err(source.wrong_value(NEEDS));
        }
        let named = settings.get("databaseType").or_else(|| settings.get("database")).and_then(Value::as_str);
        let database = match named.unwrap_or("MySQL").to_ascii_lowercase().as_str() {
            "mysql" | "mariadb" => Database::MySql,
            "postgresql" | "postgres" => Database::PostgreSql,
            "sqlite" => Database::Sqlite,
            _ => Database::Other,
        };
        let list = |key: &str| -> Result<Option<Vec<String>>, AssertionError> {
            let Some(value) = settings.get(key) else { return Ok(None) };
            let items = value.as_array().ok_or_else(|| source.wrong_value(NEEDS))?;
            // promptfoo writes `select::null::name`: what is done, in which table, with which column. The last one counts.
            let names = items.iter().filter_map(Value::as_str);
            Ok(Some(names.map(|name| name.rsplit("::").next().unwrap_or(name).to_ascii_lowercase()).collect()))
        };
        let within = base == "contains-sql";
        Ok(Self { within, database, tables: list("allowedTables")?, columns: list("allowedColumns")? })
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Evaluation {
        let text = if self.within { fenced(subject.output).unwrap_or(subject.output) } else { subject.output };
        if text.len() > SQL_BYTES_MAX {
            return Err(format!("it has more than {SQL_BYTES_MAX} bytes"));
        }
        let dialect: &dyn Dialect = match self.database {
            Database::MySql => &MySqlDialect {},
            Database::PostgreSql => &PostgreSqlDialect {},
            Database::Sqlite => &SQLiteDialect {},
            Database::Other => &GenericDialect {},
        };
        let parser = Parser::new(dialect).with_recursion_limit(DEPTH_MAX);
        let parsed = parser.try_with_sql(text.trim()).and_then(|mut parser| parser.parse_statements());
        let statements = match parsed {
            Ok(statements) if statements.is_empty() => return Ok(no("the output is no SQL: it is empty")),
            Ok(statements) => statements,
            Err(error) => return Ok(no(&format!("the output is no SQL: {error}"))),
        };
        let mut used = (BTreeSet::new(), BTreeSet::new());
        let _: ControlFlow<()> = visit_relations(&statements, |name| {
            used.0.insert(last_part(name));
            ControlFlow::Continue(())
        });
        let _: ControlFlow<()> = visit_expressions(&statements, |expression| {
            match expression {
                Expr::Identifier(name) => drop(used.1.insert(name.value.to_ascii_lowercase())),
                Expr::CompoundIdentifier(names) => {
                    used.1.extend(names.last().map(|name| name.value.to_ascii_lowercase()));
                }
                _ => (),
            }
            ControlFlow::Continue(())
        });
        Ok(refused("table", &used.0, self.tables.as_deref())
            .or_else(|| refused("column", &used.1, self.columns.as_deref()))
            .unwrap_or_else(|| Finding { holds: true, fact: "the output is SQL".to_owned() }))
    }
}

fn no(fact: &str) -> Finding {
    Finding { holds: false, fact: fact.to_owned() }
}

fn refused(what: &str, used: &BTreeSet<String>, allowed: Option<&[String]>) -> Option<Finding> {
    let allowed = allowed?;
    let one = used.iter().find(|name| !allowed.contains(name))?;
    Some(no(&format!("the SQL uses the {what} {one}, which is not allowed")))
}

fn last_part(name: &ObjectName) -> String {
    let text = name.to_string();
    let last = text.rsplit('.').next().unwrap_or(&text);
    last.trim_matches(['`', '"', '[', ']']).to_ascii_lowercase()
}

/// What stands in the first code fence of a text, without the name of its language.
fn fenced(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("```")?;
    let (inside, _) = rest.split_once("```")?;
    let (first, others) = inside.split_once('\n')?;
    Some(if first.trim().chars().all(char::is_alphanumeric) { others } else { inside })
}
