//! Which tables and columns SQL uses, and what for.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Assignment, AssignmentTarget, Expr, Ident, Insert, ObjectName, OnConflictAction, OnInsert, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement, TableFactor, Visit, Visitor, visit_relations,
};

/// Stands for no schema and no table, and what all columns are called, as in promptfoo.
const NONE: &str = "null";
const ALL: &str = "(.*)";
const SELECT: &str = "select";

/// A table or a column that is used.
#[derive(Debug)]
pub(super) struct Used {
    /// `select`, `insert`, `update` or `delete`.
    pub(super) action: &'static str,
    /// Where it may be: a table's schema, or a column's table.
    pub(super) places: Vec<String>,
    /// Its name.
    pub(super) name: String,
}

/// All that statements use.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub(super) tables: Vec<Used>,
    pub(super) columns: Vec<Used>,
    /// A statement whose tables and columns are not all known.
    pub(super) opaque: Option<String>,
}

/// The walk over one statement.
#[derive(Default)]
struct Walk {
    actions: Vec<&'static str>,
    /// The names that `WITH` gives, for each query that is being walked.
    named: Vec<Vec<String>>,
    tables: Vec<Used>,
    /// What is done with a column, the table or alias before it where there is one, and its name.
    columns: Vec<(&'static str, Option<String>, String)>,
    aliases: HashMap<String, String>,
    is_opaque: bool,
}

impl Usage {
    pub(super) fn of(statements: &[Statement]) -> Self {
        let mut usage = Self::default();
        for statement in statements {
            let mut walk = Walk::default();
            let _: ControlFlow<()> = statement.visit(&mut walk);
            if walk.is_opaque {
                usage.opaque.get_or_insert_with(|| statement.to_string());
            }
            let (tables, columns) = walk.concluded();
            usage.tables.extend(tables);
            usage.columns.extend(columns);
        }
        usage
    }
}

impl Walk {
    fn concluded(self) -> (Vec<Used>, Vec<Used>) {
        let Self { tables, columns, aliases, .. } = self;
        // Where there is one table, a column without a table is its.
        let only = match tables.as_slice() {
            [one] => Some(one.name.clone()),
            _ => None,
        };
        let columns = columns.into_iter().map(|(action, of, name)| {
            let table = of.as_ref().map(|of| aliases.get(of).unwrap_or(of).clone());
            let is_plain = of.is_none() || only.is_some();
            let places = table.or_else(|| only.clone()).into_iter().chain(is_plain.then(|| NONE.to_owned())).collect();
            Used { action, places, name }
        });
        let columns = columns.collect();
        (tables, columns)
    }

    fn action(&self) -> &'static str {
        self.actions.last().copied().unwrap_or(SELECT)
    }

    fn table(&mut self, parts: &[String]) {
        let Some((name, schema)) = parts.split_last() else { return };
        let places = vec![schema.last().cloned().unwrap_or_else(|| NONE.to_owned())];
        self.tables.push(Used { action: self.action(), places, name: name.clone() });
    }

    fn column(&mut self, parts: &[String]) {
        let Some((name, before)) = parts.split_last() else { return };
        self.columns.push((self.action(), before.last().cloned(), name.clone()));
    }

    fn assigned(&mut self, assignments: &[Assignment]) {
        for assignment in assignments {
            match &assignment.target {
                AssignmentTarget::ColumnName(name) => self.column(&parts(name)),
                AssignmentTarget::Tuple(names) => names.iter().for_each(|name| self.column(&parts(name))),
            }
        }
    }

    fn inserted(&mut self, insert: &Insert) {
        insert.columns.iter().for_each(|name| self.column(&parts(name)));
        insert.after_columns.iter().for_each(|name| self.column(&[lower(name)]));
        if insert.columns.is_empty() && insert.after_columns.is_empty() && insert.assignments.is_empty() {
            self.column(&[ALL.to_owned()]);
        }
        self.assigned(&insert.assignments);
        match &insert.on {
            Some(OnInsert::DuplicateKeyUpdate(assignments)) => self.assigned(assignments),
            Some(OnInsert::OnConflict(conflict)) => {
                if let OnConflictAction::DoUpdate(update) = &conflict.action {
                    self.assigned(&update.assignments);
                }
            }
            // Kinds that are not known yet.
            Some(_) => self.is_opaque = true,
            None => (),
        }
        if let Some(returned) = &insert.returning {
            self.selected(returned);
        }
    }

    /// All columns, which are no expressions.
    fn selected(&mut self, items: &[SelectItem]) {
        for item in items {
            match item {
                SelectItem::Wildcard(_) => self.column(&[ALL.to_owned()]),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let mut path = parts(name);
                    path.push(ALL.to_owned());
                    self.column(&path);
                }
                SelectItem::QualifiedWildcard(..) => self.column(&[ALL.to_owned()]),
                _ => (),
            }
        }
    }

    /// Names that `WITH` gives are no tables, but inside of what they name they still are.
    fn with(&mut self, query: &Query) {
        let Some(with) = &query.with else { return };
        let names: Vec<String> = with.cte_tables.iter().map(|table| lower(&table.alias.name)).collect();
        if !with.recursive {
            for (index, table) in with.cte_tables.iter().enumerate() {
                let _: ControlFlow<()> = visit_relations(&table.query, |relation| {
                    let parts = parts(relation);
                    if let [only] = parts.as_slice()
                        && names[index..].contains(only)
                    {
                        self.table(&parts);
                    }
                    ControlFlow::Continue(())
                });
            }
        }
        self.named.push(names);
    }
}

impl Visitor for Walk {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        let action = match statement {
            Statement::Query(_) => SELECT,
            Statement::Insert(_) => "insert",
            Statement::Update(_) => "update",
            Statement::Delete(_) => "delete",
            _ => {
                self.is_opaque = true;
                SELECT
            }
        };
        self.actions.push(action);
        match statement {
            Statement::Insert(insert) => self.inserted(insert),
            Statement::Update(update) => {
                self.assigned(&update.assignments);
                self.selected(update.returning.as_deref().unwrap_or_default());
            }
            Statement::Delete(delete) => self.selected(delete.returning.as_deref().unwrap_or_default()),
            _ => (),
        }
        ControlFlow::Continue(())
    }

    fn post_visit_statement(&mut self, _: &Statement) -> ControlFlow<()> {
        self.actions.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.actions.push(SELECT);
        if query.with.is_some() {
            self.with(query);
        } else {
            self.named.push(Vec::new());
        }
        if let SetExpr::Table(table) = query.body.as_ref() {
            let path: Vec<String> = table.schema_name.iter().chain(&table.table_name).map(lower).collect();
            self.table(&path);
            self.column(&[ALL.to_owned()]);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.actions.pop();
        self.named.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.selected(&select.projection);
        // `SELECT … INTO` makes a table.
        self.is_opaque |= select.into.is_some();
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let parts = parts(relation);
        let is_named = match parts.as_slice() {
            [only] => self.named.iter().flatten().any(|name| name == only),
            _ => false,
        };
        if !is_named {
            self.table(&parts);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias: Some(alias), .. } = factor
            && let Some(table) = parts(name).pop()
        {
            self.aliases.insert(lower(&alias.name), table);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            Expr::Identifier(name) => self.column(&[lower(name)]),
            Expr::CompoundIdentifier(names) => self.column(&names.iter().map(lower).collect::<Vec<_>>()),
            _ => (),
        }
        ControlFlow::Continue(())
    }
}

fn lower(name: &Ident) -> String {
    name.value.to_lowercase()
}

fn parts(name: &ObjectName) -> Vec<String> {
    let part = |part: &sqlparser::ast::ObjectNamePart| part.as_ident().map_or_else(|| part.to_string(), lower);
    name.0.iter().map(part).collect()
}
