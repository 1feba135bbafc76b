//! The tag of an image's name, which decides how it is pulled by default.
//!
//! Invariant: a name that is no image reference has no tag. Follows `pkg/util/parsers/parsers.go` and the grammar of
//! `github.com/distribution/reference`.

const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// `latest` when there is neither tag nor digest; empty when there is a digest alone, or the name cannot be read.
pub fn tag(image: &str) -> &str {
    read(image).unwrap_or("")
}

fn read(image: &str) -> Option<&str> {
    let (name, digest) = image
        .split_once('@')
        .map_or((image, None), |(name, digest)| (name, Some(digest)));
    let (domain, rest) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => ("docker.io", name),
    };
    let (path, tag) = rest
        .split_once(':')
        .map_or((rest, None), |(path, tag)| (path, Some(tag)));
    let is_id = image.len() == 64
        && image
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let good = !is_id
        && is_domain(domain)
        && path.split('/').all(is_component)
        && domain.len() + 1 + path.len() <= LONGEST_NAME
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest);
    good.then_some(match (tag, digest) {
        (Some(tag), _) => tag,
        (None, Some(_)) => "",
        (None, None) => "latest",
    })
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = domain
        .split_once(':')
        .map_or((domain, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(label)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Words of small letters and digits with a dot, one or two underscores or dashes between them.
fn is_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends = bytes.first().is_some_and(|b| word(*b)) && bytes.last().is_some_and(|b| word(*b));
    let separator_is_good = |separator: &[u8]| {
        matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
    };
    ends && bytes
        .split(|b| word(*b))
        .all(|separator| separator.is_empty() || separator_is_good(separator))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    (1..=LONGEST_TAG).contains(&bytes.len())
        && word(bytes[0])
        && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else {
        return false;
    };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::tag;

    #[test]
    fn tags() {
        let digest = format!("a@sha256:{}", "0".repeat(64));
        for (image, wanted) in [
            ("a", "latest"),
            ("a:1", "1"),
            ("h:5000/a", "latest"),
            ("h:5000/a:2", "2"),
            ("registry.example.com/a/b__c-d:v1.0", "v1.0"),
            (digest.as_str(), ""),
            ("a@sha256:0", ""),
            ("Odd Value!", ""),
            ("Upper", ""),
            ("", ""),
            ("a//b", ""),
            ("a:", ""),
        ] {
            assert_eq!(tag(image), wanted, "{image}");
        }
    }
}
