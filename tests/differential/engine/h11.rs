//! What Python's h11 makes of streams: a program of its own that is asked over its input and output.

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::{End, Fields, Kind, Message, Reading, sorted};

/// Ends with its input.
#[derive(Debug)]
pub(crate) struct H11 {
    process: Child,
    questions: Option<BufWriter<ChildStdin>>,
    answers: BufReader<ChildStdout>,
}

impl H11 {
    /// Fails with what to do if h11 is not where `tests/components.sh` puts it.
    pub(crate) fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let module = root.join("target/components/python");
        assert!(
            module.join("h11").is_dir(),
            "no h11 in {}; `make components` brings it",
            module.display()
        );
        let mut process = Command::new("python3")
            .args(["-B", "-S"])
            .arg(root.join("tests/differential/h11_reader.py"))
            .env("PYTHONPATH", module)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let questions = process.stdin.take().map(BufWriter::new);
        let answers = BufReader::new(process.stdout.take().expect("its output"));
        Self {
            process,
            questions,
            answers,
        }
    }

    /// All are written before any answer is read, so neither side waits for the other.
    pub(super) fn read(&mut self, streams: &[(Kind, Vec<u8>)]) -> Vec<Reading> {
        let mut question = Vec::new();
        for (kind, stream) in streams {
            let kind = match kind {
                Kind::Requests => b'R',
                Kind::Answers { head: false } => b'A',
                Kind::Answers { head: true } => b'H',
            };
            question.push(kind);
            question.extend_from_slice(&length(stream.len()));
            question.extend_from_slice(stream);
        }
        let questions = self.questions.as_mut().expect("its input is open");
        let asked = questions
            .write_all(&length(question.len()))
            .and_then(|()| questions.write_all(&question))
            .and_then(|()| questions.flush());
        asked.expect("h11_reader.py takes a question");
        let mut size = [0; 4];
        let answered = self.answers.read_exact(&mut size);
        answered.expect("h11_reader.py answers");
        let mut answer = vec![0; u32::from_be_bytes(size) as usize];
        let answered = self.answers.read_exact(&mut answer);
        answered.expect("a whole answer");
        let answer: Vec<Value> = serde_json::from_slice(&answer).expect("an answer in JSON");
        answer.iter().map(reading).collect()
    }
}

impl Drop for H11 {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ = self.process.wait();
    }
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("a short stream").to_be_bytes()
}

fn reading(value: &Value) -> Reading {
    let messages = value["messages"].as_array().expect("messages");
    let end = match value["refused"].as_str() {
        Some(why) => End::Refused(why.to_owned()),
        None => End::Waits,
    };
    Reading {
        messages: messages.iter().map(message).collect(),
        end,
    }
}

fn message(value: &Value) -> Message {
    let line = value["line"].as_array().expect("a line");
    Message {
        line: line.iter().map(bytes).collect(),
        fields: fields(&value["fields"]),
        body: bytes(&value["body"]),
        trailers: fields(&value["trailers"]),
        end: value["end"]
            .as_u64()
            .and_then(|end| usize::try_from(end).ok()),
        last: value["last"].as_bool(),
        unserved: false,
    }
}

fn fields(value: &Value) -> Fields {
    let pairs = value.as_array().expect("fields").iter();
    sorted(
        pairs
            .map(|pair| (bytes(&pair[0]), bytes(&pair[1])))
            .collect(),
    )
}

/// One character a byte.
fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("a text").chars();
    text.map(|c| u8::try_from(c).expect("a byte")).collect()
}
