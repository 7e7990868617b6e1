//! A data file of a local snapshot, read by mapped windows where it is large and by plain reads
//! where it is small.

use std::fs::File;
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::mapping::{WINDOW, Window};
use crate::{DataFile, Error, ErrorKind};

/// Files shorter than this are read, not mapped: a map costs more than it saves.
const MAP_FROM: u64 = 256 * 1024;
/// Bytes of one plain read.
const READ: u64 = 1024 * 1024;

/// An open data file whose content its storage keeps still.
pub(crate) struct LocalFile {
    file: File,
    path: PathBuf,
    len: u64,
}

impl LocalFile {
    /// Opens it; the length is taken once, here.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (meta, file) = opened.map_err(|e| super::local::unreadable(path, &e))?;
        if !meta.is_file() {
            return Err(Error::new(
                ErrorKind::ReplicaFault,
                format!("data file '{}' is not a regular file", path.display()),
            ));
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            len: meta.len(),
        })
    }

    fn fault(&self, e: &io::Error) -> Error {
        super::local::unreadable(&self.path, e)
    }

    /// Refuses where the file no longer reaches `end`.
    fn check_reaches(&self, end: u64) -> Result<(), Error> {
        let len = self.file.metadata().map_err(|e| self.fault(&e))?.len();
        if len >= end {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ReplicaFault,
            format!(
                "data file '{}' has {len} bytes, expected at least {end}",
                self.path.display()
            ),
        ))
    }

    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(|e| self.fault(&e)),
            }
        }
    }

    fn visit_read(
        &self,
        range: Range<u64>,
        visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let mut buffer = vec![0_u8; (range.end - range.start).min(READ) as usize];
        let mut at = range.start;
        while at < range.end {
            let want = (range.end - at).min(READ) as usize;
            let got = self.read_some(at, &mut buffer[..want])?;
            if got == 0 {
                self.check_reaches(range.end)?;
            }
            if visit(&buffer[..got]).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            at += got as u64;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn visit_window(
        &self,
        range: Range<u64>,
        visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let base = range.start - range.start % WINDOW;
        let window = Window::open(&self.file, base, (range.end - base) as usize);
        match window.map_err(|e| self.fault(&e))? {
            Some(window) => {
                // The last page of a file cut within it reads as zeros, without an error.
                self.check_reaches(range.end)?;
                Ok(visit(&window.bytes()[(range.start - base) as usize..]))
            }
            None => self.visit_read(range, visit),
        }
    }
}

impl DataFile for LocalFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let got = self.read_some(offset, buffer)?;
        if got == 0 && !buffer.is_empty() && offset < self.len {
            self.check_reaches(self.len)?;
        }
        Ok(got)
    }

    fn visit(
        &self,
        range: Range<u64>,
        visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if range.start >= range.end {
            return Ok(());
        }
        self.check_reaches(range.end)?;
        if range.end - range.start < MAP_FROM {
            return self.visit_read(range, visit).map(|_| ());
        }
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at - at % WINDOW + WINDOW);
            if end < range.end {
                let next = std::num::NonZeroU64::new(WINDOW);
                // Starts reading the next window while this one is used; a hint only.
                let _ = rustix::fs::fadvise(&self.file, end, next, rustix::fs::Advice::WillNeed);
            }
            if self.visit_window(at..end, visit)?.is_break() {
                return Ok(());
            }
            at = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(len: usize) -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let bytes: Vec<u8> = (0..len).map(|i| (i * 7 % 253) as u8).collect();
        fs::write(&path, &bytes).unwrap();
        (dir, path, bytes)
    }

    #[test]
    fn visits_give_exactly_the_range_in_order() {
        let window = WINDOW as usize;
        let (_dir, path, bytes) = file(2 * window + 12_345);
        let open = LocalFile::open(&path).unwrap();
        let ranges = [
            0..bytes.len(),
            5..6,
            window - 1..window + 1,
            100..2 * window + 12_345,
            7..7,
            0..window,
        ];
        for range in ranges {
            let mut got = Vec::new();
            let asked = range.start as u64..range.end as u64;
            open.visit(asked, &mut |piece| {
                got.extend_from_slice(piece);
                ControlFlow::Continue(())
            })
            .unwrap();
            assert!(got == bytes[range.clone()], "{range:?}");
        }
    }

    #[test]
    fn break_stops_without_an_error() {
        let (_dir, path, _) = file(WINDOW as usize * 2);
        let mut calls = 0;
        let open = LocalFile::open(&path).unwrap();
        open.visit(0..WINDOW * 2, &mut |_| {
            calls += 1;
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(calls, 1);
    }

    #[test]
    fn a_file_cut_before_or_while_it_is_visited_is_an_error_not_a_signal() {
        let (_dir, path, bytes) = file(WINDOW as usize * 3);
        let open = LocalFile::open(&path).unwrap();
        let cut = File::options().write(true).open(&path).unwrap();
        let mut seen = 0;
        let result = open.visit(0..bytes.len() as u64, &mut |piece| {
            seen += piece.len() as u64;
            cut.set_len(WINDOW).unwrap();
            ControlFlow::Continue(())
        });
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ReplicaFault);
        assert_eq!(seen, WINDOW);
        let mut ignore = |_: &[u8]| ControlFlow::Continue(());
        let again = open.visit(0..bytes.len() as u64, &mut ignore);
        assert_eq!(again.unwrap_err().kind(), ErrorKind::ReplicaFault);
        let past = open.read_at(WINDOW, &mut [0; 10]);
        assert_eq!(past.unwrap_err().kind(), ErrorKind::ReplicaFault);
    }

    #[test]
    fn paging_in_past_the_end_fails_with_an_error() {
        let (_dir, path, _) = file(4096);
        let open = File::open(&path).unwrap();
        assert!(Window::open(&open, 0, 4096).unwrap().is_some());
        assert!(Window::open(&open, 0, 1024 * 1024).is_err());
    }
}
