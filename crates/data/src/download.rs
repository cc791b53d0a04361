//! Well-known image sets over https: opt-in, checked against known hashes, resumed where a transfer broke off.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use crate::{Error, ErrorKind, Result};

/// The names that [`fetch`] knows.
pub const NAMES: [&str; 4] = crate::discover::NAMED;

/// How often a transfer that breaks off is taken up again.
const ATTEMPTS: u32 = 5;
/// More than a file of the CIFAR archives has.
const MAX_ENTRY_BYTES: u64 = 256 << 20;

/// A file on a server whose contents are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteFile {
    /// Where it is.
    pub url: &'static str,
    /// The SHA-256 of its bytes, in lower-case hexadecimal.
    pub sha256: &'static str,
    /// Its length in bytes.
    pub bytes: u64,
}

impl RemoteFile {
    /// The last part of the address.
    #[must_use]
    pub fn file_name(&self) -> &'static str {
        self.url.rsplit('/').next().unwrap_or(self.url)
    }
}

const fn remote(url: &'static str, sha256: &'static str, bytes: u64) -> RemoteFile {
    RemoteFile { url, sha256, bytes }
}

/// The files torchvision fetches.
const MNIST: [RemoteFile; 4] = [
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
const FASHION_MNIST: [RemoteFile; 4] = [
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

const CIFAR_10: RemoteFile = remote(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    170_052_171,
);
const CIFAR_100: RemoteFile = remote(
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
    file: &RemoteFile,
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

/// Fetches `file` to the path `to`, through `to` with `.part` added, which a later call takes up where this
/// one broke off. Nothing appears at `to` before its length and hash are right; a file that is already there
/// and right is kept.
///
/// # Errors
///
/// When the server cannot be reached, the transfer keeps breaking off, the file is longer than
/// `file.bytes`, its hash is another, or the disk cannot be written.
pub fn transfer(file: &RemoteFile, to: &Path, progress: &mut dyn FnMut(&str, u64, u64)) -> Result<()> {
    let at = |e: std::io::Error| Error::at(to, e);
    if to.metadata().is_ok_and(|m| m.len() == file.bytes) && hash_of(to)? == file.sha256 {
        return Ok(());
    }
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut out = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(&part)
        .map_err(|e| Error::at(&part, e))?;
    let agent = ureq::Agent::config_builder()
        .https_only(file.url.starts_with("https:"))
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .build()
        .new_agent();
    let mut attempt = 0;
    loop {
        let have = out.metadata().map_err(at)?.len();
        if have == file.bytes {
            break;
        }
        let broken = match request(&agent, file, have, &mut out, progress)? {
            None => continue,
            Some(broken) => broken,
        };
        attempt += 1;
        if attempt == ATTEMPTS {
            let message =
                format!("{broken}, {ATTEMPTS} times; run the same command again to go on from there");
            return Err(failed(file, message));
        }
        std::thread::sleep(Duration::from_millis(100 << attempt));
    }
    out.sync_all().map_err(at)?;
    drop(out);
    let hash = hash_of(&part)?;
    if hash != file.sha256 {
        fs::remove_file(&part).map_err(|e| Error::at(&part, e))?;
        let message = format!("its SHA-256 is {hash}, not {}; it was thrown away", file.sha256);
        return Err(failed(file, message));
    }
    fs::rename(&part, to).map_err(at)
}

fn failed(file: &RemoteFile, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Download(format!("{}: {what}", file.url)))
}

/// One request for what is missing after the first `have` bytes, appended to `out`. What broke off and can
/// be tried again is a text.
fn request(
    agent: &ureq::Agent,
    file: &RemoteFile,
    have: u64,
    out: &mut File,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Option<String>> {
    let disk = |e: std::io::Error| failed(file, format!("it cannot be written: {e}"));
    if have > file.bytes {
        out.set_len(0).map_err(disk)?;
        return Ok(None);
    }
    let mut request = agent.get(file.url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = match request.call() {
        Ok(response) => response,
        Err(e) => return Ok(Some(format!("the server cannot be reached ({e})"))),
    };
    let mut have = have;
    match response.status().as_u16() {
        206 if resumes_at(&response, have) => {}
        // The server sends everything from the start again.
        200 => {
            out.set_len(0).map_err(disk)?;
            out.seek(SeekFrom::Start(0)).map_err(disk)?;
            have = 0;
        }
        206 | 416 => {
            out.set_len(0).map_err(disk)?;
            return Ok(Some("the server cannot resume the transfer".into()));
        }
        status @ 500.. => return Ok(Some(format!("the server answers with status {status}"))),
        status => return Err(failed(file, format!("the server answers with status {status}"))),
    }
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    while have < file.bytes {
        let read = match body.read(&mut buffer) {
            Ok(0) => return Ok(Some(format!("the transfer broke off at byte {have}"))),
            Ok(read) => read,
            Err(e) => return Ok(Some(format!("the transfer broke off at byte {have} ({e})"))),
        };
        if have + read as u64 > file.bytes {
            out.set_len(0).map_err(disk)?;
            return Err(failed(file, format!("it is longer than the {} bytes it should have", file.bytes)));
        }
        out.write_all(&buffer[..read]).map_err(disk)?;
        have += read as u64;
        progress(file.file_name(), have, file.bytes);
    }
    Ok(None)
}

fn resumes_at<B>(response: &ureq::http::Response<B>, have: u64) -> bool {
    let range = response.headers().get("Content-Range").and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {have}-")))
}

fn hash_of(path: &Path) -> Result<String> {
    let at = |e: std::io::Error| Error::at(path, e);
    let mut file = File::open(path).map_err(at)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(at)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
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
    use std::io::BufRead;
    use std::net::TcpListener;

    use super::*;
    use crate::testing::shared_data;

    const CONTENT: &[u8] = b"0123456789abcdefghij";

    /// A server on the loopback that gives each answer once, and the headers of each request.
    fn serve(answers: Vec<Vec<u8>>) -> (&'static str, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/file.gz", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
                let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                requests.push(request.join("\n").to_lowercase());
                stream.write_all(&answer).unwrap();
            }
            requests
        });
        (url.leak(), server)
    }

    fn answer(status: &str, headers: &str, claimed: usize, body: &[u8]) -> Vec<u8> {
        let head =
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {claimed}\r\n{headers}\r\n");
        [head.as_bytes(), body].concat()
    }

    fn sha256(bytes: &[u8]) -> &'static str {
        let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        hex.leak()
    }

    fn content_at(url: &'static str) -> RemoteFile {
        RemoteFile { url, sha256: sha256(CONTENT), bytes: CONTENT.len() as u64 }
    }

    #[test]
    fn a_broken_transfer_is_resumed_where_it_broke_off() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("file.gz");
        let (url, server) = serve(vec![
            answer("200 OK", "", 20, &CONTENT[..7]),
            answer("206 Partial Content", "Content-Range: bytes 7-19/20\r\n", 13, &CONTENT[7..]),
        ]);
        let mut told = Vec::new();
        transfer(&content_at(url), &to, &mut |name, have, all| told.push((name.to_owned(), have, all)))
            .unwrap();
        assert_eq!(fs::read(&to).unwrap(), CONTENT);
        assert!(server.join().unwrap()[1].contains("range: bytes=7-"));
        assert_eq!(told.last().unwrap(), &("file.gz".to_owned(), 20, 20));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // Nobody listens any more: what is right is not fetched again.
        transfer(&content_at(url), &to, &mut |_, _, _| ()).unwrap();
    }

    #[test]
    fn a_server_that_cannot_resume_starts_again() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("file.gz");
        fs::write(folder.path().join("file.gz.part"), b"wrong").unwrap();
        let (url, server) = serve(vec![answer("200 OK", "", 20, CONTENT)]);
        transfer(&content_at(url), &to, &mut |_, _, _| ()).unwrap();
        assert_eq!(fs::read(&to).unwrap(), CONTENT);
        assert!(server.join().unwrap()[0].contains("range: bytes=5-"));
    }

    #[test]
    fn a_wrong_hash_or_length_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("file.gz");
        let (url, server) = serve(vec![answer("200 OK", "", 20, b"0123456789abcdefghiX")]);
        let error = transfer(&content_at(url), &to, &mut |_, _, _| ()).unwrap_err().to_string();
        assert!(error.contains("its SHA-256 is") && error.contains("127.0.0.1"), "{error}");
        server.join().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

        let (url, server) = serve(vec![answer("200 OK", "", 40, &[CONTENT, CONTENT].concat())]);
        let error = transfer(&content_at(url), &to, &mut |_, _, _| ()).unwrap_err().to_string();
        assert!(error.contains("longer than the 20 bytes"), "{error}");
        server.join().unwrap();
        assert!(!to.exists());
    }

    #[test]
    fn a_refusal_is_final() {
        let folder = tempfile::tempdir().unwrap();
        let (url, server) = serve(vec![answer("404 Not Found", "", 0, b"")]);
        let error = transfer(&content_at(url), &folder.path().join("x"), &mut |_, _, _| ()).unwrap_err();
        assert!(error.to_string().contains("status 404"), "{error}");
        server.join().unwrap();
        assert!(
            fetch("imagenet", folder.path(), &mut |_, _, _| ()).unwrap_err().to_string().contains("mnist")
        );
    }

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
    fn the_known_files_have_their_hashes() {
        for (name, files) in [("mnist_idx", MNIST), ("fashion_mnist_idx", FASHION_MNIST)] {
            let Some(folder) = shared_data(name) else { continue };
            for file in files {
                let path = folder.join(file.file_name());
                assert_eq!(path.metadata().unwrap().len(), file.bytes);
                assert_eq!(hash_of(&path).unwrap(), file.sha256);
            }
        }
    }
}
