//! The demo's words in each of its languages: a file a language, with a line a word.
//!
//! Invariant: all languages have the same words with the same places for what is filled in; a test holds them to it.

use std::collections::HashMap;

const LANGUAGES: [(&str, &str); 2] = [
    ("en", include_str!("words/en.txt")),
    ("fr", include_str!("words/fr.txt")),
];

/// The words of one language.
#[derive(Clone, Debug)]
pub struct Words {
    /// Its code, as HTML has it.
    pub language: &'static str,
    words: HashMap<&'static str, &'static str>,
}

fn lines(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(" = "))
}

impl Words {
    /// Those of a language; nothing for one that is not known.
    pub fn of(language: &str) -> Option<Words> {
        let (language, text) = LANGUAGES.iter().find(|(name, _)| *name == language)?;
        Some(Words {
            language,
            words: lines(text).collect(),
        })
    }

    /// The codes of all languages.
    pub fn languages() -> String {
        LANGUAGES.map(|(name, _)| name).join(", ")
    }

    /// What a word is in this language, `{}` filled in one after the other; a word that is missing stands for itself.
    pub fn say(&self, word: &str, with: &[&dyn std::fmt::Display]) -> String {
        let mut pieces = self.words.get(word).copied().unwrap_or(word).split("{}");
        let mut said = pieces.next().unwrap_or_default().to_owned();
        for (place, piece) in pieces.enumerate() {
            said += &with.get(place).map(ToString::to_string).unwrap_or_default();
            said += piece;
        }
        said
    }

    /// The same without anything to fill in.
    pub fn word(&self, word: &str) -> String {
        self.say(word, &[])
    }

    /// A number with so many decimals, as the language writes it.
    pub fn number(&self, value: f64, decimals: usize) -> String {
        let text = format!("{value:.decimals$}");
        match self.language {
            "fr" => text.replace('.', ","),
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn all_languages_have_all_words() {
        let shapes = |text: &'static str| -> BTreeMap<&str, usize> {
            lines(text)
                .map(|(word, said)| (word, said.matches("{}").count()))
                .collect()
        };
        let first = shapes(LANGUAGES[0].1);
        assert!(first.len() > 20);
        for (name, text) in LANGUAGES {
            assert_eq!(shapes(text), first, "{name}");
            let written = text.lines().filter(|line| !line.is_empty());
            let written = written.filter(|line| !line.starts_with('#')).count();
            assert_eq!(
                written,
                first.len(),
                "{name} says something twice, or not at all"
            );
        }
        assert!(Words::of("xx").is_none());
    }

    /// What the code says are words that there are.
    #[test]
    fn no_word_is_missing() {
        let words = Words::of("en").unwrap();
        let sources = [
            include_str!("mod.rs"),
            include_str!("acts.rs"),
            include_str!("outcome.rs"),
            include_str!("report.rs"),
            include_str!("tell.rs"),
            include_str!("view.rs"),
            include_str!("watch.rs"),
            include_str!("ground.rs"),
        ];
        for source in sources {
            for call in ["say(\"", "word(\"", "act(\"", "omit(\""] {
                let uses = source.split(call).skip(1);
                for word in uses.filter_map(|rest| rest.split('"').next()) {
                    assert!(words.words.contains_key(word), "{word}");
                }
            }
        }
        // those of the page stand in its form
        let page = include_str!("page.html");
        for word in words.words.keys() {
            let quoted = format!("\"{word}\"");
            let said = sources.iter().any(|source| source.contains(&quoted));
            assert!(
                said || page.contains(&format!("{{{{{word}}}}}")),
                "nobody says {word}"
            );
        }
    }

    #[test]
    fn what_is_filled_in() {
        let words = Words::of("fr").unwrap();
        assert_eq!(
            words.say("no such word {} {}", &[&1, &"b"]),
            "no such word 1 b"
        );
        assert_eq!(words.number(1.25, 1), "1,2");
        assert_eq!(Words::of("en").unwrap().number(1.25, 2), "1.25");
    }
}
