//! Lists of objects as they are stored, in pieces: a long one is never copied whole.
//!
//! Invariant: what a list is sent as is, to the byte, what a document of its objects would be sent as.

use std::{convert::Infallible, sync::Arc};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use skiff_api::machinery::{
    schema::{Node, Schema, to_json},
    status::Status,
};
use skiff_protobuf::{Writer, list_head, list_tail};
use skiff_storage::Object;

use super::{
    Encoding,
    kept::{self, Kept},
    unwritten,
};
use crate::limits::{heavy, room};

/// Pieces are of about this size: short lists are one piece.
const PIECE: usize = 128 * 1024;

/// Objects of so many bytes are worth the start of a thread.
const MUCH: usize = 1024 * 1024;

/// A list of which nothing is left to do but to be encoded.
pub struct List<'k> {
    /// Of the list, not of its items.
    pub kind: &'k str,
    pub api_version: String,
    pub metadata: Value,
    /// The type of the items.
    pub node: Node<'k>,
    /// How much of the bytes of an item is not told after the brace: its type, where a list of it has no need of that.
    pub skip: usize,
    pub objects: Vec<Arc<Object>>,
    /// What others that listed the objects made of them.
    pub kept: &'k Kept,
}

impl List<'_> {
    fn metadata(&self) -> Vec<u8> {
        to_json(&self.metadata, Schema::builtin().get("meta.v1.ListMeta"))
    }

    fn size(&self) -> usize {
        self.objects.iter().map(|object| object.bytes.len()).sum()
    }
}

impl Encoding {
    /// The list, where it can be sent as it is stored.
    ///
    /// # Errors
    /// Objects that cannot be encoded.
    pub async fn list(self, list: List<'_>, pretty: bool) -> Result<Option<Body>, Status> {
        match self {
            Encoding::Json if !pretty => Ok(Some(json(list))),
            Encoding::Protobuf => {
                let size = list.size();
                let _room = room(size).await;
                heavy(size, || protobuf(&list, size)).map(Some)
            }
            _ => Ok(None),
        }
    }
}

fn json(list: List<'_>) -> Body {
    let (kind, api_version, skip) = (list.kind, &list.api_version, list.skip);
    let mut head = BytesMut::with_capacity(list.size().min(PIECE + 16 * 1024) + 256);
    head.extend_from_slice(
        format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":").as_bytes(),
    );
    head.extend_from_slice(&list.metadata());
    head.extend_from_slice(b",\"items\":[");
    let mut rest = list.objects.into_iter();
    let mut first = true;
    let mut fill = move |mut piece: BytesMut| -> (Bytes, bool) {
        for object in rest.by_ref() {
            if !std::mem::replace(&mut first, false) {
                piece.extend_from_slice(b",");
            }
            piece.extend_from_slice(b"{");
            object.bytes.put_after(skip + 1, &mut piece);
            if piece.len() >= PIECE {
                return (piece.freeze(), false);
            }
        }
        piece.extend_from_slice(b"]}\n");
        (piece.freeze(), true)
    };
    let (piece, mut done) = fill(head);
    if done {
        return Body::from(piece);
    }
    let rest = std::iter::from_fn(move || {
        if done {
            return None;
        }
        let (piece, last) = fill(BytesMut::with_capacity(PIECE + 16 * 1024));
        done = last;
        Some(piece)
    });
    pieces(std::iter::once(piece).chain(rest))
}

fn pieces(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Body {
    Body::from_stream(futures::stream::iter(pieces.map(Ok::<_, Infallible>)))
}

/// How long the list is stands before its items, so all of them are encoded first; those of a long one on all processors.
fn protobuf(list: &List<'_>, size: usize) -> Result<Body, Status> {
    let threads = match size {
        ..MUCH => 1,
        _ => std::thread::available_parallelism().map_or(1, usize::from),
    };
    // of what would not fit, nothing is kept: the next list would find none of it
    let of = kept::index(list.node).filter(|_| size <= kept::MOST);
    let known = match of {
        Some(of) => list.kept.find(of, &list.objects),
        None => vec![None; list.objects.len()],
    };
    let share = list.objects.len().div_ceil(threads).max(1);
    let (items, made) = std::thread::scope(|scope| {
        let mut shares = list.objects.chunks(share).zip(known.chunks(share));
        let (own, known) = shares.next().unwrap_or_default();
        let others: Vec<_> = shares
            // what is known is not worth a thread
            .map(|(share, known)| match known.iter().all(Option::is_some) {
                true => Err((share, known)),
                false => Ok(scope.spawn(|| Items::of(share, known, list.node, of.is_some()))),
            })
            .collect();
        let Items {
            mut pieces,
            mut made,
        } = Items::of(own, known, list.node, of.is_some())?;
        for other in others {
            let other = match other {
                Ok(thread) => thread
                    .join()
                    .map_err(|_| Status::internal("a list could not be encoded"))?,
                Err((share, known)) => Items::of(share, known, list.node, false),
            }?;
            pieces.extend(other.pieces);
            made.extend(other.made);
        }
        Ok::<_, Status>((pieces, made))
    })?;
    if let Some(of) = of
        && !made.is_empty()
    {
        list.kept.put(of, made.into_iter());
    }
    let length = items.iter().map(Bytes::len).sum();
    let head = list_head(&list.api_version, list.kind, &list.metadata(), length);
    let head = head.map_err(unwritten)?;
    if items.len() == 1 {
        return Ok(Body::from([&head, &items[0][..], list_tail()].concat()));
    }
    let (head, tail) = (Bytes::from(head), Bytes::from_static(list_tail()));
    Ok(pieces(
        std::iter::once(head)
            .chain(items)
            .chain(std::iter::once(tail)),
    ))
}

/// Objects as items of a list.
struct Items {
    /// One at the least.
    pieces: Vec<Bytes>,
    /// The items that were not known and are to be kept, by their revisions.
    made: Vec<(u64, Bytes)>,
}

impl Items {
    fn of(
        objects: &[Arc<Object>],
        known: &[Option<Bytes>],
        node: Node,
        keep: bool,
    ) -> Result<Items, Status> {
        let mut writer = Writer::new(node).map_err(unwritten)?;
        let (mut pieces, mut made) = (Vec::new(), Vec::new());
        let (mut piece, mut room) = (Vec::new(), Vec::new());
        for (object, known) in objects.iter().zip(known) {
            match known {
                Some(item) => piece.extend_from_slice(item),
                None => {
                    let (text, from) = (object.bytes.read_in(&mut room), piece.len());
                    writer.field(2, text, &mut piece).map_err(unwritten)?;
                    if keep {
                        made.push((object.revision, Bytes::copy_from_slice(&piece[from..])));
                    }
                }
            }
            if piece.len() >= PIECE {
                let next = Vec::with_capacity(piece.len() + PIECE / 8);
                pieces.push(std::mem::replace(&mut piece, next).into());
            }
        }
        pieces.push(piece.into());
        Ok(Items { pieces, made })
    }
}
