//! What was written of the objects before: those of one owner, or of one template, say most in the same words, which are made into messages once.
//!
//! Invariant: what is found here is what would be written anew, as a field of a type has one form for one text. It takes no more than [`SLOTS`] times
//! twice [`MOST`] bytes.

/// How many values are remembered at most, each in one place of its own.
const SLOTS: usize = 128;
/// Texts that are shorter than this are written as soon as they are looked up.
const LEAST: usize = 24;
/// Longer ones are not remembered.
const MOST: usize = 8 * 1024;
/// Of a field whose texts were so often all different, only one of [`RARELY`] is remembered.
const PATIENCE: u8 = 4;
const RARELY: u8 = 32;

/// A field of a type: the index of the type, and that of the field in it.
pub type Of = (u32, u16);

/// The value of a field, as it was told last.
#[derive(Default)]
struct Value {
    of: Of,
    /// Empty: there is none.
    text: Vec<u8>,
    written: Vec<u8>,
    /// How often it was another since it was the same.
    missed: u8,
}

#[derive(Default)]
pub struct Known(Vec<Value>);

impl Known {
    /// Nothing is remembered of a first object, which may be the only one.
    pub fn begin(&mut self) {
        self.0.resize_with(SLOTS, Value::default);
    }

    /// Writes the field, if its value is the one that was told last in this place; tells how long its text is. `rest` is the text from the value on: objects and
    /// lists say themselves where they end.
    pub fn write(&mut self, of: Of, place: usize, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let value = self.0.get_mut(place % SLOTS)?;
        if value.of != of || value.text.is_empty() || !rest.starts_with(&value.text) {
            return None;
        }
        value.missed = 0;
        out.extend_from_slice(&value.written);
        Some(value.text.len())
    }

    /// Remembers the value of a field, whose text is an object or a list.
    pub fn put(&mut self, of: Of, place: usize, text: &[u8], written: &[u8]) {
        let Some(value) = self.0.get_mut(place % SLOTS) else {
            return;
        };
        if !(LEAST..=MOST).contains(&text.len()) {
            return;
        }
        if value.of != of {
            value.of = of;
            value.missed = 0;
        }
        value.missed = value.missed.wrapping_add(1);
        if value.missed > PATIENCE && value.missed % RARELY != 0 {
            return;
        }
        value.text.clear();
        value.text.extend_from_slice(text);
        value.written.clear();
        value.written.extend_from_slice(written);
    }
}
