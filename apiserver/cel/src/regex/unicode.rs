//! Names of classes of letters in Unicode, as `\\p{...}` asks for them.
//!
//! Invariant: all that are listed are known to the crate, which knows more (other properties, short names of scripts). Follows `unicodeTable` of Go's
//! `regexp/syntax`: how a name is cased, and underscores, blanks and dashes in it, do not matter.

/// General categories by their short and their long names, and sets that have names of their own.
const CATEGORIES: &str = "Any ASCII Assigned C Cc Cf Cn Co Cs L LC Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs \
    Other Control cntrl Format Unassigned Private_Use Surrogate Letter Cased_Letter Lowercase_Letter Modifier_Letter Other_Letter Titlecase_Letter \
    Uppercase_Letter Mark Combining_Mark Spacing_Mark Enclosing_Mark Nonspacing_Mark Number Decimal_Number digit Letter_Number Other_Number Punctuation \
    punct Connector_Punctuation Dash_Punctuation Close_Punctuation Final_Punctuation Initial_Punctuation Other_Punctuation Open_Punctuation Symbol \
    Currency_Symbol Modifier_Symbol Math_Symbol Other_Symbol Separator Line_Separator Paragraph_Separator Space_Separator";

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

/// The class of a name, as the crate names it.
pub fn known(name: &str) -> Option<&'static str> {
    let mut all = CATEGORIES
        .split_ascii_whitespace()
        .chain(SCRIPTS.split_ascii_whitespace());
    all.find(|known| letters(known).eq(letters(name)))
}

/// What of a name matters.
fn letters(name: &str) -> impl Iterator<Item = char> {
    let plain = name.chars().filter(|c| !matches!(c, '_' | '-' | ' '));
    plain.map(|c| c.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_knows_them_all() {
        let all = CATEGORIES
            .split_whitespace()
            .chain(SCRIPTS.split_whitespace());
        for name in all {
            let known = crate::regex::Pattern::new(&format!("\\p{{{name}}}[\\P{{{name}}}]"));
            assert!(known.is_ok(), "{name}: {known:?}");
        }
    }

    #[test]
    fn how_a_name_is_written() {
        for (name, class) in [
            ("L", Some("L")),
            ("lc", Some("LC")),
            ("Greek", Some("Greek")),
            ("old italic", Some("Old_Italic")),
            ("uppercaseletter", Some("Uppercase_Letter")),
            ("Grek", None),
            ("isL", None),
            ("Alphabetic", None),
            ("sc=Greek", None),
            ("", None),
        ] {
            assert_eq!(known(name), class, "{name}");
        }
    }
}
