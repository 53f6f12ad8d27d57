//! Reads logs: line by line, and a line of any length in bounded memory.

use std::{
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};

use super::lines::{self, Found, MAX_LINE_BYTES, PassedOver};

/// What begins a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What begins files that would be read as lines of others.
const FOREIGN: [(&[u8], &str); 5] = [
    (&[0x28, 0xb5, 0x2f, 0xfd], "compressed with zstd"),
    (b"BZh", "compressed with bzip2"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "compressed with xz"),
    (&[0xff, 0xfe], "UTF-16, as PowerShell writes it"),
    (&[0xfe, 0xff], "UTF-16"),
];

/// What comes out of files.
#[derive(Debug)]
pub enum Heard {
    /// A line has ended; what it has was told before.
    Line {
        has_requests: bool,
    },
    Found(Position, Found),
    /// A file that cannot be read to its end.
    Failed(Position, io::Error),
}

/// A line of a file. Nothing was read of the file yet when it is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    file: Arc<str>,
    line: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Reads these files one after the other, `-` being standard input, and tells what
/// it finds for as long as `tell` says that somebody listens.
pub fn read(paths: &[PathBuf], mut tell: impl FnMut(Heard) -> bool) {
    for path in paths {
        let mut at = Position {
            file: path.to_string_lossy().into(),
            line: 0,
        };
        let is_over = match read_file(path, &mut at, &mut tell) {
            Ok(goes_on) => !goes_on,
            Err(error) => !tell(Heard::Failed(at, error)),
        };
        if is_over {
            return;
        }
    }
}

/// False when nobody listens any more.
fn read_file(
    path: &Path,
    at: &mut Position,
    tell: &mut dyn FnMut(Heard) -> bool,
) -> io::Result<bool> {
    let (input, progress) = open(path)?;
    let mut input = unpacked(progress.wrap_read(input))?;
    loop {
        at.line += 1;
        let mut has_requests = false;
        let mut listens = true;
        let is_line = next_line(&mut *input, &mut |found| {
            has_requests = true;
            // Beside the bar, not through it.
            listens &= progress.suspend(|| tell(Heard::Found(at.clone(), found)));
        })?;
        if !is_line {
            progress.finish_and_clear();
            return Ok(true);
        }
        if !listens || !tell(Heard::Line { has_requests }) {
            return Ok(false);
        }
    }
}

fn open(path: &Path) -> io::Result<(Box<dyn Read + Send>, ProgressBar)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), ProgressBar::new_spinner()));
    }
    let file = File::open(path)?;
    // On a terminal only.
    let bar = ProgressBar::new(file.metadata()?.len());
    let style = ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {elapsed}");
    bar.set_style(style.map_err(io::Error::other)?);
    Ok((Box::new(file), bar))
}

/// What is compressed is unpacked.
fn unpacked(input: impl Read + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
    let mut input = BufReader::new(input);
    let beginning = input.fill_buf()?;
    if let Some((_, what)) = FOREIGN.iter().find(|(it, _)| beginning.starts_with(it)) {
        let text = format!("it is {what}: give it as UTF-8, or compressed with gzip");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let is_gzip = beginning.starts_with(&GZIP);
    Ok(if is_gzip {
        Box::new(BufReader::new(MultiGzDecoder::new(input)))
    } else {
        Box::new(input)
    })
}

/// Searches the next line; false when there is none.
fn next_line(input: &mut dyn BufRead, found: &mut dyn FnMut(Found)) -> io::Result<bool> {
    let mut line = Vec::new();
    (&mut *input)
        .take(MAX_LINE_BYTES as u64)
        .read_until(b'\n', &mut line)?;
    if line.len() < MAX_LINE_BYTES || line.ends_with(b"\n") {
        let text = String::from_utf8_lossy(&line);
        lines::find(&text).into_iter().for_each(found);
        return Ok(!line.is_empty());
    }
    long_line(&line, input, found)?;
    Ok(true)
}

/// What tools write on one line, however much it is, is JSON: such as the answer of
/// a log group.
fn long_line(
    beginning: &[u8],
    input: &mut dyn BufRead,
    found: &mut dyn FnMut(Found),
) -> io::Result<()> {
    let mut rest = Rest::of(input);
    let mut json = Bounded::new(json_of(beginning).chain(&mut rest));
    let searched = lines::find_in(&mut json, &mut *found);
    let is_bound = json.text_bytes > MAX_LINE_BYTES;
    if let Err(error) = searched {
        if error.is_io() && !is_bound {
            return Err(error.into());
        }
        let reason = format!("longer than {MAX_LINE_BYTES} bytes, and {error}");
        found(Found::PassedOver(PassedOver::TooLong, reason));
    }
    rest.pass_over()
}

/// Without what may stand before it.
fn json_of(beginning: &[u8]) -> &[u8] {
    let text = beginning.trim_ascii_start();
    if text.starts_with(b"[") {
        return text;
    }
    let start = text.iter().position(|byte| *byte == b'{');
    text.get(start.unwrap_or(0)..).unwrap_or(text)
}

/// What is left of a line.
struct Rest<'a> {
    input: &'a mut dyn BufRead,
    is_over: bool,
}

impl<'a> Rest<'a> {
    fn of(input: &'a mut dyn BufRead) -> Self {
        Self {
            input,
            is_over: false,
        }
    }

    fn pass_over(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(drop)
    }
}

impl Read for Rest<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.is_over {
            return Ok(0);
        }
        let there = self.input.fill_buf()?;
        let there = there.get(..into.len()).unwrap_or(there);
        let end = there.iter().position(|byte| *byte == b'\n');
        let taken = there.get(..end.unwrap_or(there.len())).unwrap_or(there);
        let count = taken.len();
        if let Some(room) = into.get_mut(..count) {
            room.copy_from_slice(taken);
        }
        self.is_over = end.is_some() || there.is_empty();
        self.input.consume(count + usize::from(end.is_some()));
        Ok(count)
    }
}

/// JSON whose texts are short enough to be held.
struct Bounded<R> {
    json: R,
    is_text: bool,
    is_escaped: bool,
    /// Of the text that is being read.
    text_bytes: usize,
}

impl<R> Bounded<R> {
    fn new(json: R) -> Self {
        Self {
            json,
            is_text: false,
            is_escaped: false,
            text_bytes: 0,
        }
    }

    fn see(&mut self, byte: u8) {
        match (byte, self.is_escaped) {
            (b'"', false) => {
                self.is_text = !self.is_text;
                self.text_bytes = 0;
            }
            _ if self.is_text => {
                self.text_bytes += 1;
                self.is_escaped = byte == b'\\' && !self.is_escaped;
            }
            _ => {}
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.json.read(into)?;
        for byte in into.iter().take(count) {
            self.see(*byte);
            if self.text_bytes > MAX_LINE_BYTES {
                return Err(io::Error::other("a text in it is so, too"));
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Together they are longer than a line that is kept.
    const EVENTS: usize = 4_000;

    fn canonical(number: usize) -> String {
        json!({
            "timestamp": "2026-11-27T10:00:00Z", "level": "INFO", "message": "request",
            "event_id": "01a21df5-1c49-734f-8270-08d883310f12",
            "request_id": format!("req_{number}"),
            "endpoint": "messages", "started_at": "2026-11-27T09:59:59Z", "duration_ms": 7,
            "outcome": "complete", "status": 200,
        })
        .to_string()
    }

    /// The ids of requests and what is passed over, by line.
    fn found(log: &[u8]) -> Vec<(u64, String)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, log).unwrap();
        let mut found = Vec::new();
        read(&[path], |heard| {
            match heard {
                Heard::Found(at, Found::Request(event)) => {
                    found.push((at.line, event.unwrap().request_id));
                }
                Heard::Found(at, Found::PassedOver(why, _)) => {
                    found.push((at.line, format!("{why:?}")));
                }
                Heard::Failed(at, error) => found.push((at.line, error.to_string())),
                Heard::Line { .. } => {}
            }
            true
        });
        found
    }

    fn requests(line: u64, numbers: std::ops::Range<usize>) -> Vec<(u64, String)> {
        numbers
            .map(|number| (line, format!("req_{number}")))
            .collect()
    }

    /// As `aws logs filter-log-events` gives it, when it is told not to indent.
    fn answer(events: usize) -> String {
        let events: Vec<_> = (0..events)
            .map(|number| json!({"logStreamName": "s", "message": canonical(number)}))
            .collect();
        json!({"events": events, "searchedLogStreams": []}).to_string()
    }

    #[test]
    fn what_would_be_read_as_lines_of_others_is_refused() {
        let text = format!("\u{feff}{}", canonical(1));
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (log, what) in [
            (&*utf16, "UTF-16"),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0], "zstd"),
            (b"BZh91AY", "bzip2"),
            (b"\xfd7zXZ\0", "xz"),
        ] {
            let found = found(log);
            let [(0, error)] = found.as_slice() else {
                panic!("{found:?}")
            };
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn an_answer_of_a_log_group_is_one_line_of_any_length() {
        let answer = answer(EVENTS);
        assert!(answer.len() > MAX_LINE_BYTES);
        let log = format!("{answer}\n{}\n", canonical(EVENTS));
        let mut expected = requests(1, 0..EVENTS);
        expected.extend(requests(2, EVENTS..EVENTS + 1));
        assert_eq!(found(log.as_bytes()), expected);
    }

    #[test]
    fn a_long_line_may_have_something_before_it() {
        let log = format!("proxy-1 | {}", answer(EVENTS));
        assert_eq!(found(log.as_bytes()), requests(1, 0..EVENTS));
    }

    #[test]
    fn a_long_line_that_is_no_json_is_told_and_passed_over() {
        let long = "x".repeat(3 * MAX_LINE_BYTES);
        let log = format!("{long}\n{}\n", canonical(0));
        let expected = [(1, "TooLong".to_owned()), (2, "req_0".to_owned())];
        assert_eq!(found(log.as_bytes()), expected);
    }

    #[test]
    fn a_line_of_exactly_the_length_that_is_kept_is_one_line() {
        for length in [MAX_LINE_BYTES - 1, MAX_LINE_BYTES] {
            let line = canonical(0);
            let line = format!("{}{line}", " ".repeat(length - line.len()));
            for log in [format!("{line}\n{}", canonical(1)), line] {
                let lines = log.lines().count();
                let expected = [(1, "req_0".to_owned()), (2, "req_1".to_owned())];
                assert_eq!(found(log.as_bytes()), expected[..lines], "{length}");
            }
        }
    }

    #[test]
    fn a_long_answer_that_is_cut_off_has_what_came_before() {
        let answer = answer(EVENTS);
        let (cut, _) = answer.split_at(answer.len() - 40);
        let found = found(format!("{cut}\n{}", canonical(0)).as_bytes());
        let (last, rest) = found.split_last().unwrap();
        assert_eq!(*last, (2, "req_0".to_owned()));
        let (last, rest) = rest.split_last().unwrap();
        assert_eq!(*last, (1, "TooLong".to_owned()));
        assert_eq!(rest, requests(1, 0..EVENTS - 1));
    }

    #[test]
    fn a_text_without_end_is_not_held() {
        let long = "\\\"".repeat(2 * MAX_LINE_BYTES);
        let log = format!("[{},\"{long}\"]\n{}", canonical(0), canonical(1));
        let expected = [
            (1, "req_0".to_owned()),
            (1, "TooLong".to_owned()),
            (2, "req_1".to_owned()),
        ];
        assert_eq!(found(log.as_bytes()), expected);
    }

    #[test]
    fn a_compressed_file_that_is_cut_off_has_what_came_before() {
        use std::io::Write;

        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed
            .write_all(format!("{}\n", canonical(0)).as_bytes())
            .unwrap();
        packed.flush().unwrap();
        packed.write_all(b"more").unwrap();
        let mut packed = packed.finish().unwrap();
        packed.truncate(packed.len() - 9);
        let found = found(&packed);
        assert_eq!(found.first(), Some(&(1, "req_0".to_owned())));
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[1].0, 2);
    }
}
