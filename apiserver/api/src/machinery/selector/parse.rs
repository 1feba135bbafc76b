//! The grammar of a label selector: `x in (a,b),y!=c,!z`.
//!
//! Invariant: errors name the token found and what was expected, in upstream's words.
//! Follows upstream's `labels/selector.go` (Parser).

use crate::machinery::problem::{Problem, problem};
use std::collections::BTreeSet;

use super::lexer::{Token, tokens};
use super::{Operator, Requirement, SelectorError, quoted};
use crate::machinery::names::is_qualified_name;

struct Parser<'a> {
    tokens: Vec<(Token, &'a str)>,
    at: usize,
}

/// Reads a selector's requirements, in the order given.
pub(super) fn selector(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser {
        tokens: tokens(text),
        at: 0,
    };
    let mut requirements = Vec::new();
    loop {
        let (token, literal) = parser.peek_value();
        match token {
            Token::End => return Ok(requirements),
            Token::Identifier | Token::Not => {}
            _ => {
                return Err(SelectorError::Syntax(format!(
                    "found '{literal}', expected: !, identifier, or 'end of string'"
                )));
            }
        }
        requirements.push(
            parser
                .requirement()
                .map_err(|error| SelectorError::Requirement(error.into()))?,
        );
        match parser.next_value() {
            (Token::End, _) => return Ok(requirements),
            (Token::Comma, _) => {
                let (token, literal) = parser.peek_value();
                if !matches!(token, Token::Identifier | Token::Not) {
                    return Err(SelectorError::Syntax(format!(
                        "found '{literal}', expected: identifier after ','"
                    )));
                }
            }
            (_, literal) => {
                return Err(SelectorError::Syntax(format!(
                    "found '{literal}', expected: ',' or 'end of string'"
                )));
            }
        }
    }
}

impl<'a> Parser<'a> {
    /// The token at hand, keywords taken as identifiers.
    fn peek_value(&self) -> (Token, &'a str) {
        match self.tokens[self.at] {
            (Token::In | Token::NotIn, literal) => (Token::Identifier, literal),
            other => other,
        }
    }

    fn next_value(&mut self) -> (Token, &'a str) {
        let found = self.peek_value();
        self.advance();
        found
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn requirement(&mut self) -> Result<Requirement, Problem> {
        let (mut token, mut key) = self.next_value();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.next_value();
        }
        if token != Token::Identifier {
            return Err(problem!("found '{key}', expected: identifier"));
        }
        let faults = is_qualified_name(key);
        if !faults.is_empty() {
            return Err(problem!(
                "<nil>: Invalid value: {}: {}",
                quoted(key),
                faults.join("; ")
            ));
        }
        let make = |operator, values| {
            Requirement::new(key, operator, values).map_err(|e| Problem(e.to_string()))
        };
        if negated {
            return make(Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek_value().0, Token::End | Token::Comma) {
            return make(Operator::Exists, Vec::new());
        }
        let operator = self.operator()?;
        let values = if matches!(operator, Operator::In | Operator::NotIn) {
            self.values()?
        } else {
            self.exact_value()?
        };
        make(operator, values.into_iter().map(Into::into).collect())
    }

    fn operator(&mut self) -> Result<Operator, Problem> {
        let (token, literal) = self.tokens[self.at];
        self.advance();
        Ok(match token {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            _ => {
                return Err(problem!(
                    "found '{literal}', expected: in, notin, =, ==, !=, gt, lt"
                ));
            }
        })
    }

    fn exact_value(&mut self) -> Result<BTreeSet<&'a str>, Problem> {
        if matches!(self.peek_value().0, Token::End | Token::Comma) {
            return Ok(BTreeSet::from([""]));
        }
        match self.next_value() {
            (Token::Identifier, literal) => Ok(BTreeSet::from([literal])),
            (_, literal) => Err(problem!("found '{literal}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Result<BTreeSet<&'a str>, Problem> {
        let (token, literal) = self.next_value();
        if token != Token::Open {
            return Err(problem!("found '{literal}' expected: '('"));
        }
        match self.peek_value() {
            (Token::Identifier | Token::Comma, _) => self.identifiers(),
            (Token::Close, _) => {
                self.advance();
                Ok(BTreeSet::from([""]))
            }
            (_, literal) => Err(problem!(
                "found '{literal}', expected: ',', ')' or identifier"
            )),
        }
    }

    /// Values and commas up to and with the closing parenthesis; nothing between two commas is the empty value.
    fn identifiers(&mut self) -> Result<BTreeSet<&'a str>, Problem> {
        let mut found = BTreeSet::new();
        loop {
            match self.next_value() {
                (Token::Identifier, literal) => {
                    found.insert(literal);
                    match self.peek_value() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => break,
                        (_, literal) => {
                            return Err(problem!("found '{literal}', expected: ',' or ')'"));
                        }
                    }
                }
                (Token::Comma, _) => {
                    if found.is_empty() {
                        found.insert("");
                    }
                    match self.peek_value().0 {
                        Token::Close => {
                            found.insert("");
                            break;
                        }
                        Token::Comma => {
                            found.insert("");
                        }
                        _ => {}
                    }
                }
                (_, literal) => {
                    return Err(problem!("found '{literal}', expected: ',', or identifier"));
                }
            }
        }
        self.advance();
        Ok(found)
    }
}
