//! TPC-H data as files: what the demo loads. Knows tables and columns of TPC-H, no engine.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator,
    PartSuppGenerator, RegionGenerator, SupplierGenerator,
};

/// The years in which lineitem ships; each has a partition.
pub(crate) const SHIP_YEARS: std::ops::RangeInclusive<i32> = 1992..=1998;

/// A table of TPC-H.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Region,
    Nation,
    Supplier,
    Customer,
    Part,
    PartSupp,
    Orders,
    LineItem,
}

impl Table {
    /// All of them, the largest first so that threads end together.
    pub(crate) const ALL: [Self; 8] = [
        Self::LineItem,
        Self::Orders,
        Self::PartSupp,
        Self::Part,
        Self::Customer,
        Self::Supplier,
        Self::Nation,
        Self::Region,
    ];

    /// The name in SQL and of the folder.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Region => "region",
            Self::Nation => "nation",
            Self::Supplier => "supplier",
            Self::Customer => "customer",
            Self::Part => "part",
            Self::PartSupp => "partsupp",
            Self::Orders => "orders",
            Self::LineItem => "lineitem",
        }
    }

    /// The columns as CREATE TABLE takes them, and how many of the first are the key.
    const fn columns(self) -> (&'static str, usize) {
        match self {
            Self::Region => (
                "r_regionkey INT NOT NULL, r_name VARCHAR(25), r_comment VARCHAR(152)",
                1,
            ),
            Self::Nation => (
                "n_nationkey INT NOT NULL, n_name VARCHAR(25), n_regionkey INT, \
                 n_comment VARCHAR(152)",
                1,
            ),
            Self::Supplier => (
                "s_suppkey BIGINT NOT NULL, s_name VARCHAR(25), s_address VARCHAR(40), \
                 s_nationkey INT, s_phone VARCHAR(15), s_acctbal DECIMAL(15,2), \
                 s_comment VARCHAR(101)",
                1,
            ),
            Self::Customer => (
                "c_custkey BIGINT NOT NULL, c_name VARCHAR(25), c_address VARCHAR(40), \
                 c_nationkey INT, c_phone VARCHAR(15), c_acctbal DECIMAL(15,2), \
                 c_mktsegment VARCHAR(10), c_comment VARCHAR(117)",
                1,
            ),
            Self::Part => (
                "p_partkey BIGINT NOT NULL, p_name VARCHAR(55), p_mfgr VARCHAR(25), \
                 p_brand VARCHAR(10), p_type VARCHAR(25), p_size INT, p_container VARCHAR(10), \
                 p_retailprice DECIMAL(15,2), p_comment VARCHAR(23)",
                1,
            ),
            Self::PartSupp => (
                "ps_partkey BIGINT NOT NULL, ps_suppkey BIGINT NOT NULL, ps_availqty INT, \
                 ps_supplycost DECIMAL(15,2), ps_comment VARCHAR(199)",
                2,
            ),
            Self::Orders => (
                "o_orderkey BIGINT NOT NULL, o_custkey BIGINT, o_orderstatus VARCHAR(1), \
                 o_totalprice DECIMAL(15,2), o_orderdate DATE, o_orderpriority VARCHAR(15), \
                 o_clerk VARCHAR(15), o_shippriority INT, o_comment VARCHAR(79)",
                1,
            ),
            Self::LineItem => (
                "l_shipdate DATE NOT NULL, l_orderkey BIGINT NOT NULL, l_linenumber INT NOT NULL, \
                 l_partkey BIGINT, l_suppkey BIGINT, l_quantity DECIMAL(15,2), \
                 l_extendedprice DECIMAL(15,2), l_discount DECIMAL(15,2), l_tax DECIMAL(15,2), \
                 l_returnflag VARCHAR(1), l_linestatus VARCHAR(1), l_commitdate DATE, \
                 l_receiptdate DATE, l_shipinstruct VARCHAR(25), l_shipmode VARCHAR(10), \
                 l_comment VARCHAR(44)",
                3,
            ),
        }
    }

    /// What stands between `CREATE TABLE name` and the semicolon.
    pub(crate) fn definition(self) -> String {
        let (columns, key) = self.columns();
        let keys: Vec<&str> = columns
            .split(',')
            .take(key)
            .filter_map(|column| column.split_whitespace().next())
            .collect();
        let partitions = if self == Self::LineItem {
            ship_year_partitions()
        } else {
            String::new()
        };
        let bucket_key = if self == Self::LineItem {
            "l_orderkey"
        } else {
            keys[0]
        };
        format!(
            "({columns})\nDUPLICATE KEY({})\n{partitions}\
             DISTRIBUTED BY HASH({bucket_key}) BUCKETS {}\n\
             PROPERTIES(\"replication_num\" = \"1\")",
            keys.join(", "),
            self.buckets(),
        )
    }

    const fn buckets(self) -> u32 {
        match self {
            Self::LineItem | Self::Orders => 3,
            _ => 1,
        }
    }
}

fn ship_year_partitions() -> String {
    let parts: Vec<String> = SHIP_YEARS
        .map(|year| {
            format!(
                "PARTITION y{year} VALUES LESS THAN (\"{}-01-01\")",
                year + 1
            )
        })
        .collect();
    format!("PARTITION BY RANGE(l_shipdate) ({})\n", parts.join(", "))
}

/// One file's worth of work.
#[derive(Clone, Copy, Debug)]
struct Piece {
    table: Table,
    part: i32,
    of: i32,
}

/// What has been written so far; read by whoever draws the bar.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) files: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// Bytes to expect at a scale factor, for the bar.
pub(crate) fn expected_bytes(scale_factor: f64) -> u64 {
    (scale_factor * 1_110_000_000.0) as u64
}

/// The folder of one table below `root`, or of one ship year of lineitem.
pub(crate) fn folder(root: &Path, table: Table, ship_year: Option<i32>) -> PathBuf {
    match ship_year {
        Some(year) => root.join(table.name()).join(format!("y{year}")),
        None => root.join(table.name()),
    }
}

/// Writes all tables below `root`, on as many threads as the machine has cores.
pub(crate) fn generate(root: &Path, scale_factor: f64, written: &Written) -> io::Result<()> {
    for table in Table::ALL {
        if table == Table::LineItem {
            for year in SHIP_YEARS {
                fs::create_dir_all(folder(root, table, Some(year)))?;
            }
        } else {
            fs::create_dir_all(folder(root, table, None))?;
        }
    }
    let pieces = pieces(scale_factor);
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .min(pieces.len());
    std::thread::scope(|scope| {
        let work = || {
            while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                write_piece(root, scale_factor, *piece, written)?;
            }
            Ok(())
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().try_for_each(|handle| {
            handle
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a generator thread panicked")))
        })
    })
}

fn pieces(scale_factor: f64) -> Vec<Piece> {
    let of = |table: Table| match table {
        Table::LineItem | Table::Orders => ((scale_factor * 16.0).ceil() as i32).clamp(2, 512),
        Table::Nation | Table::Region => 1,
        _ => ((scale_factor * 4.0).ceil() as i32).clamp(1, 128),
    };
    Table::ALL
        .into_iter()
        .flat_map(|table| {
            (1..=of(table)).map(move |part| Piece {
                table,
                part,
                of: of(table),
            })
        })
        .collect()
}

fn write_piece(root: &Path, scale: f64, piece: Piece, written: &Written) -> io::Result<()> {
    let Piece { table, part, of } = piece;
    let base = folder(root, table, None);
    match table {
        Table::LineItem => write_line_items(root, scale, piece, written),
        Table::Region => write_rows(
            &base,
            piece,
            RegionGenerator::new(scale, part, of).iter(),
            written,
        ),
        Table::Nation => write_rows(
            &base,
            piece,
            NationGenerator::new(scale, part, of).iter(),
            written,
        ),
        Table::Supplier => write_rows(
            &base,
            piece,
            SupplierGenerator::new(scale, part, of).iter(),
            written,
        ),
        Table::Customer => write_rows(
            &base,
            piece,
            CustomerGenerator::new(scale, part, of).iter(),
            written,
        ),
        Table::Part => write_rows(
            &base,
            piece,
            PartGenerator::new(scale, part, of).iter(),
            written,
        ),
        Table::PartSupp => write_rows(
            &base,
            piece,
            PartSuppGenerator::new(scale, part, of).iter(),
            written,
        ),
        Table::Orders => write_rows(
            &base,
            piece,
            OrderGenerator::new(scale, part, of).iter(),
            written,
        ),
    }
}

/// A file that counts what goes through it.
struct Sink<'a> {
    file: BufWriter<File>,
    bytes: u64,
    written: &'a Written,
    line: String,
}

impl<'a> Sink<'a> {
    fn create(folder: &Path, piece: Piece, written: &'a Written) -> io::Result<Self> {
        let path = folder.join(format!("{}-{:04}.tbl", piece.table.name(), piece.part));
        let file = BufWriter::with_capacity(256 * 1024, File::create(path)?);
        Ok(Self {
            file,
            bytes: 0,
            written,
            line: String::new(),
        })
    }

    fn row(&mut self, row: impl std::fmt::Display) -> io::Result<()> {
        use std::fmt::Write as _;
        self.line.clear();
        let _ = writeln!(self.line, "{row}");
        self.bytes += self.line.len() as u64;
        self.file.write_all(self.line.as_bytes())
    }

    fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.written.files.fetch_add(1, Ordering::Relaxed);
        self.written.bytes.fetch_add(self.bytes, Ordering::Relaxed);
        Ok(())
    }
}

fn write_rows<R: std::fmt::Display>(
    folder: &Path,
    piece: Piece,
    rows: impl Iterator<Item = R>,
    written: &Written,
) -> io::Result<()> {
    let mut sink = Sink::create(folder, piece, written)?;
    for row in rows {
        sink.row(row)?;
    }
    sink.finish()
}

fn write_line_items(root: &Path, scale: f64, piece: Piece, written: &Written) -> io::Result<()> {
    let mut sinks = SHIP_YEARS
        .map(|year| Sink::create(&folder(root, piece.table, Some(year)), piece, written))
        .collect::<io::Result<Vec<_>>>()?;
    for row in LineItemGenerator::new(scale, piece.part, piece.of).iter() {
        // The generator counts years within the century.
        let year = 1900 + row.l_shipdate.to_ymd().0;
        let index = usize::try_from(year - SHIP_YEARS.start())
            .ok()
            .filter(|index| *index < sinks.len())
            .ok_or_else(|| {
                io::Error::other(format!("ship year {year} is outside {SHIP_YEARS:?}"))
            })?;
        sinks[index].row(row)?;
    }
    sinks.into_iter().try_for_each(Sink::finish)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_every_table_once() {
        let pieces = pieces(0.1);
        for table in Table::ALL {
            let of_table: Vec<_> = pieces.iter().filter(|piece| piece.table == table).collect();
            let parts: Vec<i32> = of_table.iter().map(|piece| piece.part).collect();
            assert_eq!(parts, (1..=of_table[0].of).collect::<Vec<_>>(), "{table:?}");
        }
    }
}
