//! What the disk holds, what the page cache holds above it, and what a cut of power leaves.
//! No system call here but to fill a disk from a folder and to lay one out as a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;

use crate::dice::Dice;

/// The root folder's number, as FUSE wants it.
pub(super) const ROOT: u64 = 1;
const PAGE: usize = 4_096;

/// When power is cut, seen from the sync that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The sync has done nothing.
    Before,
    /// The sync has done a part of its work, by the seed.
    Inside,
    /// The sync has done its work, and nobody has heard of it.
    After,
}

/// What of the unsynced survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Nothing,
    /// Each thing by this seed.
    Some(u64),
    Everything,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) now: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    /// Pages written since the last sync.
    dirty: BTreeSet<usize>,
}

/// Names of a folder with what they mean.
pub(super) type Names = BTreeMap<OsString, u64>;

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Content),
    Folder { now: Names, durable: Names },
}

/// One call that changed names: what is taken away and what is put in, each by folder and name.
#[derive(Clone, Debug)]
struct Change {
    gone: Vec<(u64, OsString)>,
    new: Option<(u64, OsString, u64)>,
}

impl Change {
    fn touches(&self, folder: u64) -> bool {
        self.gone.iter().any(|(at, _)| *at == folder)
            || self.new.as_ref().is_some_and(|(at, ..)| *at == folder)
    }
}

/// Files and folders, durable and not. A clone shares the bytes of files until one is written.
#[derive(Clone, Debug)]
pub struct Disk {
    pub(super) nodes: BTreeMap<u64, Node>,
    changes: Vec<Change>,
    next: u64,
}

impl Disk {
    pub fn new() -> Self {
        let mut nodes = BTreeMap::new();
        nodes.insert(ROOT, folder());
        Self {
            nodes,
            changes: Vec::new(),
            next: ROOT + 1,
        }
    }

    /// A disk that holds a folder's files, all durable; hard links stay links.
    pub fn of(path: &Path) -> Self {
        let mut disk = Self::new();
        disk.fill(ROOT, path, &mut BTreeMap::new());
        disk.settle();
        disk
    }

    fn fill(&mut self, into: u64, path: &Path, links: &mut BTreeMap<u64, u64>) {
        use std::os::unix::fs::MetadataExt as _;
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let (name, meta) = (entry.file_name(), entry.metadata().unwrap());
            if meta.is_dir() {
                let made = self.add(into, &name, folder());
                self.fill(made, &entry.path(), links);
            } else if let Some(known) = links.get(&meta.ino()) {
                self.link(*known, into, &name);
            } else {
                let content = Content {
                    now: Arc::new(std::fs::read(entry.path()).unwrap()),
                    ..Content::default()
                };
                let made = self.add(into, &name, Node::File(content));
                links.insert(meta.ino(), made);
            }
        }
    }

    /// Everything is durable.
    fn settle(&mut self) {
        self.changes.clear();
        for node in self.nodes.values_mut() {
            match node {
                Node::File(content) => {
                    content.durable = Arc::clone(&content.now);
                    content.dirty.clear();
                }
                Node::Folder { now, durable } => *durable = now.clone(),
            }
        }
    }

    pub(super) fn names(&self, folder: u64) -> Option<&Names> {
        match self.nodes.get(&folder) {
            Some(Node::Folder { now, .. }) => Some(now),
            _ => None,
        }
    }

    fn names_mut(&mut self, folder: u64) -> Option<&mut Names> {
        match self.nodes.get_mut(&folder) {
            Some(Node::Folder { now, .. }) => Some(now),
            _ => None,
        }
    }

    pub(super) fn file(&self, id: u64) -> Option<&Content> {
        match self.nodes.get(&id) {
            Some(Node::File(content)) => Some(content),
            _ => None,
        }
    }

    fn change(&mut self, gone: Vec<(u64, OsString)>, new: Option<(u64, OsString, u64)>) {
        for (at, name) in &gone {
            if let Some(names) = self.names_mut(*at) {
                names.remove(name);
            }
        }
        if let Some((at, name, id)) = &new
            && let Some(names) = self.names_mut(*at)
        {
            names.insert(name.clone(), *id);
        }
        self.changes.push(Change { gone, new });
    }

    /// Makes a file or a folder.
    pub(super) fn add(&mut self, parent: u64, name: &OsStr, node: Node) -> u64 {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        self.change(Vec::new(), Some((parent, name.to_owned(), id)));
        id
    }

    pub(super) fn link(&mut self, id: u64, parent: u64, name: &OsStr) {
        self.change(Vec::new(), Some((parent, name.to_owned(), id)));
    }

    pub(super) fn unlink(&mut self, parent: u64, name: &OsStr) {
        self.change(vec![(parent, name.to_owned())], None);
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), id: u64) {
        let new = Some((to.0, to.1.to_owned(), id));
        self.change(vec![(from.0, from.1.to_owned())], new);
    }

    /// How many names a file has.
    pub(super) fn links(&self, id: u64) -> u32 {
        let folders = self.nodes.values().filter_map(|node| match node {
            Node::Folder { now, .. } => Some(now),
            Node::File(_) => None,
        });
        let count = folders.flat_map(Names::values).filter(|n| **n == id);
        u32::try_from(count.count()).unwrap_or(u32::MAX)
    }

    pub(super) fn write(&mut self, id: u64, offset: u64, bytes: &[u8]) {
        let Some(Node::File(content)) = self.nodes.get_mut(&id) else {
            return;
        };
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        let now = Arc::make_mut(&mut content.now);
        // A hole before the written bytes is new, too.
        let first = start.min(now.len()) / PAGE;
        if now.len() < end {
            now.resize(end, 0);
        }
        now[start..end].copy_from_slice(bytes);
        content.dirty.extend(first..end.div_ceil(PAGE));
    }

    pub(super) fn truncate(&mut self, id: u64, size: u64) {
        let Some(Node::File(content)) = self.nodes.get_mut(&id) else {
            return;
        };
        let (before, size) = (content.now.len(), size as usize);
        Arc::make_mut(&mut content.now).resize(size, 0);
        let (low, high) = (before.min(size), before.max(size));
        content.dirty.extend(low / PAGE..high.div_ceil(PAGE));
    }

    /// Makes a file's content, or the changes of names that touch a folder, durable. With `part`
    /// only what it chooses.
    pub(super) fn sync(&mut self, id: u64, part: Option<&mut Dice>) {
        let mut all = Dice::new(0);
        let some = part.is_some();
        let dice = part.unwrap_or(&mut all);
        let mut keep = || !some || dice.below(2) == 0;
        match self.nodes.get_mut(&id) {
            Some(Node::File(content)) => content.sync(&mut keep),
            Some(Node::Folder { .. }) => {
                let (done, left): (Vec<Change>, Vec<Change>) = std::mem::take(&mut self.changes)
                    .into_iter()
                    .partition(|change| change.touches(id) && keep());
                self.changes = left;
                for change in &done {
                    self.persist(change);
                }
            }
            None => {}
        }
    }

    fn persist(&mut self, change: &Change) {
        for (at, name) in &change.gone {
            if let Some(Node::Folder { durable, .. }) = self.nodes.get_mut(at) {
                durable.remove(name);
            }
        }
        if let Some((at, name, id)) = &change.new
            && let Some(Node::Folder { durable, .. }) = self.nodes.get_mut(at)
        {
            durable.insert(name.clone(), *id);
        }
    }

    /// The disk as it is found after power was cut now.
    pub fn cut(&self, kept: Kept) -> Self {
        let mut left = self.clone();
        let mut dice = Dice::new(match kept {
            Kept::Some(seed) => seed,
            _ => 0,
        });
        let mut keep = || match kept {
            Kept::Nothing => false,
            Kept::Some(_) => dice.below(2) == 0,
            Kept::Everything => true,
        };
        for change in std::mem::take(&mut left.changes) {
            if keep() {
                left.persist(&change);
            }
        }
        for node in left.nodes.values_mut() {
            match node {
                Node::File(content) => {
                    content.sync(&mut keep);
                    content.now = Arc::clone(&content.durable);
                    content.dirty.clear();
                }
                Node::Folder { now, durable } => *now = durable.clone(),
            }
        }
        left
    }

    /// Whether a cut of power now could lose anything.
    pub fn is_clean(&self) -> bool {
        self.changes.is_empty()
            && self.nodes.values().all(|node| match node {
                Node::File(content) => content.dirty.is_empty(),
                Node::Folder { .. } => true,
            })
    }

    /// Lays the disk out as a real folder; hard links stay links.
    pub fn lay_out(&self, to: &Path) {
        self.lay(ROOT, to, &mut BTreeMap::new());
    }

    fn lay(&self, id: u64, to: &Path, laid: &mut BTreeMap<u64, std::path::PathBuf>) {
        std::fs::create_dir_all(to).unwrap();
        for (name, id) in self.names(id).unwrap() {
            let path = to.join(name);
            match self.nodes.get(id) {
                Some(Node::File(content)) => match laid.get(id) {
                    Some(first) => std::fs::hard_link(first, &path).unwrap(),
                    None => {
                        std::fs::write(&path, content.now.as_slice()).unwrap();
                        laid.insert(*id, path);
                    }
                },
                Some(Node::Folder { .. }) => self.lay(*id, &path, laid),
                None => {}
            }
        }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) fn folder() -> Node {
    Node::Folder {
        now: Names::new(),
        durable: Names::new(),
    }
}

impl Content {
    /// Moves the chosen dirty pages, and by choice a shorter length, to the durable side. A page
    /// that is kept behind one that is not leaves zeros between.
    fn sync(&mut self, keep: &mut dyn FnMut() -> bool) {
        let dirty = std::mem::take(&mut self.dirty);
        if dirty.is_empty() {
            return;
        }
        let durable = Arc::make_mut(&mut self.durable);
        let shorter = self.now.len() < durable.len();
        if shorter && keep() {
            durable.truncate(self.now.len());
        }
        for page in dirty {
            if !keep() {
                self.dirty.insert(page);
                continue;
            }
            let start = page * PAGE;
            let end = (start + PAGE).min(self.now.len());
            if start >= end {
                continue;
            }
            if durable.len() < end {
                durable.resize(end, 0);
            }
            durable[start..end].copy_from_slice(&self.now[start..end]);
        }
    }
}
