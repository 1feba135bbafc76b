//! Sorting as Go's `sort.Sort` does it: what is equal comes out in the order in which that leaves it, which is not the one that it had.
//!
//! kubectl sorts events and the objects of `--sort-by` so, and many of them share a second. The algorithm is the pattern-defeating quicksort of
//! Orson Peters (<https://arxiv.org/abs/2106.05123>), with the choices (lengths, pivots, random numbers) of Go's package `sort`.

use std::cmp::Ordering;

/// Ranges up to this length are sorted by insertion.
const SHORT: usize = 12;
/// From this length on a pivot is the median of medians, and a few elements out of place are put right.
const LONG: usize = 50;
/// So many elements out of place are put right at the most.
const FEW: usize = 5;
/// More comparisons than that, all of them out of order, a choice of a pivot does not make.
const ALL_OUT_OF_ORDER: usize = 12;

/// Sorts by a comparison.
pub fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let (end, depth) = (items.len(), usize::BITS - items.len().leading_zeros());
    let mut sorting = Sorting { items, compare };
    sorting.quick(0, end, depth);
}

/// Sorts by a key that is worked out once for each element.
pub fn sort_by_key<T, K: Ord>(items: &mut Vec<T>, key: impl Fn(&T) -> K) {
    let mut keyed: Vec<(K, T)> = items.drain(..).map(|item| (key(&item), item)).collect();
    sort_by(&mut keyed, |a, b| a.0.cmp(&b.0));
    items.extend(keyed.into_iter().map(|(_, item)| item));
}

/// What the choice of a pivot tells of a range.
#[derive(PartialEq, Eq)]
enum Looks {
    Sorted,
    Reversed,
    Unknown,
}

struct Sorting<'a, T, C> {
    items: &'a mut [T],
    compare: C,
}

impl<T, C: Fn(&T, &T) -> Ordering> Sorting<'_, T, C> {
    fn less(&self, a: usize, b: usize) -> bool {
        (self.compare)(&self.items[a], &self.items[b]) == Ordering::Less
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.items.swap(a, b);
    }

    /// Moves an element down to its place among those before it, which are sorted from `begin` on.
    fn sink(&mut self, begin: usize, mut at: usize) {
        while at > begin && self.less(at, at - 1) {
            self.swap(at, at - 1);
            at -= 1;
        }
    }

    fn quick(&mut self, mut begin: usize, mut end: usize, mut depth: u32) {
        let (mut balanced, mut partitioned) = (true, true);
        loop {
            let length = end - begin;
            if length <= SHORT {
                return (begin + 1..end).for_each(|at| self.sink(begin, at));
            }
            if depth == 0 {
                return self.heap(begin, end);
            }
            if !balanced {
                self.shuffle(begin, end);
                depth -= 1;
            }
            let (mut pivot, mut looks) = self.pivot(begin, end);
            if looks == Looks::Reversed {
                self.items[begin..end].reverse();
                pivot = begin + end - 1 - pivot;
                looks = Looks::Sorted;
            }
            let tidy = balanced && partitioned && looks == Looks::Sorted;
            if tidy && self.put_right(begin, end) {
                return;
            }
            // all that come before are at most as large: if one equals the pivot, the pivot is the smallest here
            if begin > 0 && !self.less(begin - 1, pivot) {
                begin = self.equals_first(begin, end, pivot);
                continue;
            }
            let (middle, was_partitioned) = self.partition(begin, end, pivot);
            partitioned = was_partitioned;
            let (left, right) = (middle - begin, end - middle);
            balanced = left.min(right) >= length / 8;
            if left < right {
                self.quick(begin, middle, depth);
                begin = middle + 1;
            } else {
                self.quick(middle + 1, end, depth);
                end = middle;
            }
        }
    }

    /// Puts what is less than the pivot before it. Answers where it stands then, and whether that was so before.
    fn partition(&mut self, begin: usize, end: usize, pivot: usize) -> (usize, bool) {
        self.swap(begin, pivot);
        let (mut low, mut high, mut swaps) = (begin + 1, end - 1, 0);
        loop {
            while low <= high && self.less(low, begin) {
                low += 1;
            }
            while low <= high && !self.less(high, begin) {
                high -= 1;
            }
            if low > high {
                self.swap(high, begin);
                return (high, swaps == 0);
            }
            self.swap(low, high);
            swaps += 1;
            low += 1;
            high -= 1;
        }
    }

    /// Puts what equals the pivot first. Answers where the rest begins.
    fn equals_first(&mut self, begin: usize, end: usize, pivot: usize) -> usize {
        self.swap(begin, pivot);
        let (mut low, mut high) = (begin + 1, end - 1);
        loop {
            while low <= high && !self.less(begin, low) {
                low += 1;
            }
            while low <= high && self.less(begin, high) {
                high -= 1;
            }
            if low > high {
                return low;
            }
            self.swap(low, high);
            low += 1;
            high -= 1;
        }
    }

    /// Puts a few elements right that are out of place; false when there are more.
    fn put_right(&mut self, begin: usize, end: usize) -> bool {
        let mut at = begin + 1;
        for _ in 0..FEW {
            while at < end && !self.less(at, at - 1) {
                at += 1;
            }
            if at == end {
                return true;
            }
            if end - begin < LONG {
                return false;
            }
            self.swap(at, at - 1);
            if at - begin >= 2 {
                self.sink(0, at - 1);
            }
            if end - at >= 2 {
                let mut up = at + 1;
                while up < end && self.less(up, up - 1) {
                    self.swap(up, up - 1);
                    up += 1;
                }
            }
        }
        false
    }

    /// Exchanges three elements in the middle with others, so that patterns which are slow to sort are gone.
    fn shuffle(&mut self, begin: usize, end: usize) {
        let length = end - begin;
        if length < 8 {
            return;
        }
        let mut random = length as u64;
        let mask = (1_usize << (usize::BITS - length.leading_zeros())) - 1;
        let middle = begin + length / 4 * 2;
        for at in middle - 1..=middle + 1 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let other = random as usize & mask;
            let other = if other >= length {
                other - length
            } else {
                other
            };
            self.swap(at, begin + other);
        }
    }

    fn pivot(&self, begin: usize, end: usize) -> (usize, Looks) {
        let (length, mut swaps) = (end - begin, 0);
        let quarter = |count: usize| begin + length / 4 * count;
        let mut three = [quarter(1), quarter(2), quarter(3)];
        if length >= LONG {
            three = three.map(|at| self.median([at - 1, at, at + 1], &mut swaps));
        }
        let pivot = match length >= 8 {
            true => self.median(three, &mut swaps),
            false => three[1],
        };
        let looks = match swaps {
            0 => Looks::Sorted,
            ALL_OUT_OF_ORDER => Looks::Reversed,
            _ => Looks::Unknown,
        };
        (pivot, looks)
    }

    fn median(&self, mut three: [usize; 3], swaps: &mut usize) -> usize {
        for (a, b) in [(0, 1), (1, 2), (0, 1)] {
            if self.less(three[b], three[a]) {
                *swaps += 1;
                three.swap(a, b);
            }
        }
        three[1]
    }

    fn heap(&mut self, begin: usize, end: usize) {
        let length = end - begin;
        for root in (0..=(length - 1) / 2).rev() {
            self.sift(root, length, begin);
        }
        for last in (0..length).rev() {
            self.swap(begin, begin + last);
            self.sift(0, last, begin);
        }
    }

    fn sift(&mut self, mut root: usize, length: usize, begin: usize) {
        loop {
            let mut child = 2 * root + 1;
            if child >= length {
                return;
            }
            if child + 1 < length && self.less(begin + child, begin + child + 1) {
                child += 1;
            }
            if !self.less(begin + root, begin + child) {
                return;
            }
            self.swap(begin + root, begin + child);
            root = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_sorted_whatever_it_was() {
        let mut random = 7_u64;
        for length in [0, 1, 5, 12, 13, 40, 50, 51, 200, 1000] {
            for values in [1, 2, 7, 1000] {
                let mut items: Vec<(u64, usize)> = (0..length)
                    .map(|at| {
                        random = random
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1);
                        ((random >> 33) % values, at)
                    })
                    .collect();
                let mut wanted: Vec<u64> = items.iter().map(|(key, _)| *key).collect();
                wanted.sort_unstable();
                for _ in 0..3 {
                    sort_by(&mut items, |a, b| a.0.cmp(&b.0));
                    assert_eq!(
                        items.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
                        wanted
                    );
                    items.reverse();
                }
            }
        }
    }

    /// Orders that Go 1.26 gives.
    #[test]
    fn what_is_equal_comes_out_as_go_leaves_it() {
        for (length, values, wanted) in GO {
            let mut items: Vec<(usize, usize)> =
                (0..*length).map(|at| (at * 7 % values, at)).collect();
            sort_by(&mut items, |a, b| a.0.cmp(&b.0));
            let order: Vec<String> = items.iter().map(|(_, at)| at.to_string()).collect();
            assert_eq!(order.join(" "), *wanted, "{length} of {values}");
        }
    }

    const GO: &[(usize, usize, &str)] = &[
        (12, 3, "0 3 6 9 1 4 7 10 2 5 8 11"),
        (13, 3, "6 3 0 9 12 1 4 7 10 2 5 8 11"),
        (20, 2, "10 18 2 16 4 0 6 14 8 12 5 11 9 13 7 15 3 17 1 19"),
        (
            30,
            4,
            "8 28 0 16 4 24 12 20 3 7 19 11 23 15 27 14 22 2 18 10 26 6 13 21 5 25 9 17 1 29",
        ),
        (
            40,
            1,
            "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39",
        ),
        (
            60,
            5,
            "40 25 55 30 20 5 0 10 15 45 35 50 58 13 38 8 48 33 18 43 53 3 28 23 31 36 26 1 56 51 21 6 46 11 41 16 49 24 14 39 59 34 54 4 44 9 29 19 47 7 37 32 52 17 42 2 22 57 27 12",
        ),
        (
            60,
            60,
            "0 43 26 9 52 35 18 1 44 27 10 53 36 19 2 45 28 11 54 37 20 3 46 29 12 55 38 21 4 47 30 13 56 39 22 5 48 31 14 57 40 23 6 49 32 15 58 41 24 7 50 33 16 59 42 25 8 51 34 17",
        ),
        (
            100,
            3,
            "36 99 96 3 93 90 6 87 84 9 81 78 12 75 72 15 69 66 18 63 60 21 57 54 24 51 0 27 48 45 30 42 39 33 49 67 34 37 1 97 40 94 31 43 4 91 46 88 28 7 85 25 52 82 10 55 79 22 58 76 13 61 73 19 64 70 16 17 8 35 65 71 14 62 74 20 59 77 11 56 80 23 53 83 68 50 86 26 47 89 5 29 92 44 41 95 2 32 98 38",
        ),
        (
            70,
            11,
            "22 33 55 66 11 44 0 63 8 19 52 41 30 16 27 49 60 5 38 13 68 2 57 46 35 24 10 65 43 21 54 32 18 7 62 29 51 40 59 37 26 4 15 48 1 67 23 45 34 56 12 20 64 53 42 31 9 6 50 61 28 17 39 58 47 36 25 3 14 69",
        ),
    ];
}
