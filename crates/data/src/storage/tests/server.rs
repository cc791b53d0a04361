//! A web server on loopback that fails as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The answer comes after this many milliseconds.
    Late(u64),
    /// This status, and nothing else.
    Status(u16),
    /// Files that are not there are forbidden.
    Secret,
    /// Half of the bytes that were promised.
    Short,
    /// As many bytes of a part as the client takes.
    Endless,
    /// Files are sent whole, whatever part is asked for.
    Whole,
    /// Files are sent with something other in their place, which is said to be compressed.
    Compressed,
    /// The connection breaks before an answer.
    Reset,
}

pub(super) struct Server {
    pub(super) address: String,
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    requests: AtomicUsize,
    /// By method, of what was answered in full.
    answered: Mutex<BTreeMap<String, usize>>,
    fault: Box<dyn Fn(usize) -> Fault + Send + Sync>,
    tags: bool,
    /// Answers do not tell when files changed.
    undated: AtomicBool,
    closed: AtomicBool,
    /// Files that are answered as if they were written now.
    changed: AtomicBool,
}

impl Server {
    /// Serves the files below `root`; request number `n`, from 0, fails as `fault(n)` says. Without `tags`, answers have no entity tag.
    pub(super) fn start(
        root: &Path,
        tags: bool,
        fault: impl Fn(usize) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            requests: AtomicUsize::new(0),
            answered: Mutex::default(),
            fault: Box::new(fault),
            tags,
            undated: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            changed: AtomicBool::new(false),
        });
        let served = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let served = served.clone();
                thread::spawn(move || served.serve(&stream));
            }
        });
        Self { address, shared }
    }

    /// How many requests of this method were answered in full.
    pub(super) fn answered(&self, method: &str) -> usize {
        self.shared.answered.lock().unwrap().get(method).copied().unwrap_or_default()
    }

    /// From now on every connection breaks.
    pub(super) fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
    }

    /// From now on no answer tells when a file changed.
    pub(super) fn forget_dates(&self) {
        self.shared.undated.store(true, Ordering::Relaxed);
    }

    /// From now on every file has another entity tag.
    pub(super) fn change(&self) {
        self.shared.changed.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        while let Some(first) = lines.next() {
            let header: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
            if !self.answer(stream, &first, &header) {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
    }

    /// Whether the connection is kept.
    fn answer(&self, mut stream: &TcpStream, first: &str, header: &[String]) -> bool {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let fault = (self.fault)(number);
        if fault == Fault::Reset || self.closed.load(Ordering::Relaxed) {
            return false;
        }
        if let Fault::Late(milliseconds) = fault {
            thread::sleep(Duration::from_millis(milliseconds));
        }
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let path = path.trim_start_matches('/').replace("%20", " ");
        let file = std::fs::read(self.root.join(path));
        let status = match (&file, fault) {
            (_, Fault::Status(status)) => status,
            (Err(_), Fault::Secret) => 403,
            (Err(_), _) => 404,
            (Ok(_), _) => 200,
        };
        let Some(bytes) = file.ok().filter(|_| status == 200) else {
            return write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n").is_ok();
        };
        let range = header.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let (from, to) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
            (name.eq_ignore_ascii_case("range"))
                .then(|| (from.parse().unwrap(), to.parse::<usize>().unwrap() + 1))
        });
        let range = range.filter(|_| fault != Fault::Whole);
        let (from, to) = range.unwrap_or((0, bytes.len()));
        let part = &bytes[from..to.min(bytes.len())];
        let part = if fault == Fault::Compressed && range.is_some() { &b"small"[..] } else { part };
        let mut answer = match range {
            Some(_) => {
                format!("HTTP/1.1 206 Part\r\nContent-Range: bytes {from}-{}/{}\r\n", to - 1, bytes.len())
            }
            None => "HTTP/1.1 200 Fine\r\n".to_owned(),
        };
        if fault == Fault::Compressed {
            answer += "Content-Encoding: gzip\r\n";
        }
        answer += &match fault {
            Fault::Endless if range.is_some() => "Content-Length: 1000000000000000\r\n".to_owned(),
            _ => format!("Content-Length: {}\r\n", part.len()),
        };
        if !self.undated.load(Ordering::Relaxed) {
            answer += "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n";
        }
        if self.tags {
            let changed = self.changed.load(Ordering::Relaxed);
            answer += &format!("ETag: \"{:x}-{changed}\"\r\n", crc32c::crc32c(&bytes));
        }
        answer += "\r\n";
        if fault == Fault::Endless && range.is_some() {
            let begun = stream.write_all(answer.as_bytes()).is_ok();
            while begun && stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
            return false;
        }
        let sent = if method == "HEAD" { &part[..0] } else { part };
        let sent = if fault == Fault::Short { &sent[..sent.len() / 2] } else { sent };
        let written = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(sent)).is_ok();
        if written && fault != Fault::Short {
            *self.answered.lock().unwrap().entry(method.to_owned()).or_default() += 1;
        }
        written && fault != Fault::Short
    }
}
