//! Large buffers that nobody uses now, kept for whoever needs one next: memory that is warm in the cache and has its
//! pages, and none of it is held by what is idle. Knows nothing of what they are used for.

use parking_lot::Mutex;

/// Buffers of one size for the whole process. Taken for a few instructions by whoever needs or leaves one.
pub(super) struct Pool {
    free: Mutex<Vec<Vec<u8>>>,
    most: usize,
}

impl Pool {
    /// Keeps at most so many.
    pub(super) const fn new(most: usize) -> Self {
        Self { free: Mutex::new(Vec::new()), most }
    }

    pub(super) fn take(&self) -> Option<Vec<u8>> {
        self.free.lock().pop()
    }

    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        let mut free = self.free.lock();
        if free.len() < self.most {
            free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_kept_than_that() {
        let pool = Pool::new(2);
        assert!(pool.take().is_none());
        (0..3).for_each(|_| pool.give_back(vec![7]));
        assert_eq!((pool.take(), pool.take(), pool.take()), (Some(vec![7]), Some(vec![7]), None));
    }
}
