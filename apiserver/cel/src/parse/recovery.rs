//! What is said of a text that does not fit the grammar: a second walk that goes on behind each fault as upstream's parser generator does.
//!
//! Invariant: only texts that the parser refused come here; at least one fault is told. Follows the default error strategy of upstream's
//! `vendor/github.com/antlr4-go/antlr/v4/error_strategy.go`, with the decisions of `vendor/github.com/google/cel-go/parser/gen/cel_parser.go`.

use super::grammar::{Decision, END, GRAMMAR, Grammar, Kinds, Node, PRODUCTS, Rule, What, one};
use super::lexer::{Token, kind::*};
use crate::source::{Issues, Source};

/// How many times the walk may look for a way on.
const MOST_ATTEMPTS: usize = 30;
/// How deep it may go: what is deeper was told by the parser.
const MOST_DEPTH: usize = 4000;

const NAMES: [&str; 38] = [
    "<EOF>",
    "'=='",
    "'!='",
    "'in'",
    "'<'",
    "'<='",
    "'>='",
    "'>'",
    "'&&'",
    "'||'",
    "'['",
    "']'",
    "'{'",
    "'}'",
    "'('",
    "')'",
    "'.'",
    "','",
    "'-'",
    "'!'",
    "'?'",
    "':'",
    "'+'",
    "'*'",
    "'/'",
    "'%'",
    "'true'",
    "'false'",
    "'null'",
    "WHITESPACE",
    "COMMENT",
    "NUM_FLOAT",
    "NUM_INT",
    "NUM_UINT",
    "STRING",
    "BYTES",
    "IDENTIFIER",
    "ESC_IDENTIFIER",
];

/// Tells why the tokens do not fit.
pub fn tell(source: &Source, tokens: &[Token], issues: &mut Issues) {
    let mut walk = Walk {
        grammar: &GRAMMAR,
        source,
        tokens,
        at: 0,
        state: 0,
        callers: Vec::new(),
        recovering: false,
        last: None,
        attempts: 0,
        issues,
    };
    // the end of the walk is all that an error out of the first rule means
    let ended = walk.rule(Rule::Start, 0);
    debug_assert!(ended.is_ok() || !walk.issues.is_empty());
}

/// Why a rule was left.
enum Fault {
    /// The token at hand is not one of the expected.
    Mismatch { expected: Kinds },
    /// No way fits from the token `start` to the token `end`.
    NoWay { start: usize, end: usize },
    /// Too many faults.
    Enough,
}

struct Walk<'a> {
    grammar: &'a Grammar,
    source: &'a Source,
    tokens: &'a [Token],
    at: usize,
    state: usize,
    /// The states from which the rules at hand were called.
    callers: Vec<usize>,
    /// Set from a fault to the next token that fits: nothing is told meanwhile.
    recovering: bool,
    /// Where the last recovery began, and the states in which one did.
    last: Option<(usize, Vec<usize>)>,
    attempts: usize,
    issues: &'a mut Issues,
}

impl Walk<'_> {
    fn look(&self, ahead: usize) -> u8 {
        self.tokens.get(self.at + ahead).map_or(EOF, |t| t.kind)
    }

    fn consume(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    fn report(&mut self, at: usize, message: String) {
        let message = format!("Syntax error: {message}");
        self.issues.push(self.tokens[at].start, message);
    }

    /// A token as it is quoted; escapes as upstream's.
    fn quoted(&self, start: usize, end: usize) -> String {
        let (from, to) = (self.tokens[start].start, self.tokens[end].end);
        let text = match self.source.slice(from as usize, to as usize) {
            text if text.is_empty() => "<EOF>".to_owned(),
            text => text,
        };
        let text = text
            .replace('\t', "\\t")
            .replace('\n', "\\n")
            .replace('\r', "\\r");
        format!("'{text}'")
    }

    fn expected(&self) -> Kinds {
        self.grammar.expected(self.state, &self.callers)
    }

    fn rule(&mut self, rule: Rule, precedence: u8) -> Result<(), Fault> {
        if self.callers.len() > MOST_DEPTH {
            return Err(Fault::Enough);
        }
        let grammar = self.grammar;
        match self.sequence(grammar.rule(rule), precedence) {
            Ok(()) => Ok(()),
            Err(Fault::Enough) => Err(Fault::Enough),
            Err(fault) => {
                self.tell_fault(fault);
                self.recover()
            }
        }
    }

    fn tell_fault(&mut self, fault: Fault) {
        if self.recovering {
            return;
        }
        self.recovering = true;
        match fault {
            Fault::Mismatch { expected } => {
                let token = self.quoted(self.at, self.at);
                let expected = names(expected);
                self.report(
                    self.at,
                    format!("mismatched input {token} expecting {expected}"),
                );
            }
            Fault::NoWay { start, end } => {
                let text = self.quoted(start, end);
                let literal = ["true", "false", "null"].into_iter().find(|word| {
                    text.len() == word.len() + 3 && text.ends_with(&format!("{word}'"))
                });
                self.report(
                    end,
                    match literal {
                        Some(word) => format!("mismatched input '{word}' expecting IDENTIFIER"),
                        None => format!("no viable alternative at input {text}"),
                    },
                );
            }
            Fault::Enough => {}
        }
    }

    fn attempt(&mut self) -> Result<(), Fault> {
        if self.attempts == MOST_ATTEMPTS {
            self.report(
                self.at,
                format!("error recovery attempt limit exceeded: {MOST_ATTEMPTS}"),
            );
            return Err(Fault::Enough);
        }
        self.attempts += 1;
        Ok(())
    }

    /// Passes over what cannot follow any of the rules at hand.
    fn recover(&mut self) -> Result<(), Fault> {
        self.attempt()?;
        match &self.last {
            Some((at, states)) if *at == self.at && states.contains(&self.state) => self.consume(),
            _ => {}
        }
        let mut states = self.last.take().map_or_else(Vec::new, |(_, states)| states);
        states.push(self.state);
        self.last = Some((self.at, states));
        let follow = self.follow();
        self.pass_until(follow);
        Ok(())
    }

    fn follow(&self) -> Kinds {
        let of = |caller: &usize| self.grammar.next(self.grammar.behind(*caller));
        self.callers.iter().map(of).fold(0, |a, b| a | b) & !END
    }

    fn pass_until(&mut self, kinds: Kinds) {
        while self.look(0) != EOF && kinds & one(self.look(0)) == 0 {
            self.consume();
        }
    }

    /// Before a decision: a token that cannot stand here is told.
    fn sync(&mut self, looped: bool) -> Result<(), Fault> {
        if self.recovering {
            return Ok(());
        }
        let next = self.grammar.next(self.state);
        if next & (END | one(self.look(0))) != 0 {
            return Ok(());
        }
        if looped {
            self.tell_unwanted();
            let kinds = self.expected() | self.follow();
            self.pass_until(kinds);
            return Ok(());
        }
        if self.delete_token() {
            return Ok(());
        }
        Err(Fault::Mismatch {
            expected: self.expected(),
        })
    }

    fn tell_unwanted(&mut self) {
        if self.recovering {
            return;
        }
        self.recovering = true;
        let (token, expected) = (self.quoted(self.at, self.at), names(self.expected()));
        self.report(
            self.at,
            format!("extraneous input {token} expecting {expected}"),
        );
    }

    /// Passes over one token if the next one fits.
    fn delete_token(&mut self) -> bool {
        if self.expected() & one(self.look(1)) == 0 {
            return false;
        }
        self.tell_unwanted();
        self.consume();
        self.recovering = false;
        true
    }

    fn take(&mut self, kinds: Kinds) -> Result<(), Fault> {
        if kinds & one(self.look(0)) != 0 {
            self.recovering = false;
            self.consume();
            return Ok(());
        }
        self.attempt()?;
        if self.delete_token() {
            self.consume();
            return Ok(());
        }
        let behind = self.grammar.behind(self.state);
        let after = self.grammar.expected(behind, &self.callers);
        if after & one(self.look(0)) != 0 {
            if !self.recovering {
                self.recovering = true;
                let (token, expected) = (self.quoted(self.at, self.at), names(self.expected()));
                self.report(self.at, format!("missing {expected} at {token}"));
            }
            return Ok(());
        }
        Err(Fault::Mismatch {
            expected: self.expected(),
        })
    }

    fn sequence(&mut self, nodes: &[Node], precedence: u8) -> Result<(), Fault> {
        for node in nodes {
            self.state = node.state;
            match &node.what {
                What::Token(kind) => self.take(one(*kind))?,
                What::Set(kinds) => self.take(*kinds)?,
                What::Call(rule, precedence) => {
                    self.callers.push(node.state);
                    let done = self.rule(*rule, *precedence);
                    self.callers.pop();
                    self.state = node.state;
                    done?;
                }
                What::Maybe(body) => {
                    self.sync(false)?;
                    if self.begins(body) {
                        self.sequence(body, precedence)?;
                    }
                }
                What::Many {
                    decision,
                    body,
                    back,
                } => {
                    self.sync(false)?;
                    while self.again(*decision, body, precedence)? {
                        self.sequence(body, precedence)?;
                        self.state = *back;
                        self.sync(true)?;
                    }
                }
                What::Several {
                    decision,
                    body,
                    back,
                } => {
                    self.sync(false)?;
                    loop {
                        self.sequence(body, precedence)?;
                        self.state = *back;
                        self.sync(true)?;
                        if !self.again(*decision, body, precedence)? {
                            break;
                        }
                    }
                }
                What::Either(decision, ways) => {
                    self.sync(false)?;
                    let way = self.choose(*decision, ways)?;
                    self.sequence(&ways[way], precedence)?;
                }
            }
        }
        Ok(())
    }

    fn begins(&self, body: &[Node]) -> bool {
        let first = body.first().map_or(0, |node| self.grammar.next(node.state));
        first & one(self.look(0)) != 0
    }

    fn no_way<T>(&self, ahead: usize) -> Result<T, Fault> {
        Err(Fault::NoWay {
            start: self.at,
            end: (self.at + ahead).min(self.tokens.len() - 1),
        })
    }

    /// Whether a loop goes on.
    fn again(&mut self, decision: Decision, body: &[Node], precedence: u8) -> Result<bool, Fault> {
        let begins = self.begins(body);
        Ok(match decision {
            Decision::Precedence => {
                let bound = match one(self.look(0)) {
                    kind if kind & PRODUCTS != 0 => 2,
                    kind if kind & (one(DOT) | one(LBRACKET)) != 0 => 3,
                    _ => 1,
                };
                begins && bound >= precedence
            }
            Decision::Comma => {
                // behind the comma an element, or what closes
                let element = body.get(1).map_or(0, |node| self.grammar.next(node.state));
                begins && element & one(self.look(1)) != 0
            }
            Decision::Minus if begins => {
                let member = self.grammar.first(Rule::Member) | one(MINUS);
                if member & one(self.look(1)) == 0 {
                    return self.no_way(1);
                }
                true
            }
            Decision::Minus => {
                if self.grammar.first(Rule::Member) & one(self.look(0)) == 0 {
                    return self.no_way(0);
                }
                false
            }
            _ => begins,
        })
    }

    /// Which of several ways fits.
    fn choose(&self, decision: Decision, ways: &[Vec<Node>]) -> Result<usize, Fault> {
        let number = |kind| matches!(kind, INT | FLOAT);
        let second = self.look(1);
        match (decision, self.look(0)) {
            (Decision::Unary, MINUS) if number(second) => return Ok(0),
            (Decision::Unary, MINUS) => {
                let member = self.grammar.first(Rule::Member);
                return if member & one(second) != 0 {
                    Ok(2)
                } else {
                    self.no_way(1)
                };
            }
            (Decision::Number, MINUS) => {
                return match second {
                    INT => Ok(0),
                    FLOAT => Ok(2),
                    _ => self.no_way(1),
                };
            }
            (Decision::Member, DOT) => {
                return match (second, self.look(2)) {
                    (IDENTIFIER, LPAREN) => Ok(1),
                    (IDENTIFIER | ESC_IDENTIFIER | QUESTION, _) => Ok(0),
                    _ => self.no_way(1),
                };
            }
            (Decision::Primary, MINUS) if !number(second) => return self.no_way(1),
            (Decision::Primary, DOT | IDENTIFIER) => return self.choose_named(),
            _ => {}
        }
        match ways.iter().position(|way| self.begins(way)) {
            Some(way) => Ok(way),
            None => self.no_way(0),
        }
    }

    /// A name, a call, or a struct.
    fn choose_named(&self) -> Result<usize, Fault> {
        let mut ahead = (self.look(0) == DOT) as usize;
        if self.look(ahead) != IDENTIFIER {
            return self.no_way(ahead);
        }
        ahead += 1;
        if self.look(ahead) == LPAREN {
            return Ok(1);
        }
        while self.look(ahead) == DOT && self.look(ahead + 1) == IDENTIFIER {
            ahead += 2;
        }
        Ok(if self.look(ahead) == LBRACE { 5 } else { 0 })
    }
}

/// Kinds as they are listed: in braces where there are several.
fn names(kinds: Kinds) -> String {
    let names: Vec<&str> = (0..NAMES.len())
        .filter(|kind| kinds & one(*kind as u8) != 0)
        .map(|kind| NAMES[kind])
        .collect();
    match names.as_slice() {
        [name] => (*name).to_owned(),
        _ => format!("{{{}}}", names.join(", ")),
    }
}
