//! Decodes a copy of a compressed answer, so that it can be counted.
//!
//! The client's `accept-encoding` goes to the upstream as it is and the answer
//! comes back as it is: asking for identity instead would change a header that
//! is the client's, and cost bandwidth on every answer. Real answers are small,
//! so decoding them a second time is cheap.

use std::{fmt, io, io::Write};

use bytes::Bytes;
use http::HeaderMap;

use super::form;

/// More than this out of one piece of an answer is an attack, not text.
const MAX_DECODED_BYTES: usize = 16 << 20;

/// One content coding, and where it is in the stream.
pub enum Decoder {
    Gzip(flate2::write::MultiGzDecoder<Decoded>),
    Deflate(flate2::write::ZlibDecoder<Decoded>),
    Brotli(Box<brotli::DecompressorWriter<Decoded>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Decoded>>),
}

/// What one piece of the answer decoded to. Bounded.
#[derive(Debug, Default)]
pub struct Decoded(Vec<u8>);

impl Decoder {
    /// The decoder for a `content-encoding`; none when nothing is encoded.
    ///
    /// # Errors
    ///
    /// The coding is unknown, or there are several on top of each other.
    pub fn of(coding: &str) -> io::Result<Option<Self>> {
        Ok(Some(match coding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => return Ok(None),
            "gzip" | "x-gzip" => Self::Gzip(flate2::write::MultiGzDecoder::new(Decoded::default())),
            "deflate" => Self::Deflate(flate2::write::ZlibDecoder::new(Decoded::default())),
            "br" => Self::Brotli(Box::new(brotli::DecompressorWriter::new(
                Decoded::default(),
                4096,
            ))),
            "zstd" => Self::Zstd(Box::new(zstd::stream::write::Decoder::new(
                Decoded::default(),
            )?)),
            other => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!("content-encoding {other} cannot be decoded"),
                ));
            }
        }))
    }

    /// Decodes the next piece and hands over all that can be known by now.
    ///
    /// # Errors
    ///
    /// The piece is not of this coding, or decodes to too much.
    pub fn push(&mut self, piece: &[u8]) -> io::Result<Vec<u8>> {
        let decoded = match self {
            Self::Gzip(decoder) => write(decoder, piece)?.get_mut(),
            Self::Deflate(decoder) => write(decoder, piece)?.get_mut(),
            Self::Brotli(decoder) => write(decoder.as_mut(), piece)?.get_mut(),
            Self::Zstd(decoder) => write(decoder.as_mut(), piece)?.get_mut(),
        };
        Ok(std::mem::take(&mut decoded.0))
    }
}

/// A whole body, decoded as its headers say.
///
/// # Errors
///
/// As [`Decoder::of`] and [`Decoder::push`].
pub fn whole(headers: &HeaderMap, body: &Bytes) -> io::Result<Bytes> {
    match Decoder::of(form::coding(headers))? {
        Some(mut decoder) => decoder.push(body).map(Bytes::from),
        None => Ok(body.clone()),
    }
}

fn write<'a, W: Write>(decoder: &'a mut W, piece: &[u8]) -> io::Result<&'a mut W> {
    decoder.write_all(piece)?;
    decoder.flush()?;
    Ok(decoder)
}

impl Write for Decoded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_DECODED_BYTES {
            return Err(io::Error::other(
                "a piece of the answer decodes to too much",
            ));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Deflate(_) => "Deflate",
            Self::Brotli(_) => "Brotli",
            Self::Zstd(_) => "Zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(coding: &str, text: &[u8]) -> Vec<u8> {
        match coding {
            "gzip" => {
                let mut it = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                it.write_all(text).unwrap();
                it.finish().unwrap()
            }
            "deflate" => {
                let mut it =
                    flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                it.write_all(text).unwrap();
                it.finish().unwrap()
            }
            "br" => {
                let mut out = Vec::new();
                brotli::CompressorWriter::new(&mut out, 4096, 5, 22)
                    .write_all(text)
                    .unwrap();
                out
            }
            "zstd" => zstd::encode_all(text, 3).unwrap(),
            _ => unreachable!(),
        }
    }

    #[test]
    fn every_coding_is_decoded_byte_by_byte_too() {
        let text = b"event: ping\ndata: {}\n\n".repeat(500);
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let encoded = encode(coding, &text);
            for step in [1, 7, encoded.len()] {
                let mut decoder = Decoder::of(coding).unwrap().unwrap();
                let mut decoded = Vec::new();
                for piece in encoded.chunks(step) {
                    decoded.extend(decoder.push(piece).unwrap());
                }
                assert!(decoded == text, "{coding} in steps of {step}");
            }
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_an_error_and_no_panic() {
        assert!(Decoder::of("gzip, br").is_err());
        assert!(Decoder::of("snappy").is_err());
        assert!(Decoder::of(" Identity ").unwrap().is_none());
        for coding in ["gzip", "deflate", "zstd"] {
            let mut decoder = Decoder::of(coding).unwrap().unwrap();
            assert!(decoder.push(b"this is not compressed at all").is_err());
        }
    }

    #[test]
    fn a_bomb_is_an_error_and_no_memory() {
        let zeros = vec![0; 2 * MAX_DECODED_BYTES];
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let bomb = encode(coding, &zeros);
            let mut decoder = Decoder::of(coding).unwrap().unwrap();
            assert!(decoder.push(&bomb).is_err(), "{coding}");
        }
    }
}
