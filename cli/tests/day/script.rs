//! The script of the day: chapters of steps, one a file.
//! Invariant: a line that says nothing known is an error, so that no expectation is lost by a slip.
//!
//! `$ LINE` begins a step with a line of the shell, and lines that begin with two spaces go on with it. Then may follow, in any order:
//! `= N` its exit status, 0 unless told; `> TEXT` what it prints holds this; `!> TEXT` … does not hold this; `~ N` the seconds that it and its
//! effects may take, 20 unless told; `? LINE` a line of the shell that comes to succeed, and `: TEXT` all that it prints then.

use std::{path::Path, time::Duration};

pub struct Effect {
    pub line: String,
    pub is: Option<String>,
}

pub struct Step {
    pub number: usize,
    pub line: String,
    pub status: i32,
    pub says: Vec<String>,
    pub never: Vec<String>,
    pub limit: Duration,
    pub effects: Vec<Effect>,
}

pub struct Chapter {
    pub name: String,
    pub steps: Vec<Step>,
}

impl Chapter {
    /// The chapters of a folder, by their names; words of the text are put in for others.
    pub fn all(folder: &Path, words: &[(&str, String)]) -> Vec<Chapter> {
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "txt"))
            .collect();
        files.sort();
        let read = |file: &std::path::PathBuf| {
            let mut text = std::fs::read_to_string(file).unwrap();
            for (word, other) in words {
                text = text.replace(word, other);
            }
            Chapter {
                name: file.file_stem().unwrap().to_string_lossy().into_owned(),
                steps: steps(&text).unwrap_or_else(|why| panic!("{}: {why}", file.display())),
            }
        };
        files.iter().map(read).collect()
    }
}

fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        if line.trim().is_empty() || mark == "#" {
            continue;
        }
        if mark == "$" {
            let limit = Duration::from_secs(20);
            steps.push(Step {
                number: index + 1,
                line: rest.into(),
                status: 0,
                says: Vec::new(),
                never: Vec::new(),
                limit,
                effects: Vec::new(),
            });
            continue;
        }
        let wrong = || format!("line {}: {line:?} says nothing known", index + 1);
        let step = steps.last_mut().ok_or_else(wrong)?;
        match (mark, step.effects.last_mut()) {
            ("=", _) => step.status = rest.parse().map_err(|_| wrong())?,
            (">", _) => step.says.push(rest.into()),
            ("!>", _) => step.never.push(rest.into()),
            ("~", _) => step.limit = Duration::from_secs(rest.parse().map_err(|_| wrong())?),
            ("?", _) => step.effects.push(Effect {
                line: rest.into(),
                is: None,
            }),
            (":", Some(effect)) => match &mut effect.is {
                Some(is) => *is += &format!("\n{rest}"),
                is => *is = Some(rest.into()),
            },
            ("", None) if line.starts_with("  ") => step.line += &format!("\n{}", &line[2..]),
            _ => return Err(wrong()),
        }
    }
    Ok(steps)
}
