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
/// Decoding checks the number and that nothing follows the last field; encoding writes both.
macro_rules! messages {
    ($( $(#[$meta:meta])* $name:ident $(<$life:lifetime>)? = $number:literal { $( $field:ident : $kind:ty ),* $(,)? } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name $(<$life>)? { $( pub(crate) $field: $kind ),* }

        impl $(<$life>)? $name $(<$life>)? {
            /// The message's number on the wire.
            pub(crate) const NUMBER: u8 = $number;
        }

        impl $(<$life>)? $crate::wire::Encode for $name $(<$life>)? {
            fn encode(&self, out: &mut Vec<u8>) {
                out.push(Self::NUMBER);
                $( $crate::wire::Encode::encode(&self.$field, out); )*
            }
        }

        $crate::wire::messages!(@decode $name $(<$life>)? { $( $field ),* });
    )* };
    (@decode $name:ident <$life:lifetime> { $( $field:ident ),* }) => {
        impl<$life> $name<$life> {
            $crate::wire::messages!(@body $life, { $( $field ),* });
        }
    };
    (@decode $name:ident { $( $field:ident ),* }) => {
        impl $name {
            $crate::wire::messages!(@body '_, { $( $field ),* });
        }
    };
    (@body $life:lifetime, { $( $field:ident ),* }) => {
        /// Reads a whole packet payload, number included.
        #[allow(dead_code, reason = "some messages are only ever sent")]
        pub(crate) fn decode_packet(payload: &$life [u8]) -> Result<Self, $crate::wire::Malformed> {
            let mut reader = $crate::wire::Reader::new(payload);
            let found = reader.get::<u8>()?;
            if found != Self::NUMBER {
                return Err($crate::wire::Malformed::Number { found, expected: Self::NUMBER });
            }
            let message = Self { $( $field: reader.get()? ),* };
            reader.finish()?;
            Ok(message)
        }
    };
}

pub(crate) use messages;
