//! Shuffle sharding: each flow has a hand of queues, so that one that fills its own leaves every other flow a queue that is free.
//!
//! Follows `pkg/util/shufflesharding/dealer.go` of `k8s.io/apiserver`.

/// More cards cannot be dealt from the 60 bits of a hash that are good for it.
pub const LARGEST_HAND: usize = 15;

/// The hand of `size` different cards out of a deck of `deck`, which `hash` stands for; fewer where there are not so many.
pub fn deal(
    mut hash: u64,
    deck: usize,
    size: usize,
    cards: &mut [usize; LARGEST_HAND],
) -> &[usize] {
    let size = size.min(deck).min(LARGEST_HAND);
    let mut sorted = [0; LARGEST_HAND];
    for (at, dealt) in cards.iter_mut().take(size).enumerate() {
        let left = (deck - at) as u64;
        // its place among the cards that are left, which those dealt before it move up
        let mut card = (hash % left) as usize;
        hash /= left;
        let mut place = 0;
        while place < at && sorted[place] <= card {
            card += 1;
            place += 1;
        }
        sorted.copy_within(place..at, place + 1);
        sorted[place] = card;
        *dealt = card;
    }
    &cards[..size]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn hands_are_of_different_cards() {
        let mut hands = HashSet::new();
        for hash in (0..2000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let mut cards = [0; LARGEST_HAND];
            let hand = deal(hash, 64, 6, &mut cards).to_vec();
            assert!(hand.iter().all(|card| *card < 64));
            assert_eq!(hand.iter().collect::<HashSet<_>>().len(), 6, "{hand:?}");
            hands.insert(hand);
        }
        assert!(hands.len() > 1990, "{}", hands.len());
        let mut cards = [0; LARGEST_HAND];
        assert_eq!(deal(77, 1, 6, &mut cards), [0]);
        let mut all = deal(123_456_789, 4, 4, &mut cards).to_vec();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
    }

    #[test]
    fn every_card_is_dealt_as_often() {
        let mut seen = [0; 16];
        for hash in (0..16_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            for card in deal(hash, 16, 4, &mut [0; LARGEST_HAND]) {
                seen[*card] += 1;
            }
        }
        assert!(
            seen.iter().all(|times| (3_400..4_600).contains(times)),
            "{seen:?}"
        );
    }
}
