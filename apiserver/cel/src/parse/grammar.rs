//! The grammar as data: for each rule what may stand where, as a net of states. The parser of valid texts does not need it; what is said of invalid ones does.
//!
//! Invariant: no rule matches nothing, so what may come first in a rule is all that may come where it is called.
//! The grammar and its decisions are those of upstream's `vendor/github.com/google/cel-go/parser/gen/{CEL.g4,cel_parser.go}`.

use super::lexer::kind::*;
use std::sync::LazyLock;

/// A set of kinds of tokens, a bit each. [`END`] is the end of the rule.
pub type Kinds = u64;
pub const END: Kinds = 1 << 63;

pub const fn one(kind: u8) -> Kinds {
    1 << kind
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Start,
    Expr,
    Or,
    And,
    Relation,
    Calc,
    Unary,
    Member,
    Primary,
    ExprList,
    ListInit,
    FieldList,
    OptField,
    MapList,
    EscapeIdent,
    OptExpr,
    Literal,
}
const RULES: usize = Rule::Literal as usize + 1;

/// How it is decided which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// By the next token alone.
    Next,
    /// By operators that bind at least as tightly as asked.
    Precedence,
    /// The next comma begins an element, or stands behind the last one.
    Comma,
    Unary,
    Minus,
    Member,
    Primary,
    Number,
}

/// What a rule is made of.
enum Item {
    Token(u8),
    Set(Kinds),
    Call(Rule, u8),
    Maybe(Vec<Item>),
    Many(Decision, Vec<Item>),
    Several(Decision, Vec<Item>),
    Either(Decision, Vec<Vec<Item>>),
}

/// An item with the numbers of its states.
pub struct Node {
    pub state: usize,
    pub what: What,
}

pub enum What {
    Token(u8),
    Set(Kinds),
    Call(Rule, u8),
    Maybe(Vec<Node>),
    Many {
        decision: Decision,
        body: Vec<Node>,
        /// The state behind one round.
        back: usize,
    },
    Several {
        decision: Decision,
        body: Vec<Node>,
        back: usize,
    },
    Either(Decision, Vec<Vec<Node>>),
}

#[derive(Clone, Copy)]
enum Edge {
    Free(usize),
    Kinds(Kinds, usize),
    /// Into a rule, and where it goes on behind it.
    Call(Rule, usize),
}

pub struct Grammar {
    rules: Vec<Vec<Node>>,
    /// Where each rule begins.
    starts: Vec<usize>,
    edges: Vec<Vec<Edge>>,
    stops: Vec<bool>,
}

pub static GRAMMAR: LazyLock<Grammar> = LazyLock::new(Grammar::new);

fn items(rule: Rule) -> Vec<Item> {
    use Decision as D;
    use Item::*;
    let call = |rule| Call(rule, 0);
    let comma = |kind| vec![call(kind)];
    let listed = |element: fn() -> Vec<Item>, decision| {
        let mut all = element();
        let mut more = vec![Token(COMMA)];
        more.extend(element());
        all.push(Many(decision, more));
        all
    };
    let optional = |kind| Maybe(vec![Token(kind)]);
    match rule {
        Rule::Start => vec![call(Rule::Expr), Token(EOF)],
        Rule::Expr => vec![
            call(Rule::Or),
            Maybe(vec![
                Token(QUESTION),
                call(Rule::Or),
                Token(COLON),
                call(Rule::Expr),
            ]),
        ],
        Rule::Or => vec![
            call(Rule::And),
            Many(D::Next, vec![Token(OR), call(Rule::And)]),
        ],
        Rule::And => vec![
            call(Rule::Relation),
            Many(D::Next, vec![Token(AND), call(Rule::Relation)]),
        ],
        Rule::Relation => vec![
            call(Rule::Calc),
            Many(D::Precedence, vec![Set(RELATIONS), Call(Rule::Relation, 2)]),
        ],
        Rule::Calc => vec![
            call(Rule::Unary),
            Many(
                D::Precedence,
                vec![Either(
                    D::Next,
                    vec![
                        vec![Set(PRODUCTS), Call(Rule::Calc, 3)],
                        vec![Set(SUMS), Call(Rule::Calc, 2)],
                    ],
                )],
            ),
        ],
        Rule::Unary => vec![Either(
            D::Unary,
            vec![
                vec![call(Rule::Member)],
                vec![Several(D::Next, vec![Token(EXCLAM)]), call(Rule::Member)],
                vec![Several(D::Minus, vec![Token(MINUS)]), call(Rule::Member)],
            ],
        )],
        Rule::Member => vec![
            call(Rule::Primary),
            Many(
                D::Precedence,
                vec![Either(
                    D::Member,
                    vec![
                        vec![Token(DOT), optional(QUESTION), call(Rule::EscapeIdent)],
                        vec![
                            Token(DOT),
                            Token(IDENTIFIER),
                            Token(LPAREN),
                            Maybe(comma(Rule::ExprList)),
                            Token(RPAREN),
                        ],
                        vec![
                            Token(LBRACKET),
                            optional(QUESTION),
                            call(Rule::Expr),
                            Token(RBRACKET),
                        ],
                    ],
                )],
            ),
        ],
        Rule::Primary => vec![Either(
            D::Primary,
            vec![
                vec![optional(DOT), Token(IDENTIFIER)],
                vec![
                    optional(DOT),
                    Token(IDENTIFIER),
                    Token(LPAREN),
                    Maybe(comma(Rule::ExprList)),
                    Token(RPAREN),
                ],
                vec![Token(LPAREN), call(Rule::Expr), Token(RPAREN)],
                vec![
                    Token(LBRACKET),
                    Maybe(comma(Rule::ListInit)),
                    optional(COMMA),
                    Token(RBRACKET),
                ],
                vec![
                    Token(LBRACE),
                    Maybe(comma(Rule::MapList)),
                    optional(COMMA),
                    Token(RBRACE),
                ],
                vec![
                    optional(DOT),
                    Token(IDENTIFIER),
                    Many(D::Next, vec![Token(DOT), Token(IDENTIFIER)]),
                    Token(LBRACE),
                    Maybe(comma(Rule::FieldList)),
                    optional(COMMA),
                    Token(RBRACE),
                ],
                vec![call(Rule::Literal)],
            ],
        )],
        Rule::ExprList => listed(|| vec![Call(Rule::Expr, 0)], D::Next),
        Rule::ListInit => listed(|| vec![Call(Rule::OptExpr, 0)], D::Comma),
        Rule::FieldList => listed(
            || vec![Call(Rule::OptField, 0), Token(COLON), Call(Rule::Expr, 0)],
            D::Comma,
        ),
        Rule::OptField => vec![optional(QUESTION), call(Rule::EscapeIdent)],
        Rule::MapList => listed(
            || vec![Call(Rule::OptExpr, 0), Token(COLON), Call(Rule::Expr, 0)],
            D::Comma,
        ),
        Rule::EscapeIdent => vec![Either(
            D::Next,
            vec![vec![Token(IDENTIFIER)], vec![Token(ESC_IDENTIFIER)]],
        )],
        Rule::OptExpr => vec![optional(QUESTION), call(Rule::Expr)],
        Rule::Literal => vec![Either(
            D::Number,
            vec![
                vec![optional(MINUS), Token(INT)],
                vec![Token(UINT)],
                vec![optional(MINUS), Token(FLOAT)],
                vec![Token(STRING)],
                vec![Token(BYTES)],
                vec![Token(TRUE)],
                vec![Token(FALSE)],
                vec![Token(NULL)],
            ],
        )],
    }
}

pub const RELATIONS: Kinds = one(LESS)
    | one(LESS_EQUALS)
    | one(GREATER_EQUALS)
    | one(GREATER)
    | one(EQUALS)
    | one(NOT_EQUALS)
    | one(IN);
pub const PRODUCTS: Kinds = one(STAR) | one(SLASH) | one(PERCENT);
pub const SUMS: Kinds = one(PLUS) | one(MINUS);

const ALL: [Rule; RULES] = [
    Rule::Start,
    Rule::Expr,
    Rule::Or,
    Rule::And,
    Rule::Relation,
    Rule::Calc,
    Rule::Unary,
    Rule::Member,
    Rule::Primary,
    Rule::ExprList,
    Rule::ListInit,
    Rule::FieldList,
    Rule::OptField,
    Rule::MapList,
    Rule::EscapeIdent,
    Rule::OptExpr,
    Rule::Literal,
];

impl Grammar {
    fn new() -> Grammar {
        let mut grammar = Grammar {
            rules: Vec::new(),
            starts: Vec::new(),
            edges: Vec::new(),
            stops: Vec::new(),
        };
        for rule in ALL {
            let stop = grammar.state();
            grammar.stops[stop] = true;
            let (nodes, start) = grammar.sequence(items(rule), stop);
            grammar.rules.push(nodes);
            grammar.starts.push(start);
        }
        grammar
    }

    fn state(&mut self) -> usize {
        self.edges.push(Vec::new());
        self.stops.push(false);
        self.edges.len() - 1
    }

    /// States for items that stand behind each other, the last of which leads to `after`; and the first state.
    fn sequence(&mut self, items: Vec<Item>, after: usize) -> (Vec<Node>, usize) {
        let mut nodes = Vec::new();
        let mut next = after;
        for item in items.into_iter().rev() {
            let node = self.node(item, next);
            next = node.state;
            nodes.push(node);
        }
        nodes.reverse();
        (nodes, next)
    }

    fn node(&mut self, item: Item, next: usize) -> Node {
        let state = self.state();
        let what = match item {
            Item::Token(kind) => {
                self.edges[state].push(Edge::Kinds(one(kind), next));
                What::Token(kind)
            }
            Item::Set(kinds) => {
                self.edges[state].push(Edge::Kinds(kinds, next));
                What::Set(kinds)
            }
            Item::Call(rule, precedence) => {
                self.edges[state].push(Edge::Call(rule, next));
                What::Call(rule, precedence)
            }
            Item::Maybe(body) => {
                let (body, first) = self.sequence(body, next);
                self.edges[state].extend([Edge::Free(first), Edge::Free(next)]);
                What::Maybe(body)
            }
            Item::Many(decision, body) => {
                let back = self.state();
                self.edges[back].push(Edge::Free(state));
                let (body, first) = self.sequence(body, back);
                self.edges[state].extend([Edge::Free(first), Edge::Free(next)]);
                What::Many {
                    decision,
                    body,
                    back,
                }
            }
            Item::Several(decision, body) => {
                let back = self.state();
                let (body, first) = self.sequence(body, back);
                self.edges[back].extend([Edge::Free(first), Edge::Free(next)]);
                self.edges[state].push(Edge::Free(first));
                What::Several {
                    decision,
                    body,
                    back,
                }
            }
            Item::Either(decision, ways) => {
                let mut nodes = Vec::new();
                for way in ways {
                    let (way, first) = self.sequence(way, next);
                    self.edges[state].push(Edge::Free(first));
                    nodes.push(way);
                }
                What::Either(decision, nodes)
            }
        };
        Node { state, what }
    }

    pub fn rule(&self, rule: Rule) -> &[Node] {
        &self.rules[rule as usize]
    }

    /// What may come at a state, with [`END`] where the rule may end.
    pub fn next(&self, state: usize) -> Kinds {
        if self.stops[state] {
            return END;
        }
        self.edges[state].iter().fold(0, |kinds, edge| {
            kinds
                | match edge {
                    Edge::Free(to) => self.next(*to),
                    Edge::Kinds(kinds, _) => *kinds,
                    Edge::Call(rule, _) => self.first(*rule),
                }
        })
    }

    pub fn first(&self, rule: Rule) -> Kinds {
        self.next(self.starts[rule as usize])
    }

    /// The state behind the one thing that stands at a state: a token, or a call of a rule.
    pub fn behind(&self, state: usize) -> usize {
        match self.edges[state].first() {
            Some(Edge::Free(to) | Edge::Kinds(_, to) | Edge::Call(_, to)) => *to,
            None => state,
        }
    }

    /// What may come at a state within rules that were called from `callers` (the innermost last).
    pub fn expected(&self, state: usize, callers: &[usize]) -> Kinds {
        let mut kinds = self.next(state);
        for caller in callers.iter().rev() {
            if kinds & END == 0 {
                return kinds;
            }
            kinds = kinds & !END | self.next(self.behind(*caller));
        }
        if kinds & END != 0 {
            kinds = kinds & !END | one(EOF);
        }
        kinds
    }
}
