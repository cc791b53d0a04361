//! An S3 server on loopback, whose buckets are the folders of a folder.

use std::io;
use std::net::TcpListener;
use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;

/// The credentials that the server takes.
pub const ACCESS_KEY: &str = "AKIATEST";
pub const SECRET_KEY: &str = "a secret of the test";

/// Serves the folders of `root` as buckets while the process lives, and gives the server's address.
///
/// # Errors
///
/// When `root` is no folder, or there is no free port.
pub fn serve(root: &Path) -> io::Result<String> {
    let files = FileSystem::new(root).map_err(|e| io::Error::other(format!("{e:?}")))?;
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = format!("http://{}", listener.local_addr()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            loop {
                let (socket, _) = listener.accept().await?;
                let service = service.clone();
                tokio::spawn(async move {
                    // A client that breaks off is its own affair.
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
            #[expect(unreachable_code, reason = "says what `?` gives")]
            io::Result::Ok(())
        })
    });
    Ok(address)
}
