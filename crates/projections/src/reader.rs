//! Where a query reads: the living tables, or those that one transaction has folded of the past.

use std::ops::DerefMut;

use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, SqlSafeStr, SqlStr, pool::PoolConnection};

/// A connection, and which tables are meant on it.
pub(crate) struct Reader<C> {
    connection: C,
    /// Up to which position of the log the tables are folded, where that is one of the past.
    folded_to: Option<i64>,
}

impl Reader<PoolConnection<Postgres>> {
    /// Reads what is.
    pub(crate) async fn living(pool: &PgPool) -> Result<Self, sqlx::Error> {
        Ok(Self { connection: pool.acquire().await?, folded_to: None })
    }
}

impl<'c> Reader<&'c mut PgConnection> {
    /// Reads what was: the transaction's search path finds its own tables first, and then the living ones.
    pub(crate) fn folded(connection: &'c mut PgConnection, position: i64) -> Self {
        Self { connection, folded_to: Some(position) }
    }
}

impl<C: DerefMut<Target = PgConnection>> Reader<C> {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Up to which position rows that are never overwritten are meant.
    pub(crate) fn up_to(&self) -> i64 {
        self.folded_to.unwrap_or(i64::MAX)
    }

    /// The statement for these tables: of the past it is the same text without the living tables' schema, so that no
    /// question is asked in two ways.
    pub(crate) fn sql(&self, text: &'static str) -> SqlStr {
        if self.folded_to.is_none() {
            return text.into_sql_str();
        }
        AssertSqlSafe(text.replace(" read.", " ")).into_sql_str()
    }
}
