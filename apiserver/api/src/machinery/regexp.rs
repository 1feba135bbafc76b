//! Whether a text is a regular expression of Go's, and what Go says where it is none.
//!
//! Invariant: nothing is compiled; the words, and the part of the expression that they show, are Go's.
//! Follows the syntax of Go's package `regexp/syntax` with Perl's extensions.

use std::fmt;

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    pub code: Code,
    /// The part of the expression.
    pub part: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    CharRange,
    Escape,
    NamedCapture,
    PerlOp,
    RepeatOp,
    RepeatSize,
    MissingBracket,
    MissingParen,
    MissingRepeatArgument,
    TrailingBackslash,
    UnexpectedParen,
    NestingDepth,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.code {
            Code::CharRange => "invalid character class range",
            Code::Escape => "invalid escape sequence",
            Code::NamedCapture => "invalid named capture",
            Code::PerlOp => "invalid or unsupported Perl syntax",
            Code::RepeatOp => "invalid nested repetition operator",
            Code::RepeatSize => "invalid repeat count",
            Code::MissingBracket => "missing closing ]",
            Code::MissingParen => "missing closing )",
            Code::MissingRepeatArgument => "missing argument to repetition operator",
            Code::TrailingBackslash => "trailing backslash at end of expression",
            Code::UnexpectedParen => "unexpected )",
            Code::NestingDepth => "expression nests too deeply",
        };
        write!(f, "error parsing regexp: {words}: `{}`", self.part)
    }
}

impl std::error::Error for SyntaxError {}

/// How deep groups may nest.
const DEEPEST: usize = 1000;
/// How often something may be repeated, repetitions within repetitions multiplied.
const MOST: u64 = 1000;

/// Whether Go reads the expression.
///
/// # Errors
/// What Go says.
pub fn check(expression: &str) -> Result<(), SyntaxError> {
    Parser {
        whole: expression,
        groups: vec![Group::default()],
    }
    .run()
}

/// What stands open: the expression itself, or a group.
#[derive(Default)]
struct Group {
    /// The repetitions in what came last, multiplied; `None` when nothing is there to be repeated.
    last: Option<u64>,
    /// The largest of all in the group.
    most: u64,
}

struct Parser<'t> {
    whole: &'t str,
    groups: Vec<Group>,
}

type Rest<'t> = Result<&'t str, SyntaxError>;

fn error<T>(code: Code, part: &str) -> Result<T, SyntaxError> {
    Err(SyntaxError {
        code,
        part: part.into(),
    })
}

/// What of `text` comes before `rest`, its end.
fn before<'t>(text: &'t str, rest: &str) -> &'t str {
    &text[..text.len() - rest.len()]
}

/// The first letter and what follows it.
fn split(text: &str) -> Option<(char, &str)> {
    let mut letters = text.chars();
    Some((letters.next()?, letters.as_str()))
}

impl<'t> Parser<'t> {
    fn run(mut self) -> Result<(), SyntaxError> {
        let mut rest = self.whole;
        // the repetition that came just before, from its operator to the end of the expression
        let mut repeated: Option<&str> = None;
        while let Some((letter, after)) = split(rest) {
            let mut repeats = None;
            rest = match letter {
                '(' if after.starts_with('?') => self.flags(rest)?,
                '(' => self.open(after)?,
                ')' => self.close(after)?,
                '|' => {
                    self.top().last = None;
                    after
                }
                '[' => self.operand(class(rest)?),
                '\\' => self.operand(escaped(rest)?),
                '*' | '+' | '?' => {
                    repeats = Some(rest);
                    self.repeat(rest, after, repeated, None)?
                }
                '{' => match counts(after) {
                    Some((min, max, after)) => {
                        repeats = Some(rest);
                        self.counted(rest, after, repeated, min, max)?
                    }
                    None => self.operand(after),
                },
                _ => self.operand(after),
            };
            repeated = repeats;
        }
        if self.groups.len() > 1 {
            return error(Code::MissingParen, self.whole);
        }
        Ok(())
    }

    fn top(&mut self) -> &mut Group {
        let at = self.groups.len() - 1;
        &mut self.groups[at]
    }

    /// Something that may be repeated.
    fn operand(&mut self, rest: &'t str) -> &'t str {
        self.weighs(1);
        rest
    }

    fn weighs(&mut self, weight: u64) {
        let top = self.top();
        top.last = Some(weight);
        top.most = top.most.max(weight);
    }

    fn open(&mut self, rest: &'t str) -> Rest<'t> {
        self.groups.push(Group::default());
        if self.groups.len() > DEEPEST {
            return error(Code::NestingDepth, self.whole);
        }
        Ok(rest)
    }

    fn close(&mut self, rest: &'t str) -> Rest<'t> {
        if self.groups.len() == 1 {
            return error(Code::UnexpectedParen, self.whole);
        }
        let most = self.groups.pop().map_or(1, |group| group.most.max(1));
        self.weighs(most);
        Ok(rest)
    }

    /// `(?...`: a name, flags, or a group that captures nothing.
    fn flags(&mut self, text: &'t str) -> Rest<'t> {
        let begun = &text[2..];
        let named = begun.strip_prefix("P<").filter(|name| !name.is_empty());
        let plain = || begun.strip_prefix('<').filter(|name| !name.is_empty());
        if let Some(name) = named.or_else(plain) {
            let Some((name, rest)) = name.split_once('>') else {
                return error(Code::NamedCapture, text);
            };
            let good = |c: char| c == '_' || c.is_ascii_alphanumeric();
            if name.is_empty() || !name.chars().all(good) {
                return error(Code::NamedCapture, before(text, rest));
            }
            return self.open(rest);
        }
        let (mut rest, mut negated, mut seen) = (begun, false, false);
        while let Some((letter, after)) = split(rest) {
            rest = after;
            match letter {
                'i' | 'm' | 's' | 'U' => seen = true,
                '-' if !negated => (negated, seen) = (true, false),
                ':' if !negated || seen => return self.open(rest),
                ')' if !negated || seen => return Ok(rest),
                _ => return error(Code::PerlOp, before(text, rest)),
            }
        }
        error(Code::PerlOp, text)
    }

    /// A repetition that begins at `text` and ends before `after`.
    fn repeat(
        &mut self,
        text: &str,
        after: &'t str,
        repeated: Option<&str>,
        times: Option<u64>,
    ) -> Rest<'t> {
        let after = after.strip_prefix('?').unwrap_or(after);
        if let Some(repeated) = repeated {
            return error(Code::RepeatOp, before(repeated, after));
        }
        let Some(weight) = self.top().last else {
            return error(Code::MissingRepeatArgument, before(text, after));
        };
        self.weighs(match times {
            Some(0) => 1,
            Some(times) => weight.saturating_mul(times),
            None => weight,
        });
        Ok(after)
    }

    /// `{min,max}`; without a `max` there is no most.
    fn counted(
        &mut self,
        text: &str,
        after: &'t str,
        repeated: Option<&str>,
        min: Option<u64>,
        max: Option<Option<u64>>,
    ) -> Rest<'t> {
        let whole = before(text, after);
        let (Some(min), limit) = (min, max.unwrap_or(Some(MOST))) else {
            return error(Code::RepeatSize, whole);
        };
        let Some(limit) = limit.filter(|limit| *limit <= MOST) else {
            return error(Code::RepeatSize, whole);
        };
        if min > MOST || min > limit {
            return error(Code::RepeatSize, whole);
        }
        let times = if max.is_some() { limit } else { min };
        let after = self.repeat(text, after, repeated, Some(times))?;
        let too_many = self.top().last.is_some_and(|weight| weight > MOST);
        if too_many && times.max(min) >= 2 {
            return error(Code::RepeatSize, before(text, after));
        }
        Ok(after)
    }
}

type Counts<'t> = (Option<u64>, Option<Option<u64>>, &'t str);

/// What stands in `{}`: the least, the most if there is one, and what follows. Numbers that are too large are `None`. What is no repetition is a text.
fn counts(text: &str) -> Option<Counts<'_>> {
    let (min, rest) = count(text)?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((min, Some(min), rest));
    }
    let rest = rest.strip_prefix(',')?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((min, None, rest));
    }
    let (max, rest) = count(rest)?;
    Some((min, Some(max), rest.strip_prefix('}')?))
}

fn count(text: &str) -> Option<(Option<u64>, &str)> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(length);
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().ok(), rest))
}

/// A class of characters in brackets.
fn class(text: &str) -> Rest<'_> {
    let mut rest = &text[1..];
    rest = rest.strip_prefix('^').unwrap_or(rest);
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if let Some(after) = named_class(rest)? {
            rest = after;
            continue;
        }
        if let Some(after) = shared_class(rest)? {
            rest = after;
            continue;
        }
        let range = rest;
        let (low, after) = class_letter(rest, text)?;
        rest = after;
        if let Some(after) = rest.strip_prefix('-')
            && !after.is_empty()
            && !after.starts_with(']')
        {
            let (high, after) = class_letter(after, text)?;
            rest = after;
            if high < low {
                return error(Code::CharRange, before(range, rest));
            }
        }
    }
    Ok(&rest[1..])
}

fn class_letter<'t>(text: &'t str, class: &str) -> Result<(u32, &'t str), SyntaxError> {
    match split(text) {
        None => error(Code::MissingBracket, class),
        Some(('\\', _)) => letter(text),
        Some((letter, rest)) => Ok((letter as u32, rest)),
    }
}

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// `[:alpha:]` within brackets; `None` where there is none.
fn named_class(text: &str) -> Result<Option<&str>, SyntaxError> {
    let Some((name, rest)) = text
        .strip_prefix("[:")
        .and_then(|begun| begun.split_once(":]"))
    else {
        return Ok(None);
    };
    if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return error(Code::CharRange, before(text, rest));
    }
    Ok(Some(rest))
}

/// `\pL`, `\p{Greek}` and `\d`, which stand within brackets and outside; `None` where there is none.
fn shared_class(text: &str) -> Result<Option<&str>, SyntaxError> {
    let Some((kind, begun)) = text.strip_prefix('\\').and_then(split) else {
        return Ok(None);
    };
    match kind {
        'd' | 'D' | 's' | 'S' | 'w' | 'W' => Ok(Some(begun)),
        'p' | 'P' => {
            let (name, rest) = match begun.strip_prefix('{') {
                Some(begun) => match begun.split_once('}') {
                    Some(found) => found,
                    None => return error(Code::CharRange, text),
                },
                None => begun.split_at(begun.chars().next().map_or(0, char::len_utf8)),
            };
            if !is_unicode_class(name.strip_prefix('^').unwrap_or(name)) {
                return error(Code::CharRange, before(text, rest));
            }
            Ok(Some(rest))
        }
        _ => Ok(None),
    }
}

/// What a backslash begins outside of brackets.
fn escaped(text: &str) -> Rest<'_> {
    match split(&text[1..]) {
        Some(('A' | 'b' | 'B' | 'z', rest)) => return Ok(rest),
        Some(('C', rest)) => return error(Code::Escape, before(text, rest)),
        Some(('Q', rest)) => return Ok(rest.split_once("\\E").map_or("", |(_, rest)| rest)),
        _ => {}
    }
    match shared_class(text)? {
        Some(rest) => Ok(rest),
        None => letter(text).map(|(_, rest)| rest),
    }
}

/// An escaped letter.
fn letter(text: &str) -> Result<(u32, &str), SyntaxError> {
    let Some((escape, rest)) = split(&text[1..]) else {
        return error(Code::TrailingBackslash, "");
    };
    let octal = |rest: &str| rest.starts_with(|c: char| c.is_digit(8));
    match escape {
        '0'..='7' if escape == '0' || octal(rest) => {
            let digits = rest.chars().take(2).take_while(|c| c.is_digit(8)).count();
            let value = u32::from_str_radix(before(&text[1..], &rest[digits..]), 8);
            Ok((value.unwrap_or(0), &rest[digits..]))
        }
        'x' => hexadecimal(text, rest),
        'a' => Ok((0x7, rest)),
        'f' => Ok((0xc, rest)),
        'n' => Ok((0xa, rest)),
        'r' => Ok((0xd, rest)),
        't' => Ok((0x9, rest)),
        'v' => Ok((0xb, rest)),
        other if other.is_ascii() && !other.is_ascii_alphanumeric() => Ok((other as u32, rest)),
        _ => error(Code::Escape, before(text, rest)),
    }
}

fn hexadecimal<'t>(text: &'t str, begun: &'t str) -> Result<(u32, &'t str), SyntaxError> {
    let mut rest = begun;
    let mut next = || {
        let (letter, after) = split(rest)?;
        rest = after;
        Some(letter)
    };
    let mut value = 0;
    let good = match next() {
        Some('{') => loop {
            match next() {
                Some('}') => break begun.len() > 2 && !begun.starts_with("{}"),
                Some(letter) => match letter.to_digit(16) {
                    Some(digit) if value * 16 + digit <= 0x10_ffff => value = value * 16 + digit,
                    _ => break false,
                },
                None => break false,
            }
        },
        Some(high) => match (high.to_digit(16), next().and_then(|low| low.to_digit(16))) {
            (Some(high), Some(low)) => {
                value = high * 16 + low;
                true
            }
            _ => false,
        },
        None => false,
    };
    if good {
        Ok((value, rest))
    } else {
        error(Code::Escape, before(text, rest))
    }
}

/// General categories, and `Any`.
const CATEGORIES: &str = "Any C Cc Cf Cn Co Cs L LC Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs";

/// Scripts, by the names that Go gives them.
const SCRIPTS: &str = "Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali Bhaiksuki Bopomofo Brahmi Braille \
    Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee Chorasmian Common Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic \
    Deseret Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati \
    Gunjala_Gondi Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi \
    Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kawi Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki Khudawadi Lao Latin Lepcha Limbu \
    Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui \
    Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean Nag_Mundari Nandinagari New_Tai_Lue Newa Nko Nushu \
    Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic \
    Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada \
    Shavian Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri \
    Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi Zanabazar_Square";

fn is_unicode_class(name: &str) -> bool {
    let mut all = CATEGORIES.split(' ').chain(SCRIPTS.split_whitespace());
    all.any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_reads() {
        for good in [
            "",
            "^[a-z]+$",
            "a{2,3}?b{,2}{",
            "a{x}",
            "[]a]",
            "[^]a-]",
            "[[:alpha:]\\d\\pL-]",
            "(?i)a(?P<n>b)(?<m>c)(?-s:d)",
            "(\\Qa(\\E)?x*",
            "\\x{10ffff}\\x41\\012\\.\\p{^Greek}",
            "(a{10}){100}",
            "^*",
            "é*",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_go_does_not_read() {
        for (bad, said) in [
            ("a(b", "missing closing ): `a(b`"),
            ("a)b", "unexpected ): `a)b`"),
            ("x[a", "missing closing ]: `[a`"),
            ("[]", "missing closing ]: `[]`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("a|+?b", "missing argument to repetition operator: `+?`"),
            ("(*)", "missing argument to repetition operator: `*`"),
            ("a**b", "invalid nested repetition operator: `**`"),
            ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
            ("a{3,2}", "invalid repeat count: `{3,2}`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("(a{100}){11}", "invalid repeat count: `{11}`"),
            ("a\\", "trailing backslash at end of expression: ``"),
            ("\\8", "invalid escape sequence: `\\8`"),
            ("\\x4g", "invalid escape sequence: `\\x4g`"),
            ("\\x{}", "invalid escape sequence: `\\x{}`"),
            ("\\C", "invalid escape sequence: `\\C`"),
            ("\\p{Foo}", "invalid character class range: `\\p{Foo}`"),
            ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
            ("(?<=a)", "invalid named capture: `(?<=a)`"),
            ("(?P<a b>c)", "invalid named capture: `(?P<a b>`"),
        ] {
            let problem = check(bad).unwrap_err();
            assert_eq!(
                problem.to_string(),
                format!("error parsing regexp: {said}"),
                "{bad}"
            );
        }
    }
}
