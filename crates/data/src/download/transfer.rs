//! One file over https: resumed where a transfer broke off, and kept only with the hash that it should have.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::{Error, ErrorKind, Result};

/// How often a transfer that breaks off is taken up again.
const ATTEMPTS: u32 = 5;

/// A file on a server whose contents are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteFile<'a> {
    /// Where it is.
    pub url: &'a str,
    /// The SHA-256 of its bytes in lower-case hexadecimal, or the first digits of it: PyTorch's files have eight in their names.
    pub sha256: &'a str,
    /// Its length.
    pub length: Length,
}

/// What is known of a file's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Exactly(u64),
    /// So many bytes or fewer; the server says how many.
    AtMost(u64),
}

impl Length {
    fn most(self) -> u64 {
        match self {
            Self::Exactly(bytes) | Self::AtMost(bytes) => bytes,
        }
    }

    fn allows(self, bytes: u64) -> bool {
        match self {
            Self::Exactly(exactly) => bytes == exactly,
            Self::AtMost(most) => bytes <= most,
        }
    }
}

impl<'a> RemoteFile<'a> {
    /// The last part of the address.
    #[must_use]
    pub fn file_name(&self) -> &'a str {
        self.url.rsplit('/').next().unwrap_or(self.url)
    }

    fn is_at(&self, path: &Path) -> Result<bool> {
        let right = path.metadata().is_ok_and(|m| m.is_file() && self.length.allows(m.len()));
        Ok(right && hash_of(path)?.starts_with(self.sha256))
    }
}

/// Fetches `file` to the path `to`, through `to` with `.part` added, which a later call takes up where this one broke off. Nothing
/// appears at `to` before its length and hash are right; a file that is already there and right is kept. Of several processes that
/// fetch the same, one does and the others wait for it.
///
/// `progress` is told the file's name, the bytes of it that are here, and the bytes it will have.
///
/// # Errors
///
/// When the server cannot be reached, the transfer keeps breaking off, the file is longer than `file.length`, its hash is another, or the
/// disk cannot be written.
pub fn transfer(file: &RemoteFile<'_>, to: &Path, progress: &mut dyn FnMut(&str, u64, u64)) -> Result<()> {
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let at = |e: std::io::Error| Error::at(&part, e);
    let mut out = loop {
        if file.is_at(to)? {
            return Ok(());
        }
        let out = OpenOptions::new().create(true).append(true).read(true).open(&part).map_err(at)?;
        // Held until `out` is closed. Whoever held it before may have renamed or removed what was opened.
        out.lock().map_err(at)?;
        if part.exists() && !file.is_at(to)? {
            break out;
        }
    };
    fetch_rest(file, &mut out, progress)?;
    out.sync_all().map_err(at)?;
    let hash = hash_of(&part)?;
    if !hash.starts_with(file.sha256) {
        fs::remove_file(&part).map_err(at)?;
        let message = format!("its SHA-256 is {hash}, not {}; it was thrown away", file.sha256);
        return Err(failed(file, message));
    }
    fs::rename(&part, to).map_err(|e| Error::at(to, e))
}

/// Requests until `out` is whole.
fn fetch_rest(file: &RemoteFile<'_>, out: &mut File, progress: &mut dyn FnMut(&str, u64, u64)) -> Result<()> {
    let agent = ureq::Agent::config_builder()
        .https_only(file.url.starts_with("https:"))
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .build()
        .new_agent();
    let mut attempt = 0;
    while let Outcome::Broken(broken) = request(&agent, file, out, progress)? {
        attempt += 1;
        if attempt == ATTEMPTS {
            let message =
                format!("{broken}, {ATTEMPTS} times; run the same command again to go on from there");
            return Err(failed(file, message));
        }
        std::thread::sleep(Duration::from_millis(100 << attempt));
    }
    Ok(())
}

/// How a request ended.
enum Outcome {
    /// The file is whole.
    Whole,
    /// What went wrong; another request may go on.
    Broken(String),
}

/// One request for what `out` lacks, appended to it.
fn request(
    agent: &ureq::Agent,
    file: &RemoteFile<'_>,
    out: &mut File,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Outcome> {
    let disk = |e: std::io::Error| failed(file, format!("it cannot be written: {e}"));
    let broken = |what: String| Ok(Outcome::Broken(what));
    let mut have = out.metadata().map_err(disk)?.len();
    if file.length == Length::Exactly(have) {
        return Ok(Outcome::Whole);
    }
    if have > file.length.most() {
        out.set_len(0).map_err(disk)?;
        have = 0;
    }
    let mut request = agent.get(file.url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = match request.call() {
        Ok(response) => response,
        Err(e) => return broken(format!("the server cannot be reached ({e})")),
    };
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
            return broken("the server cannot resume the transfer".into());
        }
        status @ 500.. => return broken(format!("the server answers with status {status}")),
        status => return Err(failed(file, format!("the server answers with status {status}"))),
    }
    let most = file.length.most();
    let too_long = |out: &mut File| {
        out.set_len(0).map_err(disk)?;
        let said = if let Length::AtMost(_) = file.length { " at most" } else { "" };
        Err(failed(file, format!("it is longer than the {most} bytes it should have{said}")))
    };
    let whole = match (file.length, response.body().content_length()) {
        (Length::Exactly(bytes), _) => bytes,
        (Length::AtMost(_), Some(rest)) => have.saturating_add(rest),
        (Length::AtMost(_), None) => {
            return Err(failed(file, "the server does not say how long the file is"));
        }
    };
    if whole > most {
        return too_long(out);
    }
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    while have < whole {
        let read = match body.read(&mut buffer) {
            Ok(0) => return broken(format!("the transfer broke off at byte {have}")),
            Ok(read) => read,
            Err(e) => return broken(format!("the transfer broke off at byte {have} ({e})")),
        };
        if have + read as u64 > whole {
            return too_long(out);
        }
        out.write_all(&buffer[..read]).map_err(disk)?;
        have += read as u64;
        progress(file.file_name(), have, whole);
    }
    Ok(Outcome::Whole)
}

fn failed(file: &RemoteFile<'_>, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Download(format!("{}: {what}", file.url)))
}

fn resumes_at<B>(response: &ureq::http::Response<B>, have: u64) -> bool {
    let range = response.headers().get("Content-Range").and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {have}-")))
}

/// The SHA-256 of a file, in lower-case hexadecimal.
pub(super) fn hash_of(path: &Path) -> Result<String> {
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    use super::*;

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
                // In pieces, as from a slow server. Who has seen enough hangs up.
                for piece in answer.chunks(32) {
                    std::thread::sleep(Duration::from_millis(1));
                    let _ = stream.write_all(piece);
                }
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

    fn content_at(url: &'static str) -> RemoteFile<'static> {
        RemoteFile { url, sha256: sha256(CONTENT), length: Length::Exactly(CONTENT.len() as u64) }
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
    }

    #[test]
    fn a_file_of_unknown_length_is_as_long_as_the_server_says() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("weights.pth");
        let file = |url| RemoteFile { url, sha256: &sha256(CONTENT)[..8], length: Length::AtMost(25) };
        let (url, server) = serve(vec![
            answer("200 OK", "", 20, &CONTENT[..7]),
            answer("206 Partial Content", "Content-Range: bytes 7-19/20\r\n", 13, &CONTENT[7..]),
        ]);
        transfer(&file(url), &to, &mut |_, _, _| ()).unwrap();
        assert_eq!(fs::read(&to).unwrap(), CONTENT);
        server.join().unwrap();
        // What is here is not fetched again; what was changed is.
        transfer(&file(url), &to, &mut |_, _, _| ()).unwrap();
        fs::write(&to, b"0123456789abcdefghiX").unwrap();
        let (url, server) = serve(vec![answer("200 OK", "", 20, CONTENT)]);
        transfer(&file(url), &to, &mut |_, _, _| ()).unwrap();
        assert_eq!(fs::read(&to).unwrap(), CONTENT);
        server.join().unwrap();

        fs::remove_file(&to).unwrap();
        let (url, server) = serve(vec![answer("200 OK", "", 26, CONTENT)]);
        let error = transfer(&file(url), &to, &mut |_, _, _| ()).unwrap_err().to_string();
        assert!(error.contains("longer than the 25 bytes"), "{error}");
        server.join().unwrap();
    }

    #[test]
    fn a_server_that_stalls_or_fails_is_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("file.gz");
        let (url, server) = serve(vec![
            answer("503 Service Unavailable", "", 0, b""),
            Vec::new(),
            answer("200 OK", "", 20, &CONTENT[..1]),
            answer("206 Partial Content", "Content-Range: bytes 1-19/20\r\n", 19, &CONTENT[1..]),
        ]);
        transfer(&content_at(url), &to, &mut |_, _, _| ()).unwrap();
        assert_eq!(fs::read(&to).unwrap(), CONTENT);
        server.join().unwrap();
    }

    #[test]
    fn one_of_several_fetches_and_the_others_wait() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("file.gz");
        // One answer: a second request would find nobody.
        let (url, server) = serve(vec![answer("200 OK", "", 20, CONTENT)]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| transfer(&content_at(url), &to, &mut |_, _, _| ()).unwrap());
            }
        });
        assert_eq!(fs::read(&to).unwrap(), CONTENT);
        server.join().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
