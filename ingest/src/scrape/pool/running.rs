//! A loop as its pool sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::super::ScrapeOptions;
use super::super::status::Live;
use super::super::target_loop::{Instruction, Spec, TargetLoop};

/// A loop. It may be ending or going to another node, and then is taken up again when its target comes back.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) identity: u64,
    pub(super) spec: Arc<Spec>,
    instructions: watch::Sender<Instruction>,
    /// Set by the loop when it takes no more instructions.
    left: Arc<AtomicBool>,
    pub(super) live: Arc<Live>,
    task: AbortHandle,
}

/// What has become of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    Runs,
    /// As it was told to.
    Left,
    /// Without having been told to, so it has panicked.
    Broken,
}

impl Running {
    pub(super) fn start(spec: Arc<Spec>, options: &ScrapeOptions, running: &mut JoinSet<()>) -> Self {
        let identity = spec.target.identity();
        let live = Arc::new(Live::default());
        let (instructions, instructed) = watch::channel(Instruction::Scrape(spec.clone()));
        let left = Arc::new(AtomicBool::new(false));
        let told = (instructed, left.clone());
        let runtime = &options.runtimes[(identity % options.runtimes.len() as u64) as usize];
        let target_loop = TargetLoop::new(options.clone(), spec.clone(), told, live.clone());
        let task = running.spawn_on(target_loop.run(), runtime);
        Self { identity, spec, instructions, left, live, task }
    }

    /// Whether it is to scrape on.
    pub(super) fn is_scraping(&self) -> bool {
        matches!(*self.instructions.borrow(), Instruction::Scrape(_))
    }

    pub(super) fn course(&self) -> Course {
        // In this order: a loop says that it leaves before it is finished.
        let is_finished = self.task.is_finished();
        match self.left.load(Ordering::Acquire) {
            true => Course::Left,
            false if is_finished => Course::Broken,
            false => Course::Runs,
        }
    }

    /// Makes the loop scrape by the specification. `false` when it is just leaving.
    pub(super) fn scrape(&mut self, spec: Arc<Spec>) -> bool {
        let taken = self.instructions.send_if_modified(|instruction| {
            let stays = !self.left.load(Ordering::Acquire);
            if stays {
                *instruction = Instruction::Scrape(spec.clone());
            }
            stays
        });
        if taken {
            (self.identity, self.spec) = (spec.target.identity(), spec);
        }
        taken
    }

    /// The target is gone; its series end. They do not while another node goes on with them.
    pub(super) fn end(&self) {
        if self.is_scraping() {
            self.instructions.send_replace(Instruction::End);
        }
    }

    /// Another node has the target; its series go on there.
    pub(super) fn hand_over(&self) {
        self.instructions.send_replace(Instruction::HandOver);
    }
}

/// Loops of a job that is gone. They must be kept until they have ended their series: a loop leaves at once when
/// nobody holds its channel.
#[derive(Debug)]
pub(in super::super) struct Ending(pub(super) Vec<Running>);

impl Ending {
    pub(in super::super) fn is_over(&self) -> bool {
        self.0.iter().all(|running| running.task.is_finished())
    }
}
