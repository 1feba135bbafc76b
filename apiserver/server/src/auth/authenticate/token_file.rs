//! The static token file: `token,user,uid[,"group1,group2"]`, one a line.
//!
//! Invariant: a token is looked up by its hash, so that the time it takes tells nothing of the tokens there are. The file is read once, at start.
//! Follows `staging/src/k8s.io/apiserver/pkg/authentication/token/tokenfile/tokenfile.go`.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::auth::User;

#[derive(thiserror::Error, Debug)]
pub enum TokenFileError {
    #[error("cannot read the token file {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("token file '{}' must have at least 3 columns (token, user name, user uid), found {found}", path.display())]
    Columns { path: PathBuf, found: usize },
    #[error("token file '{}', line {line}: {what}", path.display())]
    Csv {
        path: PathBuf,
        line: usize,
        what: &'static str,
    },
}

pub struct TokenFile(HashMap<[u8; 32], User>);

impl TokenFile {
    pub fn read(path: &Path) -> Result<TokenFile, TokenFileError> {
        let text = std::fs::read_to_string(path).map_err(|source| TokenFileError::Read {
            path: path.to_owned(),
            source,
        })?;
        TokenFile::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<TokenFile, TokenFileError> {
        let mut tokens = HashMap::new();
        for (at, record) in csv(text, path)?.into_iter().enumerate() {
            let [token, name, uid, ..] = record.as_slice() else {
                return Err(TokenFileError::Columns {
                    path: path.to_owned(),
                    found: record.len(),
                });
            };
            if token.is_empty() {
                tracing::warn!(
                    "empty token has been found in token file '{}', record number '{}'",
                    path.display(),
                    at + 1
                );
                continue;
            }
            let groups = record
                .get(3)
                .map(|groups| groups.split(',').map(str::to_owned).collect())
                .unwrap_or_default();
            let user = User {
                name: name.clone(),
                uid: uid.clone(),
                groups,
                ..User::default()
            };
            if tokens.insert(Sha256::digest(token).into(), user).is_some() {
                tracing::warn!(
                    "duplicate token has been found in token file '{}', record number '{}'",
                    path.display(),
                    at + 1
                );
            }
        }
        Ok(TokenFile(tokens))
    }

    pub fn user(&self, token: &str) -> Option<User> {
        self.0
            .get(&<[u8; 32]>::from(Sha256::digest(token)))
            .cloned()
    }
}

/// Comma-separated values as RFC 4180 has them; empty lines are left out.
fn csv(text: &str, path: &Path) -> Result<Vec<Vec<String>>, TokenFileError> {
    let fail = |line, what| TokenFileError::Csv {
        path: path.to_owned(),
        line,
        what,
    };
    let mut records = Vec::new();
    let mut record: Vec<String> = Vec::new();
    let (mut field, mut line) = (String::new(), 1);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if field.is_empty() => loop {
                match chars.next() {
                    Some('"') if chars.peek() == Some(&'"') => field.extend(chars.next()),
                    Some('"') => match chars.peek() {
                        None | Some(',' | '\n' | '\r') => break,
                        Some(_) => {
                            return Err(fail(line, "extraneous or missing \" in quoted-field"));
                        }
                    },
                    Some(c) => {
                        line += usize::from(c == '\n');
                        field.push(c);
                    }
                    None => return Err(fail(line, "extraneous or missing \" in quoted-field")),
                }
            },
            '"' => return Err(fail(line, "bare \" in non-quoted-field")),
            ',' => record.push(std::mem::take(&mut field)),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                line += 1;
                if !record.is_empty() || !field.is_empty() {
                    record.push(std::mem::take(&mut field));
                    records.push(std::mem::take(&mut record));
                }
            }
            c => field.push(c),
        }
    }
    if !record.is_empty() || !field.is_empty() {
        record.push(field);
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TokenFile, String> {
        TokenFile::parse(text, Path::new("tokens.csv")).map_err(|error| error.to_string())
    }

    #[test]
    fn users_are_read() {
        let file = parse("t1,alice,u1\nt2,bob,u2,\"dev,ops\"\r\n\nt3,carol,u3,dev\n,nobody,u4\nt1,alfred,u5\n\"t\"\"4\",dan,u6,,x").unwrap();
        let user = |token: &str| file.user(token);
        assert_eq!(user("t1").unwrap().name, "alfred", "the later one counts");
        assert_eq!(
            user("t2").unwrap(),
            User {
                uid: "u2".into(),
                ..User::new("bob", &["dev", "ops"])
            }
        );
        assert_eq!(user("t3").unwrap().groups, ["dev"]);
        assert_eq!(user("t\"4").unwrap().groups, [""]);
        for wrong in ["", "t", "T1", "t11", "t1 ", "bob"] {
            assert_eq!(user(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn faults_are_named() {
        let columns = |found: usize| {
            format!(
                "token file 'tokens.csv' must have at least 3 columns (token, user name, user uid), found {found}"
            )
        };
        let table = [
            ("a,b", columns(2)),
            ("a,b,c\nx", columns(1)),
            (
                "a,\"b,c",
                "token file 'tokens.csv', line 1: extraneous or missing \" in quoted-field"
                    .to_owned(),
            ),
            (
                "a,b,c\na,\"b\"x,c",
                "token file 'tokens.csv', line 2: extraneous or missing \" in quoted-field"
                    .to_owned(),
            ),
            (
                "a,b\"x,c",
                "token file 'tokens.csv', line 1: bare \" in non-quoted-field".to_owned(),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text).err().unwrap(), expected, "{text:?}");
        }
        assert!(
            TokenFile::read(Path::new("/nonexistent/tokens"))
                .err()
                .unwrap()
                .to_string()
                .starts_with("cannot read the token file /nonexistent/tokens: ")
        );
    }
}
