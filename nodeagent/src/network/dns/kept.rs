//! Answers that were given before, ready to be given again: what most clients ask is answered by a look into a table and a copy.
//!
//! Invariant: an answer is given only to the same question, down to flags and EDNS (letters may be large or small, and come back as they were asked), and only
//! as long as nothing that answers are made from has changed. Addresses take turns. Follows RFC 1035, section 4.1, and RFC 6891, section 6.1.

use std::collections::HashMap;

/// How many answers are kept; then all are forgotten, as a client may ask for any number of names that do not exist.
const MOST: usize = 4096;
/// Answers larger than this are rare.
const LARGEST: usize = 1232;
/// Length of a message's header.
pub const HEADER: usize = 12;
/// Of a question, after its name.
const TYPE_AND_CLASS: usize = 4;
/// An OPT record without options.
const OPT: usize = 11;
const OPT_TYPE: [u8; 2] = [0, 41];
/// Types of records that have nothing but an address: A and AAAA.
const ADDRESSES: [[u8; 2]; 2] = [[0, 1], [0, 28]];
/// Of a record, beside its data: a name that refers to the question's, type, class, time to live, length.
const RECORD: usize = 12;

/// A plain question: one name, one type, no more than EDNS without options beside it.
#[derive(Debug)]
pub struct Question<'a> {
    message: &'a [u8],
    /// Where the name ends.
    name: usize,
}

impl<'a> Question<'a> {
    /// `None`: it is something else, and may be anything.
    pub fn of(message: &'a [u8]) -> Option<Self> {
        let [_, _, flags, _, 0, 1, 0, 0, 0, 0, 0, further, ..] = *message else {
            return None;
        };
        // a question, of the usual kind
        if flags & 0xf8 != 0 || further > 1 {
            return None;
        }
        let name = name_end(message)?;
        let rest = message.get(name + TYPE_AND_CLASS..)?;
        let plain = match (further, rest) {
            (0, []) => true,
            (1, [0, high, low, .., 0, 0]) => rest.len() == OPT && [*high, *low] == OPT_TYPE,
            _ => false,
        };
        plain.then_some(Question { message, name })
    }

    /// The same, all letters small.
    pub fn lower(&self) -> Vec<u8> {
        let mut bytes = self.message.to_vec();
        // lengths of labels are below all letters
        bytes[HEADER..self.name].make_ascii_lowercase();
        bytes
    }

    /// All of it but its number, letters small: what an answer is kept by.
    pub fn key(&self) -> Vec<u8> {
        self.lower().split_off(2)
    }

    /// Makes an answer to [`Question::lower`] one to this: its number, and the name in its own letters.
    pub fn adopt(&self, answer: &mut [u8]) {
        answer[..2].copy_from_slice(&self.message[..2]);
        let name = &self.message[HEADER..self.name];
        if let Some(repeated) = answer.get_mut(HEADER..self.name)
            && repeated.eq_ignore_ascii_case(name)
        {
            repeated.copy_from_slice(name);
        }
    }
}

/// Where the name of a message's first question ends.
fn name_end(message: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        match usize::from(*message.get(at)?) {
            0 => return (at - HEADER < 255).then_some(at + 1),
            length if length < 64 => at += 1 + length,
            // it refers to another place
            _ => return None,
        }
    }
}

struct Answer {
    generation: u64,
    bytes: Box<[u8]>,
    turns: Option<Turns>,
}

/// Records that are of one length, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turns {
    at: usize,
    length: usize,
    count: usize,
}

/// See the module.
#[derive(Default)]
pub struct Kept {
    answers: HashMap<Box<[u8]>, Answer>,
    key: Vec<u8>,
}

impl Kept {
    /// Writes the answer of that generation; false if there is none. `turn` is any number.
    pub fn answer(
        &mut self,
        question: &Question,
        generation: u64,
        turn: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        self.key.clear();
        self.key.extend(&question.message[2..]);
        self.key[HEADER - 2..question.name - 2].make_ascii_lowercase();
        let answer = self.answers.get(&*self.key);
        let Some(answer) = answer.filter(|answer| answer.generation == generation) else {
            return false;
        };
        answer.write(question, turn, out);
        true
    }

    /// Keeps what [`Question::lower`] is answered, if it can be given again.
    pub fn keep(&mut self, lower: &[u8], generation: u64, answer: &[u8]) {
        let Some(question) = Question::of(lower) else {
            return;
        };
        let asked = &lower[HEADER..question.name + TYPE_AND_CLASS];
        if answer.len() > LARGEST || answer.get(HEADER..HEADER + asked.len()) != Some(asked) {
            return;
        }
        let count = usize::from(u16::from_be_bytes([answer[6], answer[7]]));
        let turns = turns(answer, HEADER + asked.len(), count);
        if count > 1 && turns.is_none() {
            return;
        }
        if self.answers.len() >= MOST {
            self.answers.clear();
        }
        let bytes = answer.into();
        let answer = Answer {
            generation,
            bytes,
            turns,
        };
        self.answers.insert(lower[2..].into(), answer);
    }
}

impl Answer {
    fn write(&self, question: &Question, turn: usize, out: &mut Vec<u8>) {
        let start = out.len();
        match self.turns {
            None => out.extend(&self.bytes),
            Some(Turns { at, length, count }) => {
                let (before, rest) = self.bytes.split_at(at);
                let (records, after) = rest.split_at(length * count);
                let (last, first) = records.split_at(length * (turn % count));
                for part in [before, first, last, after] {
                    out.extend(part);
                }
            }
        }
        question.adopt(&mut out[start..]);
    }
}

/// Where the records at `at` may take turns: they are all addresses of the name that was asked for.
fn turns(answer: &[u8], at: usize, count: usize) -> Option<Turns> {
    let first = answer.get(at..at + RECORD)?;
    let length = RECORD + usize::from(u16::from_be_bytes([first[10], first[11]]));
    let records = answer.get(at..at + length * count)?;
    let same = |record: &[u8]| {
        record[0] >= 0xc0
            && ADDRESSES.contains(&[record[2], record[3]])
            && record[..RECORD] == *first
    };
    let all = count > 1 && records.chunks_exact(length).all(same);
    all.then_some(Turns { at, length, count })
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use hickory_server::proto::{
        op::{Edns, Message, Query},
        rr::{
            Name, RData, Record, RecordType,
            rdata::{A, CNAME},
        },
    };

    use super::*;

    fn question(name: &str, edns: bool) -> Message {
        let mut message = Message::query();
        message.metadata.id = 7;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        if edns {
            message.set_edns(Edns::new());
        }
        message
    }

    fn answer(to: &[u8], addresses: &[u8]) -> Vec<u8> {
        let asked = Message::from_vec(to).unwrap();
        let mut message = Message::response(asked.metadata.id, asked.metadata.op_code);
        message.add_query(asked.queries[0].clone());
        for last in addresses {
            let data = RData::A(A::new(10, 0, 0, *last));
            message.add_answer(Record::from_rdata(
                asked.queries[0].name().clone(),
                30,
                data,
            ));
        }
        message.to_vec().unwrap()
    }

    #[test]
    fn plain_questions_are_told_from_others() {
        let plain = question("a.example.", false).to_vec().unwrap();
        assert!(Question::of(&plain).is_some());
        let edns = question("a.example.", true).to_vec().unwrap();
        assert!(Question::of(&edns).is_some());
        let with = |at: usize, value: u8| {
            let mut bytes = plain.clone();
            bytes[at] = value;
            bytes
        };
        let others = [
            with(2, 0x80),
            with(2, 0x28),
            with(5, 2),
            with(7, 1),
            with(11, 1),
            with(12, 0xc0),
            with(12, 63),
            [&plain[..], &[0]].concat(),
            plain[..plain.len() - 1].to_vec(),
            plain[..11].to_vec(),
            vec![],
        ];
        for other in others {
            assert!(Question::of(&other).is_none(), "{other:?}");
        }
        let mut options = edns.clone();
        *options.last_mut().unwrap() = 4;
        options.extend([0, 1, 0, 0]);
        assert!(Question::of(&options).is_none(), "EDNS with an option");
        let long = [&plain[..12], &[1, b'a'].repeat(130), &[0, 0, 1, 0, 1]].concat();
        assert!(Question::of(&long).is_none(), "a name that is too long");
    }

    #[test]
    fn answers_come_back_as_they_were_asked() {
        let mut kept = Kept::default();
        let asked = question("Web.NS.example.", false).to_vec().unwrap();
        let plain = Question::of(&asked).unwrap();
        let lower = plain.lower();
        kept.keep(&lower, 1, &answer(&lower, &[1, 2, 3]));
        let mut seen = Vec::new();
        for turn in 0..3 {
            let mut out = vec![9];
            assert!(kept.answer(&plain, 1, turn, &mut out));
            let message = Message::from_vec(&out[1..]).unwrap();
            assert_eq!(message.metadata.id, 7);
            assert_eq!(message.queries[0].name().to_string(), "Web.NS.example.");
            assert_eq!(message.answers[0].name.to_string(), "Web.NS.example.");
            let all: Vec<_> = message.answers.iter().map(|r| r.data.to_string()).collect();
            assert_eq!(all.len(), 3);
            seen.push(all[0].clone());
        }
        seen.sort();
        assert_eq!(
            seen,
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
            "they take turns"
        );
        let mut out = Vec::new();
        assert!(!kept.answer(&plain, 2, 0, &mut out), "something changed");
        let edns = question("web.ns.example.", true).to_vec().unwrap();
        let edns = Question::of(&edns).unwrap();
        assert!(
            !kept.answer(&edns, 1, 0, &mut out),
            "EDNS is another question"
        );
        assert!(out.is_empty());
    }

    #[test]
    fn what_cannot_take_turns_is_not_kept() {
        let mut kept = Kept::default();
        let asked = question("a.example.", false).to_vec().unwrap();
        let plain = Question::of(&asked).unwrap();
        let mut message = Message::from_vec(&answer(&asked, &[1])).unwrap();
        let other = Name::from_str("b.example.").unwrap();
        let alias = RData::CNAME(CNAME(other));
        let own = message.queries[0].name().clone();
        message
            .answers
            .insert(0, Record::from_rdata(own, 30, alias));
        kept.keep(&asked, 1, &message.to_vec().unwrap());
        let mut out = Vec::new();
        assert!(!kept.answer(&plain, 1, 0, &mut out));
        kept.keep(&asked, 1, &[0; 12]);
        assert!(!kept.answer(&plain, 1, 0, &mut out), "no answer to that");
    }

    #[test]
    fn what_was_cut_to_fit_is_kept_as_it_is() {
        let mut kept = Kept::default();
        let asked = question("a.example.", false).to_vec().unwrap();
        let plain = Question::of(&asked).unwrap();
        let mut cut = answer(&asked, &[1, 2]);
        cut[2] |= 0x02;
        kept.keep(&asked, 1, &cut);
        for turn in 0..2 {
            let mut out = Vec::new();
            assert!(kept.answer(&plain, 1, turn, &mut out));
            let message = Message::from_vec(&out).unwrap();
            assert!(message.metadata.truncation && message.answers.len() == 2);
        }
    }

    #[test]
    fn an_answer_is_made_that_of_another_who_asked_the_same() {
        let asked = question("Web.example.", false).to_vec().unwrap();
        let plain = Question::of(&asked).unwrap();
        let mut given = answer(&plain.lower(), &[1]);
        given[..2].copy_from_slice(&[0, 0]);
        plain.adopt(&mut given);
        let message = Message::from_vec(&given).unwrap();
        assert_eq!(message.metadata.id, 7);
        assert_eq!(message.queries[0].name().to_string(), "Web.example.");
        // a failure that repeats no question
        let mut short = vec![0; HEADER];
        plain.adopt(&mut short);
        assert_eq!(short[..3], [0, 7, 0]);
    }

    #[test]
    fn any_number_of_names_may_be_asked() {
        let mut kept = Kept::default();
        for number in 0..2 * MOST {
            let asked = question(&format!("n{number}.example."), false);
            let asked = asked.to_vec().unwrap();
            kept.keep(&asked, 1, &answer(&asked, &[]));
            assert!(kept.answers.len() <= MOST);
        }
    }
}
