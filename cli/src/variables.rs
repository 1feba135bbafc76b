//! Files of variables (`--from-env-file`, `envs` of kustomize): which lines of them say something.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/util/env_file.go`.

/// A line without blanks before it, and where it stands, from 0; bytes that are no text as they are. Empty lines and comments are left out.
pub fn lines(text: &[u8]) -> impl Iterator<Item = (usize, Result<&str, &[u8]>)> {
    text.split(|byte| *byte == b'\n')
        .enumerate()
        .filter_map(|(at, line)| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Ok(text) = std::str::from_utf8(line) else {
                return Some((at, Err(line)));
            };
            let text = match at {
                0 => text.trim_start_matches('\u{feff}'),
                _ => text,
            };
            let text = text.trim_start();
            (!text.is_empty() && !text.starts_with('#')).then_some((at, Ok(text)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_is_left_out() {
        let text = b"\xef\xbb\xbfA=1\r\n\n  # no\n  B=2\n\xff\n";
        let found: Vec<_> = lines(text).collect();
        assert_eq!(
            found,
            [(0, Ok("A=1")), (3, Ok("B=2")), (4, Err(&b"\xff"[..]))]
        );
    }
}
