//! The short hashes in names that controllers make, and the random ends of names.
//!
//! Invariant: only letters and digits that spell no words; the hash of a template is the same in every process and version of ours.
//! The values differ from upstream's, which hash a dump of Go's memory. Follows k8s.io/apimachinery/pkg/util/rand and
//! pkg/controller/controller_utils.go (ComputeHash).

use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::error::Error;

const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a, 32 bits.
pub fn fnv32a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// FNV-1a, 128 bits.
pub fn fnv128a(bytes: &[u8]) -> u128 {
    const FIRST: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = (1 << 88) + 0x13b;
    bytes.iter().fold(FIRST, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(PRIME)
    })
}

/// Writes each character of `text` as one of the alphabet's.
pub fn safe_encode(text: &str) -> String {
    text.bytes()
        .map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()]))
        .collect()
}

/// The hash of a template and of how often its name was taken already.
pub fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> Result<String, Error> {
    let mut bytes = crate::api::Wire::encode(template).map_err(|source| Error::Encode {
        what: "a template".into(),
        source,
    })?;
    if let Some(count) = collisions {
        bytes.extend_from_slice(&count.to_le_bytes());
    }
    Ok(safe_encode(&fnv32a(&bytes).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(fnv32a(b""), 0x811c_9dc5);
        assert_eq!(fnv32a(b"a"), 0xe40c_292c);
        assert_eq!(fnv128a(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(safe_encode("0123456789").len(), 10);
        let t = PodTemplateSpec::default();
        assert_ne!(
            template_hash(&t, None).unwrap(),
            template_hash(&t, Some(0)).unwrap()
        );
        assert_eq!(
            template_hash(&t, Some(1)).unwrap(),
            template_hash(&t, Some(1)).unwrap()
        );
    }
}
