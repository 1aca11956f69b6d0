//! Takes events from all tasks of a run, stamps them, and keeps them in memory and in a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::{Action, Event, Kind};

/// Clones share the history.
#[derive(Clone, Debug)]
pub struct Recorder {
    started: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    events: Vec<Event>,
    file: BufWriter<File>,
}

impl Recorder {
    pub fn create(path: &Path) -> io::Result<Self> {
        let state = State { events: Vec::new(), file: BufWriter::new(File::create(path)?) };
        Ok(Self { started: Instant::now(), state: Arc::new(Mutex::new(state)) })
    }

    /// Stamped and written under one lock, so that the order of events is that of their times.
    pub fn record(&self, process: u32, kind: Kind, action: Action, about: About<'_>) {
        let mut state = self.lock();
        let t_ns = u64::try_from(self.started.elapsed().as_nanos()).expect("a run is shorter than 500 years");
        let (node, error) = (about.node.map(str::to_owned), about.error);
        let event = Event { process, kind, action, t_ns, node, error };
        let line = serde_json::to_string(&event).expect("an event is plain data");
        // A full disk of the harness shows when the file is closed.
        drop(writeln!(state.file, "{line}"));
        state.events.push(event);
    }

    pub fn elapsed_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// All events so far, and an error when the file does not hold them.
    pub fn finish(&self) -> io::Result<Vec<Event>> {
        let mut state = self.lock();
        state.file.flush()?;
        Ok(state.events.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding the history")
    }
}

/// What an event may say beside its action.
#[derive(Clone, Debug, Default)]
pub struct About<'a> {
    pub node: Option<&'a str>,
    pub error: Option<String>,
}

impl<'a> About<'a> {
    pub fn node(node: &'a str) -> Self {
        Self { node: Some(node), error: None }
    }
}

/// Reads a history back.
pub fn read(path: &Path) -> io::Result<Vec<Event>> {
    let lines = BufReader::new(File::open(path)?).lines();
    lines.map(|line| serde_json::from_str(&line?).map_err(io::Error::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Mark;

    #[test]
    fn what_is_recorded_is_read_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let recorder = Recorder::create(&path).unwrap();
        recorder.record(1, Kind::Invoke, Action::Mark(Mark::Healed), About::node("n1"));
        recorder.record(1, Kind::Info, Action::Mark(Mark::Healed), About { node: None, error: Some("late".into()) });
        let events = recorder.finish().unwrap();
        assert_eq!(read(&path).unwrap(), events);
        assert!(events[0].t_ns < events[1].t_ns);
    }
}
