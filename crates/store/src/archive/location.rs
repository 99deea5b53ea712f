//! Where the archive lies: a local folder or a bucket that speaks S3, behind one handle.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt};
use url::Url;

use super::error::ArchiveError;

/// Longest answer to one request, in whole; a segment of 64 MiB comes through 10 Mbit/s in 54 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of an archive.
#[derive(Clone, Default)]
pub struct ArchiveConfig {
    /// `file:///folder` or `s3://bucket/prefix`; none where nothing was ever archived.
    pub url: Option<String>,
    /// Settings of the object store by their usual names, such as `aws_access_key_id`, `aws_region`, `aws_endpoint`
    /// and `aws_allow_http`; names are not case-sensitive, and what the store does not know is passed over.
    pub options: Vec<(String, String)>,
}

impl fmt::Debug for ArchiveConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values may be credentials.
        let names: Vec<&str> = self.options.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ArchiveConfig").field("url", &self.url).field("options", &names).finish()
    }
}

/// An archive that can be read and written.
#[derive(Clone)]
pub(crate) struct Location {
    url: Arc<str>,
    store: Arc<dyn ObjectStore>,
}

impl Location {
    /// Opens what the settings name; none where they name nothing. Nothing is asked yet: an archive that does not
    /// answer must not keep a process from starting that needs none of it.
    pub(crate) fn open(config: &ArchiveConfig) -> Result<Option<Self>, ArchiveError> {
        let Some(text) = &config.url else { return Ok(None) };
        let wrong = |why: String| ArchiveError::Address { url: text.clone(), why };
        let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
        let store: Arc<dyn ObjectStore> = match url.scheme() {
            "file" => {
                let folder = url.to_file_path().map_err(|()| wrong("it names no local folder".to_owned()))?;
                std::fs::create_dir_all(&folder).map_err(|error| wrong(error.to_string()))?;
                let store = LocalFileSystem::new_with_prefix(folder).map_err(|error| wrong(error.to_string()))?;
                // A partition is dropped on the word that its files are there: they must have reached the disk.
                Arc::new(store.with_fsync(true))
            }
            "s3" => {
                let timeouts = ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_connect_timeout(CONNECT_TIMEOUT);
                let mut builder = AmazonS3Builder::new().with_url(text).with_client_options(timeouts);
                for (name, value) in &config.options {
                    if let Ok(key) = name.to_ascii_lowercase().parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                let store = builder.build().map_err(|error| wrong(error.to_string()))?;
                let prefix = Path::from_url_path(url.path()).map_err(|error| wrong(error.to_string()))?;
                Arc::new(PrefixStore::new(store, prefix))
            }
            other => return Err(wrong(format!("{other}:// is not known; there are file:// and s3://"))),
        };
        Ok(Some(Self { url: text.trim_end_matches('/').into(), store }))
    }

    /// The whole address of an object, for people.
    pub(crate) fn address(&self, object: &str) -> String {
        format!("{}/{object}", self.url)
    }

    /// Writes an object; when it answers, the object is durable.
    pub(crate) async fn put(&self, object: &str, content: Bytes) -> Result<(), ArchiveError> {
        self.store.put(&Path::from(object), content.into()).await.map_err(|source| self.failed(object, source))?;
        Ok(())
    }

    /// Reads an object in whole.
    pub(crate) async fn get(&self, object: &str) -> Result<Bytes, ArchiveError> {
        let read = async { self.store.get(&Path::from(object)).await?.bytes().await };
        read.await.map_err(|source| self.failed(object, source))
    }

    /// Reads a range of bytes of an object.
    pub(crate) async fn get_range(&self, object: &str, range: Range<u64>) -> Result<Bytes, ArchiveError> {
        self.store.get_range(&Path::from(object), range).await.map_err(|source| self.failed(object, source))
    }

    /// The size of an object in bytes.
    pub(crate) async fn size(&self, object: &str) -> Result<u64, ArchiveError> {
        let meta = self.store.head(&Path::from(object)).await.map_err(|source| self.failed(object, source))?;
        Ok(meta.size)
    }

    fn failed(&self, object: &str, source: object_store::Error) -> ArchiveError {
        ArchiveError::Object { object: self.address(object), source: Box::new(source) }
    }
}
