//! A template's tokens: they show whether it is plain, and whether the parser can take it.

use std::borrow::Cow;

use minijinja::machinery::{Token, Tokenizer};
use serde_json::{Map, Value};

use super::{RENDERED_BYTES_MAX, TemplateError, engine, text};

/// Most tokens between one `{{` or `{%` and its end.
///
/// minijinja's parser recurses once per operator and has no limit for it: 2,000 operators in one expression overflow a
/// thread's stack of 2 MiB, which ends the process.
pub(super) const TAG_TOKENS_MAX: usize = 300;
/// Most tokens in all tags of a template that is more than text and variables: they bound how deep its values can nest.
pub(super) const TOKENS_MAX: usize = 4_000;
/// Most `elif`s of a template, each of which the parser nests in the one before.
pub(super) const ELIFS_MAX: usize = 100;

/// Words that are not the name of a variable where they stand alone.
const RESERVED: &[&str] = &[
    "true", "True", "false", "False", "none", "None", "not", "and", "or", "in", "is", "if", "else", "self", "super",
    "loop", "caller", "range", "dict",
];

/// A part of a plain template.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// Text that stays as it is.
    Text(String),
    /// A variable's value.
    Variable {
        /// Its name.
        name: String,
        /// Where it stands, from 1.
        line: usize,
    },
}

impl Piece {
    pub(super) fn variable(&self) -> Option<&str> {
        match self {
            Self::Text(_) => None,
            Self::Variable { name, .. } => Some(name),
        }
    }
}

/// The pieces of a template that is text and variables only; none for another one that is within the limits.
pub(super) fn plain_pieces(source: &str) -> Result<Option<Vec<Piece>>, TemplateError> {
    let mut tokens = Tokenizer::new(source, engine::NAME, false, engine::syntax());
    let mut reader = Reader::default();
    while let Some((token, span)) = tokens.next_token().map_err(|error| TemplateError::from_engine(&error))? {
        reader.read(&token, span.start_line as usize)?;
    }
    // A template that ends inside its braces is for the parser to refuse.
    Ok(reader.pieces.filter(|_| matches!(reader.place, Place::Text)))
}

/// Where the reader is in `{{ name }}`.
#[derive(Clone, Copy)]
enum Place {
    Text,
    Opened,
    Named,
}

struct Reader {
    pieces: Option<Vec<Piece>>,
    place: Place,
    after_pipe: bool,
    tag_tokens: usize,
    tokens: usize,
    elifs: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self { pieces: Some(Vec::new()), place: Place::Text, after_pipe: false, tag_tokens: 0, tokens: 0, elifs: 0 }
    }
}

impl Reader {
    fn read(&mut self, token: &Token<'_>, line: usize) -> Result<(), TemplateError> {
        self.collect(token, line);
        self.measure(token, line)?;
        if self.after_pipe
            && let Token::Ident(name) = token
            && !engine::has_filter(name)
        {
            return Err(TemplateError::UnknownFilter { line, name: (*name).to_owned() });
        }
        self.after_pipe = matches!(token, Token::Pipe);
        Ok(())
    }

    fn measure(&mut self, token: &Token<'_>, line: usize) -> Result<(), TemplateError> {
        match token {
            Token::TemplateData(_) => return Ok(()),
            Token::VariableStart | Token::BlockStart => self.tag_tokens = 0,
            Token::Ident("elif") => self.elifs += 1,
            _ => (),
        }
        self.tag_tokens += 1;
        self.tokens += 1;
        let tokens = if self.pieces.is_some() { 0 } else { self.tokens };
        let limits = [
            (self.tag_tokens, TAG_TOKENS_MAX, "words and signs in one pair of braces"),
            (tokens, TOKENS_MAX, "words and signs in all braces together"),
            (self.elifs, ELIFS_MAX, "elifs"),
        ];
        match limits.into_iter().find(|(count, max, _)| count > max) {
            Some((_, max, what)) => Err(TemplateError::TooComplex { line, what, max }),
            None => Ok(()),
        }
    }

    fn collect(&mut self, token: &Token<'_>, line: usize) {
        let Some(pieces) = &mut self.pieces else { return };
        self.place = match (self.place, token) {
            (Place::Text, Token::TemplateData(data)) => {
                match pieces.last_mut() {
                    Some(Piece::Text(text)) => text.push_str(data),
                    _ => pieces.push(Piece::Text((*data).to_owned())),
                }
                Place::Text
            }
            (Place::Text, Token::VariableStart) => Place::Opened,
            (Place::Opened, Token::Ident(name)) if !RESERVED.contains(name) => {
                pieces.push(Piece::Variable { name: (*name).to_owned(), line });
                Place::Named
            }
            (Place::Named, Token::VariableEnd) => Place::Text,
            _ => {
                self.pieces = None;
                return;
            }
        };
    }
}

/// The text of pieces for these variables.
pub(super) fn render<'a>(pieces: &'a [Piece], input: &'a Map<String, Value>) -> Result<Cow<'a, str>, TemplateError> {
    if let [piece] = pieces {
        match piece {
            Piece::Text(text) => return Ok(Cow::Borrowed(text)),
            Piece::Variable { name, .. } => {
                if let Some(Value::String(text)) = input.get(name) {
                    return Ok(Cow::Borrowed(text));
                }
            }
        }
    }
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Variable { name, line } => match input.get(name) {
                Some(value) => text::push_json_value(&mut out, value),
                None => return Err(TemplateError::Undefined { line: *line, name: name.clone() }),
            },
        }
        if out.len() > RENDERED_BYTES_MAX {
            return Err(TemplateError::TooLarge);
        }
    }
    Ok(Cow::Owned(out))
}
