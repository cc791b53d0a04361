//! Well-known image sets over https: opt-in, checked against known hashes, resumed where a transfer broke off.

mod transfer;

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

pub use self::transfer::{Length, RemoteFile, transfer};
use crate::{Error, ErrorKind, Result};

/// The names that [`fetch`] knows.
pub const NAMES: [&str; 4] = crate::discover::NAMED;

/// More than a file of the CIFAR archives has.
const MAX_ENTRY_BYTES: u64 = 256 << 20;

const fn remote(url: &'static str, sha256: &'static str, bytes: u64) -> RemoteFile<'static> {
    RemoteFile { url, sha256, length: Length::Exactly(bytes) }
}

/// The files torchvision fetches.
const MNIST: [RemoteFile<'static>; 4] = [
    remote(
        "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        9_912_422,
    ),
    remote(
        "https://ossci-datasets.s3.amazonaws.com/mnist/train-labels-idx1-ubyte.gz",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        28_881,
    ),
    remote(
        "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-images-idx3-ubyte.gz",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        1_648_877,
    ),
    remote(
        "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-labels-idx1-ubyte.gz",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        4_542,
    ),
];

/// The files Keras fetches: the authors' own server has no https.
const FASHION_MNIST: [RemoteFile<'static>; 4] = [
    remote(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/train-images-idx3-ubyte.gz",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        26_421_880,
    ),
    remote(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/train-labels-idx1-ubyte.gz",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        29_515,
    ),
    remote(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/t10k-images-idx3-ubyte.gz",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        4_422_102,
    ),
    remote(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/t10k-labels-idx1-ubyte.gz",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        5_148,
    ),
];

const CIFAR_10: RemoteFile<'static> = remote(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    170_052_171,
);
const CIFAR_100: RemoteFile<'static> = remote(
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    168_513_733,
);

/// Fetches the set `name`, one of [`NAMES`], into a folder of that name in
/// `cache`, and returns the folder, for [`DataSet::open`](crate::DataSet::open). What is there already and
/// has the right hash is not fetched again.
///
/// `progress` is told the file, the bytes of it that are here, and the bytes it will have.
///
/// # Errors
///
/// When the name is unknown, the server cannot be reached or sends something else, or `cache` cannot be
/// written.
pub fn fetch(name: &str, cache: &Path, progress: &mut dyn FnMut(&str, u64, u64)) -> Result<PathBuf> {
    let folder = cache.join(name);
    let files = match name {
        "mnist" => MNIST,
        "fashion-mnist" => FASHION_MNIST,
        "cifar10" => return fetch_archive(&CIFAR_10, cache, &folder, progress),
        "cifar100" => return fetch_archive(&CIFAR_100, cache, &folder, progress),
        _ => {
            let known = NAMES.join(", ");
            let message = format!("there is no downloadable set {name:?}; there are {known}");
            return Err(Error::new(ErrorKind::Setting(message)));
        }
    };
    fs::create_dir_all(&folder).map_err(|e| Error::at(&folder, e))?;
    for file in files {
        transfer(&file, &folder.join(file.file_name()), progress)?;
    }
    Ok(folder)
}

fn fetch_archive(
    file: &RemoteFile<'_>,
    cache: &Path,
    folder: &Path,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<PathBuf> {
    // The folder appears with all its files in it or not at all.
    if !folder.is_dir() {
        fs::create_dir_all(cache).map_err(|e| Error::at(cache, e))?;
        let archive = cache.join(file.file_name());
        transfer(file, &archive, progress)?;
        unpack(&archive, folder)?;
        fs::remove_file(&archive).map_err(|e| Error::at(&archive, e))?;
    }
    Ok(folder.to_owned())
}

/// Takes the `.bin` and `.txt` files out of a `.tar.gz`, by their names alone: paths and links in the
/// archive are of no consequence.
fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    let at =
        |e: std::io::Error| Error::at(archive, ErrorKind::Corrupt(format!("it cannot be unpacked: {e}")));
    let parent = folder.parent().unwrap_or(Path::new("."));
    let temporary = tempfile::tempdir_in(parent).map_err(|e| Error::at(parent, e))?;
    let file = File::open(archive).map_err(|e| Error::at(archive, e))?;
    let mut tar = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
    for entry in tar.entries().map_err(at)? {
        let mut entry = entry.map_err(at)?;
        let path = entry.path().map_err(at)?.into_owned();
        let wanted = path.extension().is_some_and(|e| e == "bin" || e == "txt");
        let (true, true, Some(name)) = (wanted, entry.header().entry_type().is_file(), path.file_name())
        else {
            continue;
        };
        if entry.size() > MAX_ENTRY_BYTES {
            let message = format!("{} in it is larger than 256 MiB", path.display());
            return Err(Error::at(archive, ErrorKind::TooLarge(message)));
        }
        let target = temporary.path().join(name);
        let mut out = File::create(&target).map_err(|e| Error::at(&target, e))?;
        std::io::copy(&mut entry, &mut out).map_err(at)?;
        out.sync_all().map_err(|e| Error::at(&target, e))?;
    }
    fs::rename(temporary.keep(), folder).map_err(|e| Error::at(folder, e))
}

#[cfg(test)]
mod tests {
    use super::transfer::hash_of;
    use super::*;
    use crate::testing::shared_data;

    #[test]
    fn only_wanted_files_are_unpacked_and_only_into_the_folder() {
        let cache = tempfile::tempdir().unwrap();
        let archive = cache.path().join("cifar.tar.gz");
        let encoder =
            flate2::write::GzEncoder::new(File::create(&archive).unwrap(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(encoder);
        for name in ["set/test.bin", "set/names.txt", "set/readme.html", "other/../../outside.bin"] {
            let mut header = tar::Header::new_ustar();
            // Set by hand: the builder refuses a path that leads out of the folder.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(3);
            header.set_cksum();
            tar.append(&header, &b"abc"[..]).unwrap();
        }
        let mut link = tar::Header::new_ustar();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        tar.append_link(&mut link, "set/link.bin", "/").unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        let folder = cache.path().join("cifar10");
        unpack(&archive, &folder).unwrap();
        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["names.txt", "outside.bin", "test.bin"]);
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 2);
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_that_are_known() {
        let error = fetch("imagenet", Path::new("nowhere"), &mut |_, _, _| ()).unwrap_err();
        assert!(error.to_string().contains("mnist"), "{error}");
    }

    #[test]
    fn the_known_files_have_their_hashes() {
        for (name, files) in [("mnist_idx", MNIST), ("fashion_mnist_idx", FASHION_MNIST)] {
            let Some(folder) = shared_data(name) else { continue };
            for file in files {
                let path = folder.join(file.file_name());
                assert_eq!(Length::Exactly(path.metadata().unwrap().len()), file.length);
                assert_eq!(hash_of(&path).unwrap(), file.sha256);
            }
        }
    }
}
