//! How events become bytes and back: the [`Event`] trait and the `events!` macro.
//!
//! rkyv has no evolution of its own, so every kind of event has a frozen struct of its own and a
//! number that is never given again. A changed payload is a new kind; the old one stays readable
//! through an upcast. This module knows no particular event.

use std::fmt::Debug;

use rkyv::{
    Archive, Deserialize, Serialize,
    api::high::{HighDeserializer, HighSerializer, HighValidator},
    bytecheck::CheckBytes,
    rancor,
    ser::allocator::ArenaHandle,
    util::AlignedVec,
};

use crate::{
    error::{Error, ErrorKind},
    ids::{Kind, StreamId},
};

/// Payloads start at multiples of this many bytes in a frame, and so may be read in place.
pub const PAYLOAD_ALIGN: usize = 16;

/// A set of events that one kind of journal keeps. Implemented by [`events!`](crate::events).
pub trait Event: Clone + Debug + PartialEq + serde::Serialize + Send + Sync + 'static {
    /// The tag of this kind of journal: a folder whose log bears another is refused as foreign.
    const FAMILY: u32;

    /// The number of this event's kind.
    fn kind(&self) -> Kind;

    /// The name of this event's kind, as dumps print it.
    fn kind_name(&self) -> &'static str;

    /// What the event is about.
    fn stream(&self) -> StreamId;

    /// Appends the payload to `out`, whose length must be a multiple of [`PAYLOAD_ALIGN`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the value cannot be serialised; `out` is then unspecified.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error>;

    /// Reads a payload back, with every reference and bound in it checked.
    ///
    /// # Errors
    /// [`ErrorKind::NewerFormat`] for a kind that this program does not know,
    /// [`ErrorKind::Damaged`] for bytes that are no payload of that kind.
    fn decode(kind: Kind, payload: &[u8]) -> Result<Self, Error>;

    /// Every kind that can be read, number and name, in order of the number.
    fn kinds() -> &'static [(u16, &'static str)];
}

/// Serialises one payload after what `out` already holds. Used by [`events!`](crate::events).
///
/// # Errors
/// [`ErrorKind::Invalid`] where rkyv refuses the value.
pub fn encode_payload<T>(name: &str, payload: &T, out: &mut Vec<u8>) -> Result<(), Error>
where
    T: for<'a> Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, rancor::Error>>,
{
    let buffer = std::mem::take(out);
    debug_assert_eq!(buffer.len() % PAYLOAD_ALIGN, 0, "payloads start aligned");
    *out = rkyv::api::high::to_bytes_in::<_, rancor::Error>(payload, buffer)
        .map_err(|e| Error::invalid(format!("event {name} cannot be serialised: {e}")))?;
    Ok(())
}

/// Reads one payload with checks. Bytes that do not lie aligned are copied first. Used by
/// [`events!`](crate::events).
///
/// # Errors
/// [`ErrorKind::Damaged`] where the bytes are no such payload.
pub fn decode_payload<T>(name: &str, payload: &[u8]) -> Result<T, Error>
where
    T: Archive,
    T::Archived: for<'a> CheckBytes<HighValidator<'a, rancor::Error>>
        + Deserialize<T, HighDeserializer<rancor::Error>>,
{
    let read = if payload.as_ptr().addr().is_multiple_of(PAYLOAD_ALIGN) {
        rkyv::from_bytes::<T, rancor::Error>(payload)
    } else {
        let mut copy = AlignedVec::<PAYLOAD_ALIGN>::with_capacity(payload.len());
        copy.extend_from_slice(payload);
        rkyv::from_bytes::<T, rancor::Error>(&copy)
    };
    read.map_err(|e| {
        let length = payload.len();
        Error::damaged(format!(
            "{length} bytes are no payload of event {name}: {e}"
        ))
    })
}

/// The error for a kind that is not in [`Event::kinds`]. Used by [`events!`](crate::events).
#[must_use]
pub fn unknown_kind(set: &str, kind: Kind) -> Error {
    let text = format!("kind {kind} is unknown to {set}, a newer program wrote it");
    Error::new(ErrorKind::NewerFormat, text)
}

/// Stops the compilation of a set of events that gives a number twice, or zero.
#[doc(hidden)]
#[allow(clippy::panic, reason = "runs while compiling only")]
pub const fn assert_kinds(kinds: &[(u16, &str)]) {
    let mut i = 0;
    while i < kinds.len() {
        assert!(kinds[i].0 != 0, "kind 0 is not used");
        let mut j = i + 1;
        while j < kinds.len() {
            assert!(kinds[i].0 != kinds[j].0, "a kind has one number for ever");
            j += 1;
        }
        i += 1;
    }
}

/// Defines an enum of events, each variant around a frozen rkyv struct with a number of its own.
///
/// ```
/// use holdfast_journal::{Event, Kind, StreamId, events};
///
/// #[derive(Clone, Debug, PartialEq)]
/// #[derive(serde::Serialize, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// pub struct Opened { pub door: u64 }
///
/// #[derive(Clone, Debug, PartialEq)]
/// #[derive(serde::Serialize, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// pub struct Painted { pub door: u64, pub colour: String, pub coats: u8 }
///
/// /// The payload of kind 2 before coats were counted.
/// #[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// pub struct PaintedV1 { pub door: u64, pub colour: String }
///
/// impl From<PaintedV1> for Painted {
///     fn from(old: PaintedV1) -> Self {
///         Self { door: old.door, colour: old.colour, coats: 1 }
///     }
/// }
///
/// events! {
///     /// What happens to doors.
///     pub enum DoorEvent: family 0x444f_4f52 {
///         /// A door was opened.
///         1 => Opened(Opened) in |e| StreamId(e.door),
///         /// A door was painted.
///         3 => Painted(Painted) in |e| StreamId(e.door),
///     }
///     upcast {
///         2 => PaintedV1 as Painted,
///     }
/// }
///
/// let event = DoorEvent::from(Opened { door: 7 });
/// assert_eq!((event.kind(), event.stream()), (Kind(1), StreamId(7)));
/// ```
///
/// A variant without `in |e| …` belongs to [`StreamId::OWNER`]. An upcast reads an old payload as a
/// newer variant. A number given twice, or zero, does not compile.
#[macro_export]
macro_rules! events {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident : family $family:literal {
            $(
                $(#[$vmeta:meta])*
                $kind:literal => $variant:ident($payload:ty) $(in |$e:ident| $stream:expr)?
            ),+ $(,)?
        }
        $(upcast {
            $($old_kind:literal => $old:ty as $new:ident),+ $(,)?
        })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $vis enum $name {
            $( $(#[$vmeta])* $variant($payload), )+
        }

        impl $crate::Event for $name {
            const FAMILY: u32 = $family;

            fn kind(&self) -> $crate::Kind {
                match self { $( Self::$variant(_) => $crate::Kind($kind), )+ }
            }

            fn kind_name(&self) -> &'static str {
                match self { $( Self::$variant(_) => stringify!($variant), )+ }
            }

            fn stream(&self) -> $crate::StreamId {
                match self {
                    $( Self::$variant(_payload) => $crate::events!(@stream _payload $(, $e, $stream)?), )+
                }
            }

            fn encode(&self, out: &mut ::std::vec::Vec<u8>) -> ::std::result::Result<(), $crate::Error> {
                match self {
                    $( Self::$variant(payload) => {
                        $crate::encode_payload(stringify!($variant), payload, out)
                    } )+
                }
            }

            fn decode(
                kind: $crate::Kind,
                payload: &[u8],
            ) -> ::std::result::Result<Self, $crate::Error> {
                match kind.get() {
                    $( $kind => $crate::decode_payload::<$payload>(stringify!($variant), payload)
                        .map(Self::$variant), )+
                    $($( $old_kind => $crate::decode_payload::<$old>(stringify!($old), payload)
                        .map(|old| Self::$new(::std::convert::From::from(old))), )+)?
                    _ => ::std::result::Result::Err(
                        $crate::unknown_kind(stringify!($name), kind)
                    ),
                }
            }

            fn kinds() -> &'static [(u16, &'static str)] {
                const KINDS: &[(u16, &str)] = &[
                    $( ($kind, stringify!($variant)), )+
                    $($( ($old_kind, stringify!($old)), )+)?
                ];
                const { $crate::assert_kinds(KINDS) };
                KINDS
            }
        }

        impl $crate::serde::Serialize for $name {
            fn serialize<S: $crate::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                let index = u32::from($crate::Event::kind(self).get());
                match self {
                    $( Self::$variant(payload) => serializer.serialize_newtype_variant(
                        stringify!($name), index, stringify!($variant), payload,
                    ), )+
                }
            }
        }

        $(
            impl ::std::convert::From<$payload> for $name {
                fn from(payload: $payload) -> Self {
                    Self::$variant(payload)
                }
            }
        )+
    };
    (@stream $payload:ident, $e:ident, $stream:expr) => {{
        let $e = $payload;
        $stream
    }};
    (@stream $payload:ident) => {
        $crate::StreamId::OWNER
    };
}
