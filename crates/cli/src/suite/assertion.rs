//! Assertions of a suite: the fields have their types here, and `pcs-grading` says whether they mean anything.

use pcs_domain::assertion::Assertion;
use pcs_domain::limits;

use super::error::SuiteError;
use super::fields::Fields;
use super::node::{Kind, Node};
use super::source::Source;
use super::{check, models};

const KEYS: [&str; 10] =
    ["type", "value", "threshold", "tolerance", "weight", "metric", "transform", "provider", "rubric_prompt", "config"];

/// Reads a list of assertions; `owner` is whose they are, as `case 3`.
pub(crate) fn list(source: &Source, nodes: Vec<Node>, owner: &str) -> Result<Vec<Assertion>, SuiteError> {
    let place = nodes.first().map(|node| node.place).unwrap_or_default();
    if nodes.len() > limits::ASSERTIONS_MAX {
        let message =
            format!("{owner} has {} assertions, and at most {} are allowed", nodes.len(), limits::ASSERTIONS_MAX);
        return Err(source.error(place, message, "keep those that matter"));
    }
    let numbered = nodes.into_iter().enumerate();
    numbered.map(|(index, node)| one(source, node, &format!("assertion {} of {owner}", index + 1))).collect()
}

fn one(source: &Source, node: Node, owner: &str) -> Result<Assertion, SuiteError> {
    let mut fields = Fields::open(source, node, owner, &KEYS)?;
    let kind_node = fields.require("type", "say what it checks: type: contains")?;
    let kind_place = kind_node.place;
    let kind = fields.as_text("type", kind_node)?;
    let value = fields.take("value");
    let value_place = value.as_ref().map_or(kind_place, |node| node.place);
    let provider = fields.take("provider");
    let provider = provider.map(|node| models::one(source, node, &format!("the provider of {owner}"))).transpose()?;
    let provider = provider.map(Box::new);
    let assertion = Assertion {
        transform: fields.text("transform")?,
        config: fields.object("config")?,
        provider,
        rubric_prompt: fields.text("rubric_prompt")?,
        kind,
        value: value.map(Node::into_json),
        threshold: fields.number("threshold")?,
        tolerance: fields.number("tolerance")?,
        weight: weight(source, &mut fields, owner)?,
        metric: fields.text("metric")?,
    };
    check::assertion(&assertion).map_err(|problem| {
        let place = if problem.is_about_type { kind_place } else { value_place };
        source.error(place, format!("{owner}: {}", problem.message), problem.mend)
    })?;
    Ok(assertion)
}

fn weight(source: &Source, fields: &mut Fields<'_>, owner: &str) -> Result<f64, SuiteError> {
    let Some(node) = fields.take("weight") else { return Ok(1.0) };
    match &node.kind {
        Kind::Number(number) if number.as_f64().is_some_and(|weight| weight >= 0.0) => {
            Ok(number.as_f64().unwrap_or(1.0))
        }
        Kind::Number(_) | Kind::Null | Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Table(_) => {
            let message = format!("`weight` of {owner} must be a number, 0 or more, and this is {}", node.what());
            Err(source.error(node.place, message, "write a number, without quotes"))
        }
    }
}

/// A share from 0 to 1.
pub(crate) fn threshold(source: &Source, fields: &mut Fields<'_>, owner: &str) -> Result<Option<f64>, SuiteError> {
    let Some(node) = fields.take("threshold") else { return Ok(None) };
    if let Kind::Number(number) = &node.kind
        && let Some(share) = number.as_f64()
        && (0.0..=1.0).contains(&share)
    {
        return Ok(Some(share));
    }
    let message = format!("`threshold` of {owner} must be a number from 0 to 1, and this is {}", node.what());
    Err(source.error(node.place, message, "write 0.9 where 90 % is meant"))
}
