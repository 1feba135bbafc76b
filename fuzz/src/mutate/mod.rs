//! Makes inputs of others. Texts are changed as what they are: JSON as a tree, others by their words.

mod json;
mod text;

use crate::{Form, LONGEST, Random, Target};

/// An input with some changes, of at most [`LONGEST`] bytes.
pub fn mutate(input: &[u8], target: &Target, others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut data = input.to_vec();
    for _ in 0..=random.length(6) {
        data = match target.form {
            Form::Bytes => bytes(data, others, random),
            Form::Texts => one_part(&data, target, others, random),
        };
        data.truncate(LONGEST);
    }
    data
}

fn one_part(data: &[u8], target: &Target, others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> = data.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    let at = random.below(parts.len());
    let other: Vec<&[u8]> = random
        .of(others)
        .map_or_else(Vec::new, |other| other.split(|byte| *byte == 0).collect());
    // the same part of another one, as a rule
    let at_other = if random.one_in(8) {
        random.below(other.len())
    } else {
        at
    };
    let other = other.get(at_other).copied().unwrap_or_default();
    if random.one_in(12) {
        parts[at] = other.to_vec();
    } else if !random.one_in(5)
        && let Some(changed) = json::changed(&parts[at], other, target.words, random)
    {
        parts[at] = changed;
    } else {
        parts[at] = text::changed(&parts[at], other, target.words, random);
    }
    parts.join(&0)
}

fn bytes(mut data: Vec<u8>, others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let at = random.below(data.len() + 1);
    let end = at + random.length(data.len() - at);
    match random.below(9) {
        0 => drop(data.drain(at..end)),
        1 => {
            if let Some(byte) = data.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        2 => {
            if let Some(byte) = data.get_mut(at) {
                *byte = *random.of(&[0, 1, 0x7f, 0x80, 0xff]).unwrap_or(&0);
            }
        }
        3 => {
            let piece = data[at..end].repeat(1 + random.length(64));
            data.splice(at..at, piece);
        }
        4 => {
            let other = random.of(others).cloned().unwrap_or_default();
            let from = random.below(other.len() + 1);
            let to = from + random.length(other.len() - from);
            data.splice(at..end, other[from..to].iter().copied());
        }
        5 => {
            let word = random.number().to_le_bytes();
            let word = &word[..1 + random.below(8)];
            data.splice(at..at, word.iter().copied());
        }
        // a number of several bytes, of either order or as a varint
        6 => {
            let most = *random
                .of(&[
                    u64::MAX,
                    i64::MAX as u64,
                    u64::from(u32::MAX),
                    i32::MAX as u64,
                    0,
                    1,
                ])
                .unwrap_or(&0);
            let word = most.to_le_bytes();
            data.splice(at..(at + 4).min(data.len()), word[..4].iter().copied());
        }
        7 => drop(data.splice(at..at, [0xff; 9].into_iter().chain([1]))),
        _ => data.truncate(at),
    }
    data
}
