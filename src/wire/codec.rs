//! How messages of the service are read and written: as prost does, but a message that cannot be read is the client's
//! fault and is told so.

use std::{collections::HashMap, marker::PhantomData};

use bytes::Buf as _;
use prost::Message;
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::ProstEncoder;
use tonic_types::{ErrorDetails, StatusExt as _};

/// Who says so: the `domain` of every `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "rungate";

/// The codec of all methods.
#[derive(Debug)]
pub struct MessageCodec<E, D>(PhantomData<(E, D)>);

/// Reads requests.
#[derive(Debug)]
pub struct RequestDecoder<D>(PhantomData<D>);

impl<E, D> Default for MessageCodec<E, D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E: Message + Send + 'static, D: Message + Default + Send + 'static> Codec for MessageCodec<E, D> {
    type Encode = E;
    type Decode = D;
    type Encoder = ProstEncoder<E>;
    type Decoder = RequestDecoder<D>;

    fn encoder(&mut self) -> ProstEncoder<E> {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> RequestDecoder<D> {
        RequestDecoder::default()
    }
}

impl<D> Default for RequestDecoder<D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<D: Message + Default> Decoder for RequestDecoder<D> {
    type Item = D;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<D>, Status> {
        let read = D::decode(&mut *buffer);
        read.map(Some).map_err(|_| {
            buffer.advance(buffer.remaining());
            let details = ErrorDetails::with_error_info("MESSAGE_MALFORMED", ERROR_DOMAIN, HashMap::new());
            Status::with_error_details(Code::InvalidArgument, "the message cannot be read", details)
        })
    }
}
