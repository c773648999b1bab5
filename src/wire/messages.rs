//! The `messages!` macro: one declaration gives a borrowed struct, its number, encode, decode and
//! a `Debug` that shows text escaped and secrets not at all (fields of type `Hidden`).

/// Declares messages in RFC order:
///
/// ```text
/// messages! {
///     /// RFC 4253 §11.1
///     Disconnect<'a> = 1 { code: u32, text: Escaped<'a>, language: &'a [u8] }
/// }
/// ```
///
/// Decoding checks the number and that nothing follows the last field; encoding writes both. Numbers are
/// bytes, unless the list begins with `in u32;`.
macro_rules! messages {
    (in $int:ty; $( $(#[$meta:meta])* $name:ident $(<$life:lifetime>)? = $number:literal { $( $field:ident : $kind:ty ),* $(,)? } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name $(<$life>)? { $( pub(crate) $field: $kind ),* }

        impl $(<$life>)? $name $(<$life>)? {
            /// The message's number on the wire.
            pub(crate) const NUMBER: $int = $number;
        }

        impl $(<$life>)? $crate::wire::Encode for $name $(<$life>)? {
            fn encode(&self, out: &mut Vec<u8>) {
                $crate::wire::Encode::encode(&Self::NUMBER, out);
                $( $crate::wire::Encode::encode(&self.$field, out); )*
            }
        }

        $crate::wire::messages!(@decode $int, $name $(<$life>)? { $( $field ),* });
    )* };
    (@decode $int:ty, $name:ident <$life:lifetime> { $( $field:ident ),* }) => {
        impl<$life> $name<$life> {
            $crate::wire::messages!(@body $int, $life, { $( $field ),* });
        }
    };
    (@decode $int:ty, $name:ident { $( $field:ident ),* }) => {
        impl $name {
            $crate::wire::messages!(@body $int, '_, { $( $field ),* });
        }
    };
    (@body $int:ty, $life:lifetime, { $( $field:ident ),* }) => {
        /// Reads a whole packet payload, number included.
        #[allow(dead_code, reason = "some messages are only ever sent")]
        pub(crate) fn decode_packet(payload: &$life [u8]) -> Result<Self, $crate::wire::Malformed> {
            let mut reader = $crate::wire::Reader::new(payload);
            let found = reader.get::<$int>()?;
            if found != Self::NUMBER {
                return Err($crate::wire::Malformed::Number {
                    found: found.into(),
                    expected: Self::NUMBER.into(),
                });
            }
            let message = Self { $( $field: reader.get()? ),* };
            reader.finish()?;
            Ok(message)
        }
    };
    ($( $message:tt )*) => {
        $crate::wire::messages!(in u8; $( $message )*);
    };
}

pub(crate) use messages;
