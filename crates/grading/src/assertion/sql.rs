//! `is-sql` and `contains-sql`: SQL that a database would parse, which uses only the tables and columns that it may.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde_json::Value;
use sqlparser::ast::{Expr, ObjectName, Statement, visit_expressions, visit_relations};
use sqlparser::dialect::{Dialect, GenericDialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;

use super::source::Source;
use super::{AssertionError, Evaluation, Finding, Subject};

/// Longest SQL that is parsed, in bytes.
const SQL_BYTES_MAX: usize = 100_000;
/// Deepest nesting that is parsed.
const DEPTH_MAX: usize = 50;
/// What stands for anything in what is allowed.
const ANYTHING: &str = ".*";
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
    tables: Option<Vec<Allowed>>,
    columns: Option<Vec<Allowed>>,
}

/// What may be used, as promptfoo writes it: `select::null::users` is what is done, where, and with which name; a name alone
/// is for everything. `.*` stands for anything.
#[derive(Debug)]
struct Allowed {
    done: String,
    name: String,
}

impl Allowed {
    fn read(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        let parts: Vec<&str> = text.split("::").collect();
        let (done, name) = match parts.as_slice() {
            [name] => (ANYTHING, *name),
            [done, .., name] => (*done, *name),
            [] => (ANYTHING, ANYTHING),
        };
        Self { done: done.trim_matches(['(', ')']).to_owned(), name: name.trim_matches(['(', ')']).to_owned() }
    }

    fn allows(&self, used: &Used) -> bool {
        let is = |pattern: &str, word: &str| pattern == ANYTHING || pattern.split('|').any(|one| one == word);
        is(&self.done, used.done) && is(&self.name, &used.name)
    }
}

/// A table or a column that a statement uses, and what it does.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Used {
    done: &'static str,
    name: String,
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
        let list = |key: &str| -> Result<Option<Vec<Allowed>>, AssertionError> {
            let Some(value) = settings.get(key) else { return Ok(None) };
            let items = value.as_array().ok_or_else(|| source.wrong_value(NEEDS))?;
            Ok(Some(items.iter().filter_map(Value::as_str).map(Allowed::read).collect()))
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
        let (mut tables, mut columns) = (BTreeSet::new(), BTreeSet::new());
        for statement in &statements {
            let done = done_by(statement);
            let _: ControlFlow<()> = visit_relations(statement, |name| {
                tables.insert(Used { done, name: last_part(name) });
                ControlFlow::Continue(())
            });
            let _: ControlFlow<()> = visit_expressions(statement, |expression| {
                let name = match expression {
                    Expr::Identifier(name) => Some(name),
                    Expr::CompoundIdentifier(names) => names.last(),
                    _ => None,
                };
                columns.extend(name.map(|name| Used { done, name: name.value.to_ascii_lowercase() }));
                ControlFlow::Continue(())
            });
        }
        Ok(refused("table", &tables, self.tables.as_deref())
            .or_else(|| refused("column", &columns, self.columns.as_deref()))
            .unwrap_or_else(|| Finding { holds: true, fact: "the output is SQL".to_owned() }))
    }
}

fn no(fact: &str) -> Finding {
    Finding { holds: false, fact: fact.to_owned() }
}

fn refused(what: &str, used: &BTreeSet<Used>, allowed: Option<&[Allowed]>) -> Option<Finding> {
    let allowed = allowed?;
    let one = used.iter().find(|used| !allowed.iter().any(|allowed| allowed.allows(used)))?;
    Some(no(&format!("the SQL uses the {what} {} ({}), which is not allowed", one.name, one.done)))
}

fn done_by(statement: &Statement) -> &'static str {
    match statement {
        Statement::Query(_) => "select",
        Statement::Insert(_) => "insert",
        Statement::Update(_) => "update",
        Statement::Delete(_) => "delete",
        _ => "other",
    }
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
