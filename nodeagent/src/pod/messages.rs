//! Termination messages: what a container leaves behind about its end.
//!
//! Invariant: never more than the last 4096 bytes of the file, nor more than the last 2048 bytes or 80 entries of the log.
//! Follows `getTerminationMessage` in `pkg/kubelet/kuberuntime/kuberuntime_container.go`.

use std::{
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use super::view::annotation;
use crate::{
    logs::cri,
    outcome::IfThere,
    runtime::{ContainerPhase, ContainerState},
};

const FROM_FILE: u64 = 4096;
const FROM_LOG: usize = 2048;
const LINES: usize = 80;
/// So many bytes hold so many entries, however long each is.
const LOG_END: u64 = LINES as u64 * (16 * 1024 + 64);

/// The message of a container that has ended; empty when there is none.
pub fn read(state: &ContainerState) -> String {
    if state.phase != ContainerPhase::Exited {
        return String::new();
    }
    let said = left_behind(state);
    match (state.message.is_empty(), said.is_empty()) {
        (true, _) => said,
        (false, true) => state.message.clone(),
        (false, false) => format!("{}: {said}", state.message),
    }
}

/// What the container itself said.
fn left_behind(state: &ContainerState) -> String {
    let file = state
        .annotations
        .get(annotation::MESSAGE_FILE)
        .map(|path| of_file(Path::new(path)))
        .unwrap_or_default();
    let from_logs = state
        .annotations
        .get(annotation::MESSAGE_POLICY)
        .is_some_and(|policy| policy == "FallbackToLogsOnError");
    if file.is_empty() && from_logs && state.exit_code != Some(0) {
        return match end_of(&state.log_path, LOG_END) {
            Ok(log) => tail_of_log(&log),
            Err(error) => format!("Error on reading termination message from logs: {error}"),
        };
    }
    file
}

fn of_file(path: &Path) -> String {
    match end_of(path, FROM_FILE).if_there() {
        Ok(data) => String::from_utf8_lossy(&data.unwrap_or_default()).into_owned(),
        Err(error) => format!(
            "Error on reading termination log {}: {error}",
            path.display()
        ),
    }
}

/// The last `most` bytes of a file.
fn end_of(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(most)))?;
    let mut data = Vec::new();
    file.take(most).read_to_end(&mut data)?;
    Ok(data)
}

/// The last entries of a log, without their stamps. What is cut off at the beginning is no entry.
fn tail_of_log(log: &[u8]) -> String {
    let entries: Vec<_> = cri::lines(log).collect();
    let text: Vec<u8> = entries[entries.len().saturating_sub(LINES)..]
        .iter()
        .flat_map(cri::Line::content_with_end)
        .collect();
    String::from_utf8_lossy(&text[text.len().saturating_sub(FROM_LOG)..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_log() {
        let log: String = (0..100)
            .map(|i| format!("2024-01-01T00:00:00.000000000Z stdout F line {i}\n"))
            .collect();
        let tail = tail_of_log(log.as_bytes());
        assert!(
            tail.starts_with("line 20\n") && tail.ends_with("line 99\n"),
            "{tail}"
        );
        let long = format!(
            "2024-01-01T00:00:00.000000000Z stderr F {}\n",
            "x".repeat(5000)
        );
        assert_eq!(tail_of_log(long.as_bytes()).len(), 2048);
        let unfinished = "cut off\n2024-01-01T00:00:00.000000000Z stdout F one\n2024-01-01T00:00:00.000000000Z stderr P DONE\n";
        assert_eq!(
            tail_of_log(unfinished.as_bytes()),
            "one\nDONE",
            "a line that was not ended is not ended here"
        );
    }

    #[test]
    fn the_end_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("message");
        assert_eq!(of_file(&path), "", "none was left");
        std::fs::write(&path, format!("{}end", "x".repeat(5000))).unwrap();
        let message = of_file(&path);
        assert_eq!(message.len(), 4096);
        assert!(message.ends_with("xend"));
    }
}
