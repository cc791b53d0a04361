//! Saves while training goes on.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::checkpoint::{Checkpoints, Disk, Machine, Newest, replace};
use crate::train_state::{HISTORY, Snapshot};
use crate::{Error, Result, RunFolder};

/// How often a run is saved within an epoch; at the end of each it is saved as well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SaveEvery {
    /// After so many steps.
    Steps(u64),
    /// After so long.
    Time(Duration),
}

impl Default for SaveEvery {
    /// Five minutes.
    fn default() -> Self {
        Self::Time(Duration::from_secs(300))
    }
}

/// One save.
pub(crate) struct Save {
    /// Steps made so far.
    pub(crate) step: u64,
    /// What the checkpoint is made of.
    pub(crate) snapshot: Snapshot,
    /// What is written into the run folder once they are safe.
    pub(crate) results: Option<Results>,
}

/// What an epoch leaves in the run folder.
pub(crate) struct Results {
    /// Which file of the checkpoint is the model that was measured.
    pub(crate) model: &'static str,
    /// Whether it is the best so far.
    pub(crate) is_best: bool,
    /// Images of the epoch that could not be read, each with the reason.
    pub(crate) bad_images: Vec<String>,
}

/// Writes checkpoints on a thread of its own, one at a time.
pub(crate) struct Saver {
    every: SaveEvery,
    last: (u64, Instant),
    folder: RunFolder,
    saves: Option<SyncSender<Save>>,
    done: Receiver<Result<()>>,
    under_way: bool,
    thread: Option<JoinHandle<()>>,
}

impl Saver {
    /// A saver for the run in `folder`, which has made `step` steps.
    pub(crate) fn new(folder: RunFolder, every: SaveEvery, step: u64) -> Result<Self> {
        let (saves, received) = sync_channel::<Save>(1);
        let (told, done) = sync_channel(1);
        let thread = {
            let folder = folder.clone();
            std::thread::Builder::new().name("saver".into()).spawn(move || {
                let checkpoints = Checkpoints::new(folder.checkpoints(), Box::new(Machine));
                for save in received {
                    if told.send(write(&checkpoints, &folder, save)).is_err() {
                        break;
                    }
                }
            })
        };
        let thread = thread.map_err(|e| {
            Error::Training(format!(
                "no thread can be started to write checkpoints: {e}; let the process have more of them (`ulimit -u`)"
            ))
        })?;
        let last = (step, Instant::now());
        Ok(Self { every, last, folder, saves: Some(saves), done, under_way: false, thread: Some(thread) })
    }

    /// The run folder.
    pub(crate) fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Whether it is time for a save within an epoch. One that is still being written is waited for by the next only.
    pub(crate) fn is_due(&mut self, step: u64) -> Result<bool> {
        if self.under_way {
            match self.done.try_recv() {
                Ok(result) => {
                    self.under_way = false;
                    result?;
                }
                Err(_) => return Ok(false),
            }
        }
        Ok(match self.every {
            SaveEvery::Steps(steps) => step >= self.last.0.saturating_add(steps.max(1)),
            SaveEvery::Time(time) => self.last.1.elapsed() >= time,
        })
    }

    /// Begins a save, once an earlier one is over.
    pub(crate) fn save(&mut self, save: Save) -> Result<()> {
        self.wait()?;
        self.last = (save.step, Instant::now());
        let sent = self.saves.as_ref().is_some_and(|saves| saves.send(save).is_ok());
        self.under_way = sent;
        if sent { Ok(()) } else { Err(Error::Training("the thread that saves has ended".into())) }
    }

    /// Waits until everything is written.
    pub(crate) fn wait(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.under_way) {
            return Ok(());
        }
        let ended = |_| Error::Training("the thread that saves has ended".into());
        self.done.recv().map_err(ended)?
    }

    /// The newest checkpoint that is whole.
    pub(crate) fn newest(&mut self) -> Result<Newest> {
        self.wait()?;
        Checkpoints::new(self.folder.checkpoints(), Box::new(Machine)).newest()
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        drop(self.saves.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(checkpoints: &Checkpoints, folder: &RunFolder, save: Save) -> Result<()> {
    let files = save.snapshot.into_files()?;
    checkpoints.commit(save.step, &files)?;
    match &save.results {
        Some(results) => {
            let bytes_of = |wanted: &str| {
                let file = files.iter().find(|(name, _)| *name == wanted);
                file.map_or(&[] as &[u8], |(_, bytes)| bytes)
            };
            publish(&Machine, folder, results, bytes_of(results.model), bytes_of(HISTORY))
        }
        None => Ok(()),
    }
}

/// Writes what an epoch leaves in the run folder: the model and the history that the checkpoint has, so that it can be written again.
pub(crate) fn publish(
    disk: &dyn Disk,
    folder: &RunFolder,
    results: &Results,
    model: &[u8],
    history: &[u8],
) -> Result<()> {
    replace(disk, &folder.last_model(), model)?;
    if results.is_best {
        replace(disk, &folder.best_model(), model)?;
    }
    if !results.bad_images.is_empty() {
        let lines: String = results.bad_images.iter().map(|bad| format!("{bad}\n")).collect();
        replace(disk, &folder.bad_images(), lines.as_bytes())?;
    }
    replace(disk, &folder.metrics(), history)
}

impl std::fmt::Debug for Saver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Saver").field("every", &self.every).finish_non_exhaustive()
    }
}
