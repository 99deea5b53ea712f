//! YAML to nodes, with a budget for everything that could grow: depth, nodes, anchors, aliases.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::{Error as YamlError, Location, Spanned};

use super::error::{Place, SuiteError};
use super::node::{DEPTH_MAX, Entry, Kind, NUMBER_TOO_LARGE, Node};
use super::source::Source;

/// Most values in a YAML file, after its aliases are expanded; large sets of cases belong into JSON lines.
pub(crate) const YAML_NODES_MAX: usize = 1_000_000;
/// Most anchors in a YAML file.
pub(crate) const YAML_ANCHORS_MAX: usize = 1_000;
/// Most aliases in a YAML file.
pub(crate) const YAML_ALIASES_MAX: usize = 1_000;
/// Most parser events that aliases may stand for: what makes a bomb of a small file.
const YAML_ALIAS_EVENTS_MAX: usize = 100_000;
/// Aliases within aliases.
const YAML_ALIAS_DEPTH_MAX: usize = 8;

const SCANNER_TOO_DEEP: &str = "recursion limit exceeded";
/// 2 to the power of 63.
const WHOLE_MAX: f64 = 9_223_372_036_854_775_808.0;

/// Parses a YAML file of one document.
pub(crate) fn parse(source: &Source) -> Result<Node, SuiteError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_nodes: YAML_NODES_MAX,
            // A mapping or a list is one node and two events.
            max_events: 3 * YAML_NODES_MAX,
            max_anchors: YAML_ANCHORS_MAX,
            max_aliases: YAML_ALIASES_MAX,
            max_documents: 1,
            max_total_scalar_bytes: super::source::CASES_BYTES_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: YAML_ALIAS_EVENTS_MAX,
            max_replay_stack_depth: YAML_ALIAS_DEPTH_MAX,
        },
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(&source.text, options).map_err(|error| refused(source, &error))
}

fn refused(source: &Source, error: &YamlError) -> SuiteError {
    let place = error.location().map(place).unwrap_or_default();
    let (message, mend) = words(innermost(error));
    source.error(place, message, mend)
}

fn innermost(error: &YamlError) -> &YamlError {
    match error.without_snippet() {
        YamlError::AliasError { error, .. } => innermost(error),
        other => other,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's many other errors say themselves what is wrong")]
fn words(error: &YamlError) -> (String, String) {
    match error {
        YamlError::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("the key `{key}` appears twice"), "keep one of the two".to_owned())
        }
        YamlError::Budget { breach, .. } => budget_words(breach),
        YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. }
        | YamlError::RecursiveReferencesRequireWeakTypes { .. } => {
            ("the aliases of the file stand for too much text".to_owned(), "write the values out".to_owned())
        }
        YamlError::NonFiniteFloat { value, .. } => {
            (format!("{value} is not a finite number"), "write a finite number, or put it in quotes".to_owned())
        }
        YamlError::UnknownAnchor { .. } => {
            ("there is no anchor of this name".to_owned(), "a text that begins with * needs quotes".to_owned())
        }
        YamlError::MultipleDocuments { .. } => one_document(),
        YamlError::Message { msg, .. } if msg.starts_with(NUMBER_TOO_LARGE) => {
            (NUMBER_TOO_LARGE.to_owned(), "put it in quotes".to_owned())
        }
        other => match plain(other) {
            // The scanner has its own limit for `[` and `{`, and no error of its own for it.
            text if text.contains(SCANNER_TOO_DEEP) => too_deep(),
            text => (format!("this is not YAML: {text}"), "mend the YAML at this place".to_owned()),
        },
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "budgets that a suite can't reach need no words of their own")]
fn budget_words(breach: &serde_saphyr::budget::BudgetBreach) -> (String, String) {
    use serde_saphyr::budget::BudgetBreach;

    match breach {
        BudgetBreach::Depth { .. } => too_deep(),
        BudgetBreach::Documents { .. } => one_document(),
        BudgetBreach::Anchors { .. } => {
            (format!("the file has more than {YAML_ANCHORS_MAX} anchors"), "write the values out".to_owned())
        }
        BudgetBreach::Aliases { .. } | BudgetBreach::AliasAnchorRatio { .. } => {
            (format!("the file has more than {YAML_ALIASES_MAX} aliases"), "write the values out".to_owned())
        }
        BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => (
            format!("the file has more than {YAML_NODES_MAX} values, aliases expanded"),
            "keep many cases in a .jsonl file, and don't build values from aliases of aliases".to_owned(),
        ),
        other => (format!("the file is larger than its YAML budget: {other:?}"), "make the file smaller".to_owned()),
    }
}

fn too_deep() -> (String, String) {
    (format!("lists and tables are nested deeper than {DEPTH_MAX}"), "make the file flatter".to_owned())
}

fn one_document() -> (String, String) {
    ("the file has more than one YAML document".to_owned(), "keep one, and take out the `---` lines".to_owned())
}

/// The parser's words without the place, which is said already.
fn plain(error: &YamlError) -> String {
    let text = error.to_string();
    text.find(" at line ").map_or(text.clone(), |end| text[..end].to_owned())
}

fn place(location: Location) -> Place {
    Place { line: location.line(), column: location.column() }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self { place: place(spanned.referenced), kind: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a boolean, a list or a table")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        Kind::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Kind, E> {
        // An integer of more than 64 bits arrives here as the nearest fraction: the author would get another number.
        if value.fract() == 0.0 && value.abs() >= WHOLE_MAX {
            return Err(E::custom(NUMBER_TOO_LARGE));
        }
        Number::from_f64(value).map(Kind::Number).ok_or_else(|| E::custom("this number is not finite"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Node>()? {
            entries.push(Entry { place: place(key.referenced), key: key.value, value });
        }
        Ok(Kind::Table(entries))
    }
}
