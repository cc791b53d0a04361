//! Any source to shards.

mod encode;
mod journal;

#[cfg(test)]
mod tests;

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::in_order::in_order;
use crate::order::permute;
use crate::shard::manifest::{Manifest, ShardEntry, is_shard_name};
use crate::shard::writer::{Packed, ShardWriter};
use crate::{Error, ErrorKind, Limits, Place, Result, Source};
use journal::{Finished, Journal, Plan};

/// The most shards: their numbers have six digits.
const MAX_SHARDS: u64 = 1_000_000;
/// Pictures that are encoded to guess how many fit a shard.
const PROBES: usize = 64;

/// How [`pack`] makes shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackOptions {
    /// How the files begin: `NAME-000000.tar`. ASCII letters, digits, `-` and `_`, at most 60.
    pub name: String,
    /// How pictures are stored.
    pub encoding: Encoding,
    /// Pictures whose shorter side has more pixels are made smaller.
    pub short_side: Option<u32>,
    /// About how large a shard becomes, in bytes. All shards hold the same number of samples, give or take one.
    pub shard_bytes: u64,
    /// The seed of the order in which samples are packed; without it, as the source numbers them. Shards of class folders in
    /// their own order would each hold few classes.
    pub shuffle: Option<u64>,
    /// How many pictures may be left out because they are damaged; one more is an error.
    pub leave_out: usize,
    /// Pictures encoded at the same time, at least 1. The shards do not depend on it.
    pub threads: usize,
}

impl Default for PackOptions {
    /// Files as they are, in shards of 256 MiB called `shard`, shuffled, nothing left out, two threads.
    fn default() -> Self {
        Self {
            name: "shard".into(),
            encoding: Encoding::Keep,
            short_side: None,
            shard_bytes: 256 << 20,
            shuffle: Some(0),
            leave_out: 0,
            threads: 2,
        }
    }
}

/// How pictures are stored in shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Picture files stay as they are, byte for byte. What a source holds as pixels becomes [`Encoding::Raw`].
    Keep,
    /// As JPEG with halved chroma (4:2:0), upright. JPEG files that need not be made smaller stay as they are.
    Jpeg {
        /// 1 to 100; 90 is hard to tell from the picture itself.
        quality: u8,
        /// A marker after every row of blocks: a decoder can begin at any of them. It costs well below 1 % of the size.
        restart: bool,
    },
    /// As pixels, upright: nothing to decode, and ten times the size.
    Raw {
        /// Every picture becomes a square of this many pixels a side: its shorter side is resized to it, the middle is cut out.
        square: Option<u32>,
    },
}

/// How far [`pack`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackProgress {
    /// Samples that are done, those of earlier calls included.
    pub samples_done: usize,
    /// All samples.
    pub samples: usize,
    /// Shards that are done.
    pub shards_done: usize,
    /// All shards.
    pub shards: usize,
    /// Bytes that this call has written.
    pub bytes: u64,
}

/// What [`pack`] has made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackReport {
    /// Samples in the shards.
    pub samples: u64,
    /// The number of shards.
    pub shards: usize,
    /// Those of them that an earlier call had made.
    pub made_before: usize,
    /// Bytes of the shards.
    pub bytes: u64,
    /// Samples whose files are stored as they were.
    pub kept: u64,
    /// Samples that are missing because their pictures are damaged.
    pub left_out: Vec<LeftOut>,
}

/// A picture that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Where it lies.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Writes `source` as shards into the folder `out`: the archives, their indexes, and `manifest.json`. The bytes depend on the
/// source and the options alone.
///
/// `out` is a new or empty folder, or one where the same call was stopped: what is whole there is not made again, and nothing
/// that is not whole is ever there under its own name.
///
/// # Errors
///
/// When an option is out of its range, `out` is an address, holds something else or shards that were packed otherwise, a picture cannot be
/// fetched, more are damaged than may be left out, or a file cannot be written. The error names the file.
pub fn pack(
    source: &dyn Source,
    out: impl AsRef<Path>,
    options: &PackOptions,
    progress: &mut dyn FnMut(&PackProgress),
) -> Result<PackReport> {
    let out = out.as_ref();
    if out.to_string_lossy().contains("://") {
        let message = "nothing is written to addresses; write to a folder on a disk, and upload that";
        return Err(Error::at(out, ErrorKind::Setting(message.into())));
    }
    options.check()?;
    if source.is_empty() {
        return Err(Error::new(ErrorKind::Setting("there are no images to pack".into())));
    }
    let mut manifest = Manifest { classes: source.class_names().to_vec(), shards: None };
    manifest.check().map_err(|what| Error::new(ErrorKind::Classes(what)))?;
    let mut journal = Journal::open(out, |shards| options.plan(source, shards))?;
    let mut report = PackReport { shards: journal.finished.len(), ..PackReport::default() };
    let mut todo = Vec::new();
    for (number, finished) in journal.finished.iter().enumerate() {
        match finished {
            Some(finished) => report.add(finished),
            None => todo.extend(journal.plan.positions(number).map(|position| (number, position))),
        }
    }
    report.made_before = journal.finished.iter().flatten().count();
    let mut state = PackProgress {
        samples_done: source.len() - todo.len(),
        samples: source.len(),
        shards_done: report.made_before,
        shards: report.shards,
        bytes: 0,
    };
    progress(&state);

    let work = |at: usize| attempt(source, options.sample_at(todo[at].1, source.len()), options);
    let mut open: Option<OpenShard> = None;
    in_order(0..todo.len(), options.threads, work, |at, made: Made| {
        let (number, position) = todo[at];
        let shard = match &mut open {
            Some(shard) => shard,
            None => open.insert(OpenShard::create(out, &journal.plan, number, source.class_names())?),
        };
        let before = shard.writer.bytes();
        shard.add(made, report.left_out.len(), options.leave_out)?;
        state.bytes += shard.writer.bytes() - before;
        state.samples_done += 1;
        if position + 1 == journal.plan.positions(number).end
            && let Some(shard) = open.take()
        {
            let finished = shard.finish()?;
            report.add(&finished);
            journal.finish(finished)?;
            state.shards_done += 1;
        }
        progress(&state);
        Ok(())
    })?;

    if report.samples == 0 {
        return Err(Error::at(
            out,
            ErrorKind::Setting("every image was left out; there is nothing to pack".into()),
        ));
    }
    let entry = |finished: &Finished| ShardEntry {
        name: journal.plan.shard_name(finished.shard),
        samples: finished.samples,
        bytes: finished.bytes,
    };
    manifest.shards = Some(journal.finished.iter().flatten().map(entry).collect());
    manifest.write(out)?;
    Ok(report)
}

/// What became of one sample.
enum Made {
    Packed { packed: Packed, kept: bool },
    Damaged(Error),
}

/// A failure that lies in the picture is not one of the packing yet: some may be left out.
fn attempt(source: &dyn Source, index: usize, options: &PackOptions) -> Result<Made> {
    match encode::encode(source, index, options) {
        Ok((packed, kept)) => Ok(Made::Packed { packed, kept }),
        Err(error) => match error.kind() {
            ErrorKind::UnknownFormat
            | ErrorKind::Decode(_)
            | ErrorKind::TooLarge(_)
            | ErrorKind::Corrupt(_) => Ok(Made::Damaged(error)),
            _ => Err(error),
        },
    }
}

/// The shard that is being written.
struct OpenShard {
    writer: ShardWriter,
    finished: Finished,
}

impl OpenShard {
    fn create(out: &Path, plan: &Plan, number: usize, class_names: &[String]) -> Result<Self> {
        let writer = ShardWriter::create(&out.join(plan.shard_name(number)), class_names)?;
        let finished = Finished { shard: number, samples: 0, bytes: 0, kept: 0, left_out: Vec::new() };
        Ok(Self { writer, finished })
    }

    /// Adds a sample, or leaves it out if there are few enough of them: `before` in other shards, and those of this one.
    fn add(&mut self, made: Made, before: usize, limit: usize) -> Result<()> {
        match made {
            Made::Packed { packed, kept } => {
                self.writer.add(&packed)?;
                self.finished.samples += 1;
                self.finished.kept += u64::from(kept);
            }
            Made::Damaged(error) if before + self.finished.left_out.len() >= limit => return Err(error),
            Made::Damaged(error) => {
                let (place, reason) = (error.place().to_string(), error.kind().to_string());
                self.finished.left_out.push(LeftOut { place, reason });
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Finished> {
        self.finished.bytes = self.writer.finish()?;
        Ok(self.finished)
    }
}

impl PackReport {
    fn add(&mut self, finished: &Finished) {
        self.samples += finished.samples;
        self.bytes += finished.bytes;
        self.kept += finished.kept;
        self.left_out.extend_from_slice(&finished.left_out);
    }
}

impl PackOptions {
    fn check(&self) -> Result<()> {
        let sides = 1..=Limits::default().max_width;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name_fits = (1..=60).contains(&self.name.len()) && self.name.chars().all(plain);
        let problem = match self.encoding {
            _ if !name_fits || !is_shard_name(&format!("{}-000000.tar", self.name)) => {
                format!("the name {:?}; it must be 1 to 60 ASCII letters, digits, - and _", self.name)
            }
            _ if self.short_side.is_some_and(|side| !sides.contains(&side)) => {
                format!(
                    "a short side of {}; it must be 1 to {}",
                    self.short_side.unwrap_or_default(),
                    sides.end()
                )
            }
            _ if self.shard_bytes == 0 => "shards of 0 bytes; 256 MiB is a good size".into(),
            Encoding::Keep if self.short_side.is_some() => {
                "files kept as they are and a short side; a smaller picture has to be encoded as jpeg or raw"
                    .into()
            }
            Encoding::Jpeg { quality, .. } if !(1..=100).contains(&quality) => {
                format!("a JPEG quality of {quality}; it must be 1 to 100")
            }
            Encoding::Raw { square: Some(side) } if !(1..=4096).contains(&side) => {
                format!("a square of {side} pixels; it must be 1 to 4096")
            }
            Encoding::Raw { square: Some(_) } if self.short_side.is_some() => {
                "a square and a short side; give one of them".into()
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Setting(problem)))
    }

    /// The sample at `position` of the packing order.
    fn sample_at(&self, position: usize, len: usize) -> usize {
        self.shuffle.map_or(position, |seed| permute(seed, 0, len as u64, position as u64) as usize)
    }

    /// What is to be made; the number of shards is guessed from a few samples where it is not given.
    fn plan(&self, source: &dyn Source, shards: Option<u64>) -> Result<Plan> {
        let samples = source.len() as u64;
        let shards = match shards {
            Some(shards) => shards,
            None => self.sample_bytes(source)?.saturating_mul(samples).div_ceil(self.shard_bytes),
        };
        Ok(Plan {
            version: 1,
            name: self.name.clone(),
            encoding: self.encoding,
            short_side: self.short_side,
            shard_bytes: self.shard_bytes,
            shuffle: self.shuffle,
            samples,
            source: fingerprint(source),
            shards: shards.clamp(1, samples.min(MAX_SHARDS)),
        })
    }

    /// How many bytes a sample takes in a shard, on average over some of them.
    fn sample_bytes(&self, source: &dyn Source) -> Result<u64> {
        let probes = PROBES.min(source.len());
        let (mut bytes, mut whole) = (0, 0);
        let work =
            |probe: usize| attempt(source, self.sample_at(probe * source.len() / probes, source.len()), self);
        in_order(0..probes, self.threads, work, |_, made| {
            if let Made::Packed { packed, .. } = made {
                // A header and whole blocks for the picture, and the same for its class.
                bytes += 512 + packed.bytes.len().next_multiple_of(512) as u64 + 1024;
                whole += 1;
            }
            Ok(())
        })?;
        Ok(bytes / whole.max(1))
    }
}

/// Tells a source from another: its labels, its class names, and how its files are called, wherever they lie.
fn fingerprint(source: &dyn Source) -> String {
    let mut hash = Sha256::new();
    for name in source.class_names() {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
    }
    for index in 0..source.len() {
        let Place { path, record, entry, .. } = source.place(index);
        hash.update(source.label(index).to_le_bytes());
        hash.update(record.unwrap_or_default().to_le_bytes());
        let file = path.as_deref().and_then(Path::file_name).unwrap_or_default();
        for name in [file.as_encoded_bytes(), entry.unwrap_or_default().as_bytes()] {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
