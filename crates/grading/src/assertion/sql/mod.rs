//! `is-sql` and `contains-sql`: SQL that a database would parse, which uses only the tables and columns that it may.

mod usage;

use std::thread;

use serde_json::{Map, Value};
use sqlparser::dialect::{Dialect, GenericDialect, MsSqlDialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Tokenizer};

use self::usage::{Usage, Used};
use super::source::Source;
use super::{AssertionError, Evaluation, Finding, Subject};
use crate::excerpt::cut;

/// Longest SQL that is parsed, in bytes.
const SQL_BYTES_MAX: usize = 100_000;
/// Most words and signs of SQL that is parsed: the stack it takes grows with them, as in `1+1+1…`.
const TOKENS_MAX: usize = 2_000;
/// The stack for parsing, in bytes. A thousand joins take 80 MiB without optimisation, whatever limit the parser has.
const STACK_BYTES: usize = 128 * 1024 * 1024;
/// Most names that may be allowed.
const ALLOWED_MAX: usize = 1_000;
/// Largest compiled expression of a name, in bytes.
const NAME_BYTES_MAX: usize = 256 * 1024;
const NEEDS: &str = "nothing, or {databaseType, allowedTables, allowedColumns}";
const DATABASE_TYPE: &str = "databaseType";
const ALLOWED_TABLES: &str = "allowedTables";
const ALLOWED_COLUMNS: &str = "allowedColumns";

#[derive(Clone, Copy, Debug)]
enum Database {
    MySql,
    PostgreSql,
    Sqlite,
    MsSql,
    Other,
}

#[derive(Debug)]
pub(super) struct Sql {
    within: bool,
    database: Database,
    tables: Option<Allowed>,
    columns: Option<Allowed>,
}

/// Names that may be used.
#[derive(Debug)]
struct Allowed(Vec<Name>);

/// A name that may be used: an expression of all of it, in any letters.
#[derive(Debug)]
struct Name {
    expression: regex::Regex,
    /// Whether it says what is done and where, as `select::null::users` of promptfoo does, or is only a name.
    is_whole: bool,
}

impl Sql {
    pub(super) fn compile(source: &Source<'_>, base: &str) -> Result<Self, AssertionError> {
        source.no_threshold()?;
        source.no_tolerance()?;
        let empty = Map::new();
        let settings = match source.value() {
            None => &empty,
            Some(Value::Object(map)) => map,
            Some(_) => return Err(source.wrong_value(NEEDS)),
        };
        if settings.keys().any(|key| ![DATABASE_TYPE, ALLOWED_TABLES, ALLOWED_COLUMNS].contains(&key.as_str())) {
            return Err(source.wrong_value(NEEDS));
        }
        let database = match settings.get(DATABASE_TYPE) {
            None => Database::MySql,
            Some(Value::String(name)) => database(name),
            Some(_) => return Err(source.wrong_value(NEEDS)),
        };
        let allowed = |key: &str| settings.get(key).map(|list| Allowed::compile(source, list)).transpose();
        let (tables, columns) = (allowed(ALLOWED_TABLES)?, allowed(ALLOWED_COLUMNS)?);
        Ok(Self { within: base == "contains-sql", database, tables, columns })
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Evaluation {
        let texts = if self.within { fenced(subject.output) } else { Vec::new() };
        let texts = if texts.is_empty() { vec![subject.output] } else { texts };
        if texts.iter().map(|text| text.len()).sum::<usize>() > SQL_BYTES_MAX {
            return Err(format!("it has more than {SQL_BYTES_MAX} bytes"));
        }
        let mut finding = None;
        for text in texts {
            let found = self.judged(text)?;
            if found.holds {
                return Ok(found);
            }
            finding.get_or_insert(found);
        }
        Ok(finding.unwrap_or_else(|| no("the output is no SQL".to_owned())))
    }

    fn judged(&self, text: &str) -> Evaluation {
        let dialect = self.database.dialect();
        let tokens = match Tokenizer::new(dialect.as_ref(), text.trim()).tokenize() {
            Ok(tokens) => tokens,
            Err(error) => return Ok(no(format!("the output is no SQL: {}", cut(&error.to_string())))),
        };
        if tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).count() > TOKENS_MAX {
            return Err(format!("it has more than {TOKENS_MAX} words and signs"));
        }
        // Parsing, visiting and dropping take stack with each link of a chain.
        let used = thread::scope(|scope| {
            let parsing = || used(dialect.as_ref(), tokens);
            let thread = thread::Builder::new().name("sql".to_owned()).stack_size(STACK_BYTES);
            let thread = thread.spawn_scoped(scope, parsing).map_err(|error| format!("it has no thread: {error}"))?;
            thread.join().map_err(|_| "its parser gave up".to_owned())
        })?;
        Ok(match used {
            Ok(None) => no("the output is no SQL: it is empty".to_owned()),
            Ok(Some(used)) => self.kept(&used),
            Err(error) => no(format!("the output is no SQL: {}", cut(&error.to_string()))),
        })
    }

    /// Whether only what is allowed is used.
    fn kept(&self, used: &Usage) -> Finding {
        let is_limited = self.tables.is_some() || self.columns.is_some();
        if let Some(statement) = used.opaque.as_deref().filter(|_| is_limited) {
            return no(format!("which tables and columns {} uses can't be told", cut(statement)));
        }
        refused("table", &used.tables, self.tables.as_ref())
            .or_else(|| refused("column", &used.columns, self.columns.as_ref()))
            .unwrap_or_else(|| Finding { holds: true, fact: "the output is SQL".to_owned() })
    }
}

fn used(dialect: &dyn Dialect, tokens: Vec<Token>) -> Result<Option<Usage>, ParserError> {
    let statements = Parser::new(dialect).with_tokens(tokens).parse_statements()?;
    Ok(if statements.is_empty() { None } else { Some(Usage::of(&statements)) })
}

fn database(name: &str) -> Database {
    match name.to_ascii_lowercase().as_str() {
        "mysql" | "mariadb" => Database::MySql,
        "postgresql" | "postgres" | "redshift" => Database::PostgreSql,
        "sqlite" => Database::Sqlite,
        "transactsql" | "mssql" => Database::MsSql,
        _ => Database::Other,
    }
}

impl Database {
    fn dialect(self) -> Box<dyn Dialect + Sync> {
        match self {
            Self::MySql => Box::new(MySqlDialect {}),
            Self::PostgreSql => Box::new(PostgreSqlDialect {}),
            Self::Sqlite => Box::new(SQLiteDialect {}),
            Self::MsSql => Box::new(MsSqlDialect {}),
            Self::Other => Box::new(GenericDialect {}),
        }
    }
}

impl Allowed {
    fn compile(source: &Source<'_>, list: &Value) -> Result<Self, AssertionError> {
        let items = list.as_array().filter(|items| items.len() <= ALLOWED_MAX);
        let items = items.ok_or_else(|| source.wrong_value(NEEDS))?;
        let names = items.iter().map(|item| {
            let text = item.as_str().ok_or_else(|| source.wrong_value(NEEDS))?;
            let whole = format!("^(?:{text})$");
            let built = regex::RegexBuilder::new(&whole).case_insensitive(true).size_limit(NAME_BYTES_MAX).build();
            let expression =
                built.map_err(|error| AssertionError::Pattern { pattern: cut(text), why: cut(&error.to_string()) })?;
            Ok(Name { expression, is_whole: text.contains("::") })
        });
        names.collect::<Result<_, _>>().map(Self)
    }

    fn allows(&self, used: &Used) -> bool {
        self.0.iter().any(|name| {
            if name.is_whole {
                used.places
                    .iter()
                    .any(|place| name.expression.is_match(&format!("{}::{place}::{}", used.action, used.name)))
            } else {
                name.expression.is_match(&used.name)
            }
        })
    }
}

fn no(fact: String) -> Finding {
    Finding { holds: false, fact }
}

fn refused(what: &str, used: &[Used], allowed: Option<&Allowed>) -> Option<Finding> {
    let allowed = allowed?;
    let one = used.iter().find(|used| !allowed.allows(used))?;
    Some(no(format!("the SQL uses the {what} {} to {}, which is not allowed", cut(&one.name), one.action)))
}

/// What stands in the code fences of a text, without the names of their languages.
fn fenced(text: &str) -> Vec<&str> {
    let inside = text.split("```").skip(1).step_by(2);
    let without_language = inside.map(|inside| match inside.split_once('\n') {
        Some((first, others)) if first.trim().chars().all(char::is_alphanumeric) => others,
        _ => inside,
    });
    without_language.filter(|inside| !inside.trim().is_empty()).collect()
}
