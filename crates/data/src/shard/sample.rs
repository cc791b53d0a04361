//! Entries of an archive to samples.

use std::io::{Read, Seek};

use super::class::{Class, ClassTable};
use super::index_file::Index;
use super::record::{Head, Record};
use super::tar::{Entries, Entry, Kind};
use crate::source::has_image_extension;
use crate::{Error, ErrorKind, Limits, Result};

/// The largest file beside a picture that is read for its class.
const MAX_NOTE: u64 = 1 << 20;

/// What a pass over a shard finds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The samples that can be used.
    pub(crate) index: Index,
    /// Entries that are never read: links, devices, names that lead elsewhere.
    pub(crate) refused: u64,
    /// Samples without a picture.
    pub(crate) without_picture: u64,
    /// Samples that have one but cannot be used.
    pub(crate) unusable: u64,
    /// What is wrong with the first of them, and last the place where the archive cannot be read on.
    pub(crate) failures: Vec<Error>,
    /// Whether there is such a place.
    pub(crate) broken: bool,
}

/// Failures that are kept of one shard: a million samples without a class fail for one reason.
const MAX_FAILURES: usize = 100;

/// The entries with one key, as far as they were read.
#[derive(Default)]
struct Run {
    key: String,
    picture: Option<Picture>,
    /// The classes that a `.cls`, a `.json` and the folder name, if they do.
    cls: Option<Class>,
    json: Option<Class>,
    failure: Option<Error>,
    /// What is wrong with a file like `1.mask.png`, which may be no picture at all; it matters where there is no other.
    odd: Option<Error>,
}

struct Picture {
    entry: Entry,
    /// Whether its extension is that of an image and nothing else: `1.jpg` goes before `1.mask.png`.
    plain: bool,
    head: Head,
    crc: u32,
}

/// The key of a sample, which is everything up to the first dot of the file name, and the extension. Names without either are
/// not part of a sample.
pub(crate) fn split_name(name: &str) -> Option<(&str, &str)> {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name[file..].find('.')?;
    (dot > file && dot + 1 < name.len()).then(|| (&name[..dot], &name[dot + 1..]))
}

/// Reads `entries` to the end, or to where they cannot be read on; the samples before that place are found.
///
/// `seen` is told how many bytes are read, entry by entry.
///
/// Entries with the same key that follow each other are a sample. The run of entries that an archive breaks off in is none.
pub(crate) fn scan<R: Read + Seek>(entries: &mut Entries<R>, seen: &mut dyn FnMut(u64)) -> Scan {
    let mut found = Scan::default();
    let mut classes = ClassTable::default();
    let mut run = Run::default();
    let mut buffer = Vec::new();
    loop {
        let entry = match entries.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => {
                found.finish(run, entries, &mut classes);
                break;
            }
            Err(error) => {
                found.failures.push(error);
                found.broken = true;
                break;
            }
        };
        seen(entry.data + entry.size);
        match entry.kind {
            Kind::File => {}
            Kind::Folder => continue,
            Kind::Refused(_) => {
                found.refused += 1;
                continue;
            }
        }
        let Some((key, extension)) = split_name(&entry.name) else { continue };
        if key != run.key {
            let next = Run { key: key.to_owned(), ..Run::default() };
            found.finish(std::mem::replace(&mut run, next), entries, &mut classes);
        }
        if let Err(error) = run.add(entries, &entry, &extension.to_ascii_lowercase(), &mut buffer) {
            // The first of them is told.
            run.failure.get_or_insert(error);
        }
    }
    let (names, renumbered) = classes.finish();
    found.index.class_names = names;
    for record in &mut found.index.records {
        record.label = renumbered[record.label as usize];
    }
    found
}

impl Run {
    fn add<R: Read + Seek>(
        &mut self,
        entries: &mut Entries<R>,
        entry: &Entry,
        extension: &str,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let wrong = |what: &str| {
            Error::in_place(entries.place(&entry.name, entry.header), ErrorKind::Corrupt(what.into()))
        };
        match extension {
            "cls" => {
                entries.read(entry, MAX_NOTE, buffer)?;
                let class = Class::from_text(buffer);
                self.cls = Some(class.map_err(|what| located(entries, entry, what))?);
            }
            "json" => {
                entries.read(entry, MAX_NOTE, buffer)?;
                self.json = Class::from_json(buffer).map_err(|what| located(entries, entry, what))?;
            }
            _ if is_picture(extension) => {
                let plain = !extension.contains('.');
                match &self.picture {
                    Some(known) if known.plain && plain => {
                        return Err(wrong("a second picture in one sample"));
                    }
                    Some(known) if known.plain || !plain => return Ok(()),
                    _ => {}
                }
                entries.read(entry, Limits::default().max_file_bytes, buffer)?;
                let head = Head::of(buffer);
                let place = || entries.place(&entry.name, entry.header);
                let head = match head.map_err(|kind| Error::in_place(place(), kind)) {
                    Ok(head) => head,
                    Err(error) if plain => return Err(error),
                    Err(error) => {
                        self.odd.get_or_insert(error);
                        return Ok(());
                    }
                };
                self.picture =
                    Some(Picture { entry: entry.clone(), plain, head, crc: crc32c::crc32c(buffer) });
            }
            _ => {}
        }
        Ok(())
    }
}

fn located<R: Read + Seek>(entries: &Entries<R>, entry: &Entry, what: &str) -> Error {
    Error::in_place(entries.place(&entry.name, entry.header), ErrorKind::Corrupt(what.into()))
}

/// Whether files with this extension, in small letters, are pictures.
fn is_picture(extension: &str) -> bool {
    matches!(extension, "rgb8" | "l8") || has_image_extension(std::ffi::OsStr::new(&format!("x.{extension}")))
}

impl Scan {
    /// Takes a run that is whole.
    fn finish<R: Read + Seek>(&mut self, run: Run, entries: &Entries<R>, classes: &mut ClassTable) {
        let odd = run.odd.filter(|_| run.picture.is_none());
        if let Some(failure) = run.failure.or(odd) {
            self.fail(failure);
            return;
        }
        let Some(picture) = run.picture else {
            // Before the first entry there is an empty run.
            self.without_picture += u64::from(!run.key.is_empty());
            return;
        };
        let Picture { entry, head, crc, .. } = picture;
        let folder = || match run.key.split_once('/') {
            Some((folder, _)) => Class::from_name(folder),
            None => Err("a picture without a class: there is no .cls, no .json with a label, and no folder"),
        };
        let class = run.cls.or(run.json).map_or_else(folder, Ok);
        let added = class.and_then(|class| classes.number(class)).and_then(|label| {
            let record = Record {
                offset: entry.data,
                len: entry.size as u32,
                crc,
                width: head.width,
                height: head.height,
                codec: head.codec,
                channels: head.channels,
                orientation: head.orientation,
                label,
                name_hash: 0,
                name: (0, 0),
            };
            self.index.push(&entry.name, record)
        });
        if let Err(what) = added {
            self.fail(located(entries, &entry, what));
        }
    }

    fn fail(&mut self, failure: Error) {
        self.unusable += 1;
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_at_the_first_dot_of_the_file_name() {
        assert_eq!(split_name("a.b/c.d/1.seg.png"), Some(("a.b/c.d/1", "seg.png")));
        assert_eq!(split_name("1.jpg"), Some(("1", "jpg")));
        for none in ["README", "a/.hidden", "._1.jpg", "1.", "", "a.b/c"] {
            assert_eq!(split_name(none), None, "{none}");
        }
    }
}
