//! Metrics that are made of other metrics: an expression over the sums of their scores.

use std::collections::BTreeMap;

use pcs_grading::{Seen, Transform};
use serde_json::{Map, Value, json};

use super::error::SuiteError;
use super::fields::Fields;
use super::node::Node;
use super::source::Source;

/// The number of answers, in an expression.
pub const COUNT: &str = "__count";

/// A metric that is made of others.
#[derive(Clone, Debug, PartialEq)]
pub struct DerivedMetric {
    /// Its name; later ones may refer to it.
    pub name: String,
    /// An expression over the names of metrics, which are the sums of their scores, and over `__count`.
    pub value: String,
}

/// Reads a list of `{ name, value }`.
pub(crate) fn list(source: &Source, nodes: Vec<Node>) -> Result<Vec<DerivedMetric>, SuiteError> {
    nodes.into_iter().map(|node| one(source, node)).collect()
}

fn one(source: &Source, node: Node) -> Result<DerivedMetric, SuiteError> {
    let place = node.place;
    let mut fields = Fields::open(source, node, "the derived metric", &["name", "value"])?;
    let name = fields.require("name", "give it a name")?;
    let name = fields.as_text("name", name)?;
    let value = fields.require("value", "write an expression over the names of metrics, such as hits / __count")?;
    let metric = DerivedMetric { value: fields.as_text("value", value)?, name };
    match metric.fault() {
        None => Ok(metric),
        Some(fault) => {
            let message = format!("the value of the metric {:?} is no expression: {fault}", metric.name);
            Err(source.error(place, message, "write an expression over the names of metrics, such as hits / __count"))
        }
    }
}

impl DerivedMetric {
    /// What is wrong with the expression, if anything.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.transform(&[]).err()
    }

    /// What it is, of these sums.
    ///
    /// # Errors
    /// Where the expression fails, or makes no number.
    pub fn of(&self, sums: &BTreeMap<String, f64>) -> Result<f64, String> {
        let names: Vec<&str> = sums.keys().map(String::as_str).filter(|name| is_identifier(name)).collect();
        let transform = self.transform(&names)?;
        let sums: Map<String, Value> = sums.iter().map(|(name, sum)| (name.clone(), json!(sum))).collect();
        let seen = transform.apply(Seen::text(""), &sums)?;
        let number = seen.text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| format!("{} is no number", seen.text))
    }

    /// `^` is the power in promptfoo's expressions.
    fn transform(&self, names: &[&str]) -> Result<Transform, String> {
        let (names, value) = (names.join(", "), self.value.replace('^', "**"));
        let code = format!("Number((({{ {names} }}) => ({value}))(context.vars))");
        Transform::compile(&code).map_err(|error| error.to_string())
    }
}

/// Whether an expression can write the name.
fn is_identifier(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_' || first == '$');
    begins && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_' || one == '$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_made_of_others() {
        let sums = BTreeMap::from([("precision", 3.0), ("recall", 1.0), (COUNT, 4.0)].map(|(k, v)| (k.to_owned(), v)));
        let metric = |value: &str| DerivedMetric { name: "f1".to_owned(), value: value.to_owned() };
        assert_eq!(metric("2 * precision * recall / (precision + recall)").of(&sums), Ok(1.5));
        assert_eq!(metric("precision / __count").of(&sums), Ok(0.75));
        assert_eq!(metric("precision ^ 2").of(&sums), Ok(9.0));
        assert!(metric("missing / 2").of(&sums).is_err());
        assert!(metric("recall / 0").of(&sums).is_err());
        assert!(metric("2 *").fault().is_some());
    }
}
