//! Compressed answers: every piece can be decoded as soon as it has arrived.

use std::io::{self, Write};

use brotli::CompressorWriter;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

use super::reply::Encoding;

/// Compresses one body.
pub(crate) enum Encoder {
    Identity,
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Br(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoding {
    /// As in `content-encoding`.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity | Self::Accepted => None,
            Self::Gzip => Some("gzip"),
            Self::Deflate => Some("deflate"),
            Self::Br => Some("br"),
            Self::Zstd => Some("zstd"),
        }
    }
}

/// The encoding to use for a client that accepts these.
pub(crate) fn chosen(wanted: Encoding, accept_encoding: Option<&str>) -> Encoding {
    if wanted != Encoding::Accepted {
        return wanted;
    }
    let accepted: Vec<_> = accept_encoding
        .unwrap_or_default()
        .split(',')
        .map(|part| part.split(';').next().unwrap_or_default().trim())
        .collect();
    [
        Encoding::Zstd,
        Encoding::Br,
        Encoding::Gzip,
        Encoding::Deflate,
    ]
    .into_iter()
    .find(|encoding| encoding.name().is_some_and(|name| accepted.contains(&name)))
    .unwrap_or_default()
}

impl Encoder {
    pub(crate) fn new(encoding: Encoding) -> Self {
        let level = Compression::fast();
        match encoding {
            Encoding::Identity | Encoding::Accepted => Self::Identity,
            Encoding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), level)),
            Encoding::Deflate => Self::Deflate(ZlibEncoder::new(Vec::new(), level)),
            Encoding::Br => Self::Br(Box::new(CompressorWriter::new(Vec::new(), 4096, 4, 20))),
            Encoding::Zstd => {
                zstd::stream::write::Encoder::new(Vec::new(), 1).map_or(Self::Identity, Self::Zstd)
            }
        }
    }

    pub(crate) fn encode(&mut self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Identity => bytes.to_vec(),
            Self::Gzip(encoder) => flushed(encoder, bytes, GzEncoder::get_mut),
            Self::Deflate(encoder) => flushed(encoder, bytes, ZlibEncoder::get_mut),
            Self::Br(encoder) => flushed(&mut **encoder, bytes, CompressorWriter::get_mut),
            Self::Zstd(encoder) => flushed(encoder, bytes, |encoder| encoder.get_mut()),
        }
    }

    /// What ends the body.
    pub(crate) fn finish(self) -> Vec<u8> {
        let written: io::Result<Vec<u8>> = match self {
            Self::Identity => Ok(Vec::new()),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Deflate(encoder) => encoder.finish(),
            Self::Br(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
        };
        written.unwrap_or_default()
    }
}

/// Writing to a `Vec` does not fail.
fn flushed<E: Write>(
    encoder: &mut E,
    bytes: &[u8],
    written: impl Fn(&mut E) -> &mut Vec<u8>,
) -> Vec<u8> {
    let _ = encoder.write_all(bytes).and_then(|()| encoder.flush());
    std::mem::take(written(encoder))
}
