//! Names that the server makes.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/storage/names/generate.go`.

use rand::RngExt;

/// A name from `generateName`: five random characters, the prefix cut so that the whole is a label.
pub fn generated(prefix: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let cut: String = prefix.chars().take(63 - 5).collect();
    let mut rng = rand::rng();
    cut + &(0..5)
        .map(|_| ALPHABET[rng.random_range(0..ALPHABET.len())] as char)
        .collect::<String>()
}
