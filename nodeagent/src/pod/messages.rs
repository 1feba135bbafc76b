//! Termination messages: what a container leaves behind about its end.
//!
//! Invariant: never more than 4096 bytes from the file, nor more than 2048 bytes or 80 lines from the log.
//! Follows `getTerminationMessage` in `pkg/kubelet/kuberuntime/kuberuntime_container.go`.

use std::{io::Read, path::Path};

use super::view::annotation;
use crate::{
    logs::cri,
    runtime::{ContainerPhase, ContainerState},
};

const FROM_FILE: u64 = 4096;
const FROM_LOG: usize = 2048;
const LINES: usize = 80;

/// The message of a container that has ended; empty when it left none.
pub fn read(state: &ContainerState) -> String {
    if state.phase != ContainerPhase::Exited {
        return String::new();
    }
    let file = state.annotations.get(annotation::MESSAGE_FILE).map(|path| head(Path::new(path))).unwrap_or_default();
    let from_logs = state.annotations.get(annotation::MESSAGE_POLICY).is_some_and(|policy| policy == "FallbackToLogsOnError");
    if file.is_empty() && from_logs && state.exit_code != Some(0) {
        return tail_of_log(&std::fs::read(&state.log_path).unwrap_or_default());
    }
    file
}

fn head(path: &Path) -> String {
    let mut data = Vec::new();
    match std::fs::File::open(path).and_then(|file| file.take(FROM_FILE).read_to_end(&mut data)) {
        Ok(_) => String::from_utf8_lossy(&data).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => format!("Error on reading termination log {}: {error}", path.display()),
    }
}

/// The last lines of a log, without its stamps.
fn tail_of_log(log: &[u8]) -> String {
    let text: Vec<u8> = cri::lines(log).flat_map(|line| line.content_with_end().to_vec()).collect();
    let mut start = text.len().saturating_sub(FROM_LOG);
    let ends: Vec<usize> = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    let complete = ends.len() + usize::from(text.last().is_some_and(|byte| *byte != b'\n'));
    if complete > LINES {
        start = start.max(ends[complete - LINES - 1] + 1);
    }
    String::from_utf8_lossy(&text[start..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_log() {
        let log: String = (0..100).map(|i| format!("2024-01-01T00:00:00.000000000Z stdout F line {i}\n")).collect();
        let tail = tail_of_log(log.as_bytes());
        assert!(tail.starts_with("line 20\n") && tail.ends_with("line 99\n"), "{tail}");
        let long = format!("2024-01-01T00:00:00.000000000Z stderr F {}\n", "x".repeat(5000));
        assert_eq!(tail_of_log(long.as_bytes()).len(), 2048);
    }
}
