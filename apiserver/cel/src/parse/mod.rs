//! From text to tree: tokens, grammar, macros, and the words for what does not fit.
//!
//! Invariant: a tree comes out only where nothing was told. The grammar is upstream's (`vendor/github.com/google/cel-go/parser/gen/CEL.g4`).

mod balance;
mod grammar;
mod ids;
mod lexer;
mod macros;
mod numbers;
mod parser;
mod recovery;
mod unescape;

pub use parser::parse;
