//! RFC 4251 §5 by hand: building and taking apart.

/// Appends fields; by value, so that a message is one expression.
pub(crate) trait Field: Sized {
    fn u8(self, value: u8) -> Self;
    fn u32(self, value: u32) -> Self;
    fn bool(self, value: bool) -> Self;
    fn string(self, value: impl AsRef<[u8]>) -> Self;
    fn raw(self, value: impl AsRef<[u8]>) -> Self;
    fn mpint(self, value: &[u8]) -> Self;
}

/// The start of a message.
pub(crate) fn message(number: u8) -> Vec<u8> {
    vec![number]
}

impl Field for Vec<u8> {
    fn u8(mut self, value: u8) -> Self {
        self.push(value);
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn bool(self, value: bool) -> Self {
        self.u8(value.into())
    }

    fn string(self, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.u32(value.len() as u32).raw(value)
    }

    fn raw(mut self, value: impl AsRef<[u8]>) -> Self {
        self.extend_from_slice(value.as_ref());
        self
    }

    /// A number that is not negative, from its bytes.
    fn mpint(self, value: &[u8]) -> Self {
        let start = value.iter().position(|byte| *byte != 0).unwrap_or(value.len());
        let value = &value[start..];
        match value.first() {
            Some(first) if *first >= 0x80 => self.u32(value.len() as u32 + 1).u8(0).raw(value),
            _ => self.string(value),
        }
    }
}

/// Takes fields off the front.
pub(crate) struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    pub(crate) fn skip_u32(mut self) -> Self {
        self.u32();
        self
    }

    pub(crate) fn string(&mut self) -> &'a [u8] {
        let length = self.u32() as usize;
        self.take(length)
    }
}
